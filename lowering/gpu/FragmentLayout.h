// SPDX-License-Identifier: Apache-2.0
//
// Where a lane's values of a fragment stand: a fragment is what a warp's lanes hold of a tile of rows (heads of query
// tokens) and columns (cached tokens, or features of values), as results of tensor cores.

#ifndef TPAC_LOWERING_GPU_FRAGMENTLAYOUT_H
#define TPAC_LOWERING_GPU_FRAGMENTLAYOUT_H

#include "lowering/gpu/Machine.h"

#include "llvm/ADT/ArrayRef.h"

namespace mlir::tpa::gpu {

/// A result of tensor cores is 16 x 8; a lane holds of rows lane / 4 and that + 8 columns 2 (lane % 4) and the next.
/// With heads on rows a lane has, of each tile of 16 rows, four values per 8 columns: of two rows two columns each.
/// With tokens on rows what results call columns are the tile's 8 rows, and a lane has four values per 16 columns: of
/// two columns two rows each. Either way two rows per tile, and a tile's values stand one tile after the other.
class FragmentLayout {
public:
  explicit FragmentLayout(const RowMap &rows) : tiles(rows.tiles), rowsOfTile(rows.rowsOfTile()), side(rows.side) {}

  bool hasTokensOnRows() const { return side == TileRows::tokens; }
  /// Rows of which a lane has values.
  int64_t laneRows() const { return 2 * tiles; }
  /// Values that a lane has of `columns` columns, of all of the warp's tiles.
  size_t values(int64_t columns) const { return static_cast<size_t>(columns * rowsOfTile / warpSize * tiles); }
  /// Columns of four values of a tile.
  int64_t columnsOfQuad() const { return hasTokensOnRows() ? rowsOfOperand : columnsOfOperand; }

  /// Of value `i` of `count`, which of the lane's rows it is of.
  size_t rowOf(size_t i, size_t count) const { return 2 * (i / perTile(count)) + (hasTokensOnRows() ? i : i / 2) % 2; }
  /// Its column, from the lane's first one on.
  int64_t columnOf(size_t i, size_t count) const {
    size_t own = i % perTile(count);
    return static_cast<int64_t>(hasTokensOnRows() ? own / 4 * 16 + own / 2 % 2 * 8 : own / 4 * 8 + own % 2);
  }
  /// The second of the lane's rows of a tile, from the first one on.
  int64_t secondRow() const { return hasTokensOnRows() ? 1 : 8; }
  /// What lanes that have values of the same row are found by: exclusive-or of their numbers.
  ArrayRef<int64_t> lanesOfRow() const {
    static constexpr int64_t four[] = {1, 2}, eight[] = {4, 8, 16};
    return hasTokensOnRows() ? ArrayRef<int64_t>(eight) : ArrayRef<int64_t>(four);
  }

  /// Of an operand that is made of queries, which is 16 features of a tile's rows: registers of a lane, and bytes of a
  /// warp. A lane has features of row lane / 4, and with heads on rows of that + 8.
  int64_t operandRegisters() const { return rowsOfTile / 4; }
  int64_t operandBytes() const { return operandRegisters() * 4 * warpSize; }
  int64_t operandRows() const { return rowsOfTile / 8; }

private:
  size_t perTile(size_t count) const { return count / static_cast<size_t>(tiles); }

  int64_t tiles, rowsOfTile;
  TileRows side;
};

} // namespace mlir::tpa::gpu

#endif // TPAC_LOWERING_GPU_FRAGMENTLAYOUT_H
