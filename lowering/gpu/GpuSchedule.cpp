// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/GpuSchedule.h"

#include "dialect/PhaseOperands.h"
#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/Machine.h"
#include "lowering/tile/BuildPrograms.h"

#include <numeric>

using namespace mlir;
using namespace mlir::tpa;

namespace {

using tpac::GpuLimits;
using tpac::Phase;

constexpr int64_t largestFeatures = 1024;
constexpr int64_t largestWarps = 16;

llvm::Error illegal(const llvm::Twine &message) { return llvm::createStringError("schedule: " + message); }

bool isTensorCoreType(Type type) { return type.isBF16() || type.isF16(); }

/// Warps that share 16 rows of an accumulator.
int64_t columnPartsOf(VariantAttr variant) { return tpa::gpu::columnParts(variant.getValueFeatures()); }

/// Whether products read the small factors of order 3 and above as they are cached (Emitter::joinedTile).
bool isJoined(VariantAttr variant, FactorizationAttr factorization) {
  bool isCached = llvm::all_of(factorization.getToken(), [](auto factor) { return factor.isContextual(); });
  return factorization.getOrder() > 2 && isCached && !factorization.getHead().isFixed() &&
         factorization.getToken().front().getSize() % 16 == 0 &&
         variant.getTypes().getToken() == tpac::narrowOperands(variant) && columnPartsOf(variant) == 1;
}

bool isRotatedOnRead(VariantAttr variant, Side side) {
  return variant.rotatesKeysOnRead() &&
         (side == Side::k || (getFactorization(variant, side).isShared() && variant.getVSees() == ValueSees::rotated));
}

/// A side's token factors as they are stored.
FactorizationAttr storedFactors(VariantAttr variant, Side side) {
  FactorizationAttr factorization = getFactorization(variant, side);
  return factorization.isShared() ? variant.getK() : factorization;
}

/// Whether blocks of a side's token factors are computed before products read them, where a thread block has `rows`.
bool isComputed(VariantAttr variant, Side side, const tpa::gpu::RowMap &rows) {
  if (isRotatedOnRead(variant, side))
    return true;
  FactorizationAttr stored = storedFactors(variant, side);
  // Learned values are multiplied by sums of weights.
  if (llvm::all_of(stored.getToken(), [](auto factor) { return factor.isLearned(); }))
    return side == Side::k;
  if (variant.getTypes().isQuantized() && tpa::gpu::widensOnce(rows, columnPartsOf(variant)))
    return true;
  return stored.getOrder() > 2 && !isJoined(variant, stored);
}

/// Whether queries take a learned row of K, so that all ranks' keys are cosines and sines (gpu::turnOf).
bool isTurned(VariantAttr variant) {
  FactorizationAttr k = variant.getK();
  RopeAttr rope = variant.getRope();
  return rope && variant.rotatesKeysOnRead() && k.getOrder() == 2 && k.getToken().front().isLearned() &&
         !k.getHead().isFixed() && rope.getOffset() == 0 && rope.getDRot() == variant.getKeyFeatures();
}

tpa::gpu::RowMap rowMapOf(VariantAttr variant, int64_t queries, int64_t heads, int64_t parts, TileRows side) {
  return tpa::gpu::RowMap::of(queries, heads, tpac::gpuCachesHeads(variant),
                              std::max(variant.getKeyFeatures(), variant.getValueFeatures()), tpac::gpuScores(variant),
                              parts, side);
}

/// What keeps cached tokens from the rows of the tensor cores' results; empty where nothing does. What products read of
/// the cache is their first operand then, as a warp's matrix loads give it.
std::string whyNotTokensOnRows(VariantAttr variant) {
  if (variant.getTypes().isQuantized())
    return "token factors have 8 bits";
  if (columnPartsOf(variant) > 1)
    return "warps share accumulators of " + std::to_string(variant.getValueFeatures()) + " features";
  if (variant.rotatesKeysOnRead())
    return "keys are rotated on read";
  for (auto [name, side] : {std::pair("k", Side::k), {"v", Side::v}})
    if (int64_t order = storedFactors(variant, side).getOrder(); order > 2)
      return std::string(name) + " has order " + std::to_string(order);
  return variant.getK().getToken().front().isLearned() ? "k's token factors are learned" : "";
}

/// Shared memory that the kernel of `schedule` takes, from above.
int64_t sharedBytes(VariantAttr variant, ScheduleAttr schedule) {
  int64_t rowBytes = tpac::gpuCacheLayout(variant).rowBytes;
  auto rows = tpac::gpuRowMap(variant, schedule);
  int64_t ring = schedule.getGroups() * schedule.getStages() * schedule.getTokens() * rowBytes;
  int64_t bytes = 1024 + ring;
  // The groups' merge takes the ring's place where it fits there.
  int64_t exchange = schedule.getGroups() > 1 ? schedule.getGroups() * rows.rows() * variant.getValueFeatures() * 4 : 0;
  bytes += exchange > ring ? exchange : 0;
  FactorizationAttr q = variant.getQ();
  bool isFactored = schedule.getScore() == ScoreOrder::factored;
  // Queries as operands: rows of heads, or 8 ranks of a query token, times 16 features.
  int64_t operands =
      isFactored ? schedule.getQueries() * llvm::divideCeil(q.getRank(), 8) * 256 : rows.rows() * int64_t(32);
  bool takesRows = isFactored && isTurned(variant);
  bytes +=
      schedule.getQueryParts() * operands * variant.getKeyFeatures() / 16 * (takesRows ? variant.getK().getRank() : 1);
  bytes += schedule.getGroups() * rows.rows() * 8;
  // What queries are merged from is kept: rotated, or as it is loaded.
  bool isMerged = !q.getHead().isFixed();
  int64_t ranks = q.hasMap(HeadMap::one_hot) ? schedule.getHeads() : q.getRank();
  if (variant.getRope() || isMerged)
    bytes += schedule.getQueries() * ranks * q.getToken().front().getSize() * 4;
  if (isMerged && !isFactored)
    bytes += schedule.getQueries() * ranks * schedule.getHeads() * 4;
  for (Side side : {Side::q, Side::k, Side::v}) {
    HeadFactorAttr head = getFactorization(variant, side).getHead();
    if (head.getFunction() == HeadFunction::softmax && (side == Side::q || head.isLearned()))
      bytes += schedule.getQueries() * getFactorization(variant, side).getRank() * variant.getHeads().getLocal() * 4;
  }
  for (auto [side, features] : {std::pair(Side::k, variant.getKeyFeatures()), {Side::v, variant.getValueFeatures()}})
    if (isComputed(variant, side, rows)) {
      FactorizationAttr factorization = getFactorization(variant, side);
      bool isOne = factorization.getHead().isFixed() || (side == Side::k && takesRows);
      int64_t ranks = isOne ? 1 : factorization.getRank();
      // Rounding leaves a second part of what was computed, not of what was cached.
      bool isCached = storedFactors(variant, side).getOrder() == 2 && !isRotatedOnRead(variant, side) &&
                      storedFactors(variant, side).getToken().front().isContextual();
      if (side == Side::k && !isCached)
        ranks *= schedule.getQueryParts();
      FactorizationAttr stored = storedFactors(variant, side);
      // Those of the next block beside them (Emitter::canFillAhead).
      int64_t buffers = schedule.getBulk() && schedule.getStages() > 2 ? 2 : 1;
      bytes += ranks * buffers * schedule.getGroups() * schedule.getTokens() * (features * 2 + 16);
      // Rotated anew for each block.
      if (stored.getToken().front().isLearned())
        bytes += stored.getRank() * stored.getToken().front().getSize() * 4;
    }
  return bytes + 2048;
}

/// Shared memory that append takes, from above: rotated and quantised rows, and head factors behind a softmax, of one
/// token.
int64_t appendBytes(VariantAttr variant) {
  int64_t bytes = 2048;
  auto keep = [&](int64_t elements) { bytes += llvm::alignTo(elements * 4, 128); };
  for (Side side : {Side::k, Side::v}) {
    FactorizationAttr factorization = getFactorization(variant, side);
    int64_t rank = factorization.getLocalRank(variant.getHeads());
    bool isQuantized = variant.getTypes().isQuantized();
    bool isRotated = side == Side::k && variant.getRope() && !variant.rotatesKeysOnRead();
    for (auto [i, factor] : llvm::enumerate(factorization.getToken())) {
      if (isQuantized || (isRotated && i == 0))
        keep(rank * factor.getSize());
      if (isQuantized)
        keep(rank);
    }
    if (factorization.getHead().getFunction() == HeadFunction::softmax)
      keep(rank * variant.getHeads().getLocal());
  }
  return bytes;
}

/// What a schedule of `rows` that is not chosen by measuring takes. Decode of one query token waits for bytes, and what
/// is not hidden behind them is what comes before the first block: the factored score merges no queries. Of several
/// tokens the products take the time; with several ranks of K each block has as many chains of products, roundings and
/// products again, and takes longer by them than it saves (docs/gpu-decode.md). Not so at order 3 and above, where what
/// is joined to the first factor multiplies products of the former for all heads at once, of the latter for each; nor
/// where keys are rotated on read, whose two parts make products more and which, learned, are the same for all ranks.
ScoreOrder defaultScore(VariantAttr variant, const tpa::gpu::RowMap &rows) {
  if (!tpac::allowsFactoredScore(variant) || !rows.hasOneQueryPerTile())
    return ScoreOrder::merged;
  auto products = [&](ScoreOrder order) { return tpac::gpuTileProducts(variant, order, TileRows::heads, 1); };
  bool hasFewer =
      (tpac::gpuScores(variant) == 1 || isJoined(variant, variant.getK()) || isRotatedOnRead(variant, Side::k)) &&
      products(ScoreOrder::factored) < products(ScoreOrder::merged);
  return rows.queries == 1 || hasFewer ? ScoreOrder::factored : ScoreOrder::merged;
}

/// Tensor core instructions of all warps for 16 cached tokens.
int64_t blockProducts(VariantAttr variant, const tpa::gpu::RowMap &rows, ScoreOrder score, int64_t queryParts) {
  return rows.rows() / rows.rowsOfTile() * tpac::gpuTileProducts(variant, score, rows.side, queryParts);
}

/// What a schedule that is not chosen by measuring has on rows: tokens where that takes a quarter fewer tensor core
/// instructions and those of heads take longer than the bytes, which all tiles of `queries` query tokens share, by what
/// an H100 does of both (docs/gpu-decode.md).
TileRows defaultRows(VariantAttr variant, const tpa::gpu::RowMap &heads, ScoreOrder score, int64_t queryParts,
                     int64_t queries) {
  // 2846 GB/s, 643 TFLOP/s.
  constexpr int64_t bytesOfProduct = 18;
  if (!whyNotTokensOnRows(variant).empty())
    return TileRows::heads;
  const int64_t own = blockProducts(variant, heads, score, queryParts);
  auto tokens = rowMapOf(variant, heads.queries, heads.heads, queryParts, TileRows::tokens);
  const bool hasFewer = 4 * blockProducts(variant, tokens, ScoreOrder::merged, queryParts) <= 3 * own;
  const int64_t bytes = 16 * tpac::gpuCacheLayout(variant).rowBytes;
  const int64_t tiles = llvm::divideCeil(queries, heads.queries);
  const bool waitsForProducts = tiles * own * bytesOfProduct > bytes;
  return hasFewer && waitsForProducts ? TileRows::tokens : TileRows::heads;
}

} // namespace

GpuLimits GpuLimits::of(llvm::StringRef chip) {
  int number = 0;
  chip.drop_front(3).take_while([](char c) { return c >= '0' && c <= '9'; }).getAsInteger(10, number);
  GpuLimits limits;
  limits.hasBulk = number >= 90;
  bool isSmall = number == 86 || number == 89 || number >= 120;
  limits.sharedBytes = (isSmall ? 99 : number < 90 ? 163 : 227) * 1024;
  return limits;
}

bool tpac::gpuCachesHeads(VariantAttr variant) {
  return variant.getK().getHead().isContextual() || variant.getV().getHead().isContextual();
}

int64_t tpac::gpuScores(VariantAttr variant) {
  return variant.getK().getHead().isFixed() ? 1 : variant.getK().getRank();
}

tpa::gpu::RowMap tpac::gpuRowMap(VariantAttr variant, ScheduleAttr schedule) {
  return rowMapOf(variant, schedule.getQueries(), schedule.getHeads(), schedule.getQueryParts(), schedule.getRows());
}

int64_t tpac::gpuTileProducts(VariantAttr variant, ScoreOrder score, TileRows side, int64_t queryParts) {
  const int64_t halves = side == TileRows::heads ? 2 : 1;
  const int64_t steps = variant.getKeyFeatures() / 16;
  const int64_t rankTiles = llvm::divideCeil(variant.getQ().getRank(), tpa::gpu::columnsOfOperand);
  const int64_t perScore = score == ScoreOrder::merged ? halves * steps : rankTiles * (steps + 1);
  const int64_t valueRanks = variant.getV().getHead().isFixed() ? 1 : variant.getV().getRank();
  const int64_t columns = variant.getValueFeatures() / columnPartsOf(variant);
  return gpuScores(variant) * queryParts * perScore + valueRanks * halves * columns / 16;
}

/// Of append and merge, which compute element by element: one token at a time.
static tpac::ScheduleSpace elementSpace(VariantAttr variant, int64_t pageSize) {
  tpac::ScheduleSpace space;
  space.tokens = {16};
  space.queries = {1};
  space.heads = {tpac::largestHeadTile(variant)};
  space.score = {ScoreOrder::merged};
  space.value = {ValueOrder::factored};
  space.operands = {variant.getTypes().getCompute()};
  space.queryParts = {1};
  space.split = {0};
  space.valueBlock = {0};
  space.pageSize = {pageSize};
  return space;
}

llvm::Expected<tpac::ScheduleSpace> tpac::gpuScheduleSpace(VariantAttr variant, Phase phase, const GpuLimits &limits,
                                                           int64_t pageSize) {
  if (pageSize % gpuPageUnit != 0)
    return illegal("page_size: expected a multiple of " + llvm::Twine(gpuPageUnit) + ", got " + llvm::Twine(pageSize));
  if (!variant.getTypes().getCompute().isF32())
    return illegal("operands: expected f32 arithmetic");
  if (!isAttention(phase))
    return elementSpace(variant, pageSize);
  Type operands = narrowOperands(variant);
  if (!operands || !isTensorCoreType(operands))
    return illegal("operands: expected bf16 or f16, the type of cached token factors (bf16 where they have 8 bits)");
  for (auto [name, features, unit] : {std::tuple("D", variant.getKeyFeatures(), int64_t(16)),
                                      {"E", variant.getValueFeatures(), 16 * columnPartsOf(variant)}})
    if (features % unit != 0 || features > largestFeatures)
      return illegal(llvm::Twine(name) + ": expected a multiple of " + llvm::Twine(unit) + ", at most " +
                     llvm::Twine(largestFeatures) + ", got " + llvm::Twine(features));
  bool isOneHot = variant.getK().hasMap(HeadMap::one_hot) || variant.getV().hasMap(HeadMap::one_hot);
  bool readsOneRank = isOneHot || gpuCacheLayout(variant).planes > 1;
  ScheduleSpace space;
  space.tokens = {16, 32, 64, gpuCapacityUnit};
  space.queries = {1, 2, 4, 8, 16, 32};
  if (readsOneRank) {
    space.heads = {isOneHot ? 1 : largestHeadTile(variant)};
  } else {
    space.heads = headTiles(variant);
    // Cached head factors are read as 8x8 matrices.
    if (gpuCachesHeads(variant))
      llvm::erase_if(space.heads,
                     [&](int64_t heads) { return heads % 8 != 0 && heads != variant.getHeads().getLocal(); });
    if (space.heads.empty())
      return illegal("heads: expected all " + llvm::Twine(variant.getHeads().getLocal()) + " or a multiple of 8, got " +
                     llvm::Twine(largestHeadTile(variant)) + ", the heads that read one rank");
  }
  space.score = {ScoreOrder::merged};
  if (allowsFactoredScore(variant))
    space.score.push_back(ScoreOrder::factored);
  space.value = {ValueOrder::factored};
  if (whyNotTokensOnRows(variant).empty())
    space.rows.push_back(TileRows::tokens);
  space.operands = {operands};
  space.queryParts = {2};
  if (allowsOneQueryPart(variant))
    space.queryParts = {1, 2};
  // The device divides the work; packs store tokens as rows.
  space.split = {8192};
  space.valueBlock = {0};
  space.pageSize = {pageSize};
  // A named barrier per group.
  space.groups.resize(15);
  std::iota(space.groups.begin(), space.groups.end(), 1);
  space.stages = {2, 3, 4, 5, 6, 7, 8};
  if (limits.hasBulk)
    space.bulk.push_back(true);
  return space;
}

llvm::Error tpac::checkGpuSchedule(VariantAttr variant, Phase phase, ScheduleAttr schedule, const GpuLimits &limits) {
  llvm::Expected<ScheduleSpace> space = gpuScheduleSpace(variant, phase, limits, schedule.getPageSize());
  if (!space)
    return space.takeError();
  if (llvm::Error error = checkSchedule(variant, schedule))
    return error;
  const bool hasTokensOnRows = isAttention(phase) && schedule.getRows() == TileRows::tokens;
  if (std::string reason = hasTokensOnRows ? whyNotTokensOnRows(variant) : ""; !reason.empty())
    return illegal("rows: expected heads where " + reason + ", got tokens");
  if (llvm::Error error = space->contains(schedule))
    return error;
  if (!isAttention(phase)) {
    if (int64_t bytes = appendBytes(variant); phase == Phase::append && bytes > limits.sharedBytes)
      return illegal("queries: expected a token's factors to take at most " + llvm::Twine(limits.sharedBytes) +
                     " bytes of shared memory, got " + llvm::Twine(bytes));
    return llvm::Error::success();
  }
  if (hasTokensOnRows && schedule.getScore() == ScoreOrder::factored)
    return illegal("rows: expected heads where score is factored, got tokens");
  auto rows = gpuRowMap(variant, schedule);
  if (schedule.getScore() == ScoreOrder::factored && !rows.hasOneQueryPerTile())
    return illegal("score: expected merged where several query tokens have " + llvm::Twine(rows.pitch) +
                   " rows each, no multiple of " + llvm::Twine(rows.rowsOfTile()) + ", got factored");
  if (int64_t warps = rows.warps() * columnPartsOf(variant) * schedule.getGroups(); warps > largestWarps)
    return illegal("queries, heads, groups: expected at most " + llvm::Twine(largestWarps) + " warps, got " +
                   llvm::Twine(warps));
  if (int64_t bytes = sharedBytes(variant, schedule); bytes > limits.sharedBytes)
    return illegal("tokens, stages, groups: expected at most " + llvm::Twine(limits.sharedBytes) +
                   " bytes of shared memory, got " + llvm::Twine(bytes));
  return llvm::Error::success();
}

llvm::Expected<ScheduleAttr> tpac::defaultGpuSchedule(VariantAttr variant, Phase phase, const GpuLimits &limits,
                                                      int64_t queries, int64_t pageSize) {
  auto failure = [&](const std::string &reason) {
    return llvm::createStringError("no schedule of " + std::string(phaseName(phase)) + " of '" +
                                   variant.getName().getValue().str() + "' fits the GPU; " + reason);
  };
  llvm::Expected<ScheduleSpace> space = gpuScheduleSpace(variant, phase, limits, pageSize);
  if (!space)
    return failure(llvm::toString(space.takeError()));
  MLIRContext *context = variant.getContext();
  if (!isAttention(phase)) {
    ScheduleAttr schedule = space->at(0);
    if (llvm::Error error = checkGpuSchedule(variant, phase, schedule, limits))
      return failure(llvm::toString(std::move(error)));
    return schedule;
  }
  int64_t largest = space->heads.back();
  Type operands = space->operands.back();
  int64_t parts = space->queryParts.front();
  int64_t features = std::max(variant.getKeyFeatures(), variant.getValueFeatures());
  int64_t columnParts = columnPartsOf(variant);
  // Registers per thread follow from the warps: 168 for up to 12, 255 for up to 8 (the four parts of a multiprocessor
  // have equal shares). What a warp holds: accumulators, queries, and per rank a block's scores.
  bool isMultiRank = gpuScores(variant) > 1;
  int64_t mostWarps = features <= 64 && !isMultiRank && queries == 1 ? 12 : 8;
  int64_t rowBytes = gpuCacheLayout(variant).rowBytes;
  std::string reason = "none of its tiles leaves a warp the registers that it needs";
  // All heads share a block of the cache; where they leave no room for it, fewer read it more often.
  for (int64_t heads : llvm::reverse(space->heads)) {
    if (largest % heads != 0)
      continue;
    for (int64_t tile = llvm::PowerOf2Ceil(queries); tile >= 1; tile /= 2) {
      auto rows = rowMapOf(variant, tile, heads, parts, TileRows::heads);
      ScoreOrder score = defaultScore(variant, rows);
      if (defaultRows(variant, rows, score, parts, queries) == TileRows::tokens) {
        rows = rowMapOf(variant, tile, heads, parts, TileRows::tokens);
        score = ScoreOrder::merged;
      }
      int64_t warps = rows.warps() * columnParts;
      bool isPaired = rows.side == TileRows::heads && rows.tiles > 1;
      // More than 8 warps have fewer registers each: up to 12 fit; copies by every thread or more features take the
      // rest.
      bool isTight = warps > 12 || isPaired || !limits.hasBulk || features > 64;
      if ((tile > 1 || columnParts > 1) && warps > 8 && isTight)
        continue;
      // Several query tokens wait for their own instructions: of few warps two groups hide each other's waiting, where
      // blocks of 16 tokens leave a warp registers enough (pages, more features and other orders do not); of many
      // warps one group has more to do between one meeting and the next (docs/gpu-decode.md).
      bool hasOwnRows = tile > 1 && rows.side == TileRows::heads && !isPaired && parts > 1 && limits.hasBulk;
      bool fillsWarps =
          hasOwnRows && warps > 4 && warps <= 6 && score == ScoreOrder::merged && features <= 64 && pageSize == 0;
      bool takesLongBlocks = hasOwnRows && phase == Phase::decode && warps > 6 && !variant.getWindow() &&
                             (isMultiRank ? warps <= 8 && features <= 64 : features <= 128);
      // Operands that are computed have two buffers with three stages or more.
      bool isComputing = isComputed(variant, Side::k, rows) || isComputed(variant, Side::v, rows);
      for (int64_t tokens = takesLongBlocks ? 64 : fillsWarps ? 16 : 32; tokens >= 16; tokens /= 2) {
        int64_t mostStages = isPaired ? 8 : fillsWarps ? 5 : tokens > 32 && !isComputing ? 2 : 3;
        // Rings of 72 to 190 KB together hide the memory's latency (docs/gpu.md). Large groups are few: they take more
        // stages, which also lets their warps be a block apart.
        for (int64_t groups = fillsWarps ? 2 : std::max<int64_t>(mostWarps / warps, 1); groups >= 1; --groups)
          for (int64_t stages = mostStages; stages >= 2; --stages) {
            if (groups * stages * tokens * rowBytes > (stages > 3 ? 100 : 190) * 1024)
              continue;
            auto schedule = ScheduleAttr::get(context, tokens, tile, heads, score, ValueOrder::factored, rows.side,
                                              operands, parts, /*item_heads=*/0, space->split.back(), /*value_block=*/0,
                                              pageSize, groups, stages, limits.hasBulk);
            llvm::Error error = checkGpuSchedule(variant, phase, schedule, limits);
            if (!error)
              return schedule;
            reason = llvm::toString(std::move(error));
          }
      }
    }
  }
  return failure("the last one tried: " + reason);
}
