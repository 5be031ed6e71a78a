// SPDX-License-Identifier: Apache-2.0
//
// An executor for tests: some threads, started for each run, and indices in random order. Not fast, and independent of
// the runtime's thread pool.

#ifndef TPAC_TESTS_UNIT_EMIT_TESTEXECUTOR_H
#define TPAC_TESTS_UNIT_EMIT_TESTEXECUTOR_H

#include "tpac/executor.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace tpac::test {

class TestExecutor {
public:
  TestExecutor(int threads, unsigned seed) : seed(seed), executor{this, threads, run} {}
  TestExecutor(const TestExecutor &) = delete;
  TestExecutor &operator=(const TestExecutor &) = delete;

  const tpac_executor *get() const { return &executor; }
  /// Calls of `run`, and items of all of them.
  int64_t runs() const { return runCount; }
  int64_t items() const { return itemCount; }

private:
  static void run(void *context, void (*task)(void *argument, int64_t index), void *argument, int64_t count) {
    auto &self = *static_cast<TestExecutor *>(context);
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(self.seed + static_cast<unsigned>(self.runCount++)));
    self.itemCount += count;
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t i = next++; i < order.size(); i = next++)
        task(argument, order[i]);
    };
    std::vector<std::thread> others;
    for (int32_t i = 1; i < self.executor.concurrency; ++i)
      others.emplace_back(work);
    work();
    for (std::thread &thread : others)
      thread.join();
  }

  unsigned seed;
  std::atomic<int64_t> runCount{0}, itemCount{0};
  tpac_executor executor;
};

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_EMIT_TESTEXECUTOR_H
