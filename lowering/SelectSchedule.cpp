// SPDX-License-Identifier: Apache-2.0
//
// tpa-select-schedule and tpa-phases-to-tiles: how each phase is computed is an attribute of its op; then programs obey
// it.

#include "lowering/Passes.h"

#include "dialect/TPADialect.h"
#include "dialect/TPAOps.h"
#include "lowering/TargetSchedule.h"
#include "lowering/gpu/GpuPrograms.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/tile/BuildPrograms.h"
#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/OperationSupport.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_SELECTSCHEDULE
#define GEN_PASS_DEF_PHASESTOTILES
#include "lowering/SchedulePasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;

namespace {

using tpac::Phase;

std::optional<Phase> phaseOfName(StringRef name) {
  for (Phase phase : tpac::packPhases)
    if (name == StringRef(tpac::phaseName(phase)))
      return phase;
  return std::nullopt;
}

/// The phase that `op` is; std::nullopt where it is none that has a schedule.
std::optional<Phase> phaseOf(Operation *op) {
  if (isa<AppendOp>(op))
    return Phase::append;
  if (isa<MergeOp>(op))
    return Phase::merge;
  if (!isa<AttentionOp>(op))
    return std::nullopt;
  auto function = op->getParentOfType<func::FuncOp>();
  return function && function.getName() == StringRef(tpac::phaseName(Phase::decode)) ? Phase::decode : Phase::prefill;
}

/// The variant that `op` computes; null where neither it nor its module says.
VariantAttr variantOf(Operation *op, ModuleOp module) {
  if (auto variant = op->getAttrOfType<VariantAttr>("variant"))
    return variant;
  return module->getAttrOfType<VariantAttr>(TPADialect::variantName);
}

struct SelectSchedule : tpa::impl::SelectScheduleBase<SelectSchedule> {
  using SelectScheduleBase::SelectScheduleBase;

  void runOnOperation() override {
    llvm::Expected<tpac::CodeTarget> codeTarget = tpac::findTarget(target);
    if (!codeTarget) {
      getOperation().emitError(llvm::toString(codeTarget.takeError()));
      return signalPassFailure();
    }
    WalkResult result = getOperation().walk([&](Operation *op) {
      std::optional<Phase> phase = phaseOf(op);
      return phase && failed(select(op, *phase, *codeTarget)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  LogicalResult select(Operation *op, Phase phase, const tpac::CodeTarget &codeTarget) {
    VariantAttr variant = variantOf(op, getOperation());
    if (!variant)
      return op->emitOpError() << "expected a module with the attribute " << TPADialect::variantName
                               << ", whose variant says how it is computed";
    if (auto schedule = op->getAttrOfType<ScheduleAttr>(TPADialect::scheduleName)) {
      if (llvm::Error error = tpac::checkSchedule(variant, phase, schedule, codeTarget))
        return op->emitOpError(llvm::toString(std::move(error)));
      return success();
    }
    int64_t block = valueBlock >= 0 ? valueBlock : tpac::defaultValueBlock(variant, codeTarget, pageSize);
    llvm::Expected<ScheduleAttr> schedule = tpac::defaultSchedule(variant, phase, codeTarget, {block, pageSize});
    if (!schedule)
      return op->emitOpError(llvm::toString(schedule.takeError()));
    op->setAttr(TPADialect::scheduleName, *schedule);
    return success();
  }
};

struct PhasesToTiles : tpa::impl::PhasesToTilesBase<PhasesToTiles> {
  using PhasesToTilesBase::PhasesToTilesBase;

  void runOnOperation() override {
    if (failed(lower()))
      signalPassFailure();
  }

  LogicalResult lower() {
    ModuleOp module = getOperation();
    auto variant = module->getAttrOfType<VariantAttr>(TPADialect::variantName);
    if (!variant)
      return module.emitError() << "expected the attribute " << TPADialect::variantName;
    SmallVector<tpac::ScheduledPhase> phases;
    for (Operation &op : module.getOps()) {
      auto function = dyn_cast<func::FuncOp>(op);
      std::optional<Phase> phase = function ? phaseOfName(function.getName()) : std::nullopt;
      if (!phase)
        return op.emitOpError("expected a function @append, @decode, @prefill or @merge");
      FailureOr<ScheduleAttr> schedule = scheduleOf(function, variant, *phase);
      if (failed(schedule))
        return failure();
      phases.push_back({*phase, *schedule});
    }
    llvm::Expected<tpac::CodeTarget> codeTarget = tpac::findTarget(target);
    if (!codeTarget)
      return module.emitError(llvm::toString(codeTarget.takeError()));
    auto programs =
        tpac::isGpu(*codeTarget) ? tpac::buildGpuPrograms(variant, phases) : tpac::buildPrograms(variant, phases);
    if (!programs)
      return module.emitError(llvm::toString(programs.takeError()));
    module.getBodyRegion().takeBody((*programs)->getBodyRegion());
    module->removeAttr(TPADialect::variantName);
    return success();
  }

  /// The schedule on the op of a phase's function, which is as buildPhases makes it but for that: programs are built
  /// from the variant, and would not see a difference.
  static FailureOr<ScheduleAttr> scheduleOf(func::FuncOp function, VariantAttr variant, Phase phase) {
    ScheduleAttr schedule;
    function.walk([&](Operation *op) {
      if (auto its = op->getAttrOfType<ScheduleAttr>(TPADialect::scheduleName))
        schedule = its;
    });
    OwningOpRef<func::FuncOp> bare = function.clone();
    bare->walk([](Operation *op) { op->removeAttr(TPADialect::scheduleName); });
    OwningOpRef<ModuleOp> built = tpac::buildPhases(variant, phase);
    auto expected = *built->getOps<func::FuncOp>().begin();
    if (!OperationEquivalence::isEquivalentTo(*bare, expected, OperationEquivalence::IgnoreLocations))
      return function.emitOpError("expected the phase as the module's ") << TPADialect::variantName << " defines it";
    if (!schedule)
      return function.emitOpError("expected a phase with the attribute ") << TPADialect::scheduleName;
    return schedule;
  }
};

} // namespace
