// SPDX-License-Identifier: Apache-2.0
//
// A whole search: which points are made, timed once or more often, and race in the final. What points are, and how one
// is made and timed, is the caller's affair: a worker's kernels, or a sweep that was recorded (tests).

#ifndef TPAC_AUTOTUNE_SEARCH_HUNT_H
#define TPAC_AUTOTUNE_SEARCH_HUNT_H

#include "autotune/search/Race.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace tpac::search {

/// What makes and times points.
struct Workbench {
  /// Makes points, at the same time. Of each: a name of what was made, so that of equal ones one is timed; "" where
  /// nothing was.
  std::function<std::vector<std::string>(const std::vector<Index> &)> make;
  /// Whether what was made may win.
  std::function<bool(Index)> check;
  TimedRun run;
};

struct HuntOptions {
  /// Points to begin with, in this order.
  std::vector<Index> portfolio;
  /// What all are compared with, if it is in the space: timed first, and always in the final.
  std::optional<Index> byDefault;
  size_t mostEvaluations = std::numeric_limits<size_t>::max();
  /// Points that are made at the same time.
  size_t together = 1;
  /// Points in the final, the default not counted.
  size_t finalists = 8;
  uint64_t seed = 1;
  /// How long the final may go on among close ones when it has taken its turns (runFinal), in seconds.
  double furtherSeconds = 0;
  /// Whether the search ends, and goes on to its final; whether the final ends, too.
  std::function<bool()> isOver = [] { return false; }, isStopped = [] { return false; };
  /// Evaluations so far, of at most so many, the least time and the default's.
  std::function<void(size_t, size_t, std::optional<double>, std::optional<double>)> onProgress =
      [](size_t, size_t, std::optional<double>, std::optional<double>) {};
};

struct Outcome {
  /// Fastest first; empty where no point has a time.
  std::vector<Finalist> finalists;
  size_t evaluations = 0;
  /// Points that are the same as one that was timed.
  size_t identical = 0;
  /// Seconds of the default before the final.
  std::optional<double> firstDefault;
};

Outcome hunt(const Space &space, const Workbench &bench, const HuntOptions &options);

} // namespace tpac::search

#endif // TPAC_AUTOTUNE_SEARCH_HUNT_H
