// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/Race.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

namespace tpac::search {

namespace {

/// Points whose times are known, with noise: a run is longer than its point's time, sometimes by much.
struct Machine {
  explicit Machine(uint64_t seed) : random(seed) {}

  std::optional<double> operator()(Index point) {
    ++runs[point];
    if (broken.contains(point) && runs[point] > broken[point])
      return std::nullopt;
    // The whole machine slows down and speeds up again.
    const double drift = 1 + 0.05 * std::sin(static_cast<double>(++total) / 40);
    const double noise = std::exponential_distribution(1 / 0.01)(random);
    const double burst = random() % 20 == 0 ? 1.5 : 1;
    return times.at(point) * drift * (1 + noise) * burst;
  }

  std::map<Index, double> times;
  std::map<Index, int> runs, broken;
  int total = 0;
  std::mt19937_64 random;
};

const auto always = [] { return true; };

} // namespace

TEST(Race, spendsLittleOnSlowPoints) {
  Machine machine(1);
  machine.times = {{0, 1.0}, {1, 2.0}, {2, 1.05}, {3, 1.18}};
  TimedRun run = std::ref(machine);
  EXPECT_TRUE(probe(run, 0, std::nullopt));
  EXPECT_EQ(machine.runs[0], 3);
  EXPECT_GT(*probe(run, 1, 1.0), 1.9);
  EXPECT_EQ(machine.runs[1], 1);
  EXPECT_TRUE(probe(run, 2, 1.0));
  EXPECT_EQ(machine.runs[2], 3);
  EXPECT_TRUE(probe(run, 3, 1.0));
  EXPECT_EQ(machine.runs[3], 2);
}

TEST(Race, leavesOutWhatLosesItsTime) {
  Machine machine(1);
  machine.times = {{0, 1.0}, {1, 0.5}};
  machine.broken = {{1, 4}};
  TimedRun run = std::ref(machine);
  std::vector<Finalist> finalists = runFinal(run, {0, 1}, always);
  ASSERT_EQ(finalists.size(), 1u);
  EXPECT_EQ(finalists[0].point, 0u);
  EXPECT_EQ(finalists[0].runs, finalRounds);
  machine.broken = {{0, 0}};
  EXPECT_FALSE(probe(run, 0, std::nullopt));
}

// Close ones take more turns; the others have taken enough.
TEST(Race, goesOnAmongTheClosest) {
  Machine machine(1);
  machine.times = {{0, 1.0}, {1, 1.004}, {2, 1.3}};
  std::vector<Finalist> finalists = runFinal(std::ref(machine), {0, 1, 2}, always);
  ASSERT_EQ(finalists.size(), 3u);
  EXPECT_EQ(finalists[0].runs, finalRounds + 45);
  EXPECT_EQ(finalists[1].runs, finalRounds + 45);
  EXPECT_EQ(finalists[2].point, 2u);
  EXPECT_EQ(finalists[2].runs, finalRounds);
}

// Where turns are cheap, until it is known which one is faster.
TEST(Race, goesFurtherWhileThereIsTime) {
  Machine machine(1);
  machine.times = {{0, 1.0}, {1, 1.004}, {2, 1.3}};
  int asked = 0;
  std::vector<Finalist> finalists = runFinal(std::ref(machine), {0, 1, 2}, always, [&] { return ++asked <= 40; });
  ASSERT_EQ(finalists.size(), 3u);
  EXPECT_EQ(finalists[0].runs, finalRounds + 45 + 40);
  EXPECT_EQ(finalists[2].runs, finalRounds);
  // It ends by itself, with the faster one first.
  finalists = runFinal(std::ref(machine), {0, 1, 2}, always, always);
  EXPECT_EQ(finalists[0].point, 0u);
  EXPECT_GT(finalists[0].runs, finalRounds + 45);
}

// Where times do not scatter, more turns tell nothing.
TEST(Race, endsWhereTheClosestAreKnown) {
  const std::vector<double> times = {1.0, 1.004, 1.3};
  int total = 0;
  const TimedRun run = [&](Index point) { return times.at(point) * (1 + 0.001 * (++total % 2)); };
  for (const Finalist &finalist : runFinal(run, {0, 1, 2}, always))
    EXPECT_EQ(finalist.runs, finalRounds);
}

TEST(Race, mayBeEndedAfterThreeRounds) {
  Machine machine(1);
  machine.times = {{0, 1.0}, {1, 1.1}};
  std::vector<Finalist> finalists = runFinal(std::ref(machine), {0, 1}, [] { return false; });
  EXPECT_EQ(finalists[0].runs, 3);
}

// Mean regret of what wins, over races on a noisy machine: at most half a percent.
TEST(Race, findsTheFastest) {
  double regret = 0;
  constexpr int races = 200;
  for (uint64_t seed = 0; seed < races; ++seed) {
    Machine machine(seed);
    std::vector<Index> points;
    for (Index i = 0; i < 8; ++i) {
      machine.times[i] = 1e-3 * (1 + 0.004 * static_cast<double>((i * 5 + seed) % 8));
      points.push_back(i);
    }
    std::vector<Finalist> finalists = runFinal(std::ref(machine), points, always);
    EXPECT_TRUE(std::ranges::is_sorted(finalists, {}, &Finalist::median));
    regret += machine.times[finalists.front().point] / 1e-3 - 1;
  }
  EXPECT_LE(regret / races, 0.005);
}

} // namespace tpac::search
