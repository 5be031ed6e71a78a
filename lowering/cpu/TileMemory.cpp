// SPDX-License-Identifier: Apache-2.0
//
// tpa-tile-memory: the large tiles of a work item leave the stack. Threads of an engine often have stacks of 1 MiB or
// less, and prefill keeps megabytes of tiles in the L2 cache.

#include "lowering/cpu/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/MathExtras.h"

#include <map>

namespace mlir::tpa {
#define GEN_PASS_DEF_TILEMEMORY
#include "lowering/cpu/CpuPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;

namespace {

/// Of each tile, in bytes.
constexpr int64_t tileAlignment = 64;

/// Bytes of memory on the stack, rounded up; none where they are not known here.
std::optional<int64_t> bytesOf(LLVM::AllocaOp op) {
  auto count = op.getArraySize().getDefiningOp<LLVM::ConstantOp>();
  auto number = count ? dyn_cast<IntegerAttr>(count.getValue()) : IntegerAttr();
  if (!number || !op.getElemType().isIntOrFloat() || op.getAlignment().value_or(0) > tileAlignment)
    return std::nullopt;
  int64_t bytes = number.getInt() * llvm::divideCeil(op.getElemType().getIntOrFloatBitWidth(), 8);
  return llvm::alignTo(bytes, tileAlignment);
}

struct TileMemoryPass : tpa::impl::TileMemoryBase<TileMemoryPass> {
  using TileMemoryBase::TileMemoryBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>())
      function.walk([&](LLVM::CallOp call) {
        if (auto callee = call.getCallee() ? getOperation().lookupSymbol<LLVM::LLVMFuncOp>(*call.getCallee())
                                           : LLVM::LLVMFuncOp())
          calls[callee].push_back(call);
      });
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<LLVM::LLVMFuncOp>()))
      if (!function.isExternal())
        visit(function);
  }

private:
  /// What a function takes behind its arguments: a pointer per tile of its own, then memory for the functions that it
  /// calls. Both lie in one piece of memory, one behind the other.
  struct Needs {
    SmallVector<int64_t> tiles;
    int64_t ofCallees = 0;
    int64_t total() const {
      int64_t bytes = ofCallees;
      for (int64_t tile : tiles)
        bytes += tile;
      return bytes;
    }
  };

  const Needs &visit(LLVM::LLVMFuncOp function) {
    auto [found, isNew] = needs.try_emplace(function);
    if (!isNew)
      return found->second;
    SmallVector<LLVM::CallOp> own;
    Needs result;
    function.walk([&](LLVM::CallOp call) {
      auto callee =
          call.getCallee() ? getOperation().lookupSymbol<LLVM::LLVMFuncOp>(*call.getCallee()) : LLVM::LLVMFuncOp();
      if (!callee || callee.isExternal() || visit(callee).total() == 0)
        return;
      own.push_back(call);
      result.ofCallees = std::max(result.ofCallees, needs[callee].total());
    });
    // Who calls a function from outside knows its arguments.
    SmallVector<LLVM::AllocaOp> moved = calls.contains(function) ? largeTiles(function) : SmallVector<LLVM::AllocaOp>();
    OpBuilder b(function.getContext());
    auto addPointer = [&] {
      LLVM::LLVMFunctionType type = function.getFunctionType();
      SmallVector<Type> parameters(type.getParams());
      parameters.push_back(LLVM::LLVMPointerType::get(b.getContext()));
      function.setFunctionType(LLVM::LLVMFunctionType::get(type.getReturnType(), parameters));
      Value argument = function.getBody().front().addArgument(parameters.back(), function.getLoc());
      const auto index = static_cast<unsigned>(parameters.size()) - 1;
      if (ArrayAttr before = function.getArgAttrsAttr()) {
        SmallVector<Attribute> attributes(before.getValue());
        attributes.push_back(b.getDictionaryAttr({}));
        function.setArgAttrsAttr(b.getArrayAttr(attributes));
      }
      function.setArgAttr(index, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
      function.setArgAttr(index, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(tileAlignment));
      return argument;
    };
    for (LLVM::AllocaOp tile : moved) {
      result.tiles.push_back(*bytesOf(tile));
      tile.replaceAllUsesWith(addPointer());
      tile.erase();
    }
    // As arguments that alias nothing, tiles are as distinct as they are on the stack; once inlined they would be
    // places in one piece of memory.
    if (!moved.empty())
      function.setNoInline(true);
    if (result.ofCallees != 0) {
      Value memory = addPointer();
      for (LLVM::CallOp call : own)
        pass(call, memory, needs[getOperation().lookupSymbol<LLVM::LLVMFuncOp>(*call.getCallee())]);
    }
    if (result.total() != 0)
      function->setAttr("tpac.scratch", b.getI64IntegerAttr(result.total()));
    return needs[function] = std::move(result);
  }

  /// The largest tiles of `function`, so many that no more than `frame` bytes are left.
  SmallVector<LLVM::AllocaOp> largeTiles(LLVM::LLVMFuncOp function) {
    SmallVector<LLVM::AllocaOp> tiles, large;
    // The largest first, else in their order.
    std::vector<std::pair<int64_t, size_t>> order;
    int64_t bytes = 0;
    function.walk([&](LLVM::AllocaOp op) {
      if (std::optional<int64_t> size = bytesOf(op)) {
        order.push_back({-*size, tiles.size()});
        tiles.push_back(op);
        bytes += *size;
      }
    });
    llvm::sort(order);
    for (auto [size, index] : order)
      if (bytes > frame) {
        large.push_back(tiles[index]);
        bytes += size;
      }
    return large;
  }

  /// Gives the callee what it takes of `memory`.
  static void pass(LLVM::CallOp call, Value memory, const Needs &callee) {
    OpBuilder b(call);
    SmallVector<Value> operands;
    int64_t offset = 0;
    auto add = [&](int64_t bytes) {
      operands.push_back(LLVM::GEPOp::create(b, call.getLoc(), memory.getType(), b.getI8Type(), memory,
                                             ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)}));
      offset += bytes;
    };
    for (int64_t tile : callee.tiles)
      add(tile);
    if (callee.ofCallees != 0)
      add(callee.ofCallees);
    call.getCalleeOperandsMutable().append(operands);
  }

  llvm::DenseMap<Operation *, SmallVector<LLVM::CallOp>> calls;
  std::map<Operation *, Needs> needs;
};

} // namespace
