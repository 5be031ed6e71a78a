// SPDX-License-Identifier: Apache-2.0
//
// One question answered: candidates searched, checked and timed; what comes out is a tuning record.

#ifndef TPAC_AUTOTUNE_TUNER_H
#define TPAC_AUTOTUNE_TUNER_H

#include "autotune/Candidates.h"
#include "autotune/measure/Worker.h"
#include "autotune/records/Record.h"

namespace tpac::autotune {

/// Schedules that an effort measures at most; none: the default alone.
size_t evaluationsOf(records::Effort effort);

struct Progress {
  size_t evaluations, mostEvaluations;
  /// Seconds of the fastest schedule and of the default; nothing yet at first.
  std::optional<double> best, byDefault;
  /// By what was wrong with them.
  std::map<std::string, int> rejects;
  double seconds;
};

struct TuneOptions {
  records::Effort effort = records::Effort::normal;
  /// Seconds of the search; finals come after it.
  double mostSeconds = 1e9;
  uint64_t seed = 1;
  /// Candidates that are compiled at the same time.
  size_t compiledTogether = 1;
  /// Schedules to measure first, besides the default: winners of nearby questions, as fields by name. Those that are
  /// not legal here are left out.
  std::vector<nlohmann::json> portfolio;
  Worker::Options worker;
  /// Asked now and then: whether to stop searching and keep what was found.
  std::function<bool()> isStopped = [] { return false; };
  std::function<void(const Progress &)> onProgress = [](const Progress &) {};
};

struct Tuned {
  /// `best`, `default_us`, `evaluations`, `effort` and `time` are filled in; key, fingerprint and policy are the
  /// caller's.
  records::Entry entry;
  std::map<std::string, int> rejects;
  /// Reasons in full, by schedule.
  std::map<std::string, std::string> problems;
  /// By how much the default's time in the final differs from its first one: more than 0.03 says that the machine
  /// changed under the search.
  double drift = 0;
  /// Candidates that were not timed, as another one has the same machine code.
  size_t identical = 0;
  double seconds = 0;
  /// Trial::machine.
  nlohmann::json machine;
};

/// "wrong: t6: relative error 3" -> "wrong".
std::string kindOf(const std::string &problem);

/// How schedules for `target` are timed, as records say it.
nlohmann::json policyOf(const std::string &target, int threads);

/// UTC, as records have it: "2026-11-22T20:40:00Z".
std::string timeOfNow();

/// Throws std::runtime_error where not even the default schedule can be timed.
Tuned tune(const Question &question, const Candidates &candidates, const TuneOptions &options);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_TUNER_H
