// SPDX-License-Identifier: Apache-2.0
//
// Which record answers a question: layers of files, and the nearest entry where none fits exactly.

#ifndef TPAC_AUTOTUNE_RECORDS_LOOKUP_H
#define TPAC_AUTOTUNE_RECORDS_LOOKUP_H

#include "autotune/records/RecordFile.h"

#include <optional>

namespace tpac::records {

/// How far an entry is from a question, nearest first.
enum class Match {
  exact,          ///< key, silicon and toolchain
  otherToolchain, ///< measured with another compiler: right if it is still legal, worth measuring again
  otherShape,     ///< the same silicon, another bucket of sizes
  otherCount,     ///< the same kind of CPU, another number of them
  otherSilicon,   ///< candidates for a search, no more
  none,           ///< another phase, variant or storage
};
std::string_view matchName(Match match);

/// How `entry` answers for `key` on `machine`. Policies are not compared: they say how, not what, was measured.
Match matchOf(const Entry &entry, const Key &key, const Fingerprint &machine);

/// Sum over requests, tokens and cached of |log2| of the ratio of sizes (of buckets; 0 counts as 1).
double distance(Shape a, Shape b);
/// The same for an entry and a question; between machines of different numbers of CPUs, requests count per CPU.
double distance(const Entry &entry, const Key &key, const Fingerprint &machine);

struct Answer {
  Match match = Match::none;
  double distance = 0;
  bool isOfOtherToolchain = false;
  /// Among all entries that match, layer by layer: of equal answers the first one counts.
  size_t position = 0;
  Entry entry;
  /// The file it stands in.
  std::filesystem::path file;
};

/// A layer: a file and what it holds.
struct Layer {
  std::filesystem::path file;
  Contents contents;
  /// Whether it came with the compiler: then it is no file.
  bool isShipped = false;
};

/// The files that records are read from, first to last: `given` if it is not empty, else TPAC_RECORDS if that is set,
/// else tpac-records.json of the working folder and tpac/records.json below XDG_DATA_HOME (or ~/.local/share). Those
/// that do not exist are left out.
std::vector<std::filesystem::path> recordFiles(const std::string &given);
/// The file that records are written to: the first one that recordFiles would look at, but for the working folder's,
/// which is written only where it exists already. Throws std::runtime_error where neither is known (no HOME).
std::filesystem::path recordFileToWrite(const std::string &given);

std::vector<Layer> readLayers(const std::vector<std::filesystem::path> &files);

/// All entries that match at all, best first: by match, then distance, then layer.
std::vector<Answer> answersFor(const std::vector<Layer> &layers, const Key &key, const Fingerprint &machine);

/// Which fields of `entry` keep it from matching exactly: "key.cached: 8192, asked for 65536"; empty where it does.
std::vector<std::string> differences(const Entry &entry, const Key &key, const Fingerprint &machine);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_LOOKUP_H
