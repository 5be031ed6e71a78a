// SPDX-License-Identifier: Apache-2.0
//
// Passes and pipeline of the reference path.

#ifndef TPAC_LOWERING_REFERENCE_PASSES_H
#define TPAC_LOWERING_REFERENCE_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::func {
class FuncOp;
} // namespace mlir::func

namespace mlir::tpa {

#define GEN_PASS_DECL
#include "lowering/reference/ReferencePasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "lowering/reference/ReferencePasses.h.inc"

/// tpa ops on tensors to linalg and scf on tensors.
void buildReferenceTensorPipeline(OpPassManager &passes);

/// The output of the tensor pipeline to the LLVM dialect. Phase functions (private ones) take one strided memref per
/// tensor of their signature, write their results in place and return nothing.
void buildHostPipeline(OpPassManager &passes);

/// The last steps to the LLVM dialect: scf, arith, math, memref and (where registered) vector ops.
void addLlvmConversion(OpPassManager &passes);

/// Both as textual pipelines: `tpa-reference-tensors`, `tpa-host`.
void registerReferencePipelines();

} // namespace mlir::tpa

#endif // TPAC_LOWERING_REFERENCE_PASSES_H
