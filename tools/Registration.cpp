// SPDX-License-Identifier: Apache-2.0

#include "tools/Registration.h"

#include "dialect/Passes.h"
#include "lowering/Compiler.h"
#include "lowering/Passes.h"
#include "lowering/cpu/Passes.h"
#include "lowering/gpu/Passes.h"
#include "lowering/reference/Passes.h"

#include "mlir/Transforms/Passes.h"

void tpac::registerToolDialects(mlir::DialectRegistry &registry) { registerCompilerDialects(registry); }

void tpac::registerToolPasses() {
  mlir::registerTransformsPasses();
  mlir::tpa::registerTPAPasses();
  mlir::tpa::registerSchedulePasses();
  mlir::tpa::registerReferencePasses();
  mlir::tpa::registerReferencePipelines();
  mlir::tpa::registerCpuPasses();
  mlir::tpa::registerCpuPipelines();
  mlir::tpa::registerGpuPasses();
  mlir::tpa::registerGpuPipelines();
}
