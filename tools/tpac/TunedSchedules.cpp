// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/TunedSchedules.h"

#include "autotune/Candidates.h"
#include "autotune/shipped/Shipped.h"
#include "lowering/emit/Take.h"

#include "llvm/ADT/StringExtras.h"

#include <algorithm>

namespace tpac {

using records::Match;

namespace {

/// "record 0123456789abcdef (other shape: key.cached: 8192, asked for 16384)".
std::string describe(const records::Answer &answer, const QuestionKey &question) {
  return "record " + idOf(answer.entry) + " (" + std::string(matchName(answer.match)) + ": " +
         llvm::join(differences(answer.entry, question.key, question.fingerprint), ", ") + ")";
}

/// What a user should know of the entry that is used, or of the lack of one.
std::string noteOf(const Explanation &explanation) {
  if (const std::optional<records::Answer> &answer = explanation.chosen.answer) {
    if (answer->match == Match::exact)
      return "";
    return "uses " + describe(*answer, explanation.question);
  }
  if (explanation.verdicts.empty())
    return "no record is of this phase, variant and cache layout";
  const records::Verdict &nearest = explanation.verdicts.front();
  return "uses the default, not " + describe(nearest.answer, explanation.question) + ": " + nearest.reason;
}

} // namespace

TunedSchedules::TunedSchedules(const std::string &file, records::Mode mode) : mode(mode) {
  if (mode == records::Mode::off)
    return;
  if (!file.empty() && !std::filesystem::exists(file))
    throw std::runtime_error("--records: found no file '" + file + "'; expected one that tpac tune wrote");
  layers = records::allLayers(file);
}

std::vector<std::string> TunedSchedules::problems() const {
  std::vector<std::string> all;
  for (const records::Layer &layer : layers)
    all.insert(all.end(), layer.contents.problems.begin(), layer.contents.problems.end());
  return all;
}

bool TunedSchedules::hasOwnEntries() const {
  return std::ranges::any_of(
      layers, [](const records::Layer &layer) { return !layer.isShipped && !layer.contents.entries.empty(); });
}

Explanation TunedSchedules::explain(mlir::tpa::VariantAttr variant, const bench::Row &row, const CodeTarget &target,
                                    CacheStorage storage) const {
  Explanation result{questionKeyOf(variant, row, storage, target),
                     take(defaultSchedule(variant, row.phase, target, storage, row.tokens)),
                     {},
                     {}};
  result.chosen.schedule = result.byDefault;
  if (mode == records::Mode::off)
    return result;
  auto problemWith = [&](const nlohmann::json &fields) {
    auto schedule = autotune::scheduleOf(fields, variant, row.phase, target, storage);
    return schedule ? std::string() : llvm::toString(schedule.takeError());
  };
  result.verdicts = judge(answersFor(layers, result.question.key, result.question.fingerprint),
                          autotune::fieldsOf(result.byDefault), problemWith);
  auto used = std::ranges::find_if(result.verdicts, [](const auto &verdict) { return verdict.schedule.has_value(); });
  if (used != result.verdicts.end()) {
    result.chosen.schedule = take(autotune::scheduleOf(*used->schedule, variant, row.phase, target, storage));
    result.chosen.answer = used->answer;
  }
  result.chosen.note = noteOf(result);
  if (mode == records::Mode::assertHit && (!result.chosen.answer || result.chosen.answer->match != Match::exact))
    throw std::runtime_error("--mode assert-hit: " + shapeOf(row) + " for " + target.name +
                             ": expected a record that answers exactly; without this mode: " + result.chosen.note);
  return result;
}

} // namespace tpac
