// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Hunt.h"

#include "autotune/search/Search.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

namespace tpac::search {

namespace {

class Hunting {
public:
  Hunting(const Space &space, const Workbench &bench, const HuntOptions &options)
      : bench(bench), options(options), search(space, portfolioOf(options), options.seed),
        most(std::min(options.mostEvaluations, space.points.size())) {}

  Outcome run() {
    while (outcome.evaluations < most && !options.isOver()) {
      const std::vector<Index> batch = nextBatch();
      if (batch.empty())
        break;
      // Made together, while nothing is timed; then one at a time.
      const std::vector<std::string> made = bench.make(batch);
      for (size_t i = 0; i < batch.size(); ++i) {
        names[batch[i]] = made[i];
        evaluate(batch[i]);
        if (options.isOver())
          break;
      }
    }
    using Clock = std::chrono::steady_clock;
    std::optional<Clock::time_point> since;
    outcome.finalists = runFinal(
        bench.run, finalPoints(), [&] { return !options.isStopped(); },
        [&] {
          if (!since)
            since = Clock::now();
          return std::chrono::duration<double>(Clock::now() - *since).count() < options.furtherSeconds;
        });
    return std::move(outcome);
  }

private:
  static std::vector<Index> portfolioOf(const HuntOptions &options) {
    std::vector<Index> portfolio;
    if (options.byDefault)
      portfolio.push_back(*options.byDefault);
    portfolio.insert(portfolio.end(), options.portfolio.begin(), options.portfolio.end());
    return portfolio;
  }

  std::vector<Index> nextBatch() {
    std::vector<Index> batch;
    while (batch.size() < std::min(options.together, most - outcome.evaluations))
      if (std::optional<Index> point = search.next())
        batch.push_back(*point);
      else
        break;
    return batch;
  }

  void evaluate(Index point) {
    const std::optional<double> seconds = timeOf(point);
    search.report(point, seconds);
    ++outcome.evaluations;
    if (seconds && (!best || *seconds < *best))
      best = seconds;
    if (point == options.byDefault)
      outcome.firstDefault = seconds;
    options.onProgress(outcome.evaluations, most, best, outcome.firstDefault);
  }

  std::optional<double> timeOf(Index point) {
    const std::string &name = names[point];
    if (name.empty())
      return std::nullopt;
    auto [twin, isNew] = times.emplace(name, std::nullopt);
    if (!isNew)
      ++outcome.identical;
    else if (bench.check(point))
      twin->second = probe(bench.run, point, best);
    return twin->second;
  }

  /// The best, of those that are the same one alone, and the default.
  std::vector<Index> finalPoints() {
    const bool hasDefault = outcome.firstDefault.has_value();
    std::vector<Index> points;
    std::set<std::string> taken;
    if (hasDefault)
      taken.insert(names[*options.byDefault]);
    for (Index point : search.ranking())
      if (points.size() < options.finalists && (point == options.byDefault || taken.insert(names[point]).second))
        points.push_back(point);
    if (hasDefault && std::ranges::find(points, *options.byDefault) == points.end())
      points.push_back(*options.byDefault);
    return points;
  }

  const Workbench &bench;
  const HuntOptions &options;
  Search search;
  size_t most;
  Outcome outcome;
  std::optional<double> best;
  std::map<Index, std::string> names;
  /// Of what was made and checked.
  std::map<std::string, std::optional<double>> times;
};

} // namespace

Outcome hunt(const Space &space, const Workbench &bench, const HuntOptions &options) {
  return Hunting(space, bench, options).run();
}

} // namespace tpac::search
