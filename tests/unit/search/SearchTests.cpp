// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/ExtraTrees.h"
#include "autotune/search/Search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace tpac::search {

namespace {

/// A space whose times behave as those of kernels do: knobs that multiply, one that only matters beside another, steep
/// edges, a tenth of the points without a time, a few percent of noise per point.
struct Landscape {
  explicit Landscape(uint64_t seed) {
    std::mt19937_64 random(seed);
    const std::vector<int> values = {6, 5, 3, 3, 2, 7, 2};
    std::vector<std::vector<double>> factors;
    for (int count : values) {
      std::vector<double> knob;
      const int best = static_cast<int>(random() % static_cast<unsigned>(count));
      const double slope = 1.05 + 0.01 * static_cast<double>(random() % 30);
      for (int i = 0; i < count; ++i)
        knob.push_back(std::pow(slope, std::abs(i - best)));
      factors.push_back(knob);
    }
    Point point(values.size(), 0);
    for (;;) {
      if ((point[0] + point[5]) % 4 != 3) {
        double seconds = 1e-3;
        for (size_t knob = 0; knob < values.size(); ++knob)
          seconds *= factors[knob][static_cast<size_t>(point[knob])];
        if (point[1] > 2 && point[2] == 0)
          seconds *= 1.6;
        seconds *= 1 + 0.02 * static_cast<double>(random() % 1000) / 1000;
        space.points.push_back(point);
        times.push_back(random() % 10 == 0 ? std::nullopt : std::optional(seconds));
      }
      size_t knob = 0;
      while (knob < values.size() && ++point[knob] == values[knob])
        point[knob++] = 0;
      if (knob == values.size())
        break;
    }
    best = std::numeric_limits<double>::infinity();
    for (const std::optional<double> &seconds : times)
      best = std::min(best, seconds.value_or(best));
  }

  Space space;
  std::vector<std::optional<double>> times;
  double best;
};

/// Evaluations until a time within 5 % of the best is found.
size_t evaluationsToFive(const Landscape &landscape, const std::vector<Index> &portfolio, uint64_t seed) {
  Search search(landscape.space, portfolio, seed);
  while (std::optional<Index> point = search.next()) {
    const std::optional<double> &seconds = landscape.times[*point];
    search.report(*point, seconds);
    if (seconds && *seconds <= 1.05 * landscape.best)
      break;
  }
  return search.evaluations();
}

size_t medianOf(std::vector<size_t> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

} // namespace

TEST(Search, handsOutEachPointOnce) {
  Landscape landscape(1);
  Space few;
  few.points.assign(landscape.space.points.begin(), landscape.space.points.begin() + 50);
  const std::vector<Index> portfolio = {7, 3, 7, 12};
  Search search(few, portfolio, 1);
  std::vector<Index> order;
  while (std::optional<Index> point = search.next()) {
    order.push_back(*point);
    search.report(*point, landscape.times[*point]);
  }
  EXPECT_EQ(search.evaluations(), few.points.size());
  EXPECT_EQ(std::set(order.begin(), order.end()).size(), few.points.size());
  EXPECT_EQ((std::vector<Index>(order.begin(), order.begin() + 3)), (std::vector<Index>{7, 3, 12}));
  std::vector<Index> ranking = search.ranking();
  EXPECT_EQ(ranking.size(), static_cast<size_t>(std::count_if(landscape.times.begin(), landscape.times.begin() + 50,
                                                              [](const auto &time) { return time.has_value(); })));
  EXPECT_TRUE(std::ranges::is_sorted(ranking, {}, [&](Index point) { return *landscape.times[point]; }));
}

TEST(Search, isRepeatable) {
  Landscape landscape(2);
  EXPECT_EQ(evaluationsToFive(landscape, {}, 5), evaluationsToFive(landscape, {}, 5));
}

// The figures of docs/autotuning.md, on landscapes with known optima.
TEST(Search, findsGoodPointsSoon) {
  std::vector<size_t> cold, warm, random;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Landscape landscape(seed % 6);
    cold.push_back(evaluationsToFive(landscape, {}, seed));
    // What won on a machine whose times differ by up to a fifth.
    std::mt19937_64 noise(seed);
    std::vector<std::pair<double, Index>> elsewhere;
    for (Index i = 0; i < landscape.times.size(); ++i)
      if (landscape.times[i])
        elsewhere.emplace_back(*landscape.times[i] * (1 + 0.2 * static_cast<double>(noise() % 1000) / 1000), i);
    std::ranges::sort(elsewhere);
    std::vector<Index> portfolio;
    for (size_t i = 0; i < 8; ++i)
      portfolio.push_back(elsewhere[i].second);
    warm.push_back(evaluationsToFive(landscape, portfolio, seed));
    std::vector<Index> order(landscape.space.points.size());
    std::iota(order.begin(), order.end(), Index(0));
    std::ranges::shuffle(order, noise);
    random.push_back(evaluationsToFive(landscape, order, seed));
  }
  EXPECT_LE(medianOf(cold), 200u);
  EXPECT_LE(medianOf(warm), 32u);
  EXPECT_LT(2 * medianOf(cold), medianOf(random));
  std::printf("evaluations to within 5 %%, median: cold %zu, warm %zu, random %zu\n", medianOf(cold), medianOf(warm),
              medianOf(random));
}

TEST(Search, surrogateLearnsWhichKnobMatters) {
  std::mt19937_64 random(1);
  std::vector<Point> inputs;
  std::vector<double> targets;
  for (int i = 0; i < 60; ++i) {
    Point point = {static_cast<int>(random() % 8), static_cast<int>(random() % 8)};
    targets.push_back(point[1] >= 4 ? 2.0 : 1.0);
    inputs.push_back(std::move(point));
  }
  ExtraTrees model(inputs, targets, random);
  for (int other = 0; other < 8; ++other) {
    EXPECT_LT(model.predict({other, 1}), 1.3);
    EXPECT_GT(model.predict({other, 6}), 1.7);
  }
}

} // namespace tpac::search
