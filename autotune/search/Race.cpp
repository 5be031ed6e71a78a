// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Race.h"

#include "bench/measure/Statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace tpac::search {

namespace {

/// A probe that takes so many times as long as the best point is not repeated.
constexpr double hopeless = 1.3;
/// Nor is the third run made where both others took so many times as long: the median is no less than the lesser.
constexpr double slow = 1.1;
/// A final tells something from so many rounds on.
constexpr int leastRounds = 3;
/// After the rounds of all, those that are so close to the fastest go on for so many more: where times scatter by more
/// than the fastest differ, fifteen rounds choose by chance. Where they scatter much, more of them are close: within so
/// many standard errors of the fastest median.
constexpr double close = 1.03;
constexpr double closeErrors = 3;
constexpr int extraRounds = 45;
/// Every so many of them those that are no longer close are left out: what differs by more than a tie and by so many
/// standard errors needs no more turns.
constexpr int roundsOfHeat = 15;
constexpr double tied = 1.005;
/// Fewer where all of them are known so well: a fifth of what counts as a tie.
constexpr double precise = 0.001;

using Times = std::map<Index, std::vector<double>>;

double deviationOf(const std::vector<double> &seconds, double median) {
  std::vector<double> deviations;
  for (double time : seconds)
    deviations.push_back(std::abs(time - median));
  return bench::median(deviations);
}

/// Of a median of normal samples: 1.25 standard deviations, each 1.48 median absolute ones, by the root of their
/// number.
double errorOf(const std::vector<double> &seconds, double median) {
  return 1.25 * 1.48 * deviationOf(seconds, median) / std::sqrt(static_cast<double>(seconds.size()));
}

bool isPrecise(const Times &times) {
  return std::ranges::all_of(times, [](const auto &point) {
    const double median = bench::median(point.second);
    return errorOf(point.second, median) <= precise * median;
  });
}

/// Moves the points that are not close to the fastest from `times` to `settled`.
void settle(Times &times, Times &settled, double window) {
  double least = std::numeric_limits<double>::infinity(), error = 0;
  for (const auto &[point, seconds] : times)
    if (const double median = bench::median(seconds); median < least) {
      least = median;
      error = errorOf(seconds, median);
    }
  const double limit = std::max(window * least, least + closeErrors * error);
  for (auto it = times.begin(); it != times.end();)
    if (bench::median(it->second) > limit)
      settled.insert(times.extract(it++));
    else
      ++it;
}

} // namespace

std::optional<double> probe(const TimedRun &run, Index point, std::optional<double> best) {
  std::vector<double> seconds;
  for (int i = 0; i < 3; ++i) {
    std::optional<double> time = run(point);
    if (!time)
      return std::nullopt;
    seconds.push_back(*time);
    if (best && (seconds.front() > hopeless * *best ||
                 (seconds.size() == 2 && *std::ranges::min_element(seconds) > slow * *best)))
      break;
  }
  return bench::median(seconds);
}

std::vector<Finalist> runFinal(const TimedRun &run, const std::vector<Index> &points,
                               const std::function<bool()> &goesOn, const std::function<bool()> &hasTime) {
  Times times, settled;
  for (Index point : points)
    times[point] = {};
  for (int round = 0; round < leastRounds || goesOn(); ++round) {
    if (round >= finalRounds + extraRounds && !hasTime())
      break;
    if (round >= finalRounds && round % roundsOfHeat == 0)
      settle(times, settled, round == finalRounds ? close : tied);
    if (round >= finalRounds && (times.size() < 2 || isPrecise(times)))
      break;
    for (auto it = times.begin(); it != times.end();) {
      std::optional<double> seconds = run(it->first);
      if (seconds)
        it->second.push_back(*seconds);
      it = seconds ? std::next(it) : times.erase(it);
    }
  }
  times.merge(settled);
  std::vector<Finalist> finalists;
  for (const auto &[point, seconds] : times) {
    double median = bench::median(seconds);
    finalists.push_back({point, median, deviationOf(seconds, median), static_cast<int>(seconds.size())});
  }
  std::ranges::sort(finalists, {}, [](const Finalist &it) { return std::pair(it.median, it.point); });
  return finalists;
}

} // namespace tpac::search
