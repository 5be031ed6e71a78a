// SPDX-License-Identifier: Apache-2.0

#include "lowering/Compiler.h"

#include "lowering/cpu/CpuSchedule.h"
#include "lowering/cpu/Passes.h"
#include "lowering/gpu/GpuPrograms.h"
#include "lowering/gpu/GpuSchedule.h"
#include "lowering/gpu/Passes.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/reference/Passes.h"
#include "lowering/reference/Registration.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpac::registerCompilerDialects(DialectRegistry &registry) {
  tpa::registerReferenceDialects(registry);
  tpa::registerCpuDialects(registry);
}

/// What the CPU target must know of `target`.
static tpac::CpuTraits cpuTraitsOf(const tpac::CodeTarget &target) {
  auto has = [&](StringRef feature) { return llvm::is_contained(target.features, feature); };
  if (target.cpu == "x86-64-v4" || has("+avx512f"))
    return {16, 32, target.amx};
  if (target.cpu == "x86-64-v3" || has("+avx2"))
    return {8, 16};
  bool aarch64 = StringRef(target.triple).starts_with("aarch64");
  return {4, aarch64 ? 32 : 16};
}

/// The target's default schedules.
static llvm::Expected<SmallVector<tpac::ScheduledPhase>> defaultSchedules(tpa::VariantAttr variant,
                                                                          ArrayRef<tpac::Phase> phases,
                                                                          const tpac::CodeTarget &target,
                                                                          int64_t valueBlock) {
  SmallVector<tpac::ScheduledPhase> scheduled;
  for (tpac::Phase phase : phases) {
    if (phase == tpac::Phase::project)
      return llvm::createStringError(
          "project is no phase of the fused path: engines have matrix products of their own");
    llvm::Expected<tpa::ScheduleAttr> schedule =
        tpac::isGpu(target) ? tpac::defaultGpuSchedule(variant, phase, tpac::GpuLimits::of(target.cpu))
                            : tpac::defaultCpuSchedule(variant, phase, cpuTraitsOf(target), valueBlock);
    if (!schedule)
      return schedule.takeError();
    scheduled.push_back({phase, *schedule});
  }
  return scheduled;
}

static llvm::Expected<OwningOpRef<ModuleOp>>
buildTargetPrograms(tpa::VariantAttr variant, ArrayRef<tpac::ScheduledPhase> phases, const tpac::CodeTarget &target) {
  return tpac::isGpu(target) ? tpac::buildGpuPrograms(variant, phases) : tpac::buildPrograms(variant, phases);
}

int64_t tpac::defaultValueBlock(tpa::VariantAttr variant, CodePath path, const CodeTarget &target) {
  return path == CodePath::fused && !isGpu(target) ? defaultCpuValueBlock(variant, cpuTraitsOf(target)) : 0;
}

static void addFusedPasses(PassManager &passes, tpac::Stage stage, const tpac::CodeTarget &target) {
  // What the builder says twice for clearness, such as an index.
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  if (stage < tpac::Stage::target)
    return;
  if (tpac::isGpu(target))
    tpa::buildGpuPipeline(passes);
  else
    tpa::buildCpuPipeline(passes, cpuTraitsOf(target));
}

static void addReferencePasses(PassManager &passes, tpac::Stage stage) {
  if (stage >= tpac::Stage::reference)
    tpa::buildReferenceTensorPipeline(passes);
  if (stage >= tpac::Stage::target)
    tpa::buildHostPipeline(passes);
}

/// Runs the passes that `add` adds; an error carries the diagnostics.
static llvm::Expected<OwningOpRef<ModuleOp>> runPasses(tpa::VariantAttr variant,
                                                       llvm::Expected<OwningOpRef<ModuleOp>> built,
                                                       llvm::function_ref<void(PassManager &)> add) {
  if (!built)
    return built.takeError();
  OwningOpRef<ModuleOp> module = std::move(*built);
  MLIRContext *context = variant.getContext();
  std::string diagnostics;
  ScopedDiagnosticHandler collect(context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + '\n';
    return success();
  });
  PassManager passes(context);
  add(passes);
  if (failed(module->verify()) || failed(passes.run(*module)))
    return llvm::createStringError("lowering '" + variant.getName().getValue() + "' failed:\n" + diagnostics);
  return module;
}

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerPhases(tpa::VariantAttr variant, ArrayRef<Phase> phases, Stage stage,
                                                        CodePath path, const CodeTarget &target, int64_t valueBlock) {
  if (path == CodePath::reference && valueBlock != 0)
    return llvm::createStringError("value_block: expected 0 on the reference path, which stores caches token by token, "
                                   "got " +
                                   std::to_string(valueBlock));
  if (path != CodePath::fused || stage == Stage::variant)
    return runPasses(variant, buildPhases(variant, phases),
                     [&](PassManager &passes) { addReferencePasses(passes, stage); });
  if (isGpu(target) && valueBlock != 0)
    return llvm::createStringError("value_block: expected 0 for a GPU, whose packs store tokens as rows, got " +
                                   std::to_string(valueBlock));
  auto scheduled = defaultSchedules(variant, phases, target, valueBlock);
  if (!scheduled)
    return scheduled.takeError();
  return runPasses(variant, buildTargetPrograms(variant, *scheduled, target),
                   [&](PassManager &passes) { addFusedPasses(passes, stage, target); });
}

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerScheduled(tpa::VariantAttr variant, ArrayRef<ScheduledPhase> phases,
                                                           const CodeTarget &target) {
  return runPasses(variant, buildTargetPrograms(variant, phases, target),
                   [&](PassManager &passes) { addFusedPasses(passes, Stage::target, target); });
}
