// SPDX-License-Identifier: Apache-2.0
//
// Tuning in two places: candidates are compiled here (makeQuestion), checked and timed there (runBundle).

#ifndef TPAC_AUTOTUNE_BUNDLING_H
#define TPAC_AUTOTUNE_BUNDLING_H

#include "autotune/Tuner.h"
#include "autotune/measure/Bundle.h"

namespace tpac::autotune {

struct BundleOptions {
  records::Effort effort = records::Effort::normal;
  /// Of the order in which equals are taken.
  uint64_t seed = 1;
  /// Candidates that are compiled at the same time.
  size_t compiledTogether = 1;
  std::vector<nlohmann::json> portfolio;
  std::function<bool()> isStopped = [] { return false; };
  /// Of how many candidates are compiled.
  std::function<void(size_t done, size_t all)> onProgress = [](size_t, size_t) {};
};

/// The points that a bundle holds: the default, those of `portfolio`, those that look promising, then those nearest to
/// the default by the number of knobs that differ, at most as many as the effort measures.
std::vector<search::Index> bundled(const Candidates &candidates, const BundleOptions &options);

/// Compiles candidates of a question and adds them to a bundle; `key` is that of its record. What the question before
/// had compiled for the same variant, phase and query tokens is taken from `made`, by variant and schedule.
using MadeArtifacts = std::map<std::string, std::shared_ptr<const Artifact>>;
void addToBundle(BundleWriter &writer, const Question &question, const Candidates &candidates,
                 const nlohmann::json &key, MadeArtifacts &made, const BundleOptions &options);

struct RunOptions {
  int64_t poolBytes = int64_t(1) << 30;
  double runSeconds = 0.02;
  Worker::Options worker;
  /// For tests: what is wrong with a candidate of each question, by number (Faults.h).
  std::map<size_t, std::string> faults;
  std::function<bool()> isStopped = [] { return false; };
  std::function<void(const BundleQuestion &, size_t done, size_t all)> onProgress = [](const BundleQuestion &, size_t,
                                                                                       size_t) {};
};

/// Checks and times all candidates of a bundle and appends what comes of each to `results`, a line of JSON each
/// (docs/autotuning.md), and at the end of each question the record. What the file has is not measured again. Throws
/// std::runtime_error where it is of another bundle or machine.
void runBundle(const std::filesystem::path &bundle, const std::filesystem::path &results, const RunOptions &options);

/// The records in the results of runBundle. Throws std::runtime_error that names line, field, found and accepted.
std::vector<records::Entry> recordsOfResults(const std::filesystem::path &results);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_BUNDLING_H
