// SPDX-License-Identifier: Apache-2.0
//
// Candidates of one question on this machine: compiled, checked, timed over cold caches. In the calling process: one
// that crashes takes it along, so a worker makes trials (Worker.h).

#ifndef TPAC_AUTOTUNE_MEASURE_TRIAL_H
#define TPAC_AUTOTUNE_MEASURE_TRIAL_H

#include "autotune/measure/Gate.h"
#include "bench/measure/Arena.h"
#include "lowering/execute/Executable.h"

#include <map>
#include <optional>
#include <sched.h>

namespace tpac::autotune {

/// What is tuned: a phase of a variant for calls of one size, on so many threads of so many requests each.
struct Question {
  bench::Row row;
  std::string target = "host";
  /// Memory that timed calls rotate through.
  int64_t poolBytes = int64_t(1) << 30;
  /// What one timed run takes at least, in seconds, unless the pool ends before.
  double runSeconds = 0.02;
};

class Trial {
public:
  explicit Trial(Question question);
  ~Trial();

  /// What became of a candidate that was to be compiled.
  struct Compiled {
    /// Why it does not compile; "" where it does.
    std::string problem;
    /// Of candidates with equal codes one alone need be checked and timed: they are the same machine code.
    std::string code;
  };

  /// Compiles candidates at the same time, on all CPUs (and, for the first ones, what candidates are compared with).
  /// `schedules`: texts of #tpa.schedule. `faults`: for tests, what is wrong with the kernels of some (Faults.h).
  std::vector<Compiled> compile(const std::vector<std::string> &schedules,
                                const std::map<std::string, std::string> &faults = {});

  /// Why a compiled candidate must not win: what the gate says; "" where it may.
  std::string check(const std::string &schedule) const;

  /// Seconds of one call on all threads. Throws std::exception for one that was not compiled.
  double run(const std::string &schedule);

private:
  struct Candidate {
    std::unique_ptr<Executable> executable;
    std::string code;
    bench::Kernel kernel;
    /// Units of a timed run; 0: not known yet.
    int64_t units = 0;
  };

  std::unique_ptr<Executable> compiled(const std::string &schedule, std::string &problem) const;
  void admit(const std::string &schedule, std::unique_ptr<Executable> executable, const std::string &fault);

  Question question;
  /// The CPUs of this process before the team pinned the calling thread.
  cpu_set_t cpus{};
  std::map<std::string, Candidate> candidates;
  std::unique_ptr<Gate> gate;
  bench::Arena arena;
  bench::ThreadTeam team;
  std::unique_ptr<bench::Workload> workload;
  std::unique_ptr<bench::KernelPasses> passes;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_TRIAL_H
