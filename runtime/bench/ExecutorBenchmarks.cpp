// SPDX-License-Identifier: Apache-2.0
//
// What a dispatch costs: runs whose items do nothing, and the time until another thread has begun an item. Says nothing
// of kernels.

#include "tpac/executor.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

/// A pool of one benchmark.
class Pool {
public:
  Pool(int32_t threads, int64_t spin) {
    tpac_thread_pool_config config = {};
    config.struct_size = sizeof(config);
    config.threads = threads;
    config.pin = 1;
    config.spin_microseconds = spin;
    if (const int32_t status = tpac_thread_pool_create(&config, &pool))
      throw std::runtime_error(tpac_runtime_status_message(status));
  }
  ~Pool() { tpac_thread_pool_destroy(pool); }
  Pool(const Pool &) = delete;
  Pool &operator=(const Pool &) = delete;

  void run(void (*task)(void *, int64_t), void *argument, int64_t count) const {
    const tpac_executor *executor = tpac_thread_pool_executor(pool);
    executor->run(executor->context, task, argument, count);
  }

private:
  tpac_thread_pool *pool = nullptr;
};

void nothing(void *, int64_t) {}

/// Args: threads, items.
void emptyRun(benchmark::State &state) {
  const Pool pool(static_cast<int32_t>(state.range(0)), 1000);
  for (auto _ : state)
    pool.run(nothing, nullptr, state.range(1));
}
BENCHMARK(emptyRun)->ArgNames({"threads", "items"})->Args({1, 2})->Args({2, 2})->Args({2, 64})->UseRealTime();

/// Two items, of which the caller's waits until another thread has begun the other one.
struct HandOff {
  std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> begun{false};
};

void handOffItem(void *argument, int64_t) {
  auto &handOff = *static_cast<HandOff *>(argument);
  if (std::this_thread::get_id() != handOff.caller) {
    handOff.begun.store(true, std::memory_order_release);
    return;
  }
  // Where the machine is busy with something else, the other thread may not come; the run then counts as a long one.
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(1);
  while (!handOff.begun.load(std::memory_order_acquire) && Clock::now() < end) {
  }
}

/// Args: how long threads spin, in microseconds (-1: they sleep); time between the runs, in microseconds. The median
/// says what a dispatch costs, the mean also what else ran on the machine.
void handOff(benchmark::State &state) {
  const Pool pool(2, state.range(0));
  std::vector<double> seconds;
  for (auto _ : state) {
    const Clock::time_point ready = Clock::now() + std::chrono::microseconds(state.range(1));
    while (Clock::now() < ready) {
    }
    HandOff work;
    const Clock::time_point start = Clock::now();
    pool.run(handOffItem, &work, 2);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    state.SetIterationTime(seconds.back());
  }
  std::sort(seconds.begin(), seconds.end());
  state.counters["median"] = seconds[seconds.size() / 2];
  state.counters["p90"] = seconds[seconds.size() * 9 / 10];
}
BENCHMARK(handOff)->ArgNames({"spin", "pause"})->Args({1000, 5})->Args({-1, 100})->UseManualTime()->Iterations(20000);

} // namespace

BENCHMARK_MAIN();
