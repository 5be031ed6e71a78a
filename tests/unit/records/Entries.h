// SPDX-License-Identifier: Apache-2.0
//
// Entries and files that the tests of records start from.

#ifndef TPAC_TESTS_UNIT_RECORDS_ENTRIES_H
#define TPAC_TESTS_UNIT_RECORDS_ENTRIES_H

#include "autotune/records/Record.h"

#include <filesystem>
#include <random>

namespace tpac::records {

/// An entry of two schedules for decode over `cached` tokens.
Entry sampleEntry(int64_t cached = 8192);

/// The question of sampleEntry with candidates, times and counts of few values, so that some of two such agree.
Entry randomEntry(std::mt19937 &random);

/// A folder of its own, removed at the end.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::filesystem::path operator/(const std::string &name) const { return path / name; }

private:
  std::filesystem::path path;
};

std::string readText(const std::filesystem::path &path);
void writeText(const std::filesystem::path &path, const std::string &text);

} // namespace tpac::records

#endif // TPAC_TESTS_UNIT_RECORDS_ENTRIES_H
