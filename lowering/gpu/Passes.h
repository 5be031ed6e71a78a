// SPDX-License-Identifier: Apache-2.0
//
// Passes and pipeline of the GPU target.

#ifndef TPAC_LOWERING_GPU_PASSES_H
#define TPAC_LOWERING_GPU_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::tpa {

#define GEN_PASS_DECL
#include "lowering/gpu/GpuPasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "lowering/gpu/GpuPasses.h.inc"

/// Annotated tile programs to kernels in the LLVM dialect.
void buildGpuPipeline(OpPassManager &passes);

/// As the textual pipeline `tpa-gpu`.
void registerGpuPipelines();

} // namespace mlir::tpa

#endif // TPAC_LOWERING_GPU_PASSES_H
