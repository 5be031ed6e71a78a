// SPDX-License-Identifier: Apache-2.0
//
// Merging entries of several measurements of the same question.

#ifndef TPAC_AUTOTUNE_RECORDS_MERGE_H
#define TPAC_AUTOTUNE_RECORDS_MERGE_H

#include "autotune/records/Record.h"

#include <optional>

namespace tpac::records {

/// What becomes of two entries of one question (isSameQuestion).
enum class MergePolicy {
  /// The fastest schedules of both; of a schedule that both have, the lesser time.
  faster,
  /// The one that was measured last.
  newer,
  /// The one of the higher effort; of more evaluations; that was measured last.
  effort,
  /// An error where they differ.
  fail,
};

/// The policy of that name, or nothing.
std::optional<MergePolicy> mergePolicyOf(std::string_view name);
/// "faster, newer, effort or fail".
extern const std::string acceptedMergePolicies;

/// Every policy is commutative, associative and idempotent (`fail` where it does not throw), so that the order in which
/// shards of a search come back does not matter. Throws std::runtime_error for `fail`.
Entry mergeEntries(const Entry &a, const Entry &b, MergePolicy policy);

/// `added` merged into `entries`, whose order stays; new questions come last.
void mergeInto(std::vector<Entry> &entries, const std::vector<Entry> &added, MergePolicy policy);

/// A schedule whose times in two entries of one question differ by more than a tenth: machines or states that are not
/// the same after all.
struct TimingConflict {
  nlohmann::json schedule;
  double us, otherUs;
};
std::vector<TimingConflict> conflictsOf(const Entry &a, const Entry &b);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_MERGE_H
