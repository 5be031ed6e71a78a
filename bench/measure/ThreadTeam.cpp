// SPDX-License-Identifier: Apache-2.0
//
// Threads pinned to one CPU each. Workers sleep between runs and spin only for the common start, so that they take
// nothing from what is measured on fewer threads.

#include "bench/measure/ThreadTeam.h"

#include <chrono>
#include <stdexcept>
#include <string>

namespace tpac::bench {

namespace {

void pinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

template <typename Condition> void spinUntil(Condition condition) {
  // Where CPUs are shared with other processes, the thread waited for may need this one's.
  for (int spins = 0; !condition(); ++spins)
    if (spins % 4096 == 4095)
      std::this_thread::yield();
}

} // namespace

std::vector<int> allowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set))
      cpus.push_back(cpu);
  return cpus;
}

ThreadTeam::ThreadTeam(int threads) {
  std::vector<int> cpus = allowedCpus();
  if (threads < 1 || static_cast<size_t>(threads) > cpus.size())
    throw std::invalid_argument(std::to_string(threads) + " threads asked for; accepted: 1 to " +
                                std::to_string(cpus.size()) + ", the CPUs of this process");
  CPU_ZERO(&callersCpus);
  sched_getaffinity(0, sizeof(callersCpus), &callersCpus);
  failures.resize(threads);
  for (int thread = 1; thread < threads; ++thread)
    workers.emplace_back([this, thread, cpu = cpus[thread]] { loop(thread, cpu); });
  pinTo(cpus[0]);
}

ThreadTeam::~ThreadTeam() {
  round.store(-1);
  round.notify_all();
  for (std::thread &worker : workers)
    worker.join();
  sched_setaffinity(0, sizeof(callersCpus), &callersCpus);
}

void ThreadTeam::runGuarded(int thread) {
  try {
    (*work)(thread);
  } catch (...) {
    failures[thread] = std::current_exception();
  }
}

void ThreadTeam::loop(int thread, int cpu) {
  pinTo(cpu);
  for (int seen = 0;;) {
    round.wait(seen);
    seen = round.load();
    if (seen < 0)
      return;
    ready.fetch_add(1);
    spinUntil([&] { return started.load() == seen; });
    runGuarded(thread);
    finished.fetch_add(1);
  }
}

double ThreadTeam::run(const std::function<void(int)> &newWork) {
  work = &newWork;
  failures.assign(failures.size(), nullptr);
  ready.store(0);
  finished.store(0);
  int current = round.load() + 1;
  round.store(current);
  round.notify_all();
  int others = static_cast<int>(workers.size());
  spinUntil([&] { return ready.load() == others; });
  auto begin = std::chrono::steady_clock::now();
  started.store(current);
  runGuarded(0);
  spinUntil([&] { return finished.load() == others; });
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  for (const std::exception_ptr &failure : failures)
    if (failure)
      std::rethrow_exception(failure);
  return seconds.count();
}

} // namespace tpac::bench
