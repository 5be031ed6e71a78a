// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/CpuSchedule.h"

#include "dialect/PhaseOperands.h"
#include "lowering/tile/BuildPrograms.h"

#include <algorithm>
#include <functional>
#include <string>

using namespace mlir;
using namespace mlir::tpa;

namespace {

using tpac::Phase;

/// Cached tokens of one part in decode: long enough to hide a part's fixed cost, short enough that a few hundred
/// thousand tokens keep many threads busy.
constexpr int64_t splitTokens = 8192;

/// Cached tokens that one step of a matrix tile's value product takes.
constexpr int64_t matrixValueBlock = 32;

/// Multiply-adds of the score, per block of `tokens` cached tokens.
double scoreOperations(VariantAttr variant, ScoreOrder order, double queries, double heads, double tokens) {
  FactorizationAttr q = variant.getQ();
  FactorizationAttr k = variant.getK();
  double features = variant.getKeyFeatures();
  double ranks = k.getHead().isFixed() ? 1 : k.getRank();
  switch (order) {
  case ScoreOrder::merged:
    return tokens * queries * ranks * heads * (features + 1);
  case ScoreOrder::factored:
    return tokens * queries * ranks * q.getRank() * (features + heads);
  case ScoreOrder::rebuilt:
    return tokens * heads * features * (ranks + queries);
  }
  llvm_unreachable("unknown order");
}

double valueOperations(VariantAttr variant, ValueOrder order, double queries, double heads, double tokens) {
  FactorizationAttr v = variant.getV();
  double features = variant.getValueFeatures();
  double ranks = v.getHead().isFixed() ? 1 : v.getRank();
  if (order == ValueOrder::factored)
    return tokens * queries * ranks * heads * (features + 1);
  return tokens * heads * features * (ranks + queries);
}

/// The most heads of a tile whose columns are queries.
constexpr int64_t largestColumnHeads = 4;

/// Bytes of f32 per query tile of decode by matrix tiles, for each of its copies: queries and their parts, packed
/// queries and accumulators are together some eight times as large, and should leave room for the block in L2.
constexpr int64_t largestDecodeQueries = 256 << 10;

/// Bytes of the largest tiles of a block, in the type of the arithmetic.
int64_t blockBytes(VariantAttr variant, Phase phase, ScheduleAttr schedule) {
  int64_t size = variant.getTypes().getCompute().getIntOrFloatBitWidth() / 8;
  int64_t n = schedule.getQueries();
  int64_t features = std::max(variant.getKeyFeatures(), variant.getValueFeatures());
  // Two states.
  if (phase == Phase::merge)
    return 2 * n * schedule.getHeads() * variant.getValueFeatures() * size;
  if (!isAttention(phase)) {
    int64_t rows =
        std::max(variant.getK().getLocalRank(variant.getHeads()), variant.getV().getLocalRank(variant.getHeads()));
    return n * rows * std::max(features, variant.getHeads().getLocal()) * size;
  }
  int64_t h = schedule.getHeads();
  int64_t m = schedule.getTokens();
  int64_t keys = m * features;
  auto perHead = [&](FactorizationAttr side, bool rebuilt) {
    return side.hasMap(HeadMap::one_hot) || (rebuilt && !side.getHead().isFixed());
  };
  if (perHead(variant.getK(), schedule.getScore() == ScoreOrder::rebuilt) ||
      perHead(variant.getV(), schedule.getValue() == ValueOrder::rebuilt))
    keys *= h;
  // Queries as the columns of matrix tiles pass by in chunks, head by head: no more logits and keys exist at once.
  bool hasChunks = phase == Phase::prefill && h <= largestColumnHeads && n % 32 == 0 &&
                   schedule.getOperands() != variant.getTypes().getCompute();
  if (hasChunks)
    return size * (m * features + 32 * m + n * h * features);
  return size * (keys + n * h * m + n * h * features);
}

/// Bytes of the token factors of a tile of queries, which stay for all heads of an item.
int64_t queryBytes(VariantAttr variant, Phase phase, ScheduleAttr schedule) {
  FactorizationAttr q = variant.getQ();
  if (!isAttention(phase) || q.getHead().isFixed())
    return 0;
  int64_t size = variant.getTypes().getCompute().getIntOrFloatBitWidth() / 8;
  return size * schedule.getQueries() * q.getRank() * variant.getKeyFeatures();
}

/// Whether matrix tiles take the token factors of `side`: a row of features per cached token.
bool hasMatrixRows(FactorizationAttr side) {
  return side.getOrder() == 2 && !side.hasMap(HeadMap::one_hot) && !side.getToken().front().isLearned();
}

/// Cached tokens of a block where queries are columns: each chunk of queries loads and stores its sums once per block,
/// and its weights, 16 KiB, stay in the L1 cache.
constexpr int64_t largestColumnBlock = 256;

/// A vector does 16 multiply-adds in the time of so many of a matrix unit, each.
constexpr double matrixPace = 32;

/// Heads and queries of a tile, the best first. Heads that read the same factors take them from the L1 and L2 caches
/// after the first one; what they have together, accumulators and packed queries, must stay in L2.
std::vector<std::pair<int64_t, int64_t>> columnTiles(VariantAttr variant) {
  bool sharesFactors =
      llvm::any_of(std::array{variant.getQ(), variant.getK(), variant.getV()}, [](FactorizationAttr side) {
        return !side.getHead().isFixed() || side.hasMap(HeadMap::groups) || side.hasMap(HeadMap::ones);
      });
  std::vector<std::pair<int64_t, int64_t>> tiles;
  for (int64_t heads : {largestColumnHeads, int64_t(2), int64_t(1)})
    for (int64_t queries : {1024, 512, 256, 128})
      if (heads == 1 || sharesFactors)
        tiles.push_back({heads, queries});
  return tiles;
}

/// Prefill by matrix tiles, queries as their columns and few heads at a time; null where the variant does not suit
/// them. The orders are those with the least work, counted in a matrix unit's multiply-adds: rebuilding costs vector
/// work per head and token, which many queries share; staying in factor space costs products, and vector work per pair.
ScheduleAttr columnSchedule(VariantAttr variant, tpac::CacheStorage storage) {
  FactorizationAttr k = variant.getK(), v = variant.getV();
  auto hasRows = [](FactorizationAttr side) { return side.getOrder() == 2 && !side.getToken().front().isLearned(); };
  double d = static_cast<double>(variant.getKeyFeatures()), e = static_cast<double>(variant.getValueFeatures());
  if (!variant.getTypes().getCompute().isF32() || variant.rotatesKeysOnRead() || v.isShared() || !hasRows(k) ||
      !hasRows(v) || variant.getKeyFeatures() % 32 != 0 || variant.getValueFeatures() % 32 != 0)
    return {};
  // Matrix tiles read rows of one page.
  int64_t tokens = largestColumnBlock;
  while (storage.pageSize % tokens != 0)
    tokens /= 2;
  if (tokens < 32)
    return {};
  // A query that is rounded anyway has no second part; rebuilt keys always have one.
  int64_t parts = variant.getQueryPrecision() == QueryPrecision::storage ? 1 : 2;
  double keyRanks = k.getHead().isFixed() ? 1 : k.getRank(), valueRanks = v.getHead().isFixed() ? 1 : v.getRank();
  for (auto [heads, queries] : columnTiles(variant)) {
    double rebuilding = matrixPace / static_cast<double>(queries);
    double mergedScore = keyRanks * (parts * d + matrixPace);
    double rebuiltScore = 3 * d + rebuilding * d * (keyRanks + 4);
    double factoredValue = valueRanks * (e + matrixPace), rebuiltValue = e + rebuilding * e * (valueRanks + 1);
    bool rebuildsKeys = !k.getHead().isFixed() && rebuiltScore < mergedScore;
    bool rebuildsValues = !v.getHead().isFixed() && rebuiltValue < factoredValue;
    // Where many queries pay for rebuilding a head's keys, they come before many heads.
    if (heads > 2 && !k.getHead().isFixed() && 3 * d < mergedScore)
      continue;
    auto schedule = ScheduleAttr::get(
        variant.getContext(), tokens, queries, heads, rebuildsKeys ? ScoreOrder::rebuilt : ScoreOrder::merged,
        rebuildsValues ? ValueOrder::rebuilt : ValueOrder::factored, TileRows::heads,
        BFloat16Type::get(variant.getContext()), rebuildsKeys ? 2 : parts,
        /*item_heads=*/16, /*split=*/0, storage.valueBlock, storage.pageSize, /*groups=*/1,
        /*stages=*/1, /*bulk=*/false);
    if (llvm::Error error = tpac::checkCpuSchedule(variant, Phase::prefill, schedule))
      llvm::consumeError(std::move(error));
    else
      return schedule;
  }
  return {};
}

/// Attention by matrix tiles, heads as their columns; null where the variant does not suit them.
ScheduleAttr matrixSchedule(VariantAttr variant, Phase phase, tpac::CacheStorage storage) {
  int64_t heads = tpac::largestHeadTile(variant);
  if (!isAttention(phase) || !variant.getTypes().getCompute().isF32() || heads <= 8 || variant.rotatesKeysOnRead() ||
      !hasMatrixRows(variant.getK()) || !hasMatrixRows(variant.getV()) || variant.getKeyFeatures() % 32 != 0 ||
      variant.getValueFeatures() % 16 != 0)
    return {};
  // A query that is rounded anyway has no second part.
  int64_t parts = variant.getQueryPrecision() == QueryPrecision::storage ? 1 : 2;
  // Queries share a block while it is in L2; those that a call has not are not computed. One query's stages of a block
  // of 64 tokens find the scores of the stage before in L1 (docs/perf-log.md).
  bool isDecode = phase == Phase::decode;
  for (int64_t tokens : {128, 64, 32}) {
    // Matrix tiles read rows of one page. Blocks of 32 are for pages that hold no larger ones.
    if ((isDecode && tokens > 64) || storage.pageSize % tokens != 0 || (tokens == 32 && storage.pageSize == 0))
      continue;
    for (int64_t queries : {16, 8, 4, 2, 1}) {
      if (isDecode && queries > 1 && 4 * queries * heads * variant.getKeyFeatures() > largestDecodeQueries)
        continue;
      auto schedule = ScheduleAttr::get(variant.getContext(), tokens, queries, heads, ScoreOrder::merged,
                                        ValueOrder::factored, BFloat16Type::get(variant.getContext()), parts,
                                        isDecode ? splitTokens : 0, storage.valueBlock, storage.pageSize);
      if (llvm::Error error = tpac::checkCpuSchedule(variant, phase, schedule))
        llvm::consumeError(std::move(error));
      else
        return schedule;
    }
  }
  return {};
}

} // namespace

tpac::ScheduleSpace tpac::cpuScheduleSpace(VariantAttr variant, Phase phase, CacheStorage storage) {
  Type compute = variant.getTypes().getCompute();
  ScheduleSpace space;
  space.queries = {1, 2, 4, 8, 16};
  space.heads = headTiles(variant);
  space.valueBlock = {storage.valueBlock};
  space.pageSize = {storage.pageSize};
  if (!isAttention(phase)) {
    // Append and merge know no blocks of cached tokens and no products; append no tiles of heads.
    if (phase == Phase::append)
      space.heads = {largestHeadTile(variant)};
    space.tokens = {64};
    space.score = {ScoreOrder::merged};
    space.value = {ValueOrder::factored};
    space.operands = {compute};
    space.queryParts = {1};
    space.split = {0};
    return space;
  }
  space.tokens = {8, 16, 32, 64, 128, 256};
  space.score = {ScoreOrder::merged};
  if (allowsFactoredScore(variant))
    space.score.push_back(ScoreOrder::factored);
  space.score.push_back(ScoreOrder::rebuilt);
  space.value = {ValueOrder::factored, ValueOrder::rebuilt};
  space.operands = {compute};
  space.queryParts = {1};
  if (Type narrow = narrowOperands(variant)) {
    space.operands.push_back(narrow);
    space.queryParts.push_back(2);
  }
  if (phase == Phase::prefill) {
    space.queries.insert(space.queries.end(), {32, 64, 128, 256, 512, 1024});
    space.itemHeads = {0, 8, 16, 32};
    space.heads = headTiles(variant, {2, largestColumnHeads});
  }
  space.split = {0, 1024, 2048, 4096, 8192, 16384, 32768};
  return space;
}

llvm::Error tpac::checkCpuSchedule(VariantAttr variant, Phase phase, ScheduleAttr schedule) {
  if (llvm::Error error = checkSchedule(variant, schedule))
    return error;
  if (llvm::Error error = cpuScheduleSpace(variant, phase, storageOf(schedule)).contains(schedule))
    return error;
  if (schedule.getOperands() != variant.getTypes().getCompute() && schedule.getScore() == ScoreOrder::factored)
    return llvm::createStringError("schedule: score: expected merged or rebuilt where operands are narrower than the "
                                   "arithmetic, got factored: this target multiplies token factors as they are");
  int64_t bytes = blockBytes(variant, phase, schedule);
  if (bytes > largestCpuBlock)
    return llvm::createStringError("schedule: tokens, queries, heads: expected tiles of at most " +
                                   std::to_string(largestCpuBlock) + " bytes together, got " + std::to_string(bytes));
  if (int64_t bytes = queryBytes(variant, phase, schedule); bytes > largestCpuQueries)
    return llvm::createStringError("schedule: queries: expected token factors of at most " +
                                   std::to_string(largestCpuQueries) + " bytes, got " + std::to_string(bytes));
  return llvm::Error::success();
}

int64_t tpac::defaultCpuValueBlock(VariantAttr variant, const CpuTraits &traits, int64_t pageSize) {
  bool suits = traits.amx && ScheduleAttr::isPageSize(pageSize, matrixValueBlock) &&
               matrixSchedule(variant, Phase::decode, {matrixValueBlock, pageSize});
  return suits ? matrixValueBlock : 0;
}

llvm::Expected<ScheduleAttr> tpac::defaultCpuSchedule(VariantAttr variant, Phase phase, const CpuTraits &traits,
                                                      CacheStorage storage) {
  if (llvm::Error error = checkStorage(variant, storage))
    return error;
  if (traits.amx && phase == Phase::prefill)
    if (ScheduleAttr schedule = columnSchedule(variant, storage))
      return schedule;
  if (traits.amx)
    if (ScheduleAttr schedule = matrixSchedule(variant, phase, storage))
      return schedule;
  MLIRContext *context = variant.getContext();
  Type compute = variant.getTypes().getCompute();
  ScheduleSpace space = cpuScheduleSpace(variant, phase, storage);
  std::vector<int64_t> queryTiles = space.queries, tokenTiles = space.tokens, headTiles;
  if (phase == Phase::decode) {
    // One query reads each block once: what counts is that the block's tiles stay in the L1 cache (docs/perf-log.md).
    queryTiles = {1};
    llvm::erase_if(tokenTiles, [&](int64_t tokens) { return tokens > (traits.lanes == 16 ? 32 : 16); });
  } else {
    llvm::erase_if(tokenTiles, [](int64_t tokens) { return tokens > 64; });
    llvm::erase_if(queryTiles, [](int64_t queries) { return queries > 16; });
  }
  // A block that lies in one page finds it once; others find the page of each row.
  if (auto holds = [&](int64_t tokens) { return storage.pageSize % tokens == 0; };
      isAttention(phase) && llvm::any_of(tokenTiles, holds))
    llvm::erase_if(tokenTiles, std::not_fn(holds));
  // No tile is ragged.
  llvm::copy_if(space.heads, std::back_inserter(headTiles),
                [&](int64_t heads) { return largestHeadTile(variant) % heads == 0; });

  // Large tiles first: of the first size with a legal schedule, the order with the fewest operations.
  for (int64_t queries : llvm::reverse(queryTiles))
    for (int64_t tokens : llvm::reverse(tokenTiles))
      for (int64_t heads : llvm::reverse(headTiles)) {
        ScheduleAttr best;
        double least = 0;
        for (ScoreOrder score : space.score)
          for (ValueOrder value : space.value) {
            auto candidate =
                ScheduleAttr::get(context, tokens, queries, heads, score, value, compute, 1,
                                  phase == Phase::decode ? splitTokens : 0, storage.valueBlock, storage.pageSize);
            if (llvm::Error error = checkCpuSchedule(variant, phase, candidate)) {
              llvm::consumeError(std::move(error));
              continue;
            }
            double operations = scoreOperations(variant, score, queries, heads, tokens) +
                                valueOperations(variant, value, queries, heads, tokens);
            if (!best || operations < least) {
              best = candidate;
              least = operations;
            }
          }
        if (best)
          return best;
      }
  return llvm::createStringError("no schedule of " + std::string(phaseName(phase)) + " of '" +
                                 variant.getName().getValue().str() + "' fits the CPU's tiles of " +
                                 std::to_string(largestCpuBlock) + " bytes");
}
