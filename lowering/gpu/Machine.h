// SPDX-License-Identifier: Apache-2.0
//
// What the emitter of a kernel knows besides the tile program: how the threads of a block share its work, and how
// memory is laid out.

#ifndef TPAC_LOWERING_GPU_MACHINE_H
#define TPAC_LOWERING_GPU_MACHINE_H

#include "dialect/TPADialect.h"
#include "lowering/tile/TileDialect.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

namespace mlir::tpa::gpu {

inline constexpr int64_t warpSize = 32;
/// Rows of a tensor core's first operand and of its result, whose other operand has 8 columns; both sum over 16.
inline constexpr int64_t rowsOfOperand = 16, columnsOfOperand = 8;
/// Bytes that one lane copies, and that one row of an 8x8 matrix has.
inline constexpr int64_t chunkBytes = 16;

/// Rows of a tile: query tokens times heads. A query token's heads are `pitch` rows, of which some may be padding. They
/// are what tensor cores have on rows, 16 at a time, or (`side` is tokens) on columns, 8 at a time: a tile of rows.
/// Warp w of W has tile number w, and where a warp has several also number w + W and so on: of two times 16 those of
/// the same heads, half of the query tokens further on, so that what is read of the cache serves both.
struct RowMap {
  int64_t queries, heads, pitch;
  /// Tiles of rows per warp.
  int64_t tiles = 1;
  TileRows side = TileRows::heads;

  /// Where there are head factors, they are read as 8x8 matrices, so that each query token's heads begin at a multiple
  /// of 8 where there are several of both. `features`: the larger of D and E; `ranks`: scores per row and cached token;
  /// `parts` that queries are rounded to.
  static RowMap of(int64_t queries, int64_t heads, bool hasHeadFactors, int64_t features, int64_t ranks, int64_t parts,
                   TileRows side) {
    const bool isPadded = hasHeadFactors && queries > 1 && heads > 1;
    RowMap map = {queries, heads, isPadded ? int64_t(llvm::alignTo(heads, 8)) : heads};
    map.side = side;
    int64_t all = llvm::divideCeil(queries * map.pitch, map.rowsOfTile());
    if (side == TileRows::tokens) {
      // So many accumulators fit into a warp's registers, beside the scores of one rank or of several. All tiles of a
      // warp share what it reads of shared memory; every warp has as many.
      map.tiles = (features <= 64 ? 4 : features <= 128 ? 3 : 2) - (ranks > 1 ? 1 : 0);
      while (all % map.tiles != 0)
        --map.tiles;
      return map;
    }
    // With one tile per warp, more than four warps are limited by what they read of shared memory; where queries have
    // two parts, by their products (docs/gpu-decode.md). Beyond these sizes two accumulators do not fit into a warp's
    // registers, nor where a row's query token and head are not bits of its number.
    constexpr int64_t largestFeatures = 64, mostTiles = 4;
    if (parts == 1 && queries % 2 == 0 && queries * map.pitch % (2 * rowsOfOperand) == 0 && all > mostTiles &&
        features <= largestFeatures && ranks == 1 && llvm::isPowerOf2_64(map.pitch))
      map.tiles = 2;
    return map;
  }
  int64_t rowsOfTile() const { return side == TileRows::heads ? rowsOfOperand : columnsOfOperand; }
  /// Whether all rows of a tile are of one query token.
  bool hasOneQueryPerTile() const { return queries == 1 || pitch % rowsOfTile() == 0; }
  /// Warps that share a block of cached tokens.
  int64_t warps() const { return llvm::divideCeil(queries * pitch, rowsOfTile() * tiles); }
  /// Rows of all of them.
  int64_t rows() const { return warps() * tiles * rowsOfTile(); }
};

/// Warps that share their rows: where an accumulator of all `features` is too large for one warp, each has some columns
/// of it. The scores are computed by each of them.
inline int64_t columnParts(int64_t features) {
  constexpr int64_t largestAccumulator = 256, wanted = 128;
  int64_t parts = 1;
  while (features > largestAccumulator && features > parts * wanted)
    parts *= 2;
  return parts;
}

/// Whether blocks of 8-bit token factors are widened once for all warps that share them, into shared memory, in place
/// of by each warp in its registers.
inline bool widensOnce(const RowMap &rows, int64_t columnParts) {
  constexpr int64_t fewestWarps = 4;
  return columnParts == 1 && rows.warps() >= fewestWarps;
}

/// Where the elements of a cached tensor stand within a token's row.
struct CacheSegment {
  int64_t offset = 0;
  /// Bytes from rank to rank.
  int64_t pitch = 0;
};

/// Tokens after which the swizzle repeats.
inline constexpr int64_t swizzledTokens = 8;

/// Exclusive-or of chunk numbers that keeps matrix loads free of bank conflicts: of token t, chunk c of a row of
/// `chunks` stands at c ^ ((t >> shift) & mask).
struct Swizzle {
  int64_t mask = 0, shift = 0;

  static Swizzle of(int64_t chunks) {
    int64_t bits = std::min<int64_t>(3, llvm::countr_zero(static_cast<uint64_t>(chunks)));
    return {(int64_t(1) << bits) - 1, 3 - bits};
  }
};

} // namespace mlir::tpa::gpu

#endif // TPAC_LOWERING_GPU_MACHINE_H
