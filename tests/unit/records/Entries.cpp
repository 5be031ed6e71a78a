// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/records/Entries.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace tpac::records {

Entry sampleEntry(int64_t cached) {
  Entry entry;
  entry.key = {"decode", {{"heads", 4}, {"q", {{"rank", 2}}}}, 32, 0, {1, 1, cached}};
  entry.fingerprint = {{{"cpu", "a 6/143"}, {"cpus", 2}}, {{"llvm", "22.1.8"}}};
  entry.policy = {{"cold", true}, {"threads", 2}};
  entry.effort = Effort::normal;
  entry.evaluations = 200;
  entry.defaultUs = 12.5;
  entry.best = {{{{"tokens", "32"}, {"heads", "4"}}, 10.25, 0.5, 15},
                {{{"tokens", "64"}, {"heads", "4"}}, 11, 0.25, 3}};
  entry.time = "2026-11-22T20:40:00Z";
  return entry;
}

Entry randomEntry(std::mt19937 &random) {
  auto draw = [&](int values) { return static_cast<int>(random() % static_cast<unsigned>(values)); };
  Entry entry = sampleEntry();
  entry.effort = static_cast<Effort>(draw(4));
  entry.evaluations = draw(3);
  entry.defaultUs = draw(3);
  entry.time = "2026-11-22T20:40:0" + std::to_string(draw(3)) + "Z";
  if (draw(2))
    entry.unknown["note"] = draw(2);
  entry.best.clear();
  const int wanted = 1 + draw(static_cast<int>(mostCandidates));
  for (int i = 0; i < wanted; ++i) {
    Candidate candidate{{{"tokens", std::to_string(draw(24))}}, static_cast<double>(draw(10)), 0.5 * draw(2), draw(3)};
    if (std::ranges::find(entry.best, candidate.schedule, &Candidate::schedule) == entry.best.end())
      entry.best.push_back(candidate);
  }
  std::ranges::sort(entry.best, {}, &Candidate::medianUs);
  return entry;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "records.XXXXXX").string();
  if (!mkdtemp(pattern.data()))
    throw std::runtime_error("no temporary folder");
  path = pattern;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(path); }

std::string readText(const std::filesystem::path &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void writeText(const std::filesystem::path &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

} // namespace tpac::records
