// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Hunt.h"

#include <gtest/gtest.h>

#include <map>

namespace tpac::search {

namespace {

/// Ten points in a row; neighbours of even and odd numbers are the same thing.
struct Row {
  Row() {
    for (int i = 0; i < 10; ++i)
      space.points.push_back({i});
    bench = {[&](const std::vector<Index> &points) {
               batches.push_back(points.size());
               std::vector<std::string> names;
               for (Index point : points)
                 names.push_back(point == 9 ? "" : std::to_string(point / 2));
               return names;
             },
             [&](Index point) {
               ++checks[point / 2];
               return point / 2 != 3;
             },
             [&](Index point) {
               ++runs[point / 2];
               return std::optional(1e-3 * static_cast<double>(1 + point / 2));
             }};
  }

  Space space;
  Workbench bench;
  std::vector<size_t> batches;
  std::map<Index, int> checks, runs;
};

} // namespace

TEST(Hunt, timesWhatIsTheSameOnce) {
  Row row;
  HuntOptions options;
  options.byDefault = 4;
  options.together = 4;
  size_t seen = 0;
  options.onProgress = [&](size_t evaluations, size_t most, std::optional<double> best, std::optional<double>) {
    EXPECT_EQ(evaluations, ++seen);
    EXPECT_EQ(most, 10u);
    EXPECT_TRUE(best);
  };
  Outcome outcome = hunt(row.space, row.bench, options);
  EXPECT_EQ(outcome.evaluations, 10u);
  EXPECT_EQ(row.batches, (std::vector<size_t>{4, 4, 2}));
  // Ten points: five things, of which one is made once; each checked once.
  EXPECT_EQ(outcome.identical, 4u);
  EXPECT_EQ(row.checks, (std::map<Index, int>{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  // What may not win is not timed, and of the same things one is in the final, the default for its own.
  EXPECT_EQ(row.runs.count(3), 0u);
  ASSERT_EQ(outcome.finalists.size(), 4u);
  EXPECT_EQ(outcome.finalists.front().point / 2, 0u);
  EXPECT_EQ(outcome.finalists[2].point, 4u);
  EXPECT_EQ(outcome.firstDefault, 3e-3);
}

TEST(Hunt, endsWithItsFinalWhenItIsOver) {
  Row row;
  HuntOptions options;
  options.byDefault = 6 - 2;
  options.together = 4;
  size_t evaluations = 0;
  options.onProgress = [&](size_t count, size_t, std::optional<double>, std::optional<double>) { evaluations = count; };
  options.isOver = [&] { return evaluations >= 2; };
  Outcome outcome = hunt(row.space, row.bench, options);
  EXPECT_EQ(outcome.evaluations, 2u);
  EXPECT_FALSE(outcome.finalists.empty());
  EXPECT_EQ(outcome.finalists.front().runs, finalRounds);
  options.mostEvaluations = 3;
  options.isOver = [] { return false; };
  EXPECT_EQ(hunt(row.space, row.bench, options).evaluations, 3u);
}

} // namespace tpac::search
