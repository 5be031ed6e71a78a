// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/GpuSchedule.h"

#include "dialect/PhaseOperands.h"
#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/Machine.h"
#include "lowering/tile/BuildPrograms.h"

using namespace mlir;
using namespace mlir::tpa;

namespace {

using tpac::GpuLimits;
using tpac::Phase;

/// Features of an accumulator and of a query that a warp's registers hold.
constexpr int64_t largestFeatures = 256;
constexpr int64_t largestWarps = 16;

llvm::Error illegal(const llvm::Twine &message) { return llvm::createStringError("schedule: " + message); }

bool isTensorCoreType(Type type) { return type.isBF16() || type.isF16(); }

bool hasCachedHeads(VariantAttr variant) {
  return variant.getK().getHead().isContextual() || variant.getV().getHead().isContextual();
}

/// Whether blocks of a side's token factors are computed before products read them.
bool isComputed(VariantAttr variant, Side side) {
  FactorizationAttr factorization = getFactorization(variant, side);
  return factorization.getOrder() > 2 || factorization.getToken().front().isLearned() ||
         (side == Side::k && variant.rotatesKeysOnRead()) || (factorization.isShared() && isComputed(variant, Side::k));
}

/// Shared memory that the kernel of `schedule` takes, from above.
int64_t sharedBytes(VariantAttr variant, ScheduleAttr schedule) {
  int64_t rowBytes = tpac::gpuCacheLayout(variant).rowBytes;
  auto rows = tpa::gpu::RowMap::of(schedule.getQueries(), schedule.getHeads());
  int64_t warps = rows.warps();
  int64_t bytes = 1024 + schedule.getGroups() * schedule.getStages() * schedule.getTokens() * rowBytes;
  bytes += schedule.getQueryParts() * warps * variant.getKeyFeatures() / 16 * 512;
  bytes += schedule.getGroups() * warps * tpa::gpu::rowsOfWarp * 8;
  FactorizationAttr q = variant.getQ();
  if (variant.getRope()) {
    int64_t ranks = q.hasMap(HeadMap::one_hot) ? schedule.getHeads() : q.getRank();
    bytes += schedule.getQueries() * ranks * q.getToken().front().getSize() * 4;
  }
  for (Side side : {Side::q, Side::k, Side::v}) {
    HeadFactorAttr head = getFactorization(variant, side).getHead();
    if (head.getFunction() == HeadFunction::softmax && (side == Side::q || head.isLearned()))
      bytes += schedule.getQueries() * getFactorization(variant, side).getRank() * variant.getHeads().getLocal() * 4;
  }
  for (auto [side, features] : {std::pair(Side::k, variant.getKeyFeatures()), {Side::v, variant.getValueFeatures()}})
    if (isComputed(variant, side)) {
      FactorizationAttr factorization = getFactorization(variant, side);
      int64_t ranks = factorization.getHead().isFixed() ? 1 : factorization.getRank();
      if (side == Side::k)
        ranks *= schedule.getQueryParts();
      // The loops with and without a mask have tiles of their own.
      bytes += 2 * ranks * schedule.getGroups() * schedule.getTokens() * (features * 2 + 16);
    }
  return bytes + 2048;
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

llvm::Error tpac::checkGpuSchedule(VariantAttr variant, Phase phase, ScheduleAttr schedule, const GpuLimits &limits) {
  if (phase != Phase::decode && phase != Phase::prefill)
    return illegal("phase: expected decode or prefill, got " + std::string(phaseName(phase)));
  if (llvm::Error error = checkSchedule(variant, schedule))
    return error;
  Type token = variant.getTypes().getToken();
  if (!isTensorCoreType(token) || schedule.getOperands() != token || !variant.getTypes().getCompute().isF32())
    return illegal("operands: expected bf16 or f16, the type of cached token factors, and f32 arithmetic");
  if (schedule.getScore() != ScoreOrder::merged || schedule.getValue() != ValueOrder::factored)
    return illegal("score, value: expected merged and factored");
  for (auto [name, features] : {std::pair("D", variant.getKeyFeatures()), {"E", variant.getValueFeatures()}})
    if (features % 16 != 0 || features > largestFeatures)
      return illegal(llvm::Twine(name) + ": expected a multiple of 16, at most " + llvm::Twine(largestFeatures) +
                     ", got " + llvm::Twine(features));
  int64_t tokens = schedule.getTokens();
  if (tokens < 16 || tokens > gpuCapacityUnit || !llvm::isPowerOf2_64(tokens))
    return illegal("tokens: expected 16, 32, 64 or 128, got " + llvm::Twine(tokens));
  if (schedule.getSplit() == 0)
    return illegal("split: expected more than 0: the device divides the work");

  if (schedule.getValueBlock() != 0)
    return illegal("value_block: expected 0: GPU packs store tokens as rows, got " +
                   llvm::Twine(schedule.getValueBlock()));

  int64_t heads = variant.getHeads().getLocal();
  bool hasPlanes = gpuCacheLayout(variant).planes > 1;
  bool isOneHot = variant.getK().hasMap(HeadMap::one_hot) || variant.getV().hasMap(HeadMap::one_hot);
  int64_t group = isOneHot ? 1 : largestHeadTile(variant);
  if ((isOneHot || hasPlanes) && schedule.getHeads() != group)
    return illegal("heads: expected " + llvm::Twine(group) + ", the heads that read one rank, got " +
                   llvm::Twine(schedule.getHeads()));
  if (hasCachedHeads(variant) && schedule.getHeads() != heads && schedule.getHeads() % 8 != 0)
    return illegal("heads: expected all " + llvm::Twine(heads) + " or a multiple of 8, got " +
                   llvm::Twine(schedule.getHeads()));
  auto rows = tpa::gpu::RowMap::of(schedule.getQueries(), schedule.getHeads());
  if (rows.warps() * schedule.getGroups() > largestWarps)
    return illegal("queries, heads, groups: expected at most " + llvm::Twine(largestWarps) + " warps, got " +
                   llvm::Twine(rows.warps() * schedule.getGroups()));
  // A named barrier per group.
  if (schedule.getGroups() > 15)
    return illegal("groups: expected at most 15, got " + llvm::Twine(schedule.getGroups()));
  if (schedule.getStages() < 2)
    return illegal("stages: expected at least 2, got " + llvm::Twine(schedule.getStages()));
  if (schedule.getBulk() && !limits.hasBulk)
    return illegal("bulk: expected false: this chip has no bulk copies");
  if (int64_t bytes = sharedBytes(variant, schedule); bytes > limits.sharedBytes)
    return illegal("tokens, stages, groups: expected at most " + llvm::Twine(limits.sharedBytes) +
                   " bytes of shared memory, got " + llvm::Twine(bytes));
  return llvm::Error::success();
}

llvm::Expected<ScheduleAttr> tpac::defaultGpuSchedule(VariantAttr variant, Phase phase, const GpuLimits &limits,
                                                      int64_t queries) {
  MLIRContext *context = variant.getContext();
  bool isOneHot = variant.getK().hasMap(HeadMap::one_hot) || variant.getV().hasMap(HeadMap::one_hot);
  int64_t heads = isOneHot ? 1 : largestHeadTile(variant);
  Type operands = variant.getTypes().getToken();
  int64_t parts = variant.getQueryPrecision() == QueryPrecision::full ? 2 : 1;
  int64_t features = std::max(variant.getKeyFeatures(), variant.getValueFeatures());
  // Registers per thread follow from the warps: 168 for up to 12, 255 for up to 8 (the four parts of a multiprocessor
  // have equal shares). What a warp holds: accumulators, queries, and per rank a block's scores.
  bool isMultiRank = !variant.getK().getHead().isFixed() && variant.getK().getRank() > 1;
  int64_t mostWarps = features <= 64 && !isMultiRank && queries == 1 ? 12 : 8;
  int64_t rowBytes = gpuCacheLayout(variant).rowBytes;
  std::string reason = "none of its tiles leaves a warp the registers that it needs";
  for (int64_t tile = llvm::PowerOf2Ceil(queries); tile >= 1; tile /= 2)
    for (int64_t tokens : {32, 16}) {
      int64_t warps = tpa::gpu::RowMap::of(tile, heads).warps();
      // More than 8 warps have fewer registers each: with several ranks the scores of half as many tokens fit, up to 12
      // warps; copies by every thread take the rest.
      if (tile > 1 && warps > 8 && (!limits.hasBulk || (isMultiRank && (tokens > 16 || warps > 12))))
        continue;
      // Rings of 72 to 190 KB together hide the memory's latency (docs/gpu.md).
      for (int64_t groups = std::max<int64_t>(mostWarps / warps, 1); groups >= 1; --groups)
        for (int64_t stages : {3, 2}) {
          if (groups * stages * tokens * rowBytes > 190 * 1024)
            continue;
          auto schedule =
              ScheduleAttr::get(context, tokens, tile, heads, ScoreOrder::merged, ValueOrder::factored, operands, parts,
                                /*split=*/8192, /*value_block=*/0, groups, stages, limits.hasBulk);
          llvm::Error error = checkGpuSchedule(variant, phase, schedule, limits);
          if (!error)
            return schedule;
          reason = llvm::toString(std::move(error));
        }
    }
  return llvm::createStringError("no schedule of " + std::string(phaseName(phase)) + " of '" +
                                 variant.getName().getValue().str() + "' fits the GPU; the last one tried: " + reason);
}
