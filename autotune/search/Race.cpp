// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Race.h"

#include "bench/measure/Statistics.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace tpac::search {

namespace {

/// A probe that takes so many times as long as the best point is not repeated.
constexpr double hopeless = 1.3;
/// A final tells something from so many rounds on.
constexpr int leastRounds = 3;

} // namespace

std::optional<double> probe(const TimedRun &run, Index point, std::optional<double> best) {
  std::vector<double> seconds;
  for (int i = 0; i < 3; ++i) {
    std::optional<double> time = run(point);
    if (!time)
      return std::nullopt;
    seconds.push_back(*time);
    if (best && seconds.front() > hopeless * *best)
      break;
  }
  return bench::median(seconds);
}

std::vector<Finalist> runFinal(const TimedRun &run, const std::vector<Index> &points,
                               const std::function<bool()> &goesOn) {
  std::map<Index, std::vector<double>> times;
  for (Index point : points)
    times[point] = {};
  for (int round = 0; round < finalRounds && (round < leastRounds || goesOn()); ++round)
    for (auto it = times.begin(); it != times.end();) {
      std::optional<double> seconds = run(it->first);
      if (seconds)
        it->second.push_back(*seconds);
      it = seconds ? std::next(it) : times.erase(it);
    }
  std::vector<Finalist> finalists;
  for (const auto &[point, seconds] : times) {
    double median = bench::median(seconds);
    std::vector<double> deviations;
    for (double time : seconds)
      deviations.push_back(std::abs(time - median));
    finalists.push_back({point, median, bench::median(deviations), static_cast<int>(seconds.size())});
  }
  std::ranges::sort(finalists, {}, [](const Finalist &it) { return std::pair(it.median, it.point); });
  return finalists;
}

} // namespace tpac::search
