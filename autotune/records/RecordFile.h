// SPDX-License-Identifier: Apache-2.0
//
// Files of tuning records: {"schema": {"major": 1, "minor": 0}, "entries": [...]}. Many processes may write one file at
// the same time, and any of them may be killed at any moment: readers always find a whole file, and what was written
// stays written.

#ifndef TPAC_AUTOTUNE_RECORDS_RECORDFILE_H
#define TPAC_AUTOTUNE_RECORDS_RECORDFILE_H

#include "autotune/records/Merge.h"
#include "autotune/records/Record.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tpac::records {

inline constexpr int64_t schemaMajor = 1, schemaMinor = 0;

/// What a file holds. A damaged entry costs itself alone, a file that cannot be read as a whole costs all of it; each
/// is a problem that names the file, the entry and what is wrong with it.
struct Contents {
  std::vector<Entry> entries;
  std::vector<std::string> problems;
  /// Entries that could not be read, as they are; `update` keeps them.
  std::vector<nlohmann::json> unread;
  /// Members of the file's object that this version does not know; `update` keeps them.
  nlohmann::json unknown = nlohmann::json::object();
  /// Whether `update` may write the file: not where another major version of the schema wrote it.
  bool isWritable = true;
};

/// The contents of `path`; empty where there is no such file. Never throws for what a file holds.
Contents readRecords(const std::filesystem::path &path);

/// The contents of a file that has the text `text`; problems call it `name`.
Contents recordsOf(const std::string &text, const std::string &name);

/// Merges `entries` into the file at `path`, which is made with its folders where it is missing: under a lock (of
/// `path`.lock), read again, merged, written beside it, synced and renamed. A file that is no JSON is kept as
/// `path`.damaged, with a problem in what is returned: the contents of the file as written. Throws std::runtime_error
/// where the file cannot be written, or has another major version.
Contents updateRecords(const std::filesystem::path &path, const std::vector<Entry> &entries,
                       MergePolicy policy = MergePolicy::faster);

/// Replaces the entries of the file by those that `keep` returns true for, under the same lock. Returns how many went.
size_t pruneRecords(const std::filesystem::path &path, const std::function<bool(const Entry &)> &keep);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_RECORDFILE_H
