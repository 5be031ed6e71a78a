// SPDX-License-Identifier: Apache-2.0
//
// A sweep that tpac tune --sweep recorded, as a machine that searches can be replayed on: every schedule of a space
// with all its samples, so that noise misleads a replayed race as it would a real one.

#ifndef TPAC_TESTS_UNIT_TUNE_RECORDEDSWEEP_H
#define TPAC_TESTS_UNIT_TUNE_RECORDEDSWEEP_H

#include "autotune/search/Hunt.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <string>

namespace tpac::search {

struct RecordedSweep {
  /// Reads lines of JSON (autotune/Sweep.h), compressed by gzip or not. Throws std::runtime_error where the sweep was
  /// not finished.
  explicit RecordedSweep(const std::filesystem::path &file);

  /// The schedule of a point, as records keep it.
  nlohmann::json schedule(Index point) const;
  /// The part of the sweep that has the default's value of a knob, as a search that pins it meets it.
  RecordedSweep withDefault(const std::string &knob) const;
  /// Microseconds: of the samples of the sweep's final where the point was in it, else of those before. Nothing where
  /// the point has no time.
  std::optional<double> median(Index point) const;
  /// By what part the best median may be wrong: its standard error. Differences below it tell nothing.
  double uncertainty() const;

  std::string name;
  Space space;
  Index byDefault = 0;
  /// What bytes and operations would have a search try first.
  std::vector<Index> promising;
  /// Of each point: the one that has the same machine code and was timed, maybe itself.
  std::vector<Index> twins;
  /// Microseconds; empty for points that have no time.
  std::vector<std::vector<double>> samples;
  /// Of the fastest: microseconds in rounds in which they took turns, round by round.
  std::map<Index, std::vector<double>> rounds;
  /// The least median of the final.
  double best = 0;

private:
  std::vector<std::pair<std::string, std::vector<std::string>>> knobs;
};

} // namespace tpac::search

#endif // TPAC_TESTS_UNIT_TUNE_RECORDEDSWEEP_H
