// SPDX-License-Identifier: Apache-2.0

#include "tests/property/InterpretedProgram.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/TargetSchedule.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/tile/BuildPrograms.h"
#include "lowering/tile/Interpreter.h"
#include "tests/property/Random.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/DebugStringHelper.h"

#include <algorithm>
#include <bit>
#include <map>
#include <stdexcept>

using namespace mlir;

namespace property {
namespace {

using tpa::ScheduleAttr;
using tpa::VariantAttr;
using tpac::CodeTarget;
using tpac::Phase;

template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

ScheduleAttr withSplit(ScheduleAttr schedule, int64_t split) {
  return ScheduleAttr::get(schedule.getContext(), schedule.getTokens(), schedule.getQueries(), schedule.getHeads(),
                           schedule.getScore(), schedule.getValue(), schedule.getRows(), schedule.getOperands(),
                           schedule.getQueryParts(),
                           /*item_heads=*/0, split, schedule.getValueBlock(), schedule.getPageSize(),
                           schedule.getGroups(), schedule.getStages(), schedule.getBulk());
}

/// A legal schedule of the target's space, its parts no longer than two blocks.
ScheduleAttr drawSchedule(VariantAttr variant, Phase phase, const CodeTarget &target, tpac::CacheStorage storage,
                          Random &random) {
  tpac::ScheduleSpace space = take(tpac::scheduleSpace(variant, phase, target, storage));
  for (int64_t tries = 0; tries < 100000; ++tries) {
    ScheduleAttr schedule = space.at(random.range(0, space.size() - 1));
    if (!schedule)
      continue;
    if (llvm::Error error = tpac::checkSchedule(variant, phase, schedule, target)) {
      llvm::consumeError(std::move(error));
      continue;
    }
    return schedule.getSplit() == 0 ? schedule : withSplit(schedule, random.range(1, 2) * schedule.getTokens());
  }
  throw std::runtime_error("no legal schedule was drawn");
}

/// Adds `@PHASE_in_parts` to the program of a phase that splits its cache: all parts, then all merges. It takes the
/// tensors of the phase and the part tensors.
void addPartsDriver(ModuleOp module, const std::string &phase) {
  auto find = [&](const char *suffix) { return module.lookupSymbol<func::FuncOp>(phase + suffix); };
  func::FuncOp parts = find("_split_run"), merge = find("_merge_run");
  OpBuilder b(module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Location loc = b.getUnknownLoc();
  auto driver = func::FuncOp::create(b, loc, phase + "_in_parts",
                                     b.getFunctionType(parts.getArgumentTypes().drop_back(), TypeRange()));
  b.setInsertionPointToStart(driver.addEntryBlock());
  Value zero = arith::ConstantIndexOp::create(b, loc, 0), one = arith::ConstantIndexOp::create(b, loc, 1);
  for (auto [count, run] : {std::pair(find("_split_items"), parts), {find("_items"), merge}}) {
    ValueRange memory = driver.getArguments();
    Value items = func::CallOp::create(b, loc, count, memory.take_front(count.getNumArguments())).getResult(0);
    scf::ForOp::create(b, loc, zero, items, one, ValueRange(),
                       [&, run = run](OpBuilder &, Location, Value i, ValueRange) {
                         SmallVector<Value> arguments(memory);
                         arguments.push_back(i);
                         func::CallOp::create(b, loc, run, arguments);
                         scf::YieldOp::create(b, loc);
                       });
  }
  func::ReturnOp::create(b, loc);
}

DialectRegistry registry() {
  DialectRegistry result;
  tpac::registerCompilerDialects(result);
  return result;
}

class InterpretedProgram : public Program {
public:
  InterpretedProgram(const Route &route, const std::string &variantJson, std::span<const Phase> phases,
                     tpac::CacheStorage storage)
      : context(registry(), MLIRContext::Threading::DISABLED),
        variant(take(tpa::readVariant(variantJson, "variant", context))) {
    CodeTarget target = take(tpac::findTarget(route.target));
    Random random(route.scheduleSeed);
    for (Phase phase : phases) {
      signatures.push_back(tpac::getPhaseSignature(variant, phase, storage));
      // What append and merge draw from differs little.
      if (!isAttention(phase) || route.scheduleSeed == 0) {
        modules.emplace(
            phase, take(tpac::lowerPhases(variant, phase, tpac::Stage::tiles, tpac::CodePath::fused, target, storage)));
        continue;
      }
      ScheduleAttr schedule = drawSchedule(variant, phase, target, storage, random);
      modules.emplace(phase, take(tpac::buildPrograms(variant, {{phase, schedule}})));
      schedules.emplace(phase, schedule);
      if (schedule.getSplit() > 0)
        addPartsDriver(*modules.at(phase), std::string(phaseName(phase)));
    }
  }

  const tpac::PhaseSignature &signature(Phase phase) const override {
    auto found = std::ranges::find(signatures, phase, &tpac::PhaseSignature::phase);
    if (found == signatures.end())
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " was not built");
    return *found;
  }

  std::string description() const override {
    std::string text;
    for (const auto &[phase, schedule] : schedules)
      text += (text.empty() ? "" : ", ") + std::string(tpac::phaseName(phase)) + " " + debugString(schedule);
    return text;
  }

  void call(Phase phase, const std::vector<int64_t> &sizes, const std::vector<Argument> &arguments) const override {
    const tpac::PhaseSignature &tensors = signature(phase);
    std::vector<tpac::InterpreterArgument> memory;
    for (size_t i = 0; i < arguments.size(); ++i) {
      auto view = tpac::MemoryView::contiguous(tensors.tensors[i].elementType, arguments[i].data, arguments[i].shape);
      if (!arguments[i].strides.empty())
        view.strides = arguments[i].strides;
      memory.push_back(std::move(view));
    }
    std::string function(tpac::phaseName(phase));
    std::vector<double> outs, lses;
    auto found = schedules.find(phase);
    if (found != schedules.end() && found->second.getSplit() > 0) {
      function += "_in_parts";
      // As many parts as the longest request that fits; bits that are NaN in f32 and in f64.
      int64_t rows = sizes[0], parts = std::max<int64_t>(1, llvm::divideCeil(sizes[2], found->second.getSplit()));
      int64_t heads = variant.getHeads().getLocal(), features = variant.getValueFeatures();
      outs.assign(static_cast<size_t>(rows * parts * heads * features), poison);
      lses.assign(static_cast<size_t>(rows * parts * heads), poison);
      auto type = variant.getTypes().getCompute().isF64() ? tpac::ElementType::f64 : tpac::ElementType::f32;
      memory.push_back(tpac::MemoryView::contiguous(type, outs.data(), {rows, parts, heads, features}));
      memory.push_back(tpac::MemoryView::contiguous(type, lses.data(), {rows, parts, heads}));
    }
    if (llvm::Error error = tpac::interpret(*modules.at(phase), function, memory, tpac::Arithmetic::rounded))
      throw std::runtime_error(llvm::toString(std::move(error)));
  }

private:
  static constexpr double poison = std::bit_cast<double>(0xffffffffffffffff);

  MLIRContext context;
  VariantAttr variant;
  std::vector<tpac::PhaseSignature> signatures;
  mutable std::map<Phase, OwningOpRef<ModuleOp>> modules;
  /// Those that were drawn.
  std::map<Phase, ScheduleAttr> schedules;
};

} // namespace

std::unique_ptr<Program> makeInterpretedProgram(const Route &route, const std::string &variantJson,
                                                std::span<const Phase> phases, tpac::CacheStorage storage) {
  return std::make_unique<InterpretedProgram>(route, variantJson, phases, storage);
}

bool hasSchedules(const std::string &target, const std::string &variantJson) {
  MLIRContext context(registry(), MLIRContext::Threading::DISABLED);
  VariantAttr variant = take(tpa::readVariant(variantJson, "variant", context));
  auto schedule = tpac::defaultSchedule(variant, Phase::decode, take(tpac::findTarget(target)));
  if (schedule)
    return true;
  llvm::consumeError(schedule.takeError());
  return false;
}

} // namespace property
