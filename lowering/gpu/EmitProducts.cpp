// SPDX-License-Identifier: Apache-2.0
//
// Products on the tensor cores: of queries and keys, of weights and values.

#include "lowering/gpu/Emitter.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

Value mlir::tpa::gpu::throughConversions(Value tile) {
  while (auto convert = tile.getDefiningOp<tile::ConvertOp>())
    tile = convert.getInput();
  return tile;
}

SmallVector<Value> Emitter::packedFactorsOf(Value tile) {
  tile = throughConversions(tile);
  if (cast<TileType>(tile.getType()).getElementType() != operandType || !columnAxis(cast<TileType>(tile.getType())))
    return {};
  // One load for all steps and tiles of rows.
  auto &known = packedScopes.back()[tile];
  if (known.empty())
    known = packedHeadFactors(tile);
  return known;
}

SmallVector<Value> Emitter::operandFragments(Value tile, int64_t step, int64_t rowTile) {
  if (auto registers = queryRegisters.find(tile); registers != queryRegisters.end()) {
    size_t count = layout.operandRegisters(), steps = registers->second.size() / count / plan.rows.tiles;
    return Values(ArrayRef(registers->second).slice(count * (rowTile * steps + step), count));
  }
  if (auto found = queryFragments.find(tile); found != queryFragments.end())
    return loadQuery(found->second, step, rowTile);
  // Accumulators of 16 columns, packed, are the A operand. Where queries are rounded to one part, so may probabilities
  // be before they are multiplied by head factors: two at a time, which are packed already.
  Value source = throughConversions(tile);
  Values factors;
  if (auto mul = source.getDefiningOp<tile::MulOp>(); mul && plan.queryParts == 1) {
    factors = packedFactorsOf(mul.getRhs());
    if (!factors.empty())
      source = mul.getLhs();
  }
  Values values = fragment(source);
  if (layout.hasTokensOnRows()) {
    size_t first = rowTile * values.size() / plan.rows.tiles + 4 * step;
    auto itsFactors = factors.empty() ? ArrayRef<Value>() : ArrayRef<Value>(factors).slice(first / 2, 2);
    return transposedWeights(ArrayRef<Value>(values).slice(first, 4), itsFactors);
  }
  Values packed;
  for (int64_t columns : {0, 1})
    for (int64_t half : {0, 1}) {
      int64_t first = rowTile * values.size() / plan.rows.tiles + 8 * step + 4 * columns + 2 * half;
      packed.push_back(isa.pack(values[first], values[first + 1], operandType));
      if (!factors.empty())
        packed.back() = isa.multiplyPairs(packed.back(), factors[4 * step + 2 * columns + half], operandType);
    }
  return packed;
}

SmallVector<Value> Emitter::dotFragment(tile::DotOp dot) {
  // Products that add up and share an operand share its loads.
  SmallVector<Value> lhs = {dot.getLhs()};
  Value rhs = dot.getRhs();
  Value start = dot.getAccumulator();
  auto joined = joinedTile(rhs);
  while (start) {
    auto previous = start.getDefiningOp<tile::DotOp>();
    if (!previous || !start.hasOneUse())
      break;
    if (previous.getRhs() == rhs)
      lhs.push_back(previous.getLhs());
    else if (!joined || !isLowPartOf(previous.getRhs(), rhs))
      break;
    start = previous.getAccumulator();
  }
  std::reverse(lhs.begin(), lhs.end());

  SharedTile shared = joined ? joined->first : sharedTile(rhs);
  Values sums = start && succeeded(status) ? fragment(start) : Values(valuesOf(dot.getType()), isa.f32(0.0));
  if (succeeded(status))
    addProducts(dot, shared, lhs, sums, joined ? &*joined : nullptr);
  return sums;
}

void Emitter::addProducts(tile::DotOp dot, SharedTile shared, ArrayRef<Value> lhs, MutableArrayRef<Value> sums,
                          const JoinedTile *joined) {
  Value rhs = dot.getRhs();
  StringAttr column = columnAxis(dot.getType());
  int64_t columns = columnsOf(dot.getType());
  bool isByColumns = column == shared.rowAxis;
  if (!isByColumns && column != shared.columnAxis)
    return fail(dot, "expected an operand of tokens and features");
  StringAttr contracted = isByColumns ? shared.columnAxis : shared.rowAxis;
  if (!isByColumns) {
    if (hasNarrowValues.value_or(shared.isNarrow()) != shared.isNarrow())
      fail(dot, "this target sums products of 8-bit or of wider values, not of both");
    hasNarrowValues = shared.isNarrow();
    // The chunks of the warp's columns.
    shared.chunk = isa.add(shared.chunk, isa.mul(columnWarp, columns / shared.chunkElements()));
  }
  if (shared.isNarrow() != isNarrow(rhs))
    fail(dot, "expected 8-bit elements of the cache, or others");
  Products products = {shared, lhs, sums, isByColumns, columns / 16, dot.getRhs().getType().sizeOf(contracted) / 16};
  if (layout.hasTokensOnRows()) {
    if (joined || shared.isNarrow() || plan.columnParts > 1)
      return fail(dot, "with tokens on rows this target multiplies what a warp reads of the cache as it is");
    multiplyTransposed(products);
  } else if (joined)
    multiplyJoined(products, *joined);
  else if (shared.isNarrow())
    multiplyNarrow(products);
  else
    multiplyWide(products);
}

/// Adds the products of all of `lhs` with 16 contracted elements and 8 columns of the other operand, number `quad`, to
/// the sums of each 16 rows. `a`: the fragments of `lhs`, of one 16 rows after the other.
void Emitter::multiplyQuad(const Products &products, ArrayRef<Values> a, Value b0, Value b1, int64_t quad) {
  size_t operands = products.lhs.size(), perTile = products.sums.size() / plan.rows.tiles;
  for (auto [i, operand] : llvm::enumerate(a)) {
    MutableArrayRef<Value> sum = products.sums.slice(i / operands * perTile + 4 * quad, 4);
    llvm::copy(isa.multiply(operand, b0, b1, sum, operandType), sum.begin());
  }
}

SmallVector<SmallVector<Value>> Emitter::operandsOf(const Products &products, int64_t step) {
  SmallVector<Values> a;
  for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
    for (Value operand : products.lhs)
      a.push_back(operandFragments(operand, step, rowTile));
  return a;
}

void Emitter::multiplyWide(const Products &products) {
  // Two 8-column halves of B at a time: rows are its columns (keys), or are contracted (values; transposed on load).
  bool isByColumns = products.isByColumns;
  Value laneRow = laneRowOf(/*byHalves=*/isByColumns);
  Value laneChunk = isa.bitAnd(isa.shiftRight(lane, isByColumns ? 3 : 4), 1);
  for (int64_t step = 0; step < products.steps; ++step) {
    SmallVector<Values> a = operandsOf(products, step);
    for (int64_t pair = 0; pair < products.pairs; ++pair) {
      Value address = isByColumns ? chunkAddress(products.shared, laneRow, 16 * pair, 2 * step, laneChunk)
                                  : chunkAddress(products.shared, laneRow, 16 * step, 2 * pair, laneChunk);
      Values matrices = isa.loadMatrices(address, /*transposed=*/!isByColumns);
      for (int64_t half : {0, 1})
        multiplyQuad(products, a, matrices[2 * half], matrices[2 * half + 1], 2 * pair + half);
    }
  }
}

/// A chunk has 16 elements, so that a matrix row is a whole one: of keys, a lane has elements 4t to 4t + 3 of token g,
/// contracted in the order in which `expand` gives them; of values, transposed, elements 2g and 2g + 1 of tokens 2t and
/// 2t + 1, for the first and second 8 columns of the sums. Two chunks at a time; the second may be one too many.
void Emitter::multiplyNarrow(const Products &products) {
  bool isByColumns = products.isByColumns;
  Value laneRow = laneRowOf(/*byHalves=*/isByColumns);
  Value laneChunk = isa.bitAnd(isa.shiftRight(lane, isByColumns ? 3 : 4), 1);
  Type type = products.shared.elementType;
  int64_t chunks = isByColumns ? products.steps : products.pairs;
  // A chunk too many could lie behind the row: there the one before it is read again.
  auto chunkOf = [&](int64_t first) { return first + 1 < chunks ? laneChunk : isa.i32(0); };
  if (isByColumns) {
    for (int64_t step = 0; step < products.steps; step += 2) {
      SmallVector<SmallVector<Values>> a;
      for (int64_t next = step; next < std::min(step + 2, products.steps); ++next)
        a.push_back(operandsOf(products, next));
      for (int64_t pair = 0; pair < products.pairs; ++pair) {
        Value address = chunkAddress(products.shared, laneRow, 16 * pair, step, chunkOf(step));
        Values matrices = isa.loadMatrices(address, /*transposed=*/false);
        for (auto [next, operands] : llvm::enumerate(a))
          for (int64_t half : {0, 1}) {
            auto [first, second] = isa.expand(matrices[2 * half + static_cast<int64_t>(next)], type);
            multiplyQuad(products, operands, first, second, 2 * pair + half);
          }
      }
    }
    return;
  }
  for (int64_t step = 0; step < products.steps; ++step) {
    SmallVector<Values> a = operandsOf(products, step);
    for (int64_t pair = 0; pair < products.pairs; pair += 2) {
      Value address = chunkAddress(products.shared, laneRow, 16 * step, pair, chunkOf(pair));
      Values matrices = isa.loadMatrices(address, /*transposed=*/true);
      for (int64_t next = 0; next < std::min<int64_t>(2, products.pairs - pair); ++next) {
        auto [even0, odd0] = isa.expand(matrices[2 * next], type);
        auto [even1, odd1] = isa.expand(matrices[2 * next + 1], type);
        multiplyQuad(products, a, even0, even1, 2 * (pair + next));
        multiplyQuad(products, a, odd0, odd1, 2 * (pair + next) + 1);
      }
    }
  }
}
