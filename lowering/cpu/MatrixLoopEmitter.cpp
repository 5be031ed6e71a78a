// SPDX-License-Identifier: Apache-2.0
//
// Columns are what vectors run along throughout: C of the score is tokens x columns, C of the value features x columns.
// Keys are the first operand of the score as they stand in the cache, values that of the value product where the cache
// keeps them feature by feature; queries and weights are second operands, in pairs of features and of tokens.

#include "lowering/cpu/MatrixLoopEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

MatrixLoopEmitter::MatrixLoopEmitter(Emitter &emitter, ImplicitLocOpBuilder &builder, MatrixLoop &loop,
                                     Queries &queries, std::function<Tile(Value)> bufferOf,
                                     std::function<Value(MemRefType)> allocate)
    : e(emitter), b(builder), m(loop), queries(queries), bufferOf(std::move(bufferOf)), allocate(std::move(allocate)) {
  auto logits = cast<TileType>(m.step.getLogits().getType());
  for (StringAttr axis : m.outer)
    outerSize *= logits.sizeOf(axis.getValue());
  groups = m.hasQueryColumns() ? chunkColumns / matrixColumns : llvm::divideCeil(m.columns, matrixColumns);
  f32 = VectorType::get({matrixColumns}, b.getF32Type());
  i32 = VectorType::get({matrixColumns}, b.getI32Type());
}

Value MatrixLoopEmitter::matrixBuffer(ArrayRef<int64_t> shape, Type element) {
  return allocate(MemRefType::get(shape, element));
}

void MatrixLoopEmitter::findPage(Place &place) {
  if (m.paged)
    place.page = PagePlace::find(b, m.paged.getTable(), m.paged.getPageSize(), m.paged.getIndices()[0], place.token);
}

MatrixLoopEmitter::Place MatrixLoopEmitter::placeAhead(const Place &place, int64_t ahead, Value token) {
  Place next = place;
  next.token = e.plus(place.token, ahead);
  if (!m.paged)
    return next;
  // Prefetches may go beyond what exists, the table's reads not.
  Value last = arith::SubIOp::create(b, m.loop.getUpperBound(), number(1));
  Place first = next;
  first.token = arith::MinSIOp::create(b, arith::AddIOp::create(b, next.token, token), last);
  findPage(first);
  next.page = {first.page.page, arith::SubIOp::create(b, first.page.slot, token)};
  return next;
}

/// Index of dimension `dimension` of what `load` reads, for a block at `place`.
Value MatrixLoopEmitter::blockIndex(const Place &place, tile::LoadOp load, size_t dimension) const {
  if (load.getTable() && dimension < 2)
    return dimension == 0 ? place.page.page : place.page.slot;
  Value index = load.getIndices()[dimension];
  return index == m.loop.getRegion().getArgument(0) ? place.token : index;
}

SmallVector<Value> MatrixLoopEmitter::loadIndices(tile::LoadOp load, const Place &place, const Point &point) {
  SmallVector<Value> indices;
  Point inBlocks;
  for (auto [dimension, axis] : llvm::enumerate(load.getAxes().getAsRange<StringAttr>())) {
    Value at = blockIndex(place, load, dimension);
    if (Value element = inBlocks.lookup(axis)) {
      at = b.createOrFold<arith::RemUIOp>(element, number(load.getBlockOfAxis(axis)));
    } else if (!axis.empty()) {
      at = b.createOrFold<arith::AddIOp>(at, point.lookup(axis));
      if (int64_t block = load.getBlockOfAxis(axis)) {
        inBlocks[axis] = at;
        at = b.createOrFold<arith::DivUIOp>(at, number(block));
      }
    }
    indices.push_back(at);
  }
  return indices;
}

Value MatrixLoopEmitter::outerExtent(StringAttr axis) {
  return e.extent(axis, cast<TileType>(m.step.getLogits().getType()).sizeOf(axis.getValue()));
}

Value MatrixLoopEmitter::outerCount() {
  Value count = number(1);
  for (StringAttr axis : m.outer)
    count = b.createOrFold<arith::MulIOp>(count, outerExtent(axis));
  return count;
}

void MatrixLoopEmitter::setOuter(Place &place, Value index) {
  auto logits = cast<TileType>(m.step.getLogits().getType());
  place.outerIndex = number(0);
  int64_t stride = 1;
  for (StringAttr axis : llvm::reverse(m.outer)) {
    int64_t size = logits.sizeOf(axis.getValue());
    Value i = number(0);
    if (size != 1) {
      Value extent = outerExtent(axis);
      i = b.createOrFold<arith::RemUIOp>(index, extent);
      index = b.createOrFold<arith::DivUIOp>(index, extent);
    }
    place.outer[axis] = i;
    Value offset = b.createOrFold<arith::MulIOp>(i, number(stride));
    place.outerIndex = b.createOrFold<arith::AddIOp>(place.outerIndex, offset);
    stride *= size;
  }
}

void MatrixLoopEmitter::overOuter(Place place, llvm::function_ref<void(const Place &)> body) {
  if (place.outerIndex)
    return body(place);
  auto step = [&](Value index) {
    setOuter(place, index);
    body(place);
  };
  if (outerSize == 1)
    step(number(0));
  else
    e.loop(number(0), outerCount(), 1, step);
}

void MatrixLoopEmitter::emitBlock(const Tile &max, const Tile &sum, const Tile &accumulator) {
  State state{max, sum, accumulator};
  if (m.hasQueryColumns())
    return emitColumns(state);
  allocateStages(1, m.tokens, 1);

  Place place;
  place.token = m.loop.getInductionVar();
  findPage(place);
  place.parity = number(0);
  Value active = activeTokens(place);
  packOperands(place, active, [](Value) { return true; });
  overOuter(place, [&](const Place &inner) {
    scoreStage(inner, active);
    maxStage(inner, active, state);
    weightStage(inner, active, state, /*prefetch=*/!m.mask);
    valueStage(inner, active, state);
  });
}
