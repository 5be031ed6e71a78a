// SPDX-License-Identifier: Apache-2.0
//
// Passes and pipeline of the CPU target.

#ifndef TPAC_LOWERING_CPU_PASSES_H
#define TPAC_LOWERING_CPU_PASSES_H

#include "lowering/cpu/CpuTraits.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"

namespace mlir::func {
class FuncOp;
} // namespace mlir::func

namespace mlir::tpa {

#define GEN_PASS_DECL
#include "lowering/cpu/CpuPasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "lowering/cpu/CpuPasses.h.inc"

/// Functions of tile ops, with scf, arith and memref around them, to the LLVM dialect. Memrefs become expanded
/// descriptors, as buildHostPipeline has them.
void buildCpuPipeline(OpPassManager &passes, const tpac::CpuTraits &cpu);

/// As the textual pipeline `tpa-cpu{lanes= registers= amx=}`.
void registerCpuPipelines();

/// Dialects and interfaces that the pipeline needs, beyond those of the reference path.
void registerCpuDialects(DialectRegistry &registry);

} // namespace mlir::tpa

#endif // TPAC_LOWERING_CPU_PASSES_H
