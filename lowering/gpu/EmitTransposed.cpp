// SPDX-License-Identifier: Apache-2.0
//
// Tokens on rows. What is read of the cache is the first operand of the tensor cores, queries and weights are the
// second: scores are K (16 tokens x 16 features) times Q^T (16 features x 8 rows), the accumulator is that of V^T (16
// features x 16 tokens) times P^T (16 tokens x 8 rows). A tile has 8 rows in place of 16, so that few heads pay for no
// more products, exponentials and registers than they need.
//
// Keys come by matrix loads as they are, values transposed. A lane's results have two heads of a token, its second
// operand two tokens of a head, whatever the order of tokens: what lies on rows of a result is found by lane / 4, on
// columns by lane % 4, and so is what is summed over in an operand. So weights are packed and their 8x8 matrices
// transposed among the lanes, one instruction for each 8 tokens and 8 heads.

#include "lowering/gpu/Emitter.h"

#include <numeric>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

void Emitter::multiplyTransposed(const Products &products) {
  const size_t operands = products.lhs.size(), perTile = products.sums.size() / static_cast<size_t>(plan.rows.tiles);
  // Values: matrices of 8 tokens, transposed on load; the first 8 tokens of both chunks, then the others'.
  Value laneRow = laneRowOf(/*byHalves=*/true);
  Value laneChunk = isa.bitAnd(isa.shiftRight(lane, 3), 1);
  for (int64_t step = 0; step < products.steps; ++step) {
    SmallVector<Values> b = operandsOf(products, step);
    for (int64_t pair = 0; pair < products.pairs; ++pair) {
      Values a = products.isByColumns
                     ? keyOperands(products.shared, 16 * pair, step, products.steps).front()
                     : isa.loadMatrices(chunkAddress(products.shared, laneRow, 16 * step, 2 * pair, laneChunk),
                                        /*transposed=*/true);
      for (auto [i, operand] : llvm::enumerate(b)) {
        MutableArrayRef<Value> sum = products.sums.slice(i / operands * perTile + 4 * pair, 4);
        llvm::copy(isa.multiply(a, operand[0], operand[1], sum, operandType), sum.begin());
      }
    }
  }
}

/// Weights of 16 tokens as an operand. `values`: four of a fragment; `factors`, if any: what they are multiplied by, in
/// pairs.
SmallVector<Value> Emitter::transposedWeights(ArrayRef<Value> values, ArrayRef<Value> factors) {
  Values operand;
  for (size_t i : {0, 1}) {
    Value pair = isa.pack(values[2 * i], values[2 * i + 1], operandType);
    if (!factors.empty())
      pair = isa.multiplyPairs(pair, factors[i], operandType);
    operand.push_back(isa.transposeMatrix(pair));
  }
  return operand;
}

/// Head factors of a block's tokens in pairs: of each of the warp's tiles, two per 16 tokens. The 8x8 matrices of a
/// token's 8 heads are what lanes hold of results.
SmallVector<Value> Emitter::transposedHeadFactors(const SharedTile &shared, int64_t tokens) {
  const int64_t chunks = llvm::divideCeil(plan.rows.heads, columnsOfOperand);
  // Tiles that have the same heads share their loads.
  const int64_t distinct = std::min(plan.rows.tiles, chunks / std::gcd(chunks, plan.rows.warps()));
  const int64_t perTile = tokens / 8, count = distinct * perTile;
  Value laneRow = isa.bitAnd(lane, 7), laneMatrix = isa.shiftRight(lane, 3);
  Values matrices;
  for (int64_t first = 0; first < count; first += 4) {
    // Four at a time, of which the last may be there already.
    Value number = isa.min(isa.add(laneMatrix, first), isa.i32(count - 1));
    Value tile = isa.add(rowWarp, isa.mul(isa.div(number, perTile), plan.rows.warps()));
    SharedTile lanes = shared;
    lanes.chunk = isa.add(shared.chunk, isa.rem(tile, chunks));
    Value row = isa.add(isa.mul(isa.rem(number, perTile), 8), laneRow);
    llvm::append_range(matrices, isa.loadMatrices(chunkAddress(lanes, row, 0, 0, isa.i32(0)), /*transposed=*/false));
  }
  Values all;
  for (int64_t tile = 0; tile < plan.rows.tiles; ++tile)
    llvm::append_range(all, ArrayRef<Value>(matrices).slice(tile % distinct * perTile, perTile));
  return all;
}
