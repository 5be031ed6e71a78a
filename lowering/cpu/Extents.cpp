// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/Extents.h"

#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::tpa;
using tile::TileType;

llvm::SmallDenseMap<StringAttr, Value> cpu::findExtents(func::FuncOp function) {
  // By axis: what limits it, if anything, and its size.
  llvm::MapVector<StringAttr, std::pair<Value, int64_t>> kept;
  llvm::SmallDenseSet<StringAttr> needed;
  function.walk([&](Operation *op) {
    if (auto store = dyn_cast<tile::StoreOp>(op)) {
      TileType type = store.getValue().getType();
      for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes())) {
        Value limit;
        for (auto [limited, value] : llvm::zip(store.getLimited().getAsRange<StringAttr>(), store.getLimits()))
          if (limited == axis)
            limit = value;
        auto known = kept.insert({axis, {limit, size}}).first;
        if (!limit || known->second != std::pair(limit, size))
          needed.insert(axis);
      }
    } else if (isa<tile::TileDialect>(op->getDialect())) {
      // Other ops along an axis that they keep go element by element.
      if (auto rope = dyn_cast<tile::RopeOp>(op))
        needed.insert(rope.getAxisAttr());
      if (isa<tile::HeadFunctionOp>(op))
        needed.insert(StringAttr::get(op->getContext(), "h"));
      if (auto slice = dyn_cast<tile::SliceOp>(op))
        needed.insert_range(ArrayRef{slice.getFromAttr(), slice.getToAttr()});
      for (Value operand : op->getOperands())
        if (auto type = dyn_cast<TileType>(operand.getType()))
          for (StringAttr axis : type.getAxes())
            if (!llvm::all_of(op->getResultTypes(), [&](Type type) { return cast<TileType>(type).hasAxis(axis); }))
              needed.insert(axis);
    }
  });
  DominanceInfo dominance(function);
  function.walk([&](Operation *op) {
    if (!isa<tile::TileDialect>(op->getDialect()))
      return;
    for (Value operand : llvm::concat<Value>(op->getOperands(), op->getResults()))
      if (auto type = dyn_cast<TileType>(operand.getType()))
        for (StringAttr axis : type.getAxes())
          if (Value limit = kept.lookup(axis).first; limit && !dominance.properlyDominates(limit, op))
            needed.insert(axis);
  });
  llvm::SmallDenseMap<StringAttr, Value> extents;
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  for (auto &[axis, limit] : kept) {
    if (needed.contains(axis))
      continue;
    b.setInsertionPointAfterValue(limit.first);
    Value some = arith::MaxSIOp::create(b, limit.first, arith::ConstantIndexOp::create(b, 1));
    extents[axis] = arith::MinSIOp::create(b, some, arith::ConstantIndexOp::create(b, limit.second));
  }
  return extents;
}
