// SPDX-License-Identifier: Apache-2.0
//
// Emits single tile ops as loops over vectors, from buffers into buffers. Which buffer holds which tile is decided in
// TilesToCpu.cpp.

#ifndef TPAC_LOWERING_CPU_EMITTER_H
#define TPAC_LOWERING_CPU_EMITTER_H

#include "lowering/cpu/CpuTraits.h"
#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/SaveAndRestore.h"

#include <functional>
#include <memory>
#include <optional>

namespace mlir::tpa::cpu {

/// Where in the tiles' common index space something happens: an index per axis.
using Point = llvm::SmallDenseMap<StringAttr, Value, 8>;

struct Computation;

/// A tile in its buffer, in a tensor (its elements in their storage type), or one that is computed where it is read. A
/// buffer has one dimension per axis, the last one padded to whole vectors; a tile without axes has a buffer of one
/// element. What the padding holds never reaches an element of another tile.
struct Tile {
  Value memory;
  tile::TileType type;
  /// Null where the tile is in memory.
  std::shared_ptr<const Computation> computation = nullptr;
};

/// Where an element of a pool of pages stands.
struct PagePlace {
  Value page, slot;
  /// Of `element` of row `row` of `table`, in pages of `size` elements.
  static PagePlace find(ImplicitLocOpBuilder &b, Value table, int64_t size, Value row, Value element);
  /// Of the element that `op` reads first in the next iteration of `loop`, along whose counter it runs; in the last
  /// one, of an element that exists.
  static PagePlace findNext(ImplicitLocOpBuilder &b, tile::LoadOp op, scf::ForOp loop);
};

/// element = body(elements of the operands at the same point), all in the arithmetic type of the result.
struct Computation {
  SmallVector<Tile> operands;
  std::function<Value(const Point &, ArrayRef<Value>)> body;
  /// Whether it is no more than the one operand's elements in their arithmetic type.
  bool isWidening = false;
  /// In place of `body`, where an element depends on several of an operand: `width` elements along `lane` from a point
  /// on.
  std::function<Value(const Point &, StringAttr lane, int64_t width)> gather = nullptr;
};

class Emitter {
public:
  /// `allocate` gives a buffer for a tile, `release` takes it back.
  Emitter(ImplicitLocOpBuilder &builder, const tpac::CpuTraits &cpu, std::function<Tile(tile::TileType)> allocate,
          std::function<void(const Tile &)> release)
      : b(builder), lanes(cpu.lanes), registers(cpu.registers), avx512(cpu.avx512), allocate(std::move(allocate)),
        release(std::move(release)) {}

  MemRefType bufferType(tile::TileType type) const;

  /// A tile that is read from its tensor, in its storage type: for few reads of each element.
  Tile inPlace(tile::LoadOp op);
  static bool canReadInPlace(tile::LoadOp op);

  // Tiles that are computed where they are read; `convert` puts one into a buffer.
  Tile converted(const Tile &input, tile::TileType type);
  Tile product(const Tile &lhs, const Tile &rhs, tile::TileType type);
  Tile sum(const Tile &lhs, const Tile &rhs, tile::TileType type);
  Tile constantProduct(const Tile &input, double factor, tile::TileType type);
  Tile softcapped(const Tile &input, double cap, tile::TileType type);
  /// What `split` gives of `input`, in `type`.
  std::pair<Tile, Tile> parts(const Tile &input, tile::TileType type);
  /// A sum of few products of elements of `scalars`, which lack the result's lane axis, and vectors of `vectors`.
  Tile contraction(const Tile &scalars, const Tile &vectors, tile::TileType type);
  static bool canContractWhereRead(tile::DotOp op);

  /// Around the body of a loop: what its loads read next is asked for between the multiply-adds of its products, where
  /// these are enough, else beside the loads.
  void enterLoop(scf::ForOp loop);
  void leaveLoop();

  // Results may be in the buffers of operands of the same type, but for dot's lhs and rhs and the operands of outer and
  // slice.
  void load(tile::LoadOp op, const Tile &result);
  void store(tile::StoreOp op, const Tile &value);
  /// Stores what `rest` computes, element by element, from `input` in the layout of `type`: turned a few rows at a
  /// time.
  void storeTurned(tile::StoreOp op, const Tile &input, tile::TileType type, llvm::function_ref<Tile(Tile)> rest);
  static bool canTurn(tile::StoreOp op, tile::ConvertOp turn);
  void fill(double value, const Tile &result);
  void convert(const Tile &input, const Tile &result);
  void split(const Tile &input, const Tile &high, const Tile &low);
  void mask(tile::MaskOp op, const Tile &input, const Tile &result);
  /// Products of the same shape and layout, added up.
  void dot(ArrayRef<std::pair<Tile, Tile>> terms, std::optional<Tile> accumulator, const Tile &result);
  static bool canAdd(tile::DotOp one, tile::DotOp other);
  void outer(tile::OuterOp op, const Tile &lhs, const Tile &rhs, const Tile &result);
  void slice(tile::SliceOp op, const Tile &input, const Tile &result);
  void rope(tile::RopeOp op, const Tile &input, const Tile &positions, const Tile &result);
  void headFunction(HeadFunction function, const Tile &input, const Tile &result);
  struct SoftmaxState {
    Tile max, sum;
  };
  void softmaxStep(const Tile &logits, const SoftmaxState &state, const Tile &probabilities,
                   const SoftmaxState &newState, const Tile &correction);
  /// `take` is given the result, computed where it is read; it may be put into the accumulator's buffer.
  void finish(const Tile &accumulator, const SoftmaxState &state, llvm::function_ref<void(const Tile &)> take,
              const Tile &lse);
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

  /// Ops need compute no more than the first `counts[axis]` elements of an axis: numbers from 1 up to its size.
  void setExtents(llvm::SmallDenseMap<StringAttr, Value> counts) { extents = std::move(counts); }
  /// How many of the `size` elements of `axis` are needed.
  Value extent(StringAttr axis, int64_t size);
  Value index(int64_t value);
  Value plus(Value base, int64_t offset);
  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body);
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange carried,
                          llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);
  /// While one lives, loops are of code that runs rarely. They stay loops: LLVM would unroll them, and then work long
  /// on what hardly counts.
  class Rarely {
  public:
    explicit Rarely(Emitter &emitter) : rare(emitter.rare, true) {}

  private:
    llvm::SaveAndRestore<bool> rare;
  };
  /// One loop per axis, `point` following it.
  void loops(ArrayRef<std::pair<StringAttr, int64_t>> axes, Point &point, llvm::function_ref<void()> body);
  /// The numbers 0 .. count in groups of `group`, the last one smaller: body(first, number of them).
  void groups(int64_t count, int64_t group, llvm::function_ref<void(Value, int64_t)> body, bool unrolled = false);
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
  static bool hasWholeVectors(const Tile &tile, const Point &point, int64_t width);
  Value fromMemory(const Tile &tile, Value vector);
  /// Stores a vector of arithmetic type along the tile's lane axis, rounded to the tile's type.
  void write(const Tile &tile, const Point &point, Value vector);
  /// As write where the tile has axis `lane`; else stores the vector's first element alone.
  void writeRow(const Tile &tile, const Point &point, StringAttr lane, Value vector);
  Value rounded(const Tile &tile, Value vector);
  /// Logits of the token `token` of the cache for queries from `query` on, a vector along the queries: -infinity where
  /// a causal mask hides it.
  Value hidden(tile::MaskOp op, Value logits, Value token, Value query);
  /// As cpu::exp2, by the instructions that the CPU has for it.
  Value power(Value x);
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

  /// How a product is cut into blocks that stay in registers: `rows` elements of an axis by `columns` vectors.
  struct DotBlocks {
    int64_t width;
    /// Null where the result has no axis but the vectors' own.
    StringAttr rowAxis;
    int64_t rows, rowsPerBlock;
    /// Whether all rows multiply the same vectors.
    bool reusesVectors;
    int64_t vectorCount, columnsPerBlock;
    SmallVector<std::pair<StringAttr, int64_t>> contracted, outer;
    int64_t rowBlocks() const { return rows / rowsPerBlock; }
    int64_t columnBlocks() const { return llvm::divideCeil(vectorCount, columnsPerBlock); }
    /// Whether each block does no more than pass through `axis` once, and few enough have code of their own to prefetch
    /// meanwhile.
    bool passThrough(std::pair<StringAttr, int64_t> axis) const;
    /// Blocks of rows may share what is prefetched for the `size` elements of an axis: a loop over them prefetches for
    /// `elements` in each iteration, and computes `together` blocks, each with code of its own.
    struct Sharing {
      int64_t iterations, together, elements;
    };
    Sharing share(int64_t size) const;
    /// How many blocks of columns, the first ones, have code of their own to prefetch meanwhile; a loop does the
    /// others.
    int64_t takingColumns(int64_t size) const;
  };

  // --- Prefetch
  // -------------------------------------------------------------------------------------------------------

  /// A cache line for each element of the axis along which a loop walks through `dimension` of a tensor.
  struct Line {
    tile::LoadOp load;
    size_t dimension;
    /// Where it begins in the other dimensions.
    SmallVector<int64_t> offsets;
  };
  /// What the loads of a loop read in its next iteration.
  struct Prefetches {
    scf::ForOp loop;
    /// Whether products take them; else each load prefetches for itself.
    bool isSpread = false;
    std::pair<StringAttr, int64_t> axis;
    /// In the order of memory.
    SmallVector<Line> lines;
    /// How many pieces of code share them, and how many have their share.
    size_t takers = 0, taken = 0;
    /// Of the loads from pages, in the next iteration; by table and row.
    llvm::SmallDenseMap<std::pair<Value, Value>, PagePlace, 1> pages;
  };
  static std::optional<size_t> streamedDimension(tile::LoadOp op, scf::ForOp loop);
  static std::optional<std::pair<StringAttr, int64_t>> streamedAxis(tile::LoadOp op, scf::ForOp loop);
  static SmallVector<Line> linesOf(tile::LoadOp op, scf::ForOp loop);
  bool isSpread(tile::LoadOp op) const;
  bool hasLines(std::pair<StringAttr, int64_t> axis) const;
  /// The next share of the lines.
  SmallVector<Line> takeLines();
  void prefetch(const Line &line, Value element);
  /// The blocks in which `op` passes through `axis` once each, if that is all it does.
  std::optional<DotBlocks> blocksAlong(std::pair<StringAttr, int64_t> axis, tile::DotOp op) const;

  // --- Parts of dot, load, store and rope
  // ---------------------------------------------------------------------------------

  /// Factors of a product: the one whose vectors are used and the one whose elements are broadcast.
  struct DotFactors {
    Tile vectors, scalars;
  };
  /// What a block of a product prefetches: lines per term of the product, for `count` elements from `first` on.
  struct LineShares {
    ArrayRef<SmallVector<Line>> ofTerms;
    Value first;
    int64_t count = 1;
  };
  void dotByBroadcast(ArrayRef<DotFactors> terms, std::optional<Tile> accumulator, const Tile &result);
  void dotByReduction(const Tile &lhs, const Tile &rhs, std::optional<Tile> accumulator, const Tile &result);
  void addScalar(const Tile &result, const Point &point, Value sum, std::optional<Tile> accumulator);
  DotBlocks dotBlocks(const Tile &vectors, const Tile &scalars, const Tile &result) const;
  static bool isReduction(const Tile &lhs, const Tile &rhs, const Tile &result);
  static bool vectorsAreLhs(const Tile &lhs, const Tile &result);
  int64_t rowBlock(int64_t rows, int64_t vectorsPerRow, int64_t spare) const;

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  int64_t registers;
  bool avx512;
  bool rare = false;
  std::function<Tile(tile::TileType)> allocate;
  std::function<void(const Tile &)> release;
  llvm::SmallDenseMap<StringAttr, Value> extents;
  /// Innermost loop last.
  SmallVector<Prefetches> prefetches;
};

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_EMITTER_H
