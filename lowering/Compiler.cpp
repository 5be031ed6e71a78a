// SPDX-License-Identifier: Apache-2.0

#include "lowering/Compiler.h"

#include "lowering/Passes.h"
#include "lowering/TargetSchedule.h"
#include "lowering/cpu/Passes.h"
#include "lowering/gpu/Passes.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/reference/Passes.h"
#include "lowering/reference/Registration.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpac::registerCompilerDialects(DialectRegistry &registry) {
  tpa::registerReferenceDialects(registry);
  tpa::registerCpuDialects(registry);
}

llvm::Expected<tpa::ScheduleAttr> tpac::parseSchedule(const std::string &text, MLIRContext &context) {
  std::string problem;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    problem += diagnostic.str();
    return success();
  });
  auto schedule = dyn_cast_or_null<tpa::ScheduleAttr>(parseAttribute(text, &context));
  if (!schedule)
    return llvm::createStringError("schedule: found '" + text + "'; expected #tpa.schedule<...>: " + problem);
  return schedule;
}

int64_t tpac::defaultValueBlock(tpa::VariantAttr variant, CodePath path, const CodeTarget &target, int64_t pageSize) {
  return path == CodePath::fused ? defaultValueBlock(variant, target, pageSize) : 0;
}

static void addFusedPasses(PassManager &passes, tpac::Stage stage, const tpac::CodeTarget &target,
                           tpac::CacheStorage storage) {
  if (stage < tpac::Stage::schedule)
    return;
  passes.addPass(tpa::createSelectSchedule({target.name, storage.valueBlock, storage.pageSize}));
  if (stage < tpac::Stage::tiles)
    return;
  passes.addPass(tpa::createPhasesToTiles({target.name}));
  // What the builder says twice for clearness, such as an index.
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  if (stage < tpac::Stage::target)
    return;
  if (tpac::isGpu(target))
    tpa::buildGpuPipeline(passes);
  else
    tpa::buildCpuPipeline(passes, tpac::cpuTraitsOf(target));
}

static void addReferencePasses(PassManager &passes, tpac::Stage stage) {
  if (stage >= tpac::Stage::reference)
    tpa::buildReferenceTensorPipeline(passes);
  if (stage >= tpac::Stage::target)
    tpa::buildHostPipeline(passes);
}

/// Runs the passes that `add` adds; an error carries the diagnostics.
static llvm::Expected<OwningOpRef<ModuleOp>> runPasses(tpa::VariantAttr variant, OwningOpRef<ModuleOp> module,
                                                       llvm::function_ref<void(PassManager &)> add) {
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
                                                        CodePath path, const CodeTarget &target, CacheStorage storage) {
  if (path == CodePath::reference && storage.valueBlock != 0)
    return llvm::createStringError("value_block: expected 0 on the reference path, which stores caches token by token, "
                                   "got " +
                                   std::to_string(storage.valueBlock));
  if (path == CodePath::fused && stage != Stage::variant && llvm::is_contained(phases, Phase::project))
    return llvm::createStringError("project is no phase of the fused path: engines have matrix products of their own");
  if (llvm::Error error =
          path == CodePath::fused ? checkStorage(variant, storage, target) : checkStorage(variant, storage))
    return error;
  // On the fused path tile programs know pages, the phases' ops do not.
  int64_t pageSize = path == CodePath::reference ? storage.pageSize : 0;
  return runPasses(variant, buildPhases(variant, phases, pageSize), [&](PassManager &passes) {
    if (path == CodePath::fused)
      addFusedPasses(passes, stage, target, storage);
    else
      addReferencePasses(passes, stage);
  });
}

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerScheduled(tpa::VariantAttr variant, ArrayRef<ScheduledPhase> phases,
                                                           const CodeTarget &target, Stage stage) {
  OwningOpRef<ModuleOp> module = buildPhases(
      variant, llvm::map_to_vector(phases, [](const ScheduledPhase &scheduled) { return scheduled.phase; }));
  // Each function holds its phase, then a return.
  for (auto [function, scheduled] : llvm::zip_equal(module->getOps<func::FuncOp>(), phases))
    function.front().front().setAttr(tpa::TPADialect::scheduleName, scheduled.schedule);
  return runPasses(variant, std::move(module),
                   [&](PassManager &passes) { addFusedPasses(passes, stage, target, CacheStorage()); });
}
