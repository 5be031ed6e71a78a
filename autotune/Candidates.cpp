// SPDX-License-Identifier: Apache-2.0

#include "autotune/Candidates.h"

#include "lowering/emit/Take.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <stdexcept>

namespace tpac::autotune {

using mlir::tpa::ScheduleAttr;

namespace {

/// Estimates are good enough to begin with so many, and no better.
constexpr size_t mostPromising = 16;

void checkPins(const std::vector<ScheduleSpace::Knob> &knobs, const Pins &pins) {
  for (const auto &[name, value] : pins) {
    auto knob = std::ranges::find(knobs, name, &ScheduleSpace::Knob::name);
    if (knob == knobs.end()) {
      std::vector<std::string> names;
      for (const ScheduleSpace::Knob &known : knobs)
        names.push_back(known.name);
      throw std::runtime_error("--pin: found '" + name + "'; expected one of " + llvm::join(names, ", "));
    }
    if (std::ranges::find(knob->values, value) == knob->values.end())
      throw std::runtime_error("--pin " + name + ": found '" + value + "'; expected one of " +
                               llvm::join(knob->values, ", "));
  }
}

} // namespace

std::string textOf(ScheduleAttr schedule) {
  std::string text;
  llvm::raw_string_ostream(text) << schedule;
  return text;
}

nlohmann::json fieldsOf(ScheduleAttr schedule) {
  nlohmann::json fields = nlohmann::json::object();
  const std::vector<ScheduleSpace::Knob> knobs = ScheduleSpace().knobs();
  const std::vector<std::string> values = ScheduleSpace::valuesOf(schedule);
  for (size_t knob = 0; knob < knobs.size(); ++knob)
    if (values[knob] != knobs[knob].implied)
      fields[knobs[knob].name] = values[knob];
  return fields;
}

llvm::Expected<ScheduleAttr> scheduleOf(const nlohmann::json &fields, mlir::tpa::VariantAttr variant, Phase phase,
                                        const CodeTarget &target, CacheStorage storage) {
  llvm::Expected<ScheduleSpace> space = scheduleSpace(variant, phase, target, storage);
  if (!space)
    return space.takeError();
  llvm::Expected<ScheduleAttr> schedule = space->schedule(fields.get<std::map<std::string, std::string>>());
  if (!schedule)
    return schedule.takeError();
  if (llvm::Error error = checkSchedule(variant, phase, *schedule, target))
    return std::move(error);
  return *schedule;
}

std::optional<search::Index> Candidates::find(const nlohmann::json &schedule) const {
  auto found = std::ranges::find(fields, schedule);
  return found == fields.end() ? std::nullopt : std::optional(static_cast<search::Index>(found - fields.begin()));
}

Candidates candidatesFor(mlir::tpa::VariantAttr variant, Phase phase, const CodeTarget &target, CacheStorage storage,
                         const Pins &pins, const CallSizes &sizes) {
  const ScheduleSpace space = take(scheduleSpace(variant, phase, target, storage));
  const ScheduleAttr byDefault = take(defaultSchedule(variant, phase, target, storage, sizes.tokens));
  const std::vector<ScheduleSpace::Knob> knobs = space.knobs();
  checkPins(knobs, pins);
  Candidates result;
  result.knobs = knobs;
  // A CPU has one kernel of decode for calls of any number of query tokens. One that computes fewer at a time is faster
  // by some percent where there is no more than one, and reads the cache several times where there are more: not for a
  // record of calls of one size to decide.
  const bool keepsQueries = !isGpu(target) && phase == Phase::decode && !pins.contains("queries");
  std::vector<std::pair<double, search::Index>> estimates;
  for (int64_t i = 0; i < space.size(); ++i) {
    ScheduleAttr schedule = space.at(i);
    if (!schedule)
      continue;
    // On GPUs a tile computes all of its query tokens, those that a call has not, too.
    if (isGpu(target) && isAttention(phase) &&
        schedule.getQueries() > static_cast<int64_t>(llvm::PowerOf2Ceil(static_cast<uint64_t>(sizes.tokens))))
      continue;
    if (keepsQueries && schedule.getQueries() != byDefault.getQueries())
      continue;
    const std::vector<std::string> values = ScheduleSpace::valuesOf(schedule);
    bool isPinned = true;
    search::Point point;
    for (size_t knob = 0; knob < knobs.size(); ++knob) {
      auto pin = pins.find(knobs[knob].name);
      isPinned &= pin == pins.end() || pin->second == values[knob];
      point.push_back(
          static_cast<int>(std::ranges::find(knobs[knob].values, values[knob]) - knobs[knob].values.begin()));
    }
    if (!isPinned)
      continue;
    if (llvm::Error error = checkSchedule(variant, phase, schedule, target)) {
      llvm::consumeError(std::move(error));
      continue;
    }
    if (std::optional<double> work = estimateWork(variant, phase, schedule, target, sizes))
      estimates.emplace_back(*work, result.texts.size());
    if (schedule == byDefault)
      result.byDefault = result.texts.size();
    result.space.points.push_back(std::move(point));
    result.texts.push_back(textOf(schedule));
    result.fields.push_back(fieldsOf(schedule));
  }
  std::ranges::sort(estimates);
  for (size_t i = 0; i < std::min(estimates.size(), mostPromising); ++i)
    result.promising.push_back(estimates[i].second);
  return result;
}

} // namespace tpac::autotune
