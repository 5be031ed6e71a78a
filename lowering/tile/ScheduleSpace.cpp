// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/ScheduleSpace.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::tpa;

using tpac::ScheduleSpace;

namespace {

std::string textOf(int64_t value) { return std::to_string(value); }
std::string textOf(bool value) { return value ? "true" : "false"; }
std::string textOf(ScoreOrder order) { return stringifyScoreOrder(order).str(); }
std::string textOf(ValueOrder order) { return stringifyValueOrder(order).str(); }
std::string textOf(TileRows rows) { return stringifyTileRows(rows).str(); }
std::string textOf(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// Calls `visit(name, values, field)` for each knob of `space`; `field` reads it from a schedule.
template <typename Visit> void forEachKnob(const ScheduleSpace &space, Visit visit) {
  visit("tokens", space.tokens, [](ScheduleAttr schedule) { return schedule.getTokens(); });
  visit("queries", space.queries, [](ScheduleAttr schedule) { return schedule.getQueries(); });
  visit("heads", space.heads, [](ScheduleAttr schedule) { return schedule.getHeads(); });
  visit("score", space.score, [](ScheduleAttr schedule) { return schedule.getScore(); });
  visit("value", space.value, [](ScheduleAttr schedule) { return schedule.getValue(); });
  visit("rows", space.rows, [](ScheduleAttr schedule) { return schedule.getRows(); });
  visit("operands", space.operands, [](ScheduleAttr schedule) { return schedule.getOperands(); });
  visit("query_parts", space.queryParts, [](ScheduleAttr schedule) { return schedule.getQueryParts(); });
  visit("item_heads", space.itemHeads, [](ScheduleAttr schedule) { return schedule.getItemHeads(); });
  visit("split", space.split, [](ScheduleAttr schedule) { return schedule.getSplit(); });
  visit("value_block", space.valueBlock, [](ScheduleAttr schedule) { return schedule.getValueBlock(); });
  visit("page_size", space.pageSize, [](ScheduleAttr schedule) { return schedule.getPageSize(); });
  visit("groups", space.groups, [](ScheduleAttr schedule) { return schedule.getGroups(); });
  visit("stages", space.stages, [](ScheduleAttr schedule) { return schedule.getStages(); });
  visit("bulk", space.bulk, [](ScheduleAttr schedule) { return schedule.getBulk(); });
}

/// "8", "8 or 16", "8, 16 or 32".
std::string alternatives(ArrayRef<std::string> values) {
  if (values.size() == 1)
    return values.front();
  return llvm::join(values.drop_back(), ", ") + " or " + values.back();
}

} // namespace

std::vector<ScheduleSpace::Knob> ScheduleSpace::knobs() const {
  std::vector<Knob> result;
  forEachKnob(*this, [&](const char *name, const auto &values, auto) {
    Knob knob{name, {}, llvm::StringRef(name) == "rows" ? textOf(TileRows::heads) : ""};
    for (auto value : values)
      knob.values.push_back(textOf(value));
    result.push_back(std::move(knob));
  });
  return result;
}

std::vector<std::string> ScheduleSpace::valuesOf(ScheduleAttr schedule) {
  std::vector<std::string> result;
  forEachKnob(ScheduleSpace(),
              [&](const char *, const auto &, auto field) { result.push_back(textOf(field(schedule))); });
  return result;
}

llvm::Error ScheduleSpace::contains(ScheduleAttr schedule) const {
  std::string problem;
  forEachKnob(*this, [&](const char *name, const auto &values, auto field) {
    if (!problem.empty() || llvm::is_contained(values, field(schedule)))
      return;
    std::vector<std::string> accepted;
    for (auto value : values)
      accepted.push_back(textOf(value));
    problem =
        "schedule: " + std::string(name) + ": expected " + alternatives(accepted) + ", got " + textOf(field(schedule));
  });
  return problem.empty() ? llvm::Error::success() : llvm::createStringError(problem);
}

llvm::Expected<ScheduleAttr> ScheduleSpace::schedule(const std::map<std::string, std::string> &values) const {
  const std::vector<Knob> all = knobs();
  for (const auto &[name, value] : values)
    if (!llvm::is_contained(llvm::map_range(all, [](const Knob &knob) { return knob.name; }), name))
      return llvm::createStringError("schedule: no knob is called '" + name + "'");
  int64_t number = 0;
  for (const Knob &knob : all) {
    auto given = values.find(knob.name);
    if (given == values.end() && knob.values.size() > 1 && knob.implied.empty())
      return llvm::createStringError("schedule: " + knob.name + ": expected " + alternatives(knob.values) +
                                     ", got nothing");
    const std::string &implied = knob.implied.empty() ? knob.values.front() : knob.implied;
    const std::string &value = given == values.end() ? implied : given->second;
    auto found = llvm::find(knob.values, value);
    if (found == knob.values.end())
      return llvm::createStringError("schedule: " + knob.name + ": expected " + alternatives(knob.values) + ", got " +
                                     value);
    number = number * static_cast<int64_t>(knob.values.size()) + (found - knob.values.begin());
  }
  ScheduleAttr schedule = at(number);
  if (!schedule)
    return llvm::createStringError("schedule: its values contradict each other");
  return schedule;
}

int64_t ScheduleSpace::size() const {
  int64_t product = 1;
  forEachKnob(*this, [&](const char *, const auto &values, auto) { product *= static_cast<int64_t>(values.size()); });
  return product;
}

ScheduleAttr ScheduleSpace::at(int64_t i) const {
  // Mixed radix: every knob takes a digit off, the last one first.
  auto pick = [&](const auto &values) {
    auto radix = static_cast<int64_t>(values.size());
    int64_t digit = i % radix;
    i /= radix;
    return values[digit];
  };
  bool itsBulk = pick(bulk);
  int64_t itsStages = pick(stages), itsGroups = pick(groups), page = pick(pageSize), block = pick(valueBlock);
  int64_t part = pick(split);
  int64_t itsHeads = pick(itemHeads), queryPart = pick(queryParts);
  Type type = pick(operands);
  TileRows itsRows = pick(rows);
  ValueOrder valueOrder = pick(value);
  ScoreOrder scoreOrder = pick(score);
  int64_t h = pick(heads), n = pick(queries), m = pick(tokens);
  // That some combinations contradict themselves is no news. The diagnostic must be a real one all the same: one that
  // is not in flight counts as success.
  ScopedDiagnosticHandler silence(type.getContext(), [](Diagnostic &) { return success(); });
  auto emitError = [&] { return mlir::emitError(UnknownLoc::get(type.getContext())); };
  return ScheduleAttr::getChecked(emitError, type.getContext(), m, n, h, scoreOrder, valueOrder, itsRows, type,
                                  queryPart, itsHeads, part, block, page, itsGroups, itsStages, itsBulk);
}
