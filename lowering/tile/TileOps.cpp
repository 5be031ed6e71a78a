// SPDX-License-Identifier: Apache-2.0
//
// Verifiers of the tile ops. Messages end with the rule's tag (docs/spec.md).

#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::tile;

#define GET_OP_CLASSES
#include "lowering/tile/TileOps.cpp.inc"

// --- Memory ---

static int64_t dimOfAxis(ArrayAttr axes, StringRef name) {
  for (auto [i, axis] : llvm::enumerate(axes.getAsValueRange<StringAttr>()))
    if (axis == name)
      return i;
  return -1;
}

static int64_t blockOfAxis(ArrayAttr axes, MemRefType memory, StringRef name) {
  for (int64_t i = dimOfAxis(axes, name) + 1; i < memory.getRank(); ++i)
    if (cast<StringAttr>(axes[i]) == name)
      return memory.getDimSize(i);
  return 0;
}

/// Of the memory that `op` accesses.
template <typename Op> static int64_t pageSizeOf(Op op) {
  if (!op.getTable())
    return 0;
  int64_t within = op.getBlockOfAxis(op.getPagedAxis());
  return op.getMemory().getType().getDimSize(1) * std::max<int64_t>(within, 1);
}

template <typename Op> static bool isWithinPage(Op op, TileType tile) {
  return op.getTable() && static_cast<int64_t>(*op.getRun()) == tile.sizeOf(op.getPagedAxis());
}

int64_t LoadOp::getPageSize() { return pageSizeOf(*this); }
int64_t StoreOp::getPageSize() { return pageSizeOf(*this); }
StringAttr LoadOp::getPagedAxis() { return cast<StringAttr>(getAxes()[1]); }
StringAttr StoreOp::getPagedAxis() { return cast<StringAttr>(getAxes()[1]); }
bool LoadOp::isWithinPage() { return ::isWithinPage(*this, getType()); }
bool StoreOp::isWithinPage() { return ::isWithinPage(*this, getValue().getType()); }

int64_t LoadOp::getDimOfAxis(StringRef name) { return dimOfAxis(getAxes(), name); }
int64_t StoreOp::getDimOfAxis(StringRef name) { return dimOfAxis(getAxes(), name); }
int64_t LoadOp::getBlockOfAxis(StringRef name) { return blockOfAxis(getAxes(), getMemory().getType(), name); }
int64_t StoreOp::getBlockOfAxis(StringRef name) { return blockOfAxis(getAxes(), getMemory().getType(), name); }

/// Rules of accesses through a table of pages.
template <typename Op> static LogicalResult verifyPages(Op op, TileType tile) {
  if (static_cast<bool>(op.getTable()) != op.getRun().has_value())
    return op.emitOpError() << "expected pages and runs together [X23]";
  if (!op.getTable())
    return success();
  auto memory = cast<MemRefType>(op.getMemory().getType());
  auto axes = llvm::to_vector(op.getAxes().template getAsValueRange<StringAttr>());
  if (axes.size() < 2 || !axes[0].empty() || axes[1].empty() || memory.isDynamicDim(1) || memory.getDimSize(1) < 1)
    return op.emitOpError() << "pages: expected a first dimension without an axis and a second one of static size >= 1 "
                               "with one, got axes "
                            << op.getAxes() << " of " << memory << " [X24]";
  int64_t run = *op.getRun(), size = tile.sizeOf(axes[1]);
  if (run < 1 || op.getPageSize() % run != 0 || size % run != 0)
    return op.emitOpError() << "runs: expected a divisor of the page's " << op.getPageSize() << " elements and of the "
                            << size << " of axis " << axes[1] << ", got " << run << " [X25]";
  return success();
}

/// Rules that load and store share.
template <typename Op> static LogicalResult verifyAccess(Op op, TileType tile) {
  auto memory = cast<MemRefType>(op.getMemory().getType());
  if (static_cast<int64_t>(op.getIndices().size()) != memory.getRank() ||
      static_cast<int64_t>(op.getAxes().size()) != memory.getRank())
    return op.emitOpError() << "expected one index and one axis name per dimension of " << memory << ", got "
                            << op.getIndices().size() << " and " << op.getAxes().size() << " [X5]";
  llvm::StringMap<int> dimensions;
  for (auto [i, axis] : llvm::enumerate(op.getAxes().template getAsValueRange<StringAttr>())) {
    if (axis.empty())
      continue;
    if (!tile.hasAxis(axis))
      return op.emitOpError() << "expected axes of " << tile << ", got \"" << axis << "\" [X6]";
    if (++dimensions[axis] == 1)
      continue;
    // The place within a block.
    if (memory.isDynamicDim(i) || memory.getDimSize(i) < 1)
      return op.emitOpError() << "axis " << axis << ": expected a second dimension of static size >= 1, got dimension "
                              << i << " of " << memory << " [X21]";
    APInt place;
    if (matchPattern(op.getIndices()[i], m_ConstantInt(&place)) && !place.isZero())
      return op.emitOpError() << "axis " << axis << ": expected index 0 in its second dimension, got "
                              << place.getSExtValue() << " [X22]";
  }
  for (StringAttr axis : tile.getAxes())
    if (int count = dimensions.lookup(axis); count != 1 && count != 2)
      return op.emitOpError() << "expected each axis of " << tile << " along one dimension or two, got " << axis
                              << " along " << count << " [X7]";
  if (op.getLimited().size() != op.getLimits().size())
    return op.emitOpError() << "expected one limit per limited axis, got " << op.getLimits().size() << " for "
                            << op.getLimited().size() << " [X8]";
  for (StringRef axis : op.getLimited().template getAsValueRange<StringAttr>())
    if (!tile.hasAxis(axis))
      return op.emitOpError() << "limits: expected axes of " << tile << ", got \"" << axis << "\" [X9]";
  if (tile.getElementType() != memory.getElementType())
    return op.emitOpError() << "expected the memory's element type " << memory.getElementType() << ", got "
                            << tile.getElementType() << " [X10]";
  return verifyPages(op, tile);
}

LogicalResult LoadOp::verify() { return verifyAccess(*this, getType()); }
LogicalResult StoreOp::verify() { return verifyAccess(*this, getValue().getType()); }

// --- Axes ---

/// Whether both tiles have the same axes with the same sizes, in any order.
static bool sameAxes(TileType a, TileType b) {
  return a.getRank() == b.getRank() && llvm::all_of(llvm::zip(a.getAxes(), a.getSizes()), [&](auto pair) {
           StringRef name = std::get<0>(pair).getValue();
           return b.hasAxis(name) && b.sizeOf(name) == std::get<1>(pair);
         });
}

static LogicalResult expectSameAxes(Operation *op, StringRef what, TileType tile, TileType like) {
  if (sameAxes(tile, like))
    return success();
  return op->emitOpError() << what << ": expected the axes of " << like << ", got " << tile << " [X11]";
}

/// The axes of `tile` without `name`.
static TileType without(TileType tile, StringRef name) {
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> sizes;
  for (auto [axis, size] : llvm::zip(tile.getAxes(), tile.getSizes()))
    if (axis.getValue() != name) {
      axes.push_back(axis);
      sizes.push_back(size);
    }
  return TileType::get(tile.getContext(), axes, sizes, tile.getElementType());
}

static LogicalResult expectAxis(Operation *op, StringRef what, TileType tile, StringRef axis) {
  if (tile.hasAxis(axis))
    return success();
  return op->emitOpError() << what << ": expected an axis " << axis << ", got " << tile << " [X12]";
}

/// Axes that two tiles share must have one size.
static LogicalResult expectCompatible(Operation *op, TileType a, TileType b) {
  for (auto [axis, size] : llvm::zip(a.getAxes(), a.getSizes()))
    if (b.hasAxis(axis) && b.sizeOf(axis) != size)
      return op->emitOpError() << "axis " << axis.getValue() << ": expected one size, got " << size << " and "
                               << b.sizeOf(axis) << " [X13]";
  return success();
}

// --- Elements ---

LogicalResult FillOp::verify() { return success(); }

LogicalResult ConvertOp::verify() { return expectSameAxes(*this, "result", getType(), getInput().getType()); }

LogicalResult ConstantMulOp::verify() { return expectSameAxes(*this, "result", getType(), getInput().getType()); }

LogicalResult SoftcapOp::verify() { return expectSameAxes(*this, "result", getType(), getInput().getType()); }

LogicalResult HeadFunctionOp::verify() {
  if (failed(expectSameAxes(*this, "result", getType(), getInput().getType())))
    return failure();
  return expectAxis(*this, "input", getInput().getType(), "h");
}

LogicalResult SplitOp::verify() { return expectSameAxes(*this, "high", getHigh().getType(), getInput().getType()); }

LogicalResult AddOp::verify() {
  return success(succeeded(expectSameAxes(*this, "rhs", getRhs().getType(), getLhs().getType())) &&
                 succeeded(expectSameAxes(*this, "result", getType(), getLhs().getType())));
}

/// The union of the axes of two tiles.
static TileType unionOf(TileType a, TileType b, Type elementType) {
  SmallVector<StringAttr> axes(a.getAxes());
  SmallVector<int64_t> sizes(a.getSizes());
  for (auto [axis, size] : llvm::zip(b.getAxes(), b.getSizes()))
    if (!a.hasAxis(axis)) {
      axes.push_back(axis);
      sizes.push_back(size);
    }
  return TileType::get(a.getContext(), axes, sizes, elementType);
}

LogicalResult MulOp::verify() {
  TileType lhs = getLhs().getType();
  TileType rhs = getRhs().getType();
  if (failed(expectCompatible(*this, lhs, rhs)))
    return failure();
  return expectSameAxes(*this, "result", getType(), unionOf(lhs, rhs, getType().getElementType()));
}

// --- Contraction ---

LogicalResult DotOp::verify() {
  TileType lhs = getLhs().getType();
  TileType rhs = getRhs().getType();
  TileType result = getType();
  if (failed(expectCompatible(*this, lhs, rhs)) || failed(expectCompatible(*this, lhs, result)) ||
      failed(expectCompatible(*this, rhs, result)))
    return failure();
  for (StringAttr axis : result.getAxes())
    if (!lhs.hasAxis(axis) && !rhs.hasAxis(axis))
      return emitOpError() << "expected the result's axes among the operands', got " << axis << " [X14]";
  for (auto [tile, other] : {std::pair(lhs, rhs), std::pair(rhs, lhs)})
    for (StringAttr axis : tile.getAxes())
      if (!result.hasAxis(axis) && !other.hasAxis(axis))
        return emitOpError() << "expected an axis that the result lacks in both operands, got " << axis
                             << " in one [X15]";
  if (getAccumulator() && getAccumulator().getType() != result)
    return emitOpError() << "acc: expected the result's type " << result << ", got " << getAccumulator().getType()
                         << " [X16]";
  return success();
}

LogicalResult OuterOp::verify() {
  TileType lhs = getLhs().getType();
  TileType rhs = getRhs().getType();
  if (failed(expectAxis(*this, "lhs", lhs, getFast())) || failed(expectAxis(*this, "rhs", rhs, getSlow())))
    return failure();
  TileType rest = unionOf(without(lhs, getFast()), without(rhs, getSlow()), getType().getElementType());
  SmallVector<StringAttr> axes(rest.getAxes());
  SmallVector<int64_t> sizes(rest.getSizes());
  axes.push_back(getJoinedAttr());
  sizes.push_back(lhs.sizeOf(getFast()) * rhs.sizeOf(getSlow()));
  if (failed(expectCompatible(*this, without(lhs, getFast()), without(rhs, getSlow()))))
    return failure();
  return expectSameAxes(*this, "result", getType(),
                        TileType::get(getContext(), axes, sizes, getType().getElementType()));
}

LogicalResult SliceOp::verify() {
  TileType input = getInput().getType();
  if (failed(expectAxis(*this, "input", input, getFrom())) || failed(expectAxis(*this, "result", getType(), getTo())))
    return failure();
  if (getType().sizeOf(getTo()) > input.sizeOf(getFrom()))
    return emitOpError() << "result: expected at most the " << input.sizeOf(getFrom()) << " elements of axis "
                         << getFrom() << ", got " << getType().sizeOf(getTo()) << " [X19]";
  if (getType().getElementType() != input.getElementType())
    return emitOpError() << "result: expected element type " << input.getElementType() << ", got "
                         << getType().getElementType() << " [X20]";
  return expectSameAxes(*this, "result", without(getType(), getTo()), without(input, getFrom()));
}

// --- Attention ---

LogicalResult RopeOp::verify() {
  TileType input = getInput().getType();
  if (failed(expectAxis(*this, "input", input, getAxis())))
    return failure();
  int64_t block = getBlock();
  if (block < 1 || input.sizeOf(getAxis()) % block != 0 || getRope().getOffset() + getRope().getDRot() > block)
    return emitOpError() << "block: expected a divisor of axis " << getAxis() << ", " << input.sizeOf(getAxis())
                         << ", that holds offset + d_rot = " << getRope().getOffset() + getRope().getDRot()
                         << " features, got " << block << " [X17]";
  TileType positions = getPositions().getType();
  if (failed(expectCompatible(*this, input, positions)))
    return failure();
  // A learned factor gains the axes of the positions.
  return expectSameAxes(*this, "result", getType(), unionOf(positions, input, getType().getElementType()));
}

LogicalResult MaskOp::verify() {
  TileType input = getInput().getType();
  if (failed(expectAxis(*this, "input", input, "n")) || failed(expectAxis(*this, "input", input, "m")))
    return failure();
  return expectSameAxes(*this, "result", getType(), input);
}

LogicalResult SoftmaxStepOp::verify() {
  TileType logits = getLogits().getType();
  if (failed(expectAxis(*this, "logits", logits, "m")))
    return failure();
  TileType state = without(logits, "m");
  for (auto [name, value] : {std::pair<StringRef, Value>("max", getMax()),
                             {"sum", getSum()},
                             {"new_max", getNewMax()},
                             {"new_sum", getNewSum()},
                             {"correction", getCorrection()}})
    if (failed(expectSameAxes(*this, name, cast<TileType>(value.getType()), state)))
      return failure();
  return expectSameAxes(*this, "probabilities", getProbabilities().getType(), logits);
}

LogicalResult FinishOp::verify() {
  TileType accumulator = getAccumulator().getType();
  if (failed(expectAxis(*this, "accumulator", accumulator, "e")))
    return failure();
  TileType state = without(accumulator, "e");
  for (auto [name, value] : {std::pair<StringRef, Value>("max", getMax()), {"sum", getSum()}, {"lse", getLse()}})
    if (failed(expectSameAxes(*this, name, cast<TileType>(value.getType()), state)))
      return failure();
  return expectSameAxes(*this, "out", getOut().getType(), accumulator);
}

LogicalResult MergeOp::verify() {
  TileType out = getOut0().getType();
  if (failed(expectAxis(*this, "out0", out, "e")))
    return failure();
  TileType state = without(out, "e");
  for (auto [name, value] : {std::pair<StringRef, Value>("lse0", getLse0()), {"lse1", getLse1()}, {"lse", getLse()}})
    if (failed(expectSameAxes(*this, name, cast<TileType>(value.getType()), state)))
      return failure();
  return success(succeeded(expectSameAxes(*this, "out1", getOut1().getType(), out)) &&
                 succeeded(expectSameAxes(*this, "out", getOut().getType(), out)));
}

LogicalResult QuantizeOp::verify() {
  TileType input = getInput().getType();
  if (failed(expectAxis(*this, "input", input, getAxis())))
    return failure();
  Type type = getValues().getType().getElementType();
  if (!isa<Float8E4M3FNType>(type) && !type.isInteger(8))
    return emitOpError() << "values: expected element type f8E4M3FN or i8, got " << type << " [X18]";
  return success(succeeded(expectSameAxes(*this, "values", getValues().getType(), input)) &&
                 succeeded(expectSameAxes(*this, "scale", getScale().getType(), without(input, getAxis()))));
}
