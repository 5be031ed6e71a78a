// SPDX-License-Identifier: Apache-2.0
//
// What becomes of the entries that answer a question: which schedule a build takes, and why not another.

#ifndef TPAC_AUTOTUNE_RECORDS_VERDICT_H
#define TPAC_AUTOTUNE_RECORDS_VERDICT_H

#include "autotune/records/Lookup.h"

#include <functional>

namespace tpac::records {

/// What builds make of records.
enum class Mode {
  off,        ///< nothing: every schedule is the default
  cachedOnly, ///< the best answer that is near enough, else the default
  assertHit,  ///< an exact answer, else an error
  automatic,  ///< what is not answered exactly is measured first; then as cachedOnly
};
/// The mode called "off", "cached-only", "assert-hit" or "auto", or nothing.
std::optional<Mode> modeOf(std::string_view name);

/// An entry of another shape is used up to this distance: sizes that differ by a factor of four in all.
inline constexpr double farthest = 2;

struct Verdict {
  Answer answer;
  /// The schedule that the entry gives; nothing where it gives none here.
  std::optional<nlohmann::json> schedule;
  /// Why it gives none.
  std::string reason;
};

/// Of each answer, in their order, what it gives: its chosen schedule (chosenOf), else the fastest one that is legal
/// here and was faster than the default. The first that gives one is used. `problemWith`: why a schedule is not legal
/// here; "" where it is.
std::vector<Verdict> judge(const std::vector<Answer> &answers, const nlohmann::json &defaultSchedule,
                           const std::function<std::string(const nlohmann::json &)> &problemWith);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_VERDICT_H
