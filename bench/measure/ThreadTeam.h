// SPDX-License-Identifier: Apache-2.0
//
// Threads pinned to one CPU each that start a piece of work at the same instant. For measuring only: kernels are called
// from these threads and need no threads of their own.

#ifndef TPAC_BENCH_MEASURE_THREADTEAM_H
#define TPAC_BENCH_MEASURE_THREADTEAM_H

#include <atomic>
#include <exception>
#include <functional>
#include <sched.h>
#include <thread>
#include <vector>

namespace tpac::bench {

/// CPUs that this process may run on.
std::vector<int> allowedCpus();

class ThreadTeam {
public:
  /// `threads` >= 1, the caller's one among them. Throws std::invalid_argument if there are fewer CPUs.
  explicit ThreadTeam(int threads);
  /// The caller is no longer pinned afterwards.
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam &) = delete;
  ThreadTeam &operator=(const ThreadTeam &) = delete;

  int size() const { return static_cast<int>(workers.size()) + 1; }

  /// Runs work(0) .. work(size() - 1), one per thread, and returns the seconds from the common start to the last end.
  /// An exception of the lowest-numbered thread is thrown again here.
  double run(const std::function<void(int)> &work);

private:
  void loop(int thread, int cpu);
  void runGuarded(int thread);

  cpu_set_t callersCpus;
  std::vector<std::thread> workers;
  std::vector<std::exception_ptr> failures;
  const std::function<void(int)> *work = nullptr;
  std::atomic<int> round{0}; // incremented per run; -1 ends the workers
  std::atomic<int> ready{0};
  std::atomic<int> started{0};
  std::atomic<int> finished{0};
};

} // namespace tpac::bench

#endif // TPAC_BENCH_MEASURE_THREADTEAM_H
