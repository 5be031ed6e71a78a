// SPDX-License-Identifier: Apache-2.0
//
// Candidates of one question on this machine: compiled, checked, timed over cold caches. In the calling process: one
// that crashes takes it along, so a worker makes trials (Worker.h).

#ifndef TPAC_AUTOTUNE_MEASURE_TRIAL_H
#define TPAC_AUTOTUNE_MEASURE_TRIAL_H

#include "autotune/measure/Bundle.h"

#include <map>
#include <memory>
#include <optional>
#include <sched.h>
#include <set>
#include <stdexcept>

namespace tpac::autotune {

/// What is tuned: a phase of a variant for calls of one size, on a CPU on so many threads of so many requests each.
struct Question {
  bench::Row row;
  std::string target = "host";
  /// Memory that timed calls rotate through.
  int64_t poolBytes = int64_t(1) << 30;
  /// What one timed run takes at least, in seconds, unless the pool ends before.
  double runSeconds = 0.02;
  /// Where candidates and expected results come from, and the number of the question there; empty: they are compiled
  /// and computed.
  std::string bundle;
  size_t number = 0;
};

/// The process, or what it has of a device, is of no use any more.
struct TrialLost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Trial {
public:
  /// For the CPU or the GPU of this machine, as the question's target says. Throws std::exception.
  static std::unique_ptr<Trial> make(Question question);
  virtual ~Trial();

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
  virtual std::string check(const std::string &schedule) = 0;

  /// {"silicon": what records are told apart by, "device": what is information}.
  virtual nlohmann::json machine();

  /// Seconds of one call, on a CPU on all threads. Throws std::exception for one that was not compiled.
  virtual double run(const std::string &schedule) = 0;

protected:
  explicit Trial(Question question);

  /// Takes what a candidate was compiled to. Throws std::exception where this machine does not run it.
  virtual void admit(const std::string &schedule, const Artifact &artifact, const std::string &fault) = 0;
  /// What candidates are compared with, known from the first call on.
  const ReferenceCalls &references(int64_t pageSize);

  const Question question;
  /// The CPUs of this process before anything was pinned.
  const cpu_set_t cpus;

private:
  std::optional<Bundle> bundle;
  std::unique_ptr<ReferenceCalls> expected;
  std::map<std::string, std::string> codes;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_TRIAL_H
