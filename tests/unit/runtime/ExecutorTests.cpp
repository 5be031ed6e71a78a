// SPDX-License-Identifier: Apache-2.0
//
// What `run` of a pool's executor promises: every index once, from any thread, also inside items, with all that was
// written before visible.

#include "tests/unit/runtime/TestPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace tpac::test;

namespace {

/// Threads of the pool and how long they spin.
struct Case {
  int32_t threads;
  int64_t spin;
  int32_t pin;
};

class Executor : public ::testing::TestWithParam<Case> {
protected:
  TestPool pool{poolConfig(GetParam().threads, GetParam().spin, GetParam().pin)};
};

/// Waits for `condition`, for as long as any machine may need; says whether it came true.
template <typename Condition> bool comesTrue(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::yield();
  }
  return true;
}

} // namespace

TEST_P(Executor, statesItsThreads) { EXPECT_EQ(pool.executor().concurrency, GetParam().threads); }

TEST_P(Executor, runsEveryIndexOnce) {
  // Not atomic: what items write must be visible after run, and no index may be run twice (ThreadSanitizer sees both).
  for (int64_t count : {1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 100, 1000, 10000}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<int> runs(count, repeat);
      pool.run(count, [&](int64_t index) { runs.at(index) += 1; });
      ASSERT_EQ(runs, std::vector<int>(count, repeat + 1)) << count << " items, run " << repeat;
    }
  }
}

TEST_P(Executor, runsNothingForNoItems) {
  for (int64_t count : {int64_t{0}, int64_t{-1}, INT64_MIN})
    pool.run(count, [](int64_t index) { ADD_FAILURE() << "index " << index; });
}

TEST_P(Executor, manySmallRunsAfterPauses) {
  // Threads are met spinning, on their way to sleep, and asleep.
  int64_t sum = 0;
  for (int repeat = 0; repeat < 300; ++repeat) {
    int64_t part[3] = {};
    pool.run(3, [&](int64_t index) { part[index] = index + repeat; });
    sum += part[0] + part[1] + part[2];
    if (repeat % 3 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(repeat));
  }
  EXPECT_EQ(sum, 3 * (300 * 299 / 2) + 300 * 3);
}

TEST_P(Executor, itemsOfUnequalCost) {
  std::vector<uint64_t> results(200);
  pool.run(200, [&](int64_t index) {
    const int64_t steps = index % 50 == 0 ? 1'000'000 : 10;
    auto value = static_cast<uint64_t>(index);
    for (int64_t i = 0; i < steps; ++i)
      value = value * 6364136223846793005 % 1000003 + 1;
    results[index] = value;
  });
  EXPECT_EQ(std::count(results.begin(), results.end(), 0), 0);
}

TEST_P(Executor, callersInSeveralThreads) {
  constexpr int callers = 4, runs = 200, items = 17;
  std::vector<int64_t> sums(callers);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      for (int run = 0; run < runs; ++run) {
        std::vector<int64_t> values(items);
        pool.run(items, [&](int64_t index) { values[index] += caller * 1000 + index; });
        sums[caller] += std::accumulate(values.begin(), values.end(), int64_t{0});
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  for (int caller = 0; caller < callers; ++caller)
    EXPECT_EQ(sums[caller], runs * (items * 1000 * caller + items * (items - 1) / 2));
}

TEST_P(Executor, nestedRuns) {
  std::vector<int> runs(6 * 5 * 4);
  pool.run(6, [&](int64_t i) {
    pool.run(5, [&](int64_t j) { pool.run(4, [&](int64_t k) { runs[(i * 5 + j) * 4 + k] += 1; }); });
  });
  EXPECT_EQ(runs, std::vector<int>(6 * 5 * 4, 1));
}

TEST_P(Executor, nestedAcrossPoolsFromSeveralCallers) {
  // Each pool's items run on the other one: waiting for a pool anywhere would end in a deadlock.
  const TestPool other(poolConfig(2, GetParam().spin));
  std::vector<std::thread> callers;
  std::atomic<int64_t> items{0};
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&, caller] {
      const TestPool &outer = caller % 2 ? other : pool, &inner = caller % 2 ? pool : other;
      for (int run = 0; run < 50; ++run)
        outer.run(3,
                  [&](int64_t) { inner.run(3, [&](int64_t) { outer.run(3, [&](int64_t) { items.fetch_add(1); }); }); });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(items.load(), 3 * 50 * 27);
}

INSTANTIATE_TEST_SUITE_P(, Executor,
                         ::testing::Values(Case{1, 0, 0}, Case{2, 0, 0}, Case{2, 10000, 1}, Case{2, TPAC_SPIN_NEVER, 0},
                                           Case{3, TPAC_SPIN_NEVER, 1}, Case{4, 0, 0}, Case{32, 0, 1}),
                         [](const auto &info) {
                           return std::to_string(info.param.threads) + "threads_" +
                                  (info.param.spin < 0 ? "sleeping" : "spin" + std::to_string(info.param.spin)) +
                                  (info.param.pin ? "_pinned" : "");
                         });

TEST(ExecutorThreads, allTakePart) {
  // Each item waits until all have begun, which needs a thread for each.
  for (int64_t spin : {int64_t{TPAC_SPIN_NEVER}, int64_t{1000}}) {
    const TestPool pool(poolConfig(5, spin));
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::atomic<int> begun{0};
      std::vector<std::thread::id> ids(5);
      pool.run(5, [&](int64_t index) {
        ids[index] = std::this_thread::get_id();
        begun.fetch_add(1);
        EXPECT_TRUE(comesTrue([&] { return begun.load() == 5; }));
      });
      EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 5u);
      EXPECT_EQ(std::count(ids.begin(), ids.end(), std::this_thread::get_id()), 1);
    }
  }
}

TEST(ExecutorThreads, itemsGoToWhoeverIsFree) {
  // Item 0 does not end before all others have: they must go to the other thread.
  const TestPool pool(poolConfig(2));
  std::atomic<int> others{0};
  pool.run(50, [&](int64_t index) {
    if (index != 0)
      others.fetch_add(1);
    else
      EXPECT_TRUE(comesTrue([&] { return others.load() == 49; }));
  });
  EXPECT_EQ(others.load(), 49);
}

TEST(ExecutorThreads, aSecondCallerDoesNotWaitForTheFirst) {
  const TestPool pool(poolConfig(2));
  std::atomic<bool> holding{false}, release{false};
  std::thread first([&] {
    pool.run(2, [&](int64_t) {
      holding = true;
      EXPECT_TRUE(comesTrue([&] { return release.load(); }));
    });
  });
  ASSERT_TRUE(comesTrue([&] { return holding.load(); }));
  std::vector<std::thread::id> ids(4);
  pool.run(4, [&](int64_t index) { ids[index] = std::this_thread::get_id(); });
  EXPECT_EQ(ids, std::vector<std::thread::id>(4, std::this_thread::get_id()));
  release = true;
  first.join();
}

TEST(ExecutorThreads, aSecondCallerHandsOutItsRestWhenThePoolIsFree) {
  const TestPool pool(poolConfig(2));
  std::atomic<bool> holding{false}, release{false}, released{false};
  std::thread first([&] {
    pool.run(2, [&](int64_t) {
      holding = true;
      EXPECT_TRUE(comesTrue([&] { return release.load(); }));
    });
    released = true;
  });
  ASSERT_TRUE(comesTrue([&] { return holding.load(); }));
  // After item 0 the pool is free: items 1 and 2 wait for each other, which needs both threads.
  std::atomic<int> begun{0};
  pool.run(3, [&](int64_t index) {
    if (index == 0) {
      release = true;
      EXPECT_TRUE(comesTrue([&] { return released.load(); }));
      return;
    }
    begun.fetch_add(1);
    EXPECT_TRUE(comesTrue([&] { return begun.load() == 2; }));
  });
  first.join();
}

TEST(ExecutorThreads, aForkedChildRunsAlone) {
  const TestPool pool(poolConfig(3));
  pool.run(10, [](int64_t) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int items = 0;
    {
      tpac_thread_pool *mine = nullptr;
      const auto config = poolConfig(1);
      if (tpac_thread_pool_create(&config, &mine) != TPAC_SUCCESS)
        _exit(2);
      tpac_thread_pool_destroy(mine);
      pool.run(10, [&](int64_t) { ++items; });
      pool.~TestPool();
    }
    _exit(items == 10 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  pool.run(10, [](int64_t) {});
}
