// SPDX-License-Identifier: Apache-2.0
//
// The GPU target as a pipeline.

#include "lowering/gpu/Passes.h"

#include "lowering/reference/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpa::buildGpuPipeline(OpPassManager &passes) {
  passes.addPass(createTilesToGpu());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  addLlvmConversion(passes);
}

void tpa::registerGpuPipelines() {
  PassPipelineRegistration<>("tpa-gpu", "annotated tile programs to kernels in the LLVM dialect",
                             [](OpPassManager &passes) { buildGpuPipeline(passes); });
}
