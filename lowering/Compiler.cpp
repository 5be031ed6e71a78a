// SPDX-License-Identifier: Apache-2.0

#include "lowering/Compiler.h"

#include "lowering/cpu/CpuSchedule.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/reference/Passes.h"
#include "lowering/reference/Registration.h"
#include "lowering/tile/BuildPrograms.h"
#include "lowering/tile/TileDialect.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpac::registerCompilerDialects(DialectRegistry &registry) {
  tpa::registerReferenceDialects(registry);
  registry.insert<tpa::tile::TileDialect>();
}

/// Tile programs under the CPU's default schedules.
static llvm::Expected<OwningOpRef<ModuleOp>> buildScheduledPrograms(tpa::VariantAttr variant,
                                                                    ArrayRef<tpac::Phase> phases) {
  SmallVector<tpac::ScheduledPhase> scheduled;
  for (tpac::Phase phase : phases) {
    llvm::Expected<tpa::ScheduleAttr> schedule = tpac::defaultCpuSchedule(variant, phase);
    if (!schedule)
      return schedule.takeError();
    scheduled.push_back({phase, *schedule});
  }
  return tpac::buildPrograms(variant, scheduled);
}

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerPhases(tpa::VariantAttr variant, ArrayRef<Phase> phases, Stage stage) {
  MLIRContext *context = variant.getContext();
  std::string diagnostics;
  ScopedDiagnosticHandler collect(context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + '\n';
    return success();
  });
  OwningOpRef<ModuleOp> module;
  if (stage == Stage::tiles) {
    auto programs = buildScheduledPrograms(variant, phases);
    if (!programs)
      return programs.takeError();
    module = std::move(*programs);
  } else {
    module = buildPhases(variant, phases);
  }
  PassManager passes(context);
  if (stage == Stage::tiles) {
    // What the builder says twice for clearness, such as an index.
    passes.addPass(createCanonicalizerPass());
    passes.addPass(createCSEPass());
  }
  if (stage >= Stage::reference)
    tpa::buildReferenceTensorPipeline(passes);
  if (stage >= Stage::target)
    tpa::buildHostPipeline(passes);
  if (failed(module->verify()) || failed(passes.run(*module)))
    return llvm::createStringError("lowering '" + variant.getName().getValue() + "' failed:\n" + diagnostics);
  return module;
}
