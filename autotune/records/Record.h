// SPDX-License-Identifier: Apache-2.0
//
// A tuning record: the fastest schedules of one phase of one variant, for one shape, on one machine. As JSON:
// docs/records.schema.json.

#ifndef TPAC_AUTOTUNE_RECORDS_RECORD_H
#define TPAC_AUTOTUNE_RECORDS_RECORD_H

#include <nlohmann/json.hpp>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::records {

/// Sizes of a call. In keys each stands for all sizes that round to it (`bucketed`).
struct Shape {
  /// Requests per call.
  int64_t requests = 1;
  /// Query tokens or new tokens per request; merge: rows.
  int64_t tokens = 1;
  /// Tokens in the cache of each request when the phase is done; merge: 0.
  int64_t cached = 0;

  auto operator<=>(const Shape &) const = default;
};

/// `size` rounded to the nearest power of the square root of 2, and down to an integer: 1, 2, 4, 5, 8, 11, 16, 22, ...
/// 0 stays 0. Sizes of one bucket differ by less than a factor of 1.42 (for small ones: are mostly equal).
int64_t bucketed(int64_t size);
Shape bucketed(Shape shape);

/// All that decides which schedule is fastest on a machine. The variant is whole (docs/variant.md, with defaults
/// written out, without its name), so that nothing that lowering reads can be missing.
struct Key {
  std::string phase;
  nlohmann::json variant;
  /// How caches are stored, which all phases of a pack must agree on.
  int64_t valueBlock = 0, pageSize = 0;
  Shape shape;

  bool operator==(const Key &) const = default;
};

/// Where and with what it was measured: two objects of names with texts or integers. Driver versions and marketing
/// names are information, and do not belong here.
struct Fingerprint {
  /// {"cpu": "GenuineIntel 6/143", "isa": "x86-64-amx", "cpus": 2, ...}
  nlohmann::json silicon = nlohmann::json::object();
  /// {"tpac": "0.1.0", "llvm": "22.1.8", ...}
  nlohmann::json toolchain = nlohmann::json::object();

  bool operator==(const Fingerprint &) const = default;
};

/// How long a search went on. Higher ones subsume lower ones.
enum class Effort { none, quick, normal, full };
std::string_view effortName(Effort effort);
/// The effort of that name, or nothing.
std::optional<Effort> effortOf(std::string_view name);

/// One measured schedule.
struct Candidate {
  /// Fields of #tpa.schedule by name, as text: {"tokens": "32", "score": "merged", ...}.
  nlohmann::json schedule;
  double medianUs = 0;
  /// Median absolute deviation.
  double madUs = 0;
  int64_t runs = 0;

  bool operator==(const Candidate &) const = default;
};

struct Entry {
  Key key;
  Fingerprint fingerprint;
  /// How it was measured: {"cold": true, "threads": 2}. Part of what entries are told apart by.
  nlohmann::json policy = nlohmann::json::object();
  Effort effort = Effort::none;
  /// Schedules that were measured.
  int64_t evaluations = 0;
  /// Median of the schedule that is used without records; of the same race.
  double defaultUs = 0;
  /// That schedule; null where the entry does not say.
  nlohmann::json defaultSchedule;
  /// Fastest first, each schedule once, 1 to `mostCandidates`.
  std::vector<Candidate> best;
  /// UTC, "2026-11-22T20:40:00Z": when the last of them was measured.
  std::string time;
  /// Members of the JSON object that this version does not know: kept.
  nlohmann::json unknown = nlohmann::json::object();

  bool operator==(const Entry &) const = default;
};

/// One winner reaches only 85 % on a machine like its own; the best few, timed again there, reach nearly all.
inline constexpr size_t mostCandidates = 8;

/// Whether two entries speak of the same measurement: key, fingerprint and policy.
bool isSameQuestion(const Entry &a, const Entry &b);

/// Names the question that an entry answers: 16 hexadecimal digits of its key, fingerprint and policy. Manifests and
/// commands refer to entries so.
std::string idOf(const Entry &entry);

/// The schedule of `entry` to use: of those within half a percent of the fastest the default one, else the first by
/// text. So two searches that find the same few equals agree, and a choice costs little where they are none.
const Candidate &chosenOf(const Entry &entry, const nlohmann::json &defaultSchedule);

nlohmann::json toJson(const Entry &entry);
/// Throws std::runtime_error that names the field, what was found and what is accepted.
Entry entryOf(const nlohmann::json &json);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_RECORD_H
