// SPDX-License-Identifier: Apache-2.0
//
// tpa-tile-layouts: which axis of a tile is the vector. How ops are computed in a layout is the business of
// tpa-tiles-to-cpu.

#include "lowering/cpu/Passes.h"
#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include "llvm/ADT/StringSet.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_TILELAYOUTS
#include "lowering/cpu/CpuPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;
using tile::TileType;

namespace {

bool isFeature(StringRef axis) { return axis.starts_with("d") || axis.starts_with("e"); }

StringRef lastAxis(TileType tile) { return tile.getRank() == 0 ? StringRef() : tile.getAxes().back().getValue(); }

/// Chooses the vector axis by a tile's axes and sizes alone, so that all values of one shape agree.
class Layouts {
public:
  Layouts(func::FuncOp function, int64_t lanes) : lanes(lanes) {
    // What a matrix unit multiplies has queries as columns where heads are too few for them.
    function.walk([&](tile::DotOp dot) {
      if (dot.getLhs().getType().getElementType().isBF16() && dot.getRhs().getType().getElementType().isBF16())
        queriesAreColumns |= isColumns(dot.getType());
    });
    function.walk([&](tile::LoadOp load) { tokensInBlocks |= load.getBlockOfAxis("m") != 0; });
    // Where each head has features of its own, they are what stands together in memory.
    function.walk([&](tile::DotOp dot) {
      TileType lhs = dot.getLhs().getType(), rhs = dot.getRhs().getType(), result = dot.getType();
      if (!lhs.hasAxis("h") || !rhs.hasAxis("h") || !result.hasAxis("h"))
        return;
      for (TileType tile : {lhs, rhs, result})
        if (tile.hasAxis("h"))
          for (StringAttr axis : tile.getAxes())
            if (isFeature(axis))
              featuresOfHeads.insert(axis);
    });
  }

  TileType layout(TileType tile) const {
    if (tile.getRank() < 2)
      return tile;
    return tile.withLastAxis(vectorAxis(tile));
  }

private:
  /// Whether queries are the vector of a tile with these axes.
  bool isColumns(TileType tile) const {
    bool hasHeads = tile.hasAxis("h") && 2 * tile.sizeOf("h") >= lanes;
    bool isQuery = llvm::any_of(tile.getAxes(), [](StringAttr axis) {
      return axis.getValue().starts_with("d") || axis.getValue().starts_with("r");
    });
    return tile.hasAxis("n") && tile.sizeOf("n") >= lanes && !hasHeads && !isQuery;
  }

  StringRef vectorAxis(TileType tile) const {
    if (queriesAreColumns) {
      if (isColumns(tile))
        return "n";
      // Values are multiplied feature by feature.
      if (tokensInBlocks && tile.hasAxis("m") &&
          llvm::any_of(tile.getAxes(), [](StringAttr axis) { return axis.getValue().starts_with("e"); }))
        return "m";
    }
    bool perHead =
        llvm::any_of(tile.getAxes(), [&](StringAttr axis) { return featuresOfHeads.contains(axis.getValue()); });
    if (tile.hasAxis("h") && !perHead && 2 * tile.sizeOf("h") >= lanes)
      return "h";
    for (StringAttr axis : tile.getAxes())
      if (isFeature(axis))
        return axis;
    for (StringRef axis : {"m", "h"})
      if (tile.hasAxis(axis))
        return axis;
    return lastAxis(tile);
  }

  int64_t lanes;
  bool queriesAreColumns = false, tokensInBlocks = false;
  llvm::StringSet<> featuresOfHeads;
};

/// Conversions of values to other orders, one per value and order.
class Conversions {
public:
  /// Makes `axis` the last one of `operand`, if it has it at all.
  void require(OpOperand &operand, StringRef axis) {
    auto tile = cast<TileType>(operand.get().getType());
    if (axis.empty() || !tile.hasAxis(axis) || lastAxis(tile) == axis)
      return;
    Value value = operand.get();
    Value &converted = known[{value, StringAttr::get(tile.getContext(), axis)}];
    if (!converted) {
      OpBuilder builder(value.getContext());
      builder.setInsertionPointAfterValue(value);
      converted = tile::ConvertOp::create(builder, value.getLoc(), tile.withLastAxis(axis), value);
    }
    operand.set(converted);
  }

private:
  llvm::DenseMap<std::pair<Value, StringAttr>, Value> known;
};

/// How many rows of a product one element of an operand enters.
int64_t timesUsed(OpOperand &operand, tile::DotOp dot) {
  int64_t times = 1;
  for (auto [axis, size] : llvm::zip(dot.getType().getAxes(), dot.getType().getSizes()))
    if (!cast<TileType>(operand.get().getType()).hasAxis(axis.getValue()))
      times *= size;
  return times;
}

/// From so many uses of an element on, transposing it costs less than the sums across lanes that it saves.
constexpr int64_t fewestUses = 4;

void requireForDot(tile::DotOp dot, Conversions &conversions) {
  OpOperand &lhs = dot.getLhsMutable();
  OpOperand &rhs = dot.getRhsMutable();
  StringRef lane = lastAxis(dot.getType());
  StringRef left = lastAxis(dot.getLhs().getType());
  StringRef right = lastAxis(dot.getRhs().getType());
  // Vectors along the same contracted axis can be multiplied as they are, and their lanes summed: the better way where
  // a transposed operand would not serve several rows of the result.
  if (left == right && !left.empty() && !dot.getType().hasAxis(left)) {
    bool inLeft = dot.getLhs().getType().hasAxis(lane), inRight = dot.getRhs().getType().hasAxis(lane);
    OpOperand &vectors = inLeft ? lhs : rhs;
    if (inLeft == inRight || timesUsed(vectors, dot) < fewestUses)
      return;
    conversions.require(vectors, lane);
    return;
  }
  conversions.require(lhs, lane);
  conversions.require(rhs, lane);
}

struct TileLayoutsPass : tpa::impl::TileLayoutsBase<TileLayoutsPass> {
  using TileLayoutsBase::TileLayoutsBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    for (Type type : llvm::concat<const Type>(function.getArgumentTypes(), function.getResultTypes()))
      if (isa<TileType>(type)) {
        function.emitOpError() << "expected no tiles as arguments or results, got " << type;
        return signalPassFailure();
      }

    Layouts layouts(function, lanes);
    auto assign = [&](Value value) {
      if (auto tile = dyn_cast<TileType>(value.getType()))
        value.setType(layouts.layout(tile));
    };
    SmallVector<Operation *> operations;
    function.walk([&](Operation *op) {
      llvm::for_each(op->getResults(), assign);
      for (Region &region : op->getRegions())
        for (Block &block : region)
          llvm::for_each(block.getArguments(), assign);
      if (isa<tile::TileDialect>(op->getDialect()))
        operations.push_back(op);
    });

    Conversions conversions;
    for (Operation *op : operations) {
      if (auto dot = dyn_cast<tile::DotOp>(op)) {
        requireForDot(dot, conversions);
        continue;
      }
      if (auto store = dyn_cast<tile::StoreOp>(op)) {
        // Rows of the tensor from vectors along queries.
        auto last = cast<StringAttr>(store.getAxes().getValue().back());
        if (lastAxis(store.getValue().getType()) != "n" || !isFeature(last))
          continue;
        // Before what is computed element by element on the way to the store.
        OpOperand *operand = &store.getValueMutable();
        while (Operation *source = operand->get().getDefiningOp()) {
          if (!isa<tile::ConstantMulOp, tile::ConvertOp>(source) || !source->hasOneUse())
            break;
          auto type = cast<TileType>(source->getResult(0).getType());
          source->getResult(0).setType(type.withLastAxis(last));
          operand = &source->getOpOperand(0);
        }
        conversions.require(*operand, last);
        continue;
      }
      if (auto slice = dyn_cast<tile::SliceOp>(op)) {
        StringRef lane = lastAxis(slice.getType());
        conversions.require(slice.getInputMutable(), lane == slice.getTo() ? slice.getFrom() : lane);
        continue;
      }
      if (!isa<tile::AddOp, tile::ConstantMulOp, tile::FinishOp, tile::MaskOp, tile::MergeOp, tile::MulOp,
               tile::SoftcapOp, tile::SoftmaxStepOp, tile::SplitOp>(op))
        continue;
      StringRef lane = lastAxis(cast<TileType>(op->getResult(0).getType()));
      for (OpOperand &operand : op->getOpOperands())
        if (isa<TileType>(operand.get().getType()))
          conversions.require(operand, lane);
    }
  }
};

} // namespace
