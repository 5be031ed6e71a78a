// SPDX-License-Identifier: Apache-2.0

#include "lowering/Compiler.h"

#include "lowering/cpu/CpuSchedule.h"
#include "lowering/cpu/Passes.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/reference/Passes.h"
#include "lowering/reference/Registration.h"
#include "lowering/tile/BuildPrograms.h"

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

/// Tile programs under the CPU's default schedules.
static llvm::Expected<OwningOpRef<ModuleOp>> buildScheduledPrograms(tpa::VariantAttr variant,
                                                                    ArrayRef<tpac::Phase> phases,
                                                                    const tpac::CpuTraits &traits, int64_t valueBlock) {
  SmallVector<tpac::ScheduledPhase> scheduled;
  for (tpac::Phase phase : phases) {
    if (phase == tpac::Phase::project)
      return llvm::createStringError(
          "project is no phase of the fused path: engines have matrix products of their own");
    llvm::Expected<tpa::ScheduleAttr> schedule = tpac::defaultCpuSchedule(variant, phase, traits, valueBlock);
    if (!schedule)
      return schedule.takeError();
    scheduled.push_back({phase, *schedule});
  }
  return tpac::buildPrograms(variant, scheduled);
}

int64_t tpac::defaultValueBlock(tpa::VariantAttr variant, CodePath path, const CodeTarget &target) {
  return path == CodePath::fused ? defaultCpuValueBlock(variant, cpuTraitsOf(target)) : 0;
}

static void addFusedPasses(PassManager &passes, tpac::Stage stage, const tpac::CodeTarget &target) {
  // What the builder says twice for clearness, such as an index.
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  if (stage >= tpac::Stage::target)
    tpa::buildCpuPipeline(passes, cpuTraitsOf(target));
}

static void addReferencePasses(PassManager &passes, tpac::Stage stage) {
  if (stage >= tpac::Stage::reference)
    tpa::buildReferenceTensorPipeline(passes);
  if (stage >= tpac::Stage::target)
    tpa::buildHostPipeline(passes);
}

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerPhases(tpa::VariantAttr variant, ArrayRef<Phase> phases, Stage stage,
                                                        CodePath path, const CodeTarget &target, int64_t valueBlock) {
  if (path == CodePath::reference && valueBlock != 0)
    return llvm::createStringError("value_block: expected 0 on the reference path, which stores caches token by token, "
                                   "got " +
                                   std::to_string(valueBlock));
  MLIRContext *context = variant.getContext();
  std::string diagnostics;
  ScopedDiagnosticHandler collect(context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + '\n';
    return success();
  });
  PassManager passes(context);
  OwningOpRef<ModuleOp> module;
  if (path == CodePath::fused && stage != Stage::variant) {
    auto programs = buildScheduledPrograms(variant, phases, cpuTraitsOf(target), valueBlock);
    if (!programs)
      return programs.takeError();
    module = std::move(*programs);
    addFusedPasses(passes, stage, target);
  } else {
    module = buildPhases(variant, phases);
    addReferencePasses(passes, stage);
  }
  if (failed(module->verify()) || failed(passes.run(*module)))
    return llvm::createStringError("lowering '" + variant.getName().getValue() + "' failed:\n" + diagnostics);
  return module;
}
