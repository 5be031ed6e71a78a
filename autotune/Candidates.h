// SPDX-License-Identifier: Apache-2.0
//
// The schedules that a search goes through, as points of a space.

#ifndef TPAC_AUTOTUNE_CANDIDATES_H
#define TPAC_AUTOTUNE_CANDIDATES_H

#include "autotune/search/Space.h"
#include "lowering/EstimateWork.h"

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tpac::autotune {

/// Values that knobs must have: {"stages": "3"}.
using Pins = std::map<std::string, std::string>;

/// "#tpa.schedule<...>".
std::string textOf(mlir::tpa::ScheduleAttr schedule);

/// The values of a schedule by knob, as records keep them.
nlohmann::json fieldsOf(mlir::tpa::ScheduleAttr schedule);

/// Why `fields` (as fieldsOf gives them) are no schedule that `target` takes for a phase; else the schedule.
llvm::Expected<mlir::tpa::ScheduleAttr> scheduleOf(const nlohmann::json &fields, mlir::tpa::VariantAttr variant,
                                                   Phase phase, const CodeTarget &target, CacheStorage storage);

struct Candidates {
  /// What the digits of points mean.
  std::vector<ScheduleSpace::Knob> knobs;
  search::Space space;
  /// Of each point: the text of #tpa.schedule, and its fields by name.
  std::vector<std::string> texts;
  std::vector<nlohmann::json> fields;
  /// The point of the schedule that is used where there are no records; nothing where a pin forbids it.
  std::optional<search::Index> byDefault;

  /// The points that are worth trying first, by estimateWork; empty where nothing estimates them.
  std::vector<search::Index> promising;

  /// The point with these fields, if it is legal here.
  std::optional<search::Index> find(const nlohmann::json &schedule) const;
};

/// The legal schedules of a phase for calls of these sizes; of a CPU's decode only those that
/// take as many at a time as the default, unless a pin says otherwise. Throws std::runtime_error where the target does
/// not compute the phase, or a pin names no knob or a value that it cannot have.
Candidates candidatesFor(mlir::tpa::VariantAttr variant, Phase phase, const CodeTarget &target, CacheStorage storage,
                         const Pins &pins, const CallSizes &sizes);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_CANDIDATES_H
