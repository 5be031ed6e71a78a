// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/MatrixTiles.h"

#include "lowering/cpu/MatrixLoop.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <map>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

amx::TileType cpu::operandTile(MLIRContext *context) {
  return amx::TileType::get({matrixRows, matrixDepth}, BFloat16Type::get(context));
}
amx::TileType cpu::sumTile(MLIRContext *context) {
  return amx::TileType::get({matrixRows, matrixColumns}, Float32Type::get(context));
}

Value cpu::loadOnce(ImplicitLocOpBuilder &b, Value memory, ValueRange indices, Value stride) {
  // The amx dialect has no load with this hint.
  auto metadata = memref::ExtractStridedMetadataOp::create(b, memory);
  Value element = metadata.getOffset();
  for (auto [index, step] : llvm::zip_equal(indices, metadata.getStrides()))
    element = arith::AddIOp::create(b, element, arith::MulIOp::create(b, index, step));
  if (!stride)
    stride = metadata.getStrides().drop_back().back();
  // bf16, or dwords that are pairs of them.
  int64_t bits = cast<MemRefType>(memory.getType()).getElementTypeBitWidth();
  Value bytes = arith::ConstantIndexOp::create(b, bits / 8);
  Value address = arith::AddIOp::create(b, memref::ExtractAlignedPointerAsIndexOp::create(b, memory),
                                        arith::MulIOp::create(b, element, bytes));
  auto wide = [&](Value value) -> Value { return arith::IndexCastOp::create(b, b.getI64Type(), value); };
  auto number = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI16IntegerAttr(static_cast<int16_t>(value)));
  };
  MLIRContext *context = b.getContext();
  Value pointer = LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(context), wide(address));
  Value tile = LLVM::CallIntrinsicOp::create(b, LLVM::LLVMX86AMXType::get(context),
                                             b.getStringAttr("llvm.x86.tileloaddt164.internal"),
                                             ValueRange{number(matrixRows), number(2 * matrixDepth), pointer,
                                                        wide(arith::MulIOp::create(b, stride, bytes))})
                   .getResult(0);
  return UnrealizedConversionCastOp::create(b, operandTile(context), tile).getResult(0);
}

Value cpu::pairOf(ImplicitLocOpBuilder &b, Value low, Value high) {
  VectorType words = cast<VectorType>(low.getType()).clone(b.getI32Type());
  auto constant = [&](int64_t value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(words, Attribute(b.getI32IntegerAttr(static_cast<int32_t>(value)))));
  };
  // Ties go up: half a roundoff that no sum over many tokens sees, for two instructions less.
  auto rounded = [&](Value value) {
    return arith::AddIOp::create(b, arith::BitcastOp::create(b, words, value), constant(0x8000));
  };
  Value lower = arith::ShRUIOp::create(b, rounded(low), constant(16));
  Value upper = arith::AndIOp::create(b, rounded(high), constant(0xffff0000));
  return arith::OrIOp::create(b, lower, upper);
}

Value cpu::narrowed(ImplicitLocOpBuilder &b, Value low, Value high) {
  auto type = VectorType::get({2 * matrixColumns}, b.getBF16Type());
  Value both = LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr("llvm.x86.avx512bf16.cvtne2ps2bf16.512"),
                                             ValueRange{high, low})
                   .getResult(0);
  return arith::BitcastOp::create(b, type.clone(b.getI16Type()), both);
}

std::pair<Value, Value> cpu::widened(ImplicitLocOpBuilder &b, Value bits) {
  auto half = [&](int64_t first) -> Value {
    auto words = VectorType::get({matrixColumns}, b.getI32Type());
    Value lanes = vector::ShuffleOp::create(b, bits, bits, llvm::to_vector(llvm::seq(first, first + matrixColumns)));
    Value shift = arith::ConstantOp::create(b, DenseElementsAttr::get(words, Attribute(b.getI32IntegerAttr(16))));
    Value upper = arith::ShLIOp::create(b, arith::ExtUIOp::create(b, words, lanes), shift);
    return arith::BitcastOp::create(b, words.clone(b.getF32Type()), upper);
  };
  Value low = half(0), high = half(matrixColumns);
  return {low, high};
}

void cpu::interleave(const std::vector<Work> &works) {
  // By the share of its work that comes before a piece, then by number of the work.
  std::multimap<double, const std::function<void()> *> pieces;
  for (const auto &work : works)
    for (size_t i = 0; i < work.size(); ++i)
      pieces.insert({(static_cast<double>(i) + 0.5) / static_cast<double>(work.size()), &work[i]});
  for (const auto &[when, piece] : pieces)
    (*piece)();
}

void cpu::runAll(const Work &work) {
  for (const auto &piece : work)
    piece();
}
