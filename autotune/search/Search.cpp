// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Search.h"

#include "autotune/search/ExtraTrees.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tpac::search {

namespace {

constexpr double noTime = std::numeric_limits<double>::infinity();
/// Neighbours of so many of the best points are tried.
constexpr size_t incumbents = 4;
/// So many points are taken from a surrogate before it is trained anew.
constexpr size_t predictionsPerModel = 4;
/// The surrogate looks at so many points that were not measured.
constexpr size_t mostPredicted = 2000;
/// A surrogate learns nothing from fewer times.
constexpr size_t leastTimes = 6;

} // namespace

Search::Search(const Space &space, std::span<const Index> portfolio, uint64_t seed)
    : space(space), portfolio(portfolio.begin(), portfolio.end()), isVisited(space.points.size()), random(seed) {}

std::optional<Index> Search::handOut(std::optional<Index> point) {
  if (point) {
    isVisited[*point] = true;
    ++visited;
  }
  return point;
}

std::optional<Index> Search::next() {
  while (fromPortfolio < portfolio.size())
    if (Index point = portfolio[fromPortfolio++]; !isVisited[point])
      return handOut(point);
  if (visited == space.points.size())
    return std::nullopt;
  // In turn, so that neither a bad model nor a local optimum holds the search up.
  std::optional<Index> point = visited % 2 == 0 ? neighbour() : predicted();
  if (!point)
    point = visited % 2 == 0 ? predicted() : neighbour();
  return handOut(point ? point : anyOther());
}

void Search::report(Index point, std::optional<double> seconds) { times[point] = seconds.value_or(noTime); }

std::vector<Index> Search::ranking() const {
  std::vector<Index> result;
  for (const auto &[point, seconds] : times)
    if (seconds != noTime)
      result.push_back(point);
  std::ranges::sort(result, {}, [&](Index point) { return std::pair(times.at(point), point); });
  return result;
}

/// A point not visited that differs from one of the best in one knob, by any value.
std::optional<Index> Search::neighbour() {
  std::vector<Index> best = ranking();
  best.resize(std::min(best.size(), incumbents));
  for (Index incumbent : best) {
    std::vector<Index> open;
    for (Index i = 0; i < space.points.size(); ++i) {
      if (isVisited[i])
        continue;
      int changes = 0;
      for (size_t knob = 0; knob < space.points[i].size() && changes < 2; ++knob)
        changes += space.points[i][knob] != space.points[incumbent][knob];
      if (changes == 1)
        open.push_back(i);
    }
    if (!open.empty())
      return open[random() % open.size()];
  }
  return std::nullopt;
}

/// The point that a surrogate of the logarithm of time likes best. Points without a time count as slow ones: four times
/// the slowest.
std::optional<Index> Search::predicted() {
  std::erase_if(predictions, [&](Index point) { return isVisited[point]; });
  if (predictions.empty()) {
    double slowest = 0;
    size_t timed = 0;
    for (const auto &[point, seconds] : times)
      if (seconds != noTime) {
        slowest = std::max(slowest, seconds);
        ++timed;
      }
    if (timed < leastTimes)
      return std::nullopt;
    std::vector<Point> inputs;
    std::vector<double> targets;
    for (const auto &[point, seconds] : times) {
      inputs.push_back(space.points[point]);
      targets.push_back(std::log(seconds == noTime ? 4 * slowest : seconds));
    }
    ExtraTrees model(inputs, targets, random);
    std::vector<Index> open;
    for (Index i = 0; i < space.points.size(); ++i)
      if (!isVisited[i])
        open.push_back(i);
    std::ranges::shuffle(open, random);
    open.resize(std::min(open.size(), mostPredicted));
    std::vector<std::pair<double, Index>> ranked;
    for (Index i : open)
      ranked.emplace_back(model.predict(space.points[i]), i);
    std::ranges::sort(ranked);
    for (size_t i = 0; i < std::min(ranked.size(), predictionsPerModel); ++i)
      predictions.push_back(ranked[i].second);
  }
  if (predictions.empty())
    return std::nullopt;
  Index point = predictions.front();
  predictions.erase(predictions.begin());
  return point;
}

std::optional<Index> Search::anyOther() {
  std::vector<Index> open;
  for (Index i = 0; i < space.points.size(); ++i)
    if (!isVisited[i])
      open.push_back(i);
  if (open.empty())
    return std::nullopt;
  return open[random() % open.size()];
}

} // namespace tpac::search
