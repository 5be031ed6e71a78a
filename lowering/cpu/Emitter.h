// SPDX-License-Identifier: Apache-2.0
//
// Emits single tile ops as loops over vectors, from buffers into buffers. Which buffer holds which tile is decided in
// TilesToCpu.cpp.

#ifndef TPAC_LOWERING_CPU_EMITTER_H
#define TPAC_LOWERING_CPU_EMITTER_H

#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <functional>
#include <optional>

namespace mlir::tpa::cpu {

/// A tile in its buffer. The buffer has one dimension per axis, the last one padded to whole vectors; a tile without
/// axes has a buffer of one element. What the padding holds never reaches an element of another tile.
struct Tile {
  Value memory;
  tile::TileType type;
};

/// Where in the tiles' common index space something happens: an index per axis.
using Point = llvm::SmallDenseMap<StringAttr, Value, 8>;

class Emitter {
public:
  /// `lanes`: f32 elements per vector. `allocate` gives a buffer for a tile, `release` takes it back.
  Emitter(ImplicitLocOpBuilder &builder, int64_t lanes, int64_t registers, std::function<Tile(tile::TileType)> allocate,
          std::function<void(const Tile &)> release)
      : b(builder), lanes(lanes), registers(registers), allocate(std::move(allocate)), release(std::move(release)) {}

  MemRefType bufferType(tile::TileType type) const;

  // Results may be in the buffers of operands of the same type, but for dot's lhs and rhs and the operands of outer and
  // slice.
  void load(tile::LoadOp op, const Tile &result);
  void store(tile::StoreOp op, const Tile &value);
  void fill(double value, const Tile &result);
  void convert(const Tile &input, const Tile &result);
  void split(const Tile &input, const Tile &high, const Tile &low);
  void multiply(const Tile &lhs, const Tile &rhs, const Tile &result);
  void add(const Tile &lhs, const Tile &rhs, const Tile &result);
  void constantMultiply(const Tile &input, double factor, const Tile &result);
  void softcap(const Tile &input, double cap, const Tile &result);
  void mask(tile::MaskOp op, const Tile &input, const Tile &result);
  void dot(const Tile &lhs, const Tile &rhs, std::optional<Tile> accumulator, const Tile &result);
  void outer(tile::OuterOp op, const Tile &lhs, const Tile &rhs, const Tile &result);
  void slice(tile::SliceOp op, const Tile &input, const Tile &result);
  void rope(tile::RopeOp op, const Tile &input, const Tile &positions, const Tile &result);
  void headFunction(HeadFunction function, const Tile &input, const Tile &result);
  struct SoftmaxState {
    Tile max, sum;
  };
  void softmaxStep(const Tile &logits, const SoftmaxState &state, const Tile &probabilities,
                   const SoftmaxState &newState, const Tile &correction);
  void finish(const Tile &accumulator, const SoftmaxState &state, const Tile &out, const Tile &lse);
  void merge(const Tile &out0, const Tile &lse0, const Tile &out1, const Tile &lse1, const Tile &out, const Tile &lse);
  void quantize(StringAttr axis, const Tile &input, const Tile &values, const Tile &scale);

  // --- Geometry
  // -------------------------------------------------------------------------------------------------------

  /// The axis along which the tile's vectors run; null for a tile without axes.
  static StringAttr laneAxis(tile::TileType type);
  static int64_t laneSize(tile::TileType type);
  int64_t vectorLength(int64_t size) const;
  int64_t padded(int64_t size) const;
  /// Elements per vector when `result` is computed from `operands`: 1 where one of them has the lane axis elsewhere.
  int64_t commonWidth(const Tile &result, ArrayRef<Tile> operands) const;
  static Type storedType(tile::TileType type);

  // --- Loops
  // ----------------------------------------------------------------------------------------------------------

  Value index(int64_t value);
  Value plus(Value base, int64_t offset);
  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body);
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange carried,
                          llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);
  /// One loop per axis, `point` following it.
  void loops(ArrayRef<std::pair<StringAttr, int64_t>> axes, Point &point, llvm::function_ref<void()> body);
  /// The numbers 0 .. count in groups of `group`, the last one smaller: body(first, number of them).
  void groups(int64_t count, int64_t group, llvm::function_ref<void(Value, int64_t)> body);
  /// Vectors along the lane axis of `type`, all its padding included.
  void laneLoop(tile::TileType type, int64_t width, Point &point, llvm::function_ref<void()> body);
  /// The axes of `type` but for those in `except`, with their sizes.
  static SmallVector<std::pair<StringAttr, int64_t>> axesWithout(tile::TileType type, ArrayRef<StringAttr> except);

  // --- Elements
  // -------------------------------------------------------------------------------------------------------

  SmallVector<Value> indices(const Tile &tile, const Point &point);
  /// `width` elements along `lane` from `point` on as vector of `element`; one element, repeated, where the tile lacks
  /// that axis.
  Value read(const Tile &tile, const Point &point, StringAttr lane, int64_t width, Type element);
  /// Stores a vector of arithmetic type along the tile's lane axis, rounded to the tile's type.
  void write(const Tile &tile, const Point &point, Value vector);
  /// As write where the tile has axis `lane`; else stores the vector's first element alone.
  void writeRow(const Tile &tile, const Point &point, StringAttr lane, Value vector);
  Value rounded(const Tile &tile, Value vector);
  /// result[..] = body(operands[..]), every value in the result's arithmetic type.
  void elementwise(const Tile &result, ArrayRef<Tile> operands,
                   llvm::function_ref<Value(const Point &, ArrayRef<Value>)> body);
  /// As convert, to another lane axis: squares of `width` vectors, transposed in registers.
  void transpose(const Tile &input, const Tile &result, int64_t width);
  /// Makes the padding of a tile finite that is then written element by element.
  void clearPadding(const Tile &tile, int64_t width);

private:
  // --- Rows: all elements along one axis
  // --------------------------------------------------------------------------------

  /// Vectors that share a step of a reduction along `axis`: their first lanes, or nothing where `axis` is the lane
  /// axis.
  struct Rows {
    StringAttr axis;
    int64_t width;
    SmallVector<Value> lanes;
    size_t count() const { return lanes.empty() ? 1 : lanes.size(); }
  };
  /// body(rows) for all rows of `tile` along `axis`, `point` holding the other axes.
  void forRows(const Tile &tile, StringAttr axis, int64_t width, Point &point,
               llvm::function_ref<void(const Rows &)> body);
  /// Sets the lane axis of `point` to that of row vector `i`.
  void setRow(const Tile &tile, const Rows &rows, size_t i, Point &point);
  /// Folds `tile` along the axis of `rows`, padding replaced by `neutral`; where that is the lane axis, the lanes are
  /// combined at last.
  SmallVector<Value> foldRows(const Tile &tile, const Rows &rows, Point &point, double neutral, ValueRange start,
                              vector::CombiningKind kind, llvm::function_ref<Value(size_t, Value, Value)> step);

  // --- Parts of dot, load, store and rope
  // ---------------------------------------------------------------------------------

  void dotByBroadcast(const Tile &vectors, const Tile &scalars, std::optional<Tile> accumulator, const Tile &result);
  void dotByReduction(const Tile &lhs, const Tile &rhs, std::optional<Tile> accumulator, const Tile &result);
  void addScalar(const Tile &result, const Point &point, Value sum, std::optional<Tile> accumulator);
  int64_t rowBlock(int64_t rows, int64_t vectorsPerRow, int64_t spare) const;

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  int64_t registers;
  std::function<Tile(tile::TileType)> allocate;
  std::function<void(const Tile &)> release;
};

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_EMITTER_H
