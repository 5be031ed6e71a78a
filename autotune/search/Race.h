// SPDX-License-Identifier: Apache-2.0
//
// How points are timed: most get one run, good ones three, the best a final in which they take turns.

#ifndef TPAC_AUTOTUNE_SEARCH_RACE_H
#define TPAC_AUTOTUNE_SEARCH_RACE_H

#include "autotune/search/Space.h"

#include <functional>
#include <optional>

namespace tpac::search {

/// One timed run of a point, in seconds; nothing where the point turns out to have no time (wrong, crashed, ...). The
/// first run of a point is thrown away by whoever makes it.
using TimedRun = std::function<std::optional<double>(Index)>;

/// The time of a point for the search: one run; where it is not 1.3 times as long as `best`, the median of three, or of
/// two where both are 1.1 times as long.
std::optional<double> probe(const TimedRun &run, Index point, std::optional<double> best);

struct Finalist {
  Index point = 0;
  /// Seconds.
  double median = 0, medianAbsoluteDeviation = 0;
  int runs = 0;
};

/// Rounds of a final that all points take part in.
inline constexpr int finalRounds = 15;

/// Times the points in turn, round after round, so that a machine that changes its speed changes it for all of them.
/// The points within 3 % (where times scatter: three standard errors) of the fastest, if there are several, then take
/// up to 45 more turns, every 15 of which those that are slower by more than a tie and three standard errors leave,
/// until the standard error of each median is a thousandth of it, and beyond these 45 as long as `hasTime` says so:
/// turns of short calls cost little. Fastest first; points that lose their time on the way are left out. `goesOn` is
/// asked before each round; after three rounds a final may be ended by it.
std::vector<Finalist> runFinal(
    const TimedRun &run, const std::vector<Index> &points, const std::function<bool()> &goesOn,
    const std::function<bool()> &hasTime = [] { return false; });

} // namespace tpac::search

#endif // TPAC_AUTOTUNE_SEARCH_RACE_H
