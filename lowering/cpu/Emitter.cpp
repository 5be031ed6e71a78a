// SPDX-License-Identifier: Apache-2.0
//
// What all emitted ops share: geometry of buffers, loops, access to vectors of elements.

#include "lowering/cpu/Emitter.h"

#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

// --- Geometry
// -----------------------------------------------------------------------------------------------------------

StringAttr Emitter::laneAxis(TileType type) { return type.getRank() == 0 ? StringAttr() : type.getAxes().back(); }

int64_t Emitter::laneSize(TileType type) { return type.getRank() == 0 ? 1 : type.getSizes().back(); }

int64_t Emitter::vectorLength(int64_t size) const {
  return std::min<int64_t>(lanes, llvm::PowerOf2Ceil(static_cast<uint64_t>(size)));
}

int64_t Emitter::padded(int64_t size) const { return llvm::alignTo(size, vectorLength(size)); }

Type Emitter::storedType(TileType type) { return arithmeticTypeOf(type.getElementType()); }

/// The tiles in buffers from which `tiles` are computed.
static SmallVector<Tile> buffered(ArrayRef<Tile> tiles) {
  SmallVector<Tile> result;
  for (const Tile &tile : tiles)
    if (tile.computation)
      llvm::append_range(result, buffered(tile.computation->operands));
    else
      result.push_back(tile);
  return result;
}

int64_t Emitter::commonWidth(const Tile &result, ArrayRef<Tile> operands) const {
  StringAttr lane = laneAxis(result.type);
  unsigned bits = storedType(result.type).getIntOrFloatBitWidth();
  for (const Tile &operand : buffered(operands)) {
    if (lane && operand.type.hasAxis(lane) && laneAxis(operand.type) != lane)
      return 1;
    bits = std::max(bits, storedType(operand.type).getIntOrFloatBitWidth());
  }
  int64_t fitting = std::max<int64_t>(1, lanes * 32 / std::max(bits, 32u));
  return std::min(vectorLength(laneSize(result.type)), fitting);
}

MemRefType Emitter::bufferType(TileType type) const {
  SmallVector<int64_t> shape(type.getSizes());
  if (shape.empty())
    shape.push_back(1);
  shape.back() = padded(shape.back());
  // Rows whose distance is a multiple of 1 KiB would share few sets of the L1 cache.
  int64_t bytes = shape.back() * storedType(type).getIntOrFloatBitWidth() / 8;
  if (shape.size() > 1 && bytes % 1024 == 0)
    shape.back() += lanes;
  return MemRefType::get(shape, storedType(type));
}

// --- Loops
// --------------------------------------------------------------------------------------------------------------

Value Emitter::extent(StringAttr axis, int64_t size) {
  Value count = extents.lookup(axis);
  return count ? count : index(size);
}

Value Emitter::index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }

Value Emitter::plus(Value base, int64_t offset) {
  if (offset == 0)
    return base;
  return b.createOrFold<arith::AddIOp>(base, index(offset), arith::IntegerOverflowFlags::nsw);
}

void Emitter::loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(from, to, step, {}, [&](Value i, ValueRange) -> SmallVector<Value> {
    body(i);
    return {};
  });
}

SmallVector<Value> Emitter::loop(Value from, Value to, int64_t step, ValueRange carried,
                                 llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto build = [&](OpBuilder &, Location loc, Value i, ValueRange arguments) {
    SmallVector<Value> results = body(i, arguments);
    scf::YieldOp::create(b, results);
  };
  Value stepValue = index(step);
  // The nested builder is another one: ours has to follow it.
  OpBuilder::InsertionGuard guard(b);
  auto op = scf::ForOp::create(b, from, to, stepValue, carried,
                               [&](OpBuilder &nested, Location loc, Value i, ValueRange arguments) {
                                 OpBuilder::InsertionGuard inner(b);
                                 b.restoreInsertionPoint(nested.saveInsertionPoint());
                                 build(nested, loc, i, arguments);
                               });
  if (rare) {
    MLIRContext *context = b.getContext();
    auto unroll = LLVM::LoopUnrollAttr::get(context, /*disable=*/b.getBoolAttr(true), {}, {}, {}, {}, {}, {});
    // The name by which LLVM's branches know it: conversions hand it on as it is.
    op->setAttr("loop_annotation",
                LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}));
  }
  return llvm::to_vector_of<Value>(op.getResults());
}

void Emitter::loops(ArrayRef<std::pair<StringAttr, int64_t>> axes, Point &point, llvm::function_ref<void()> body) {
  if (axes.empty())
    return body();
  auto [axis, size] = axes.front();
  auto step = [&](Value i) {
    point[axis] = i;
    loops(axes.drop_front(), point, body);
  };
  if (size == 1)
    return step(index(0));
  loop(index(0), extent(axis, size), 1, step);
}

void Emitter::groups(int64_t count, int64_t group, llvm::function_ref<void(Value, int64_t)> body, bool unrolled) {
  int64_t whole = count / group * group;
  if (whole == group || unrolled)
    for (int64_t first = 0; first < whole; first += group)
      body(index(first), group);
  else if (whole != 0)
    loop(index(0), index(whole), group, [&](Value first) { body(first, group); });
  if (whole != count)
    body(index(whole), count - whole);
}

void Emitter::laneLoop(TileType type, int64_t width, Point &point, llvm::function_ref<void()> body) {
  StringAttr axis = laneAxis(type);
  if (!axis)
    return body();
  int64_t size = width == 1 ? laneSize(type) : padded(laneSize(type));
  groups(size, std::min(size, 4 * width), [&](Value first, int64_t count) {
    for (int64_t i = 0; i < count; i += width) {
      point[axis] = plus(first, i);
      body();
    }
  });
}

SmallVector<std::pair<StringAttr, int64_t>> Emitter::axesWithout(TileType type, ArrayRef<StringAttr> except) {
  SmallVector<std::pair<StringAttr, int64_t>> axes;
  for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes()))
    if (!llvm::is_contained(except, axis))
      axes.push_back({axis, size});
  return axes;
}

// --- Elements
// -----------------------------------------------------------------------------------------------------------

SmallVector<Value> Emitter::indices(const Tile &tile, const Point &point) {
  SmallVector<Value> result;
  for (StringAttr axis : tile.type.getAxes())
    result.push_back(point.lookup(axis));
  if (result.empty())
    result.push_back(index(0));
  return result;
}

Value Emitter::read(const Tile &tile, const Point &point, StringAttr lane, int64_t width, Type element) {
  if (tile.computation && tile.computation->gather)
    return convertVector(b, rounded(tile, tile.computation->gather(point, lane, width)), element);
  if (tile.computation) {
    SmallVector<Value> operands;
    for (const Tile &operand : tile.computation->operands)
      operands.push_back(read(operand, point, lane, width, storedType(tile.type)));
    return convertVector(b, rounded(tile, tile.computation->body(point, operands)), element);
  }
  auto memory = cast<MemRefType>(tile.memory.getType());
  auto type = VectorType::get({width}, memory.getElementType());
  SmallVector<Value> at = indices(tile, point);
  Value value;
  if (width != 1 && laneAxis(tile.type) != lane)
    value = vector::BroadcastOp::create(b, type, memref::LoadOp::create(b, tile.memory, at));
  else if (width == 1 || hasWholeVectors(tile, point, width))
    value = vector::LoadOp::create(b, type, tile.memory, at);
  else
    value = vector::MaskedLoadOp::create(b, type, tile.memory, at,
                                         lanesBelow(b, width, at.back(), index(laneSize(tile.type))),
                                         arith::ConstantOp::create(b, b.getZeroAttr(type)));
  return convertVector(b, fromMemory(tile, value), element);
}

/// Whether `width` elements from `point` on are all in the tile's memory: always in a buffer, which is padded.
bool Emitter::hasWholeVectors(const Tile &tile, const Point &point, int64_t width) {
  int64_t extent = cast<MemRefType>(tile.memory.getType()).getShape().back();
  auto first = point.lookup(laneAxis(tile.type)).getDefiningOp<arith::ConstantIndexOp>();
  return extent % width == 0 || (first && first.value() + width <= extent);
}

/// Elements as the tile's memory has them in their arithmetic type.
Value Emitter::fromMemory(const Tile &tile, Value vector) {
  auto type = cast<VectorType>(vector.getType());
  if (type.getElementType() == storedType(tile.type))
    return vector;
  Type element = tile.type.getElementType();
  if (type.getElementType() != element)
    vector = arith::BitcastOp::create(b, type.clone(element), vector);
  return fromStorage(b, vector);
}

Value Emitter::rounded(const Tile &tile, Value vector) {
  Value value = convertVector(b, vector, storedType(tile.type));
  return roundTo(b, value, tile.type.getElementType());
}

void Emitter::write(const Tile &tile, const Point &point, Value vector) {
  vector::StoreOp::create(b, rounded(tile, vector), tile.memory, indices(tile, point));
}

void Emitter::writeRow(const Tile &tile, const Point &point, StringAttr lane, Value vector) {
  if (lane && tile.type.hasAxis(lane))
    return write(tile, point, vector);
  Value first = vector::ExtractOp::create(b, rounded(tile, vector), ArrayRef<int64_t>{0});
  memref::StoreOp::create(b, first, tile.memory, indices(tile, point));
}

void Emitter::elementwise(const Tile &result, ArrayRef<Tile> operands,
                          llvm::function_ref<Value(const Point &, ArrayRef<Value>)> body) {
  StringAttr lane = laneAxis(result.type);
  int64_t width = commonWidth(result, operands);
  bool inPlace = llvm::any_of(buffered(operands), [&](const Tile &tile) { return tile.memory == result.memory; });
  if (!inPlace)
    clearPadding(result, width);
  Point point;
  loops(axesWithout(result.type, {lane}), point, [&] {
    laneLoop(result.type, width, point, [&] {
      SmallVector<Value> values;
      for (const Tile &operand : operands)
        values.push_back(read(operand, point, lane, width, storedType(result.type)));
      write(result, point, body(point, values));
    });
  });
}

void Emitter::clearPadding(const Tile &tile, int64_t width) {
  if (width == 1 && padded(laneSize(tile.type)) != laneSize(tile.type))
    fill(0.0, tile);
}

// --- Rows
// ---------------------------------------------------------------------------------------------------------------

void Emitter::forRows(const Tile &tile, StringAttr axis, int64_t width, Point &point,
                      llvm::function_ref<void(const Rows &)> body) {
  StringAttr lane = laneAxis(tile.type);
  loops(axesWithout(tile.type, {axis, lane}), point, [&] {
    if (lane == axis)
      return body({axis, width, {}});
    int64_t size = width == 1 ? laneSize(tile.type) : padded(laneSize(tile.type));
    groups(size, std::min(size, 4 * width), [&](Value first, int64_t count) {
      Rows rows{axis, width, {}};
      for (int64_t i = 0; i < count; i += width)
        rows.lanes.push_back(plus(first, i));
      body(rows);
    });
  });
}

void Emitter::setRow(const Tile &tile, const Rows &rows, size_t i, Point &point) {
  if (!rows.lanes.empty())
    point[laneAxis(tile.type)] = rows.lanes[i];
}

SmallVector<Value> Emitter::foldRows(const Tile &tile, const Rows &rows, Point &point, double neutral, ValueRange start,
                                     vector::CombiningKind kind, llvm::function_ref<Value(size_t, Value, Value)> step) {
  StringAttr lane = laneAxis(tile.type);
  Type element = cast<VectorType>(start.front().getType()).getElementType();
  int64_t size = tile.type.sizeOf(rows.axis);
  if (lane != rows.axis)
    return loop(index(0), index(size), 1, start, [&](Value i, ValueRange carried) {
      point[rows.axis] = i;
      SmallVector<Value> next;
      for (size_t row = 0; row < rows.count(); ++row) {
        setRow(tile, rows, row, point);
        next.push_back(step(row, carried[row], read(tile, point, lane, rows.width, element)));
      }
      return next;
    });

  // Along the lanes: whole vectors, the rest with its padding replaced, then the lanes combined.
  auto type = VectorType::get({rows.width}, element);
  auto add = [&](Value i, Value carried, int64_t count) {
    point[rows.axis] = i;
    Value value = read(tile, point, lane, rows.width, element);
    if (count < rows.width) {
      Value inside = lanesBelow(b, rows.width, index(0), index(count));
      value = arith::SelectOp::create(b, inside, value, splat(b, type, neutral));
    }
    return step(0, carried, value);
  };
  Value total = start.front();
  int64_t whole = size / rows.width * rows.width;
  if (whole != 0)
    total = loop(index(0), index(whole), rows.width, total, [&](Value i, ValueRange carried) {
      return SmallVector<Value>{add(i, carried.front(), rows.width)};
    })[0];
  if (whole != size)
    total = add(index(whole), total, size - whole);
  arith::FastMathFlags flags = arith::FastMathFlags::reassoc;
  Value scalar = vector::ReductionOp::create(b, kind, total, flags);
  return {vector::BroadcastOp::create(b, type, scalar)};
}
