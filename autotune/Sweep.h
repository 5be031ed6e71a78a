// SPDX-License-Identifier: Apache-2.0
//
// Every candidate of a question timed alike, with all its samples: what searches can be tested on.

#ifndef TPAC_AUTOTUNE_SWEEP_H
#define TPAC_AUTOTUNE_SWEEP_H

#include "autotune/Candidates.h"
#include "autotune/measure/Worker.h"

#include <filesystem>

namespace tpac::autotune {

struct SweepOptions {
  /// Timed runs of each candidate; no more than `runsOfSlow` of those that take more than three times as long as the
  /// default: no search times one of them more often.
  int runs = 7, runsOfSlow = 3;
  /// The fastest of them then take turns so often, the default among them.
  int finalRounds = 31;
  size_t finalists = 16;
  /// Candidates that are compiled together and then take turns, beside the default.
  size_t group = 8;
  Worker::Options worker;
  /// Asked between groups.
  std::function<bool()> isStopped = [] { return false; };
  std::function<void(size_t done, size_t all)> onProgress = [](size_t, size_t) {};
};

/// Times the candidates and adds them to `file`, lines of JSON: first {"knobs": .., "default": point, ..`about`}, then
/// {"promising": points} (the last such line counts) and {"reference_us": the default's time}, then for each candidate
/// {"point": [..]} with "us", its samples, or "as", the point with the same machine code, or "problem". Samples are
/// scaled by the default's time in the same group, so that a machine that changes its speed between groups does not
/// show. Candidates that the file has already are left out, so a sweep may be done in pieces. Throws std::runtime_error
/// where the file is of another space.
void sweep(const Question &question, const Candidates &candidates, const nlohmann::ordered_json &about,
           const std::filesystem::path &file, const SweepOptions &options);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_SWEEP_H
