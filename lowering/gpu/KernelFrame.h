// SPDX-License-Identifier: Apache-2.0
//
// What all kernels share: parameters, attributes, and how the arguments of an item's function are bound to them.

#ifndef TPAC_LOWERING_GPU_KERNELFRAME_H
#define TPAC_LOWERING_GPU_KERNELFRAME_H

#include "lowering/gpu/Emitter.h"

#include "dialect/TPADialect.h"

namespace mlir::tpa::gpu {

inline constexpr StringLiteral scheduleName = "tpac.schedule", cacheName = "tpac.cache", cachedName = "tpac.cached",
                               tensorName = "tpac.name", itemsName = "tpac.items";
inline constexpr unsigned globalSpace = 1, sharedSpace = 3;

/// One kernel in the making, of the program of a work item. The item's function takes memory, then indices.
///
/// Parameters: for each tensor that is not cached a pointer and, where it has two or more dimensions, i64 strides in
/// elements; the cache, where the item has one; then the kernel's own.
class KernelFrame {
protected:
  explicit KernelFrame(func::FuncOp item) : item(item), b(item.getLoc(), item.getContext()) {}

  /// Schedule and cache of the item, and its arguments in memory.
  LogicalResult readAttributes();

  /// A kernel of `threads` threads; leaves the builder in it, and gives its own parameters.
  SmallVector<Value> create(const std::string &name, int64_t threads, TypeRange own);

  /// Binds the first `tensors` arguments of the item. Where items are computed in a loop that has registers to spare
  /// for nothing but blocks, call it in each turn with `isFresh`: what follows from strides is then not kept from turn
  /// to turn.
  void bindTensors(bool isFresh = false);

  /// The item's argument that is tensor `name`.
  Value argumentOf(StringRef name);
  /// Element `index` of the item's tensor `name`, i32 of one dimension.
  Value readInt(StringRef name, Value index);

  func::FuncOp item;
  ImplicitLocOpBuilder b;
  ScheduleAttr schedule;
  Plan plan;
  /// Arguments in memory; those of them that are tensors of the phase.
  size_t memories = 0, tensors = 0;
  /// D, scores per row and cached token, and whether head factors are cached (0 or 1).
  int64_t keyFeatures = 0, scores = 1, hasHeads = 0;
  /// Tokens that a query sees at most.
  std::optional<int64_t> window;
  LLVM::LLVMFuncOp kernel;
  Value cache;
  std::optional<Emitter> emitter;

private:
  bool isCached(size_t argument) { return item.getArgAttr(argument, cachedName) != nullptr; }
  Value sharedMemory();

  struct Tensor {
    Value pointer;
    SmallVector<Value> strides;
  };
  SmallVector<Tensor> parameters;
};

/// Kernels whose elements are computed one by one: append, import, export, merge of callers' states.
LogicalResult emitElementKernel(func::FuncOp item);

} // namespace mlir::tpa::gpu

#endif // TPAC_LOWERING_GPU_KERNELFRAME_H
