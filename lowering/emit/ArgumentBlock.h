// SPDX-License-Identifier: Apache-2.0
//
// Reads an argument block of docs/variant.md, "Calling a phase", in functions of the LLVM dialect. Checks nothing.

#ifndef TPAC_LOWERING_EMIT_ARGUMENTBLOCK_H
#define TPAC_LOWERING_EMIT_ARGUMENTBLOCK_H

#include "lowering/phases/PhaseSignature.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace tpac {

/// Types of expanded memref descriptors: allocated pointer, aligned pointer, offset, sizes, strides, for each rank.
llvm::SmallVector<mlir::Type> descriptorTypes(mlir::MLIRContext *context, llvm::ArrayRef<size_t> ranks);
/// Of a phase's tensors; then of its part tensors, part_out and part_lse, where `hasParts`.
llvm::SmallVector<mlir::Type> descriptorTypes(mlir::MLIRContext *context, const PhaseSignature &signature,
                                              bool hasParts);

/// Builds a function and gives the values of a phase's argument block in it. Sizes and tensors are read in the order of
/// the block, each once: the checks of an entry point stand between them. The insertion point always stands at the end
/// of the block in which everything so far has happened.
class ArgumentBlock {
public:
  ArgumentBlock(mlir::ModuleOp module, const PhaseSignature &signature)
      : module(module), builder(module.getContext()), loc(module.getLoc()), signature(signature) {}

  /// Starts `llvm.func @name`; a block that it takes is its first argument.
  mlir::LLVM::LLVMFuncOp startFunction(llvm::StringRef name, mlir::Type result, llvm::ArrayRef<mlir::Type> arguments);

  // --- Values and blocks ---

  mlir::Type i64() { return builder.getI64Type(); }
  mlir::Type pointer() { return mlir::LLVM::LLVMPointerType::get(module.getContext()); }
  mlir::Value constant(int64_t value);
  mlir::Value null();
  mlir::Value add(mlir::Value left, mlir::Value right);
  mlir::Value multiply(mlir::Value left, mlir::Value right);
  mlir::Value compare(mlir::LLVM::ICmpPredicate predicate, mlir::Value left, mlir::Value right);
  mlir::Value isNull(mlir::Value pointerValue) { return compare(mlir::LLVM::ICmpPredicate::eq, pointerValue, null()); }
  /// Element `index` of an array of `type` at `base`.
  mlir::Value loadElement(mlir::Type type, mlir::Value base, mlir::Value index);
  mlir::Block *appendBlock(mlir::TypeRange arguments = {});
  /// for i in begin .. end: carried = body(i, carried). Returns the last `carried`.
  mlir::Value forEach(mlir::Value end, mlir::Value initial,
                      llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> body);

  // --- The block ---

  /// Word `index` of the block.
  mlir::Value loadWord(mlir::Type type, size_t index);
  /// Word `index` behind the required ones, 0 where the block ends before it.
  mlir::Value loadOptionalWord(mlir::Type type, size_t index);
  /// Reads the next size.
  void loadSize();
  /// Reads the next tensor's data, and forms its shape. Optional tensors that are not given are empty; with a list of
  /// pages the table has a row for each of its entries.
  void loadData();
  /// Reads the strides of the tensor that loadData read last: those given, or row-major ones where the pointer is NULL.
  void loadStrides();
  /// Reads all sizes and tensors.
  void loadAll();
  mlir::Value size(std::string_view name) const;
  /// Element `index` of the i32 vector `tensor`, as i64.
  mlir::Value loadInt(size_t tensor, mlir::Value index);
  /// Expanded descriptors of all tensors.
  llvm::SmallVector<mlir::Value> descriptors();

  // --- Split caches ---

  /// Parts of a cache of `capacity` tokens.
  mlir::Value partsOf(mlir::Value capacity);
  /// Bytes of the part tensors of `parts` parts, 0 where there is but one; the largest i64 where they are too many.
  mlir::Value workspaceBytes(mlir::Value tokens, mlir::Value parts);
  /// Expanded descriptors of the part tensors, which lie in `workspace` one behind the other.
  llvm::SmallVector<mlir::Value> partDescriptors(mlir::Value workspace);

  mlir::ModuleOp module;
  mlir::OpBuilder builder;
  mlir::Location loc;
  const PhaseSignature &signature;
  mlir::LLVM::LLVMFuncOp function;
  mlir::Value args;
  llvm::SmallVector<mlir::Value> sizes;
  llvm::SmallVector<mlir::Value> data;
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> shapes;
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> strides;

private:
  size_t firstTensorWord() const { return 1 + signature.sizes.size(); }
  /// Whether there is a list of pages in place of a table.
  mlir::Value hasPageList();
  void addDescriptor(llvm::SmallVectorImpl<mlir::Value> &operands, mlir::Value base, llvm::ArrayRef<mlir::Value> shape,
                     llvm::ArrayRef<mlir::Value> stridesOfShape);
  llvm::SmallVector<mlir::Value> contiguousStrides(llvm::ArrayRef<mlir::Value> shape);
};

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_ARGUMENTBLOCK_H
