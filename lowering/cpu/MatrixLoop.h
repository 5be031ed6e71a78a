// SPDX-License-Identifier: Apache-2.0
//
// A loop over blocks of cached tokens, taken apart into the three stages that a matrix unit runs: the score, what
// happens element by element, and the value.

#ifndef TPAC_LOWERING_CPU_MATRIXLOOP_H
#define TPAC_LOWERING_CPU_MATRIXLOOP_H

#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/SetVector.h"

#include <optional>

namespace mlir::tpa::cpu {

/// Rows, columns and depth of a matrix unit's step: 16 x 16 sums of 32 bf16 products each.
inline constexpr int64_t matrixRows = 16, matrixColumns = 16, matrixDepth = 32;

/// Columns of a chunk: two sums beside each other share the rows that they multiply.
inline constexpr int64_t chunkColumns = 2 * matrixColumns;

/// A loop whose body is, with cached tokens m as rows and heads or queries as columns c,
///
///   scores[j] (m, c) = sum over its products of keys (m, d) * query (d, c)
///   logits (m, c)    = an expression of scores and head factors
///   softmax step     -> probabilities (m, c)
///   weights[k] (m, c) = an expression of probabilities and head factors
///   accumulator (e, c) = accumulator * correction + sum over k of values[k] (e, m) * weights[k] (m, c)
///
/// Both products leave the columns where the vectors run, so that nothing crosses lanes from the score to the sum.
struct MatrixLoop {
  struct Product {
    /// Defined outside of the loop; bf16.
    Value query;
    /// Defined in the loop; bf16.
    Value keys;
  };
  struct Score {
    SmallVector<Product> products;
    Value result;
  };
  struct ValueProduct {
    Value weights;
    Value values;
  };

  /// Nothing where `loop` is no such loop or its sizes are no multiples of a matrix unit's. Tiles must be laid out by
  /// tpa-tile-layouts, with vectors along the columns.
  static std::optional<MatrixLoop> match(scf::ForOp loop);

  /// Queries that were given another order of axes for this loop alone are read as they were: packing them transposes
  /// pairs of features, half as many vectors. What was matched holds no longer.
  void dropTranspositions();

  scf::ForOp loop;
  tile::SoftmaxStepOp step;
  /// The accumulator's update by the step's correction.
  tile::MulOp correct;
  SmallVector<Score> scores;
  SmallVector<ValueProduct> values;
  /// Ops of the body that the stages compute; the others come before them.
  llvm::SmallSetVector<Operation *, 32> staged;
  /// A load of the stages from pages, if there is one: all find them by one table and row.
  tile::LoadOp paged;
  /// Ops of the body that are computed while keys and values are packed.
  llvm::SmallSetVector<Operation *, 16> packed;
  /// The mask that the logits went through last, if any: tokens beyond its end have probability 0.
  tile::MaskOp mask;

  /// Axis of the columns, and the other axes that queries and results have. Where queries are the columns, the stages
  /// go through them in chunks, for one index of the others (a head) after the other.
  StringAttr column;
  SmallVector<StringAttr> outer;
  StringAttr keyFeatures, valueFeatures;
  int64_t tokens = 0, columns = 0, keySize = 0, valueSize = 0;

  /// Whether keys or values differ along the outer axes.
  bool differsByOuter(Value keysOrValues) const;
  bool hasQueryColumns() const { return column.getValue() == "n"; }
  /// The axis along which the vectors of keys or values run while they are packed.
  static StringAttr packedLane(Value keysOrValues);

  unsigned maxNumber() { return numberOf(step.getMax()); }
  unsigned sumNumber() { return numberOf(step.getSum()); }
  unsigned accumulatorNumber() { return numberOf(correct.getLhs()); }
  static unsigned numberOf(Value argument) { return cast<BlockArgument>(argument).getArgNumber() - 1; }
};

/// A tile that is read from memory as it stands there: rows along the axis m, elements of a row together.
bool isDirectRows(Value tile, StringAttr features);
/// A tile that is the first features of one that is read as it stands in memory.
bool isSlicedRows(Value tile);
/// A tile whose memory keeps the features of `matrixDepth` tokens together, feature by feature.
bool isDirectBlocks(Value tile, StringAttr features);

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_MATRIXLOOP_H
