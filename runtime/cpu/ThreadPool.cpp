// SPDX-License-Identifier: Apache-2.0
//
// The thread pool. A job passes through four steps:
//   1. its caller acquires the pool, writes the job, opens the gate and counts `generation` up;
//   2. workers that see the new generation enter the gate, if it is still open, and take indices; the caller does too;
//   3. the caller finds no index left and closes the gate: every index is now run or being run by someone inside;
//   4. the last worker to leave lets the caller go on, which releases the pool.

#include "runtime/cpu/ThreadPool.h"

#include "runtime/cpu/Wait.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <sched.h>
#include <string>
#include <system_error>

namespace tpac::runtime {

namespace {

/// Keeps the process's signals away from the threads that are started during its life, all but those that a fault of
/// the thread itself raises and the one of sampling profilers.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF})
      sigdelset(&blocked, signal);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
  SignalsBlocked(const SignalsBlocked &) = delete;
  SignalsBlocked &operator=(const SignalsBlocked &) = delete;

private:
  sigset_t before;
};

/// Attributes of a thread that starts on `cpu`, or anywhere for -1.
class ThreadAttributes {
public:
  explicit ThreadAttributes(int cpu) {
    check(pthread_attr_init(&attributes), "pthread_attr_init");
    if (cpu < 0)
      return;
    std::vector<cpu_set_t> set(cpu / CPU_SETSIZE + 1);
    const size_t size = set.size() * sizeof(cpu_set_t);
    CPU_ZERO_S(size, set.data());
    CPU_SET_S(cpu, size, set.data());
    const int error = pthread_attr_setaffinity_np(&attributes, size, set.data());
    if (error != 0)
      pthread_attr_destroy(&attributes);
    check(error, "pthread_attr_setaffinity_np");
  }
  ~ThreadAttributes() { pthread_attr_destroy(&attributes); }
  ThreadAttributes(const ThreadAttributes &) = delete;
  ThreadAttributes &operator=(const ThreadAttributes &) = delete;

  const pthread_attr_t *get() const { return &attributes; }

private:
  static void check(int error, const char *call) {
    if (error != 0)
      throw std::system_error(error, std::generic_category(), call);
  }

  pthread_attr_t attributes;
};

} // namespace

ThreadPool::ThreadPool(int32_t threads, std::span<const int> pinnedCpus, std::chrono::nanoseconds spinTime)
    : spinTime(spinTime), process(getpid()) {
  try {
    startWorkers(threads - 1, pinnedCpus);
  } catch (...) {
    stopWorkers();
    throw;
  }
}

ThreadPool::~ThreadPool() { stopWorkers(); }

void ThreadPool::startWorkers(int32_t count, std::span<const int> pinnedCpus) {
  const SignalsBlocked signalsBlocked;
  workers.reserve(count);
  for (int32_t worker = 1; worker <= count; ++worker) {
    const int cpu = pinnedCpus.empty() ? -1 : pinnedCpus[worker % pinnedCpus.size()];
    const ThreadAttributes attributes(cpu);
    pthread_t thread;
    if (const int error = pthread_create(&thread, attributes.get(), &ThreadPool::workerMain, this))
      throw std::system_error(error, std::generic_category(),
                              "pthread_create for thread " + std::to_string(worker + 1) + " of " +
                                  std::to_string(count + 1) + (cpu < 0 ? "" : " on CPU " + std::to_string(cpu)));
    workers.push_back(thread);
    char name[16];
    std::snprintf(name, sizeof(name), "tpac-%d", worker);
    pthread_setname_np(thread, name);
  }
}

void ThreadPool::stopWorkers() noexcept {
  // A forked child has this memory but none of the threads.
  if (getpid() != process)
    return;
  generation.fetch_or(stopBit);
  wakeSleepers(generation, static_cast<int32_t>(workers.size()));
  for (pthread_t worker : workers)
    pthread_join(worker, nullptr);
}

void *ThreadPool::workerMain(void *pool) noexcept {
  ThreadPool &self = *static_cast<ThreadPool *>(pool);
  for (uint32_t seen = 0;;) {
    seen = self.awaitJob(seen);
    if (seen & stopBit)
      return nullptr;
    if (!self.tryEnter())
      continue;
    self.takeItems();
    self.leave();
  }
}

uint32_t ThreadPool::awaitJob(uint32_t seen) noexcept {
  const auto changed = [&] { return generation.load(std::memory_order_acquire) != seen; };
  if (!spinUntil(changed, spinTime)) {
    // Either the caller's look at `sleepers` sees this thread, or this thread's look at `generation` sees the job: each
    // writes the one before it reads the other.
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    while (generation.load(std::memory_order_seq_cst) == seen)
      sleepWhile(generation, seen);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
  return generation.load(std::memory_order_acquire);
}

bool ThreadPool::tryEnter() noexcept {
  uint32_t state = gate.load(std::memory_order_relaxed);
  while (state & gateOpen)
    if (gate.compare_exchange_weak(state, state + 1, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  return false;
}

void ThreadPool::leave() noexcept {
  if (gate.fetch_sub(1, std::memory_order_release) == (gateCallerSleeps | 1))
    wakeSleepers(gate, 1);
}

void ThreadPool::takeItems() noexcept {
  for (int64_t index; (index = nextIndex.fetch_add(1, std::memory_order_relaxed)) < count;)
    task(argument, index);
}

bool ThreadPool::tryAcquire() noexcept {
  return !acquired.load(std::memory_order_relaxed) && !acquired.exchange(true, std::memory_order_acquire);
}

void ThreadPool::run(Task itemTask, void *itemArgument, int64_t itemCount) noexcept {
  int64_t index = 0;
  // Nobody waits for the pool: not a task inside a job, which would wait for itself, and not a caller beside another.
  while (index + 1 < itemCount && !workers.empty()) {
    if (tryAcquire())
      return share(itemTask, itemArgument, index, itemCount);
    itemTask(itemArgument, index++);
  }
  for (; index < itemCount; ++index)
    itemTask(itemArgument, index);
}

void ThreadPool::share(Task itemTask, void *itemArgument, int64_t first, int64_t itemCount) noexcept {
  task = itemTask;
  argument = itemArgument;
  count = itemCount;
  nextIndex.store(first, std::memory_order_relaxed);
  gate.store(gateOpen, std::memory_order_release);
  generation.fetch_add(nextJob, std::memory_order_seq_cst);
  wakeWorkers(itemCount - first);

  takeItems();

  gate.fetch_and(~gateOpen, std::memory_order_relaxed);
  awaitOthers();
  acquired.store(false, std::memory_order_release);
}

void ThreadPool::wakeWorkers(int64_t items) noexcept {
  const int32_t asleep = sleepers.load(std::memory_order_seq_cst);
  if (asleep == 0)
    return;
  const auto all = static_cast<int32_t>(workers.size());
  // One item is the caller's; those awake come by themselves.
  const int32_t wanted = static_cast<int32_t>(std::min<int64_t>(items - 1, all)) - (all - asleep);
  if (wanted > 0)
    wakeSleepers(generation, wanted);
}

void ThreadPool::awaitOthers() noexcept {
  if (spinUntil([&] { return gate.load(std::memory_order_acquire) == 0; }, spinTime))
    return;
  gate.fetch_or(gateCallerSleeps, std::memory_order_relaxed);
  for (uint32_t state; ((state = gate.load(std::memory_order_acquire)) & gateInside) != 0;)
    sleepWhile(gate, state);
  gate.store(0, std::memory_order_relaxed);
}

} // namespace tpac::runtime
