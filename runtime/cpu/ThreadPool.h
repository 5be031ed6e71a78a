// SPDX-License-Identifier: Apache-2.0
//
// The thread pool behind tpac/executor.h: persistent threads that run the items of one job at a time. Which CPUs and
// how many threads is the creator's choice, not made here.

#ifndef TPAC_RUNTIME_CPU_THREADPOOL_H
#define TPAC_RUNTIME_CPU_THREADPOOL_H

#include <atomic>
#include <chrono>
#include <cstdint>
#include <pthread.h>
#include <span>
#include <sys/types.h>
#include <vector>

namespace tpac::runtime {

using Task = void (*)(void *argument, int64_t index);

class ThreadPool {
public:
  /// Starts `threads` - 1 workers: the callers of run() are the first thread. Worker i (from 1) is bound to
  /// `pinnedCpus[i % size]`, or to none where the span is empty. Throws std::system_error or std::bad_alloc.
  ThreadPool(int32_t threads, std::span<const int> pinnedCpus, std::chrono::nanoseconds spinTime);
  /// Ends the workers; no run() may be in progress.
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Calls task(argument, index) for each index in 0 .. count-1 and returns when all have returned. From any thread,
  /// also from inside a task.
  void run(Task task, void *argument, int64_t count) noexcept;

private:
  // Bits of `gate`. Only those inside read the job and take indices, and the job changes only while nobody is: so a
  // worker that comes late finds the gate closed and need not be waited for.
  static constexpr uint32_t gateOpen = 1u << 31;
  static constexpr uint32_t gateCallerSleeps = 1u << 30;
  static constexpr uint32_t gateInside = gateCallerSleeps - 1;

  // Steps of `generation`: even while the pool lives, so that the last value differs from every one before.
  static constexpr uint32_t nextJob = 2;
  static constexpr uint32_t stopBit = 1;

  static void *workerMain(void *pool) noexcept;
  void startWorkers(int32_t count, std::span<const int> pinnedCpus);
  void stopWorkers() noexcept;

  bool tryAcquire() noexcept;
  void share(Task task, void *argument, int64_t first, int64_t count) noexcept;
  void wakeWorkers(int64_t items) noexcept;
  void takeItems() noexcept;
  bool tryEnter() noexcept;
  void leave() noexcept;
  void awaitOthers() noexcept;
  uint32_t awaitJob(uint32_t seen) noexcept;

  // Grouped by who writes when: idle workers poll the first line, those at work contend for the second.
  static constexpr size_t cacheLine = 64;

  alignas(cacheLine) std::atomic<uint32_t> generation{0};
  Task task = nullptr;
  void *argument = nullptr;
  int64_t count = 0;

  alignas(cacheLine) std::atomic<int64_t> nextIndex{0};
  std::atomic<uint32_t> gate{0};

  alignas(cacheLine) std::atomic<bool> acquired{false};
  std::atomic<int32_t> sleepers{0};
  const std::chrono::nanoseconds spinTime;
  const pid_t process;
  std::vector<pthread_t> workers;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_CPU_THREADPOOL_H
