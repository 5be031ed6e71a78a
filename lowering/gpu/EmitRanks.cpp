// SPDX-License-Identifier: Apache-2.0
//
// The factored score. Keys are the first operand of the tensor cores and token factors of queries the second, so that a
// lane's results, two ranks of a token each, are packed what it holds of the second operand of the products with head
// factors: no lane needs another's.

#include "lowering/gpu/Emitter.h"

#include "mlir/IR/Matchers.h"

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

/// Whether another product is added to `dot`.
static bool isSummand(tile::DotOp dot) {
  return llvm::any_of(dot->getUsers(), [&](Operation *user) {
    auto other = dyn_cast<tile::DotOp>(user);
    return other && other.getAccumulator() == dot.getResult();
  });
}

static int64_t rankTiles(tile::TileType type) { return llvm::divideCeil(type.sizeOf("r"), ranksOfTile); }

Emitter::RankKey Emitter::rankKey(tile::DotOp dot) {
  tile::RopeOp turn = turnOf(dot);
  if (!turn)
    return {dot.getLhs(), Value()};
  auto row = turn.getInput().getDefiningOp<tile::LoadOp>();
  auto isSame = [](Value x, Value y) {
    APInt left, right;
    return x == y || (matchPattern(x, m_ConstantInt(&left)) && matchPattern(y, m_ConstantInt(&right)) && left == right);
  };
  for (tile::LoadOp known : learnedRows)
    if (known.getMemory() == row.getMemory() &&
        llvm::all_of(llvm::zip(known.getIndices(), row.getIndices()),
                     [&](auto pair) { return isSame(std::get<0>(pair), std::get<1>(pair)); }))
      return {dot.getLhs(), known.getResult()};
  learnedRows.push_back(row);
  return {dot.getLhs(), row.getResult()};
}

/// A query's element that takes the row which `rope` rotates; `part`: the query's tile rounded, or what that has left.
Value Emitter::turnedElement(Value part, tile::RopeOp rope, const Point &point) {
  StringAttr feature = columnAxis(rope.getInput().getType());
  int64_t half = rope.getRope().getDRot() / 2;
  bool isHalf = rope.getRope().getLayout() == RopeLayout::half;
  Value own = point.lookup(feature);
  Value isSecond = isHalf ? isa.less(isa.i32(half - 1), own) : isa.equals(isa.bitAnd(own, 1), 1);
  int64_t distance = isHalf ? half : 1;
  Point other = point;
  other[feature] = isa.add(own, isa.select(isSecond, isa.i32(-distance), isa.i32(distance)));
  Value query = withoutRounding(part);
  Value q = element(query, point), b = element(rope.getInput(), point);
  Value otherQ = element(query, other), otherB = element(rope.getInput(), other);
  // q1 b1 + q2 b2, q2 b1 - q1 b2.
  Value first = isa.select(isSecond, otherB, b), second = isa.select(isSecond, isa.fsub(isa.f32(-0.0), b), otherB);
  Value value = isa.fma(q, first, isa.fmul(otherQ, second));
  auto rounded = [&](Value x) { return isa.widen(isa.narrow(x, operandType), operandType); };
  auto split = part.getDefiningOp<tile::SplitOp>();
  bool isRest = split && part == split.getLow();
  return isRest ? rounded(isa.fsub(value, rounded(value))) : rounded(value);
}

/// Computes what all blocks share, into shared memory and registers.
void Emitter::prepareRanks(ArrayRef<scf::ForOp> loops) {
  rankQueries.clear();
  learnedRows.clear();
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
        RankQueries &queries = rankQueries[rankKey(dot)];
        if (queries.steps == 0) {
          queries.tiles = rankTiles(type);
          queries.steps = type.sizeOf(feature) / 16;
          queries.hasTokens = type.hasAxis("n");
          queries.turn = turnOf(dot);
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
  auto type = cast<TileType>(rankQueries.front().first.first.getType());
  StringAttr feature;
  for (StringAttr name : type.getAxes())
    if (name != rank && !isRowAxis(name))
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
    for (auto &[key, queriesOfPart] : rankQueries) {
      auto elementOf = [&, part = key.first, turn = queriesOfPart.turn] {
        return turn ? turnedElement(part, turn, point) : element(part, point);
      };
      Value vector = LLVM::PoisonOp::create(isa.b, VectorType::get({2}, isa.b.getI32Type()));
      for (auto [i, pair] : llvm::enumerate(columns)) {
        point[feature] = pair.first;
        Value low = elementOf();
        point[feature] = pair.second;
        Value packed = isa.pack(low, elementOf(), operandType);
        vector = LLVM::InsertElementOp::create(isa.b, vector, packed, isa.i32(static_cast<int64_t>(i)));
      }
      isa.store(vector, isa.shared(isa.shared(sharedMemory, queriesOfPart.offset), isa.mul(number, 8)), 8);
    }
    scf::YieldOp::create(isa.b);
  });
}

/// Takes into registers what prepareRanks has put into shared memory, where they have room for it.
void Emitter::loadRanks(ArrayRef<scf::ForOp> loops) {
  int64_t registers = 0;
  for (auto &[part, queries] : rankQueries)
    registers += 2 * queries.tiles * queries.steps * plan.rows.tiles;
  if (!keepsQueries(registers, loops))
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
void Emitter::multiplyJoinedRanks(const JoinedTile &joined, ArrayRef<const RankQueries *> products,
                                  MutableArrayRef<Value> sums) {
  int64_t tiles = products.front()->tiles, blocks = plan.tokens / 16, steps = joined.features / 16;
  for (int64_t block = 0; block < blocks; ++block) {
    SmallVector<Values> keys;
    for (int64_t step = 0; step < steps; ++step)
      llvm::append_range(keys, keyOperands(joined.first, 16 * block, step, steps));
    const SmallVector<Values> upper = packedEntries(joined, laneGroup, 0, 16 * block),
                              lower = packedEntries(joined, laneGroup, 0, 16 * block + 8);
    for (int64_t number = 0; number < products.front()->steps / steps; ++number) {
      Value upperFactor = joinedFactor(joined, upper, number), lowerFactor = joinedFactor(joined, lower, number);
      for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
        for (int64_t rankTile = 0; rankTile < tiles; ++rankTile) {
          Values partial(4, isa.f32(0.0));
          for (int64_t step = 0; step < steps; ++step)
            for (const RankQueries *product : products) {
              auto [b0, b1] = rankQuery(*product, rowTile, rankTile, number * steps + step);
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
  // Products with the same turns are computed together: their keys are loaded once.
  SmallVector<tile::DotOp> results;
  for (auto other : dot->getBlock()->getOps<tile::DotOp>())
    if (other == dot || (turnOf(dot) && turnOf(other) && keysOf(other) == keysOf(dot) && !isSummand(other)))
      results.push_back(other);
  int64_t chains = plan.rows.tiles * blocks * tiles * static_cast<int64_t>(results.size());
  // A product waits for the one before it that is added to the same sum. Where there are few sums, each summand has its
  // own.
  constexpr int64_t fewChains = 2;
  struct Summand {
    const RankQueries *queries;
    MutableArrayRef<Value> sums;
  };
  SmallVector<SmallVector<Values>> sums(results.size());
  // Those with the same keys share their loads.
  llvm::MapVector<Value, SmallVector<Summand>> byKeys;
  for (auto [result, own] : llvm::zip(results, sums)) {
    SmallVector<tile::DotOp> products = summands(result);
    // Keys that are not put together are not rounded: there is no rest.
    for (tile::DotOp last : SmallVector<tile::DotOp>(products))
      if (joinedTile(last.getRhs()))
        llvm::erase_if(products, [&](tile::DotOp other) { return isLowPartOf(other.getRhs(), last.getRhs()); });
    own.assign(chains <= fewChains ? products.size() : 1, Values(plan.rows.tiles * blocks * tiles * 4, isa.f32(0.0)));
    for (auto [number, product] : llvm::enumerate(products))
      byKeys[keysOf(product)].push_back({&rankQueries[rankKey(product)], own[number % own.size()]});
  }
  for (auto &[keyTile, products] : byKeys) {
    if (auto joined = joinedTile(keyTile)) {
      SmallVector<const RankQueries *> queries;
      for (const Summand &summand : products)
        queries.push_back(summand.queries);
      multiplyJoinedRanks(*joined, queries, products.front().sums);
      continue;
    }
    SharedTile keys = sharedTile(keyTile);
    if (failed(status))
      return sums.front().front();
    int64_t steps = products.front().queries->steps;
    for (int64_t step = 0; step < steps; step += keys.isNarrow() ? 2 : 1)
      for (int64_t block = 0; block < blocks; ++block)
        for (auto [next, a] : llvm::enumerate(keyOperands(keys, 16 * block, step, steps)))
          for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
            for (int64_t rankTile = 0; rankTile < tiles; ++rankTile)
              for (Summand &summand : products) {
                auto [b0, b1] = rankQuery(*summand.queries, rowTile, rankTile, step + static_cast<int64_t>(next));
                auto sum = summand.sums.slice(4 * ((rowTile * blocks + block) * tiles + rankTile), 4);
                llvm::copy(isa.multiply(a, b0, b1, sum, operandType), sum.begin());
              }
  }
  for (auto [result, own] : llvm::zip(results, sums)) {
    for (const Values &others : ArrayRef(own).drop_front())
      for (auto [sum, other] : llvm::zip(own.front(), others))
        sum = isa.fadd(sum, other);
    assign(result, own.front());
  }
  return fragment(dot);
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
