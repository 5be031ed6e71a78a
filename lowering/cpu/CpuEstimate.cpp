// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/CpuEstimate.h"

#include "lowering/tile/BuildPrograms.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir::tpa;

namespace {

/// What things cost in multiply-adds of a matrix unit, of which a core does some 512 in a cycle. Guesses to a factor of
/// two: an order of schedules needs no more.
constexpr double vectorElement = 32; ///< one element of a vector of 16
constexpr double memoryByte = 150;   ///< read for the first time
constexpr double cachedByte = 16;    ///< read again
constexpr double block = 200000;     ///< entering a block: pointers, first loads, the ends of loops

/// Ranks of a side's head factors; 1 where it has none.
double ranksOf(FactorizationAttr side) { return side.getHead().isFixed() ? 1 : static_cast<double>(side.getRank()); }

} // namespace

double tpac::estimateCpuWork(VariantAttr variant, Phase phase, ScheduleAttr schedule, const CpuTraits &traits,
                             int64_t callQueries) {
  const double d = static_cast<double>(variant.getKeyFeatures()), e = static_cast<double>(variant.getValueFeatures());
  const double allHeads = static_cast<double>(largestHeadTile(variant)), queries = static_cast<double>(callQueries);
  const double keyRanks = ranksOf(variant.getK()), valueRanks = ranksOf(variant.getV()),
               queryRanks = ranksOf(variant.getQ());
  const double headTiles = static_cast<double>(llvm::divideCeil(largestHeadTile(variant), schedule.getHeads()));
  const double passes = static_cast<double>(llvm::divideCeil(callQueries, schedule.getQueries()));

  const double element = vectorElement * 16 / static_cast<double>(traits.lanes);
  // Matrix tiles have heads as their columns, or with one head at a time queries.
  const bool hasMatrix = traits.amx && schedule.getOperands() != variant.getTypes().getCompute() &&
                         schedule.getTokens() >= 32 && (schedule.getHeads() > 8 || schedule.getQueries() % 32 == 0);
  double product = element, parts = 1;
  if (hasMatrix) {
    const int64_t columns =
        schedule.getHeads() > 8 ? schedule.getHeads() : std::min(schedule.getQueries(), callQueries);
    product = static_cast<double>(llvm::alignTo(columns, 16)) / static_cast<double>(columns);
    parts = static_cast<double>(schedule.getQueryParts());
  }

  double work = 0;
  switch (schedule.getScore()) {
  case ScoreOrder::merged:
    work += queries * allHeads * keyRanks * (d * parts * product + element);
    break;
  case ScoreOrder::factored:
    work += queries * keyRanks * queryRanks * (headTiles * d + allHeads) * element;
    break;
  case ScoreOrder::rebuilt:
    work += passes * allHeads * d * keyRanks * element + queries * allHeads * d * parts * product;
    break;
  }
  if (schedule.getValue() == ValueOrder::factored)
    work += queries * allHeads * valueRanks * (e * product + element);
  else
    work += passes * allHeads * e * valueRanks * element + queries * allHeads * e * product;

  const double bytes = 2 * (keyRanks * (d + allHeads) + valueRanks * (e + allHeads));
  work += bytes * (memoryByte + cachedByte * (passes * headTiles - 1));
  work += block * passes * headTiles / static_cast<double>(schedule.getTokens());
  return work;
}
