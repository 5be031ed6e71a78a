// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/GpuEstimate.h"

#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/Machine.h"
#include "lowering/tile/BuildPrograms.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>

using namespace mlir::tpa;

namespace {

// An H100 in rough figures. Devices with other ones differ in what schedules take more than in which of them is best.
constexpr double multiprocessors = 132, schedulers = 4;
constexpr double cyclesPerMicrosecond = 1750;
/// Bytes per cycle that a multiprocessor gets: of 2.9 TB/s from memory, of some 11 TB/s from L2, where other tiles of
/// heads or queries have read the same tokens.
constexpr double memoryRate = 12.5, cachedRate = 48;
/// Cycles until a copy arrives: what is under way meanwhile bounds the rate.
constexpr double copyLatency = 1300;

/// Cycles of a tensor core instruction (m16n8k16) in a warp that has a scheduler to itself, where it waits for others,
/// and of the scheduler's time.
constexpr double productLatency = 10, productIssue = 6;
/// Cycles of a warp, and of its scheduler's time, for 16 x 16 logits of one rank: scale, exponentials, rounding.
constexpr double logitLatency = 130, logitIssue = 80;
/// Cycles of a warp that enters a block: barriers, first loads, maximum and sum across lanes.
constexpr double blockLatency = 600, blockIssue = 120;
/// Cycles of a scheduler to copy 32 chunks of 16 bytes where no bulk copy does, and what copies take longer then.
constexpr double chunksIssue = 24, copiedByThreads = 1.05;
/// What of the shorter one of copying and computing is not hidden behind the longer one.
constexpr double exposed = 0.2;

/// Cycles before the first block and behind the last one: of each warp after a scheduler's first, which loads queries,
/// and merges its accumulators with those of other groups; of a lane for an element of queries that it loads and
/// rotates, mostly waiting; and of its multiply-adds where queries are merged.
constexpr double warpSetup = 2000, queryElement = 100, mergedElement = 8;
/// Cycles to make a stage's barriers and ask for its first block.
constexpr double stageSetup = 100;

/// Registers of a multiprocessor's lanes and those that a lane needs for addresses, counters and operands on the way.
constexpr double allRegisters = 65536, mostRegisters = 255, otherRegisters = 90;

double ceilDiv(double a, double b) { return std::ceil(a / b); }

} // namespace

double tpac::estimateGpuTime(VariantAttr variant, Phase phase, ScheduleAttr schedule, const CallSizes &sizes) {
  const gpu::RowMap rows = gpuRowMap(variant, schedule);
  const double tokens = static_cast<double>(schedule.getTokens()), groups = static_cast<double>(schedule.getGroups());
  const double warpsOfGroup = static_cast<double>(rows.warps() * gpu::columnParts(variant.getValueFeatures()));
  const double warps = warpsOfGroup * groups, warpsOfScheduler = ceilDiv(warps, schedulers);
  const GpuCacheLayout layout = gpuCacheLayout(variant);

  // An item is a tile of heads and queries of a request; thread blocks, one for each multiprocessor, share all blocks.
  const double headTiles = static_cast<double>(llvm::divideCeil(largestHeadTile(variant), schedule.getHeads())) *
                           static_cast<double>(layout.planes);
  const double queryTiles = static_cast<double>(llvm::divideCeil(sizes.tokens, schedule.getQueries()));
  const double items = static_cast<double>(sizes.requests) * headTiles * queryTiles;
  // Causal prefill reads half of the tokens.
  const int64_t seen = std::min(sizes.cached, variant.getWindow().value_or(sizes.cached));
  const double read = static_cast<double>(std::max<int64_t>(seen, 1)) * (phase == Phase::prefill ? 0.5 : 1);
  const double blocks = items * ceilDiv(read, tokens);
  const double parts = std::clamp(std::floor(blocks / 2), 1.0, multiprocessors);
  const double blocksOfPart = ceilDiv(blocks, parts), itemsOfPart = std::max(1.0, items / parts);

  // Bytes: the first tile of heads and queries reads them from memory, the others from L2; no faster than the ring lets
  // copies be under way, of which a stage is being read.
  const double blockBytes = tokens * static_cast<double>(layout.rowBytes);
  const double underWay = groups * static_cast<double>(schedule.getStages() - 1) * blockBytes;
  const double tiles = headTiles * queryTiles / static_cast<double>(layout.planes);
  const double bytes = blocksOfPart * blockBytes;
  const double copying =
      (schedule.getBulk() ? 1 : copiedByThreads) *
      std::max(bytes / tiles / memoryRate * parts / multiprocessors + bytes * (1 - 1 / tiles) / cachedRate,
               bytes * copyLatency / std::max(underWay, 1.0));

  // Products and logits: a warp alone waits for itself, several on a scheduler for each other.
  const double tilesOfWarp = static_cast<double>(rows.tiles) * tokens / 16;
  const double products =
      static_cast<double>(gpuTileProducts(variant, schedule.getScore(), schedule.getRows(), schedule.getQueryParts()));
  const double scores = static_cast<double>(gpuScores(variant));
  // Of the 16 rows that a logit's cycles are for.
  const double share = static_cast<double>(rows.rowsOfTile()) / gpu::rowsOfOperand, logits = scores * share;
  const double latency = blockLatency + tilesOfWarp * (products * productLatency + logits * logitLatency);
  double issue = blockIssue + tilesOfWarp * (products * productIssue + logits * logitIssue);
  if (!schedule.getBulk())
    issue += blockBytes / 16 / 32 / warpsOfGroup * chunksIssue;
  // Accumulators and a block's logits; what does not fit into registers is stored and read again, or computed later.
  const double columns = static_cast<double>(variant.getValueFeatures() / gpu::columnParts(variant.getValueFeatures()));
  const double registers =
      otherRegisters + static_cast<double>(rows.tiles) * share * (columns / 2 + tokens / 2 * scores);
  const double lack = std::max(1.0, registers / std::min(mostRegisters, allRegisters / (32 * warps)));
  const double rounds = ceilDiv(blocksOfPart, groups);
  const double computing = rounds * lack * std::max(latency, warpsOfScheduler * issue);

  // All ranks of Q, or where each is of one head those of the tile.
  FactorizationAttr q = variant.getQ();
  const int64_t queryRanks = q.hasMap(HeadMap::one_hot) ? schedule.getHeads() : q.getRank();
  const double elements = static_cast<double>(schedule.getQueries() * queryRanks * variant.getKeyFeatures());
  double setup = warpSetup * warpsOfScheduler + stageSetup * groups * static_cast<double>(schedule.getStages()) +
                 elements / (32 * warps) * queryElement;
  if (schedule.getScore() == ScoreOrder::merged && !q.getHead().isFixed() && !q.hasMap(HeadMap::one_hot))
    setup += elements * static_cast<double>(schedule.getHeads()) / (32 * std::min(warps, schedulers)) * mergedElement;
  // The first copies arrive while queries are set up; the last block is computed when all have arrived.
  return (std::max(copying, computing) + exposed * std::min(copying, computing) + latency + itemsOfPart * setup) /
         cyclesPerMicrosecond;
}
