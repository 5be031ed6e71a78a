// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Merge.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

namespace tpac::records {

const std::string acceptedMergePolicies = "faster, newer, effort or fail";

std::optional<MergePolicy> mergePolicyOf(std::string_view name) {
  static const std::map<std::string_view, MergePolicy> policies = {{"faster", MergePolicy::faster},
                                                                   {"newer", MergePolicy::newer},
                                                                   {"effort", MergePolicy::effort},
                                                                   {"fail", MergePolicy::fail}};
  auto found = policies.find(name);
  return found == policies.end() ? std::nullopt : std::optional(found->second);
}

namespace {

// Total orders, down to the whole text, so that a choice never depends on which entry came first.
auto byEffort(const Entry &entry) {
  return std::tuple(entry.effort, entry.evaluations, entry.time, toJson(entry).dump());
}
auto byTime(const Entry &entry) { return std::tuple(entry.time, toJson(entry).dump()); }
auto bySpeed(const Candidate &candidate) {
  return std::tuple(candidate.medianUs, candidate.schedule.dump(), candidate.madUs, -candidate.runs);
}

/// The least times of each schedule, the fastest few. Those that fall out stay out, whatever comes later: all that beat
/// them are still there.
std::vector<Candidate> fastestOf(const Entry &a, const Entry &b) {
  std::vector<Candidate> all = a.best;
  all.insert(all.end(), b.best.begin(), b.best.end());
  std::ranges::sort(all, {}, bySpeed);
  std::vector<Candidate> best;
  for (const Candidate &candidate : all)
    if (best.size() < mostCandidates && std::ranges::find(best, candidate.schedule, &Candidate::schedule) == best.end())
      best.push_back(candidate);
  return best;
}

} // namespace

Entry mergeEntries(const Entry &a, const Entry &b, MergePolicy policy) {
  switch (policy) {
  case MergePolicy::newer:
    return byTime(a) < byTime(b) ? b : a;
  case MergePolicy::effort:
    return byEffort(a) < byEffort(b) ? b : a;
  case MergePolicy::fail:
    if (a != b)
      throw std::runtime_error("merge: found two entries that differ for phase " + a.key.phase + ", " +
                               std::to_string(a.key.shape.cached) +
                               " cached tokens; expected equal ones (policy fail)");
    return a;
  case MergePolicy::faster:
    break;
  }
  // Each member is a maximum of its own, and the schedules are a union: the whole is one, too.
  Entry merged = a;
  merged.effort = std::max(a.effort, b.effort);
  merged.evaluations = std::max(a.evaluations, b.evaluations);
  merged.time = std::max(a.time, b.time);
  merged.defaultUs = std::min(a.defaultUs, b.defaultUs);
  merged.defaultSchedule = std::max(a.defaultSchedule, b.defaultSchedule);
  merged.best = fastestOf(a, b);
  merged.unknown = std::max(a.unknown, b.unknown);
  return merged;
}

void mergeInto(std::vector<Entry> &entries, const std::vector<Entry> &added, MergePolicy policy) {
  for (const Entry &entry : added) {
    auto same = std::ranges::find_if(entries, [&](const Entry &old) { return isSameQuestion(old, entry); });
    if (same == entries.end())
      entries.push_back(entry);
    else
      *same = mergeEntries(*same, entry, policy);
  }
}

std::vector<TimingConflict> conflictsOf(const Entry &a, const Entry &b) {
  std::vector<TimingConflict> conflicts;
  for (const Candidate &mine : a.best) {
    auto other = std::ranges::find(b.best, mine.schedule, &Candidate::schedule);
    if (other == b.best.end())
      continue;
    auto [least, most] = std::minmax(mine.medianUs, other->medianUs);
    if (most > 1.1 * least)
      conflicts.push_back({mine.schedule, mine.medianUs, other->medianUs});
  }
  return conflicts;
}

} // namespace tpac::records
