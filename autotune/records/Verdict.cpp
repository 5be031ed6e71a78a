// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Verdict.h"

#include <cmath>
#include <cstdio>

namespace tpac::records {

using nlohmann::json;

namespace {

Verdict verdictOn(const Answer &answer, const json &defaultSchedule,
                  const std::function<std::string(const json &)> &problemWith) {
  Verdict verdict{answer, std::nullopt, ""};
  if (answer.match == Match::otherSilicon) {
    verdict.reason = "other silicon: a search may begin with it, a build does not trust it";
    return verdict;
  }
  if (answer.distance > farthest) {
    char factor[32];
    std::snprintf(factor, sizeof(factor), "%.3g", std::exp2(answer.distance));
    verdict.reason = "too far: its sizes differ by a factor of " + std::string(factor) + "; at most 4 is accepted";
    return verdict;
  }
  const Entry &entry = answer.entry;
  if (answer.isOfOtherToolchain && !entry.defaultSchedule.is_null() && entry.defaultSchedule != defaultSchedule) {
    verdict.reason = "measured with another compiler, beside another default: whether it is faster than this one's is "
                     "not known";
    return verdict;
  }
  std::vector<Candidate> order = {chosenOf(entry, defaultSchedule)};
  order.insert(order.end(), entry.best.begin(), entry.best.end());
  for (const Candidate &candidate : order) {
    if (candidate.schedule != defaultSchedule && candidate.medianUs >= entry.defaultUs)
      continue;
    std::string problem = problemWith(candidate.schedule);
    if (problem.empty()) {
      verdict.schedule = candidate.schedule;
      return verdict;
    }
    if (verdict.reason.empty())
      verdict.reason = "not legal here: " + problem;
  }
  if (verdict.reason.empty())
    verdict.reason = "none of its schedules was faster than the default";
  return verdict;
}

} // namespace

std::optional<Mode> modeOf(std::string_view name) {
  if (name == "off")
    return Mode::off;
  if (name == "cached-only")
    return Mode::cachedOnly;
  if (name == "assert-hit")
    return Mode::assertHit;
  if (name == "auto")
    return Mode::automatic;
  return std::nullopt;
}

std::vector<Verdict> judge(const std::vector<Answer> &answers, const json &defaultSchedule,
                           const std::function<std::string(const json &)> &problemWith) {
  std::vector<Verdict> verdicts;
  for (const Answer &answer : answers)
    verdicts.push_back(verdictOn(answer, defaultSchedule, problemWith));
  return verdicts;
}

} // namespace tpac::records
