// SPDX-License-Identifier: Apache-2.0
//
// The knobs of a schedule and the values that each may have: what a target's check accepts, what its heuristic picks
// from, and what a tuner searches.

#ifndef TPAC_LOWERING_TILE_SCHEDULESPACE_H
#define TPAC_LOWERING_TILE_SCHEDULESPACE_H

#include "dialect/TPADialect.h"

#include "llvm/Support/Error.h"

#include <map>
#include <string>
#include <vector>

namespace tpac {

/// The values that a target takes for each field of #tpa.schedule, for one variant and phase. Combinations may still be
/// illegal together (tiles that are too large, say): the target's check says which. Each list has at least one value.
struct ScheduleSpace {
  std::vector<int64_t> tokens, queries, heads;
  std::vector<mlir::tpa::ScoreOrder> score;
  std::vector<mlir::tpa::ValueOrder> value;
  std::vector<mlir::tpa::TileRows> rows = {mlir::tpa::TileRows::heads};
  std::vector<mlir::Type> operands;
  std::vector<int64_t> queryParts;
  std::vector<int64_t> itemHeads = {0};
  std::vector<int64_t> split, valueBlock;
  std::vector<int64_t> pageSize = {0}, groups = {1}, stages = {1};
  std::vector<bool> bulk = {false};

  /// A knob and its values as #tpa.schedule spells them.
  struct Knob {
    std::string name;
    std::vector<std::string> values;
    /// The value that records leave out, as they do that were written before there was the knob; empty: they name all.
    std::string implied;
  };
  /// All knobs, in the order of #tpa.schedule.
  std::vector<Knob> knobs() const;

  /// The values of `schedule` by knob, in the same order and spelling.
  static std::vector<std::string> valuesOf(mlir::tpa::ScheduleAttr schedule);

  /// Success where every field of `schedule` has a value of its knob; else the first field that has not, what was found
  /// and what is accepted.
  llvm::Error contains(mlir::tpa::ScheduleAttr schedule) const;

  /// The schedule with these values, spelled as knobs() spells them. A knob that is not named has its implied value or
  /// the one that it can have. An error that names the knob where it has no such value, or several and none is named,
  /// and where #tpa.schedule itself forbids the combination.
  llvm::Expected<mlir::tpa::ScheduleAttr> schedule(const std::map<std::string, std::string> &values) const;

  /// Combinations of values, legal or not.
  int64_t size() const;
  /// Combination number `i` < size(), the last knob fastest; null where #tpa.schedule itself forbids it.
  mlir::tpa::ScheduleAttr at(int64_t i) const;
};

} // namespace tpac

#endif // TPAC_LOWERING_TILE_SCHEDULESPACE_H
