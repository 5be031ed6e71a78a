// SPDX-License-Identifier: Apache-2.0

#include "lowering/Compiler.h"

#include "lowering/phases/BuildPhases.h"
#include "lowering/reference/Passes.h"
#include "lowering/reference/Registration.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

void tpac::registerCompilerDialects(DialectRegistry &registry) { tpa::registerReferenceDialects(registry); }

llvm::Expected<OwningOpRef<ModuleOp>> tpac::lowerPhases(tpa::VariantAttr variant, ArrayRef<Phase> phases, Stage stage) {
  MLIRContext *context = variant.getContext();
  std::string diagnostics;
  ScopedDiagnosticHandler collect(context, [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + '\n';
    return success();
  });
  OwningOpRef<ModuleOp> module = buildPhases(variant, phases);
  PassManager passes(context);
  if (stage >= Stage::reference)
    tpa::buildReferenceTensorPipeline(passes);
  if (stage >= Stage::target)
    tpa::buildHostPipeline(passes);
  if (failed(module->verify()) || failed(passes.run(*module)))
    return llvm::createStringError("lowering '" + variant.getName().getValue() + "' failed:\n" + diagnostics);
  return module;
}
