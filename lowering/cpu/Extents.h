// SPDX-License-Identifier: Apache-2.0
//
// How much of a function's tiles is needed.

#ifndef TPAC_LOWERING_CPU_EXTENTS_H
#define TPAC_LOWERING_CPU_EXTENTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::tpa::cpu {

/// Axes along which all stores keep the same number of elements, known before any tile with this axis exists, and that
/// number, from 1 up to the axis's size: where no op carries anything from one element to another, no others need be
/// computed.
llvm::SmallDenseMap<StringAttr, Value> findExtents(func::FuncOp function);

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_EXTENTS_H
