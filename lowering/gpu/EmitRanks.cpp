// SPDX-License-Identifier: Apache-2.0
//
// The factored score. Keys are the first operand of the tensor cores and token factors of queries the second, so that a
// lane's results, two ranks of a token each, are packed what it holds of the second operand of the products with head
// factors: no lane needs another's.

#include "lowering/gpu/Emitter.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

/// Query ranks that one tensor core instruction computes, and half of what one sums over.
static constexpr int64_t ranksOfTile = 8;

bool mlir::tpa::gpu::isRankProduct(tile::DotOp dot) { return dot.getType().hasAxis("r") && dot.getType().hasAxis("m"); }

bool mlir::tpa::gpu::sumsRankProducts(tile::DotOp dot) {
  return dot.getLhs().getType().hasAxis("r") && dot.getRhs().getType().hasAxis("m") && !dot.getType().hasAxis("r");
}

/// The products that add up to `dot`, the first one first.
static SmallVector<tile::DotOp> summands(tile::DotOp dot) {
  SmallVector<tile::DotOp> all;
  for (; dot; dot = dot.getAccumulator() ? dot.getAccumulator().getDefiningOp<tile::DotOp>() : tile::DotOp())
    all.push_back(dot);
  std::reverse(all.begin(), all.end());
  return all;
}

static int64_t rankTiles(tile::TileType type) { return llvm::divideCeil(type.sizeOf("r"), ranksOfTile); }

/// Computes what all blocks share, into shared memory and registers.
void Emitter::prepareRanks(ArrayRef<scf::ForOp> loops) {
  rankQueries.clear();
  rankHeads.clear();
  StringAttr rank = axis("r");
  bool isPermuted = false;
  for (scf::ForOp loop : loops)
    for (auto dot : loop.getBody()->getOps<tile::DotOp>()) {
      if (isRankProduct(dot)) {
        auto type = dot.getLhs().getType();
        StringAttr feature = columnAxis(dot.getRhs().getType());
        for (StringAttr name : type.getAxes())
          if (!dot.getType().hasAxis(name))
            feature = name;
        isPermuted = isNarrow(dot.getRhs());
        RankQueries &queries = rankQueries[dot.getLhs()];
        if (queries.steps == 0) {
          queries.tiles = rankTiles(type);
          queries.steps = type.sizeOf(feature) / 16;
          queries.hasTokens = type.hasAxis("n");
          queries.offset = reserve((queries.hasTokens ? plan.rows.queries : 1) * queries.tiles * queries.steps * 256);
        }
      } else if (sumsRankProducts(dot)) {
        rankHeads[dot.getLhs()];
      }
    }
  if (rankQueries.empty())
    return;

  // Ranks of padding count for nothing: their head factors are 0, their token factors those of the last rank.
  for (auto &[tile, values] : rankHeads) {
    auto type = cast<TileType>(tile.getType());
    int64_t ranks = type.sizeOf(rank);
    for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
      for (int64_t first = 0; first < ranks; first += ranksOfTile)
        for (int64_t half : {0, 1}) {
          Value pair[2];
          for (int64_t i : {0, 1}) {
            Point point = rowPoint(2 * rowTile + half);
            Value number = isa.add(lanePair, first + i);
            bool isWhole = first + ranksOfTile <= ranks;
            point[rank] = isWhole ? number : isa.min(number, isa.i32(ranks - 1));
            pair[i] = element(tile, point);
            if (!isWhole)
              pair[i] = isa.select(isa.less(number, isa.i32(ranks)), pair[i], isa.f32(0.0));
          }
          values.push_back(isa.pack(pair[0], pair[1], operandType));
        }
  }

  // The same numbers for all parts, so that what they have in common is computed once.
  const RankQueries &front = rankQueries.front().second;
  auto type = cast<TileType>(rankQueries.front().first.getType());
  StringAttr feature;
  for (StringAttr name : type.getAxes())
    if (name != rank && name.getValue() != "n" && name.getValue() != "h")
      feature = name;
  int64_t queries = front.hasTokens ? plan.rows.queries : 1;
  Value end = isa.i32(queries * front.tiles * front.steps * warpSize), threads = isa.i32(plan.threads);
  scf::ForOp::create(isa.b, thread, end, threads, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
    Scope scope(*this);
    Value rest = isa.div(number, warpSize);
    Value step = isa.rem(rest, front.steps), tile = isa.div(rest, front.steps);
    Point point;
    point[axis("n")] = isa.div(tile, front.tiles);
    point[axis("h")] = isa.i32(0);
    Value itsRank = isa.add(isa.mul(isa.rem(tile, front.tiles), ranksOfTile), laneGroup);
    point[rank] = isa.min(itsRank, isa.i32(type.sizeOf(rank) - 1));
    const ColumnPairs columns = operandColumns(step, isPermuted);
    for (auto &[part, queriesOfPart] : rankQueries) {
      Value vector = LLVM::PoisonOp::create(isa.b, VectorType::get({2}, isa.b.getI32Type()));
      for (auto [i, pair] : llvm::enumerate(columns)) {
        point[feature] = pair.first;
        Value low = element(part, point);
        point[feature] = pair.second;
        Value packed = isa.pack(low, element(part, point), operandType);
        vector = LLVM::InsertElementOp::create(isa.b, vector, packed, isa.i32(static_cast<int64_t>(i)));
      }
      isa.store(vector, isa.shared(isa.shared(sharedMemory, queriesOfPart.offset), isa.mul(number, 8)), 8);
    }
    scf::YieldOp::create(isa.b);
  });
}

/// Takes into registers what prepareRanks has put into shared memory, where they have room for it.
void Emitter::loadRanks() {
  int64_t registers = 0;
  for (auto &[part, queries] : rankQueries)
    registers += 2 * queries.tiles * queries.steps * plan.rows.tiles;
  if (registers > largestQueryRegisters)
    return;
  for (auto &[part, queries] : rankQueries) {
    Values values;
    for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
      for (int64_t rankTile = 0; rankTile < queries.tiles; ++rankTile)
        for (int64_t step = 0; step < queries.steps; ++step) {
          auto [first, second] = rankQuery(queries, rowTile, rankTile, step);
          values.append({first, second});
        }
    queries.registers = values;
  }
}

std::pair<Value, Value> Emitter::rankQuery(const RankQueries &queries, int64_t rowTile, int64_t rankTile,
                                           int64_t step) {
  if (!queries.registers.empty()) {
    size_t number = 2 * ((rowTile * queries.tiles + rankTile) * queries.steps + step);
    return {queries.registers[number], queries.registers[number + 1]};
  }
  // All 16 rows are of one query token.
  int64_t bytes = queries.tiles * queries.steps * 256;
  Value pointer = isa.shared(isa.shared(sharedMemory, queries.offset), isa.mul(lane, 8));
  if (queries.hasTokens && plan.rows.queries > 1)
    pointer = isa.shared(pointer, isa.mul(rowQuery[2 * rowTile], bytes));
  Value vector = isa.load(VectorType::get({2}, isa.b.getI32Type()),
                          isa.shared(pointer, (rankTile * queries.steps + step) * 256), 8);
  return {LLVM::ExtractElementOp::create(isa.b, vector, isa.i32(0)),
          LLVM::ExtractElementOp::create(isa.b, vector, isa.i32(1))};
}

SmallVector<SmallVector<Value>> Emitter::keyOperands(const SharedTile &keys, int64_t first, int64_t step,
                                                     int64_t steps) {
  Value laneRow = laneRowOf(/*byHalves=*/true);
  Value laneChunk = isa.bitAnd(isa.shiftRight(lane, 3), 1);
  // Matrices: the first 8 tokens of both chunks, then the others'.
  if (!keys.isNarrow()) {
    Values m = isa.loadMatrices(chunkAddress(keys, laneRow, first, 2 * step, laneChunk), /*transposed=*/false);
    return {{m[0], m[2], m[1], m[3]}};
  }
  // A chunk is a step; a second one could lie behind the row: there the one before it is read again.
  bool isPair = step + 1 < steps;
  Values m = isa.loadMatrices(chunkAddress(keys, laneRow, first, step, isPair ? laneChunk : isa.i32(0)),
                              /*transposed=*/false);
  SmallVector<Values> operands;
  for (int64_t next = 0; next < (isPair ? 2 : 1); ++next) {
    auto [upper0, upper1] = isa.expand(m[next], keys.elementType);
    auto [lower0, lower1] = isa.expand(m[2 + next], keys.elementType);
    operands.push_back({upper0, lower0, upper1, lower1});
  }
  return operands;
}

/// Adds `products`, of one tile of keys, to `sums`: sums over the features of the keys' first factor, each scaled by
/// what is joined to it.
void Emitter::multiplyJoinedRanks(const JoinedTile &joined, ArrayRef<tile::DotOp> products,
                                  MutableArrayRef<Value> sums) {
  tile::DotOp front = products.front();
  int64_t tiles = rankTiles(front.getType()), blocks = plan.tokens / 16, steps = joined.features / 16;
  for (int64_t block = 0; block < blocks; ++block) {
    SmallVector<Values> keys;
    for (int64_t step = 0; step < steps; ++step)
      llvm::append_range(keys, keyOperands(joined.first, 16 * block, step, steps));
    const SmallVector<Values> upper = packedEntries(joined, laneGroup, 0, 16 * block),
                              lower = packedEntries(joined, laneGroup, 0, 16 * block + 8);
    for (int64_t number = 0; number < rankQueries[front.getLhs()].steps / steps; ++number) {
      Value upperFactor = joinedFactor(joined, upper, number), lowerFactor = joinedFactor(joined, lower, number);
      for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
        for (int64_t rankTile = 0; rankTile < tiles; ++rankTile) {
          Values partial(4, isa.f32(0.0));
          for (int64_t step = 0; step < steps; ++step)
            for (tile::DotOp product : products) {
              auto [b0, b1] = rankQuery(rankQueries[product.getLhs()], rowTile, rankTile, number * steps + step);
              partial = isa.multiply(keys[step], b0, b1, partial, operandType);
            }
          auto sum = sums.slice(4 * ((rowTile * blocks + block) * tiles + rankTile), 4);
          for (size_t i = 0; i < 4; ++i)
            sum[i] = isa.fma(partial[i], i < 2 ? upperFactor : lowerFactor, sum[i]);
        }
    }
  }
}

/// Four values per 16 rows of the warp, 16 tokens and 8 ranks: of tokens lane / 4 and that + 8, ranks 2 (lane % 4) and
/// the next.
SmallVector<Value> Emitter::rankFragment(tile::DotOp dot) {
  int64_t tiles = rankTiles(dot.getType()), blocks = plan.tokens / 16;
  int64_t chains = plan.rows.tiles * blocks * tiles;
  SmallVector<tile::DotOp> products = summands(dot);
  // Keys that are not put together are not rounded: there is no rest.
  for (tile::DotOp last : SmallVector<tile::DotOp>(products))
    if (joinedTile(last.getRhs()))
      llvm::erase_if(products, [&](tile::DotOp other) { return isLowPartOf(other.getRhs(), last.getRhs()); });
  // A product waits for the one before it that is added to the same sum. Where there are few sums, each summand has its
  // own.
  constexpr int64_t fewChains = 2;
  size_t sets = chains <= fewChains ? products.size() : 1;
  SmallVector<Values> sums(sets, Values(chains * 4, isa.f32(0.0)));
  for (size_t i = 0; i < products.size();) {
    // Those with the same keys share their loads.
    Value keyTile = products[i].getRhs();
    size_t first = i;
    while (i < products.size() && products[i].getRhs() == keyTile)
      ++i;
    if (auto joined = joinedTile(keyTile)) {
      multiplyJoinedRanks(*joined, ArrayRef(products).slice(first, i - first), sums.front());
      continue;
    }
    SharedTile keys = sharedTile(keyTile);
    if (failed(status))
      return sums.front();
    int64_t steps = rankQueries[products[first].getLhs()].steps;
    for (int64_t step = 0; step < steps; step += keys.isNarrow() ? 2 : 1)
      for (int64_t block = 0; block < blocks; ++block)
        for (auto [next, a] : llvm::enumerate(keyOperands(keys, 16 * block, step, steps)))
          for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
            for (int64_t rankTile = 0; rankTile < tiles; ++rankTile)
              for (size_t number = first; number < i; ++number) {
                auto [b0, b1] = rankQuery(rankQueries[products[number].getLhs()], rowTile, rankTile,
                                          step + static_cast<int64_t>(next));
                auto sum =
                    MutableArrayRef(sums[number % sets]).slice(4 * ((rowTile * blocks + block) * tiles + rankTile), 4);
                llvm::copy(isa.multiply(a, b0, b1, sum, operandType), sum.begin());
              }
  }
  for (const Values &others : ArrayRef(sums).drop_front())
    for (auto [sum, other] : llvm::zip(sums.front(), others))
      sum = isa.fadd(sum, other);
  return sums.front();
}

/// A part of products of ranks, two ranks packed: per 16 rows, 16 tokens and 8 ranks two values, of tokens lane / 4 and
/// that + 8.
SmallVector<Value> Emitter::packedRanks(Value tile) {
  for (auto &scope : packedScopes)
    if (auto found = scope.find(tile); found != scope.end())
      return found->second;
  auto split = tile.getDefiningOp<tile::SplitOp>();
  Values high, low;
  Values values = fragment(split ? split.getInput() : throughConversions(tile));
  for (size_t i = 0; i < values.size(); i += 2) {
    high.push_back(isa.pack(values[i], values[i + 1], operandType));
    if (!split)
      continue;
    auto [first, second] = isa.unpack(high.back(), operandType);
    low.push_back(isa.pack(isa.fsub(values[i], first), isa.fsub(values[i + 1], second), operandType));
  }
  if (!split)
    return packedScopes.back()[tile] = high;
  packedScopes.back()[split.getLow()] = low;
  packedScopes.back()[split.getHigh()] = high;
  return tile == split.getLow() ? low : high;
}

/// Logits from products of ranks: 8 ranks of one product and 8 of the next, of the same or another part, are what one
/// instruction sums over.
SmallVector<Value> Emitter::headFragment(tile::DotOp dot) {
  int64_t quads = plan.tokens / 8;
  Values sums(plan.rows.tiles * quads * 4, isa.f32(0.0));
  struct Half {
    const Values *heads;
    Values ranks;
    int64_t tiles, rankTile;
  };
  SmallVector<Half> halves;
  for (tile::DotOp product : summands(dot)) {
    Values ranks = packedRanks(product.getRhs());
    int64_t tiles = rankTiles(product.getLhs().getType());
    for (int64_t rankTile = 0; rankTile < tiles; ++rankTile)
      halves.push_back({&rankHeads[product.getLhs()], ranks, tiles, rankTile});
  }
  Value zero = isa.i32(0);
  for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
    for (int64_t quad = 0; quad < quads; ++quad) {
      auto sum = MutableArrayRef(sums).slice(4 * (rowTile * quads + quad), 4);
      for (size_t i = 0; i < halves.size(); i += 2) {
        Values a(4, zero), b(2, zero);
        for (size_t j = 0; j < 2 && i + j < halves.size(); ++j) {
          const Half &half = halves[i + j];
          for (size_t row : {0, 1})
            a[2 * j + row] = (*half.heads)[2 * (rowTile * half.tiles + half.rankTile) + row];
          int64_t block = rowTile * quads / 2 + quad / 2;
          b[j] = half.ranks[2 * (block * half.tiles + half.rankTile) + quad % 2];
        }
        llvm::copy(isa.multiply(a, b[0], b[1], sum, operandType), sum.begin());
      }
    }
  return sums;
}
