// SPDX-License-Identifier: Apache-2.0
//
// What the tile ops compute, on the host: one function per op, each the formula of the op's description (TileOps.td).
// Memory, loops and calls are the interpreter's.

#ifndef TPAC_LOWERING_TILE_TILEARITHMETIC_H
#define TPAC_LOWERING_TILE_TILEARITHMETIC_H

#include "lowering/tile/TileValue.h"

namespace tpac {

/// How precisely tile programs are interpreted.
enum class Arithmetic {
  /// In f64; nothing is rounded before it is stored, quantised values neither.
  exact,
  /// Each op's result is rounded to its tile's element type. Sums (tile.dot, tile.softmax_step) are rounded after every
  /// addition, in the order of the axes; products in them are exact.
  rounded
};

/// Operands must be as the ops' verifiers want them, of element types that `elementTypeOf` knows.
class TileArithmetic {
public:
  using Tile = TileValue;
  using Tiles = llvm::SmallVector<TileValue, 4>;

  explicit TileArithmetic(Arithmetic mode) : mode(mode) {}

  // ElementKernels.cpp
  Tile fill(mlir::tpa::tile::FillOp op) const;
  Tile convert(mlir::tpa::tile::ConvertOp op, const Tile &input) const;
  /// high, low; where nothing is rounded, low is 0.
  Tiles split(mlir::tpa::tile::SplitOp op, const Tile &input) const;
  Tile mul(mlir::tpa::tile::MulOp op, const Tile &lhs, const Tile &rhs) const;
  Tile add(mlir::tpa::tile::AddOp op, const Tile &lhs, const Tile &rhs) const;
  Tile constantMul(mlir::tpa::tile::ConstantMulOp op, const Tile &input) const;
  Tile softcap(mlir::tpa::tile::SoftcapOp op, const Tile &input) const;
  Tile headFunction(mlir::tpa::tile::HeadFunctionOp op, const Tile &input) const;
  Tile slice(mlir::tpa::tile::SliceOp op, const Tile &input, int64_t offset) const;
  Tile rope(mlir::tpa::tile::RopeOp op, const Tile &input, const Tile &positions) const;
  /// values, scale.
  Tiles quantize(mlir::tpa::tile::QuantizeOp op, const Tile &input) const;

  // ContractionKernels.cpp
  /// `accumulator` may be null.
  Tile dot(mlir::tpa::tile::DotOp op, const Tile &lhs, const Tile &rhs, const Tile *accumulator) const;
  Tile outer(mlir::tpa::tile::OuterOp op, const Tile &lhs, const Tile &rhs) const;

  // SoftmaxKernels.cpp
  Tile mask(mlir::tpa::tile::MaskOp op, const Tile &input, int64_t token, int64_t limit, int64_t end) const;
  /// probabilities, new_max, new_sum, correction.
  Tiles softmaxStep(mlir::tpa::tile::SoftmaxStepOp op, const Tile &logits, const Tile &max, const Tile &sum) const;
  /// out, lse.
  Tiles finish(mlir::tpa::tile::FinishOp op, const Tile &accumulator, const Tile &max, const Tile &sum) const;
  /// out, lse.
  Tiles merge(mlir::tpa::tile::MergeOp op, const Tile &out0, const Tile &lse0, const Tile &out1,
              const Tile &lse1) const;

private:
  /// `value` as a tile of type `type` keeps it.
  double rounded(mlir::tpa::tile::TileType type, double value) const;
  /// Rounds all elements as the tile keeps them.
  void round(Tile &tile) const;
  /// `function(element)` for every element, in the axes of `type`.
  template <typename Function> Tile map(mlir::tpa::tile::TileType type, const Tile &input, Function function) const;
  /// `function(left, right)` for every element, in the axes of `type`.
  template <typename Function>
  Tile zip(mlir::tpa::tile::TileType type, const Tile &lhs, const Tile &rhs, Function function) const;

  Arithmetic mode;
};

} // namespace tpac

#endif // TPAC_LOWERING_TILE_TILEARITHMETIC_H
