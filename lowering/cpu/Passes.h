// SPDX-License-Identifier: Apache-2.0
//
// Passes and pipeline of the CPU target.

#ifndef TPAC_LOWERING_CPU_PASSES_H
#define TPAC_LOWERING_CPU_PASSES_H

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

/// What the pipeline knows of a CPU.
struct CpuOptions {
  /// f32 elements per vector: 16 (AVX-512), 8 (AVX2) or 4 (NEON, SSE).
  int64_t lanes = 16;
  /// Vector registers: 32 (AVX-512, NEON) or 16 (AVX2, SSE).
  int64_t registers = 32;
  /// Whether there are AMX tiles with bf16 products.
  bool amx = false;
};

/// Functions of tile ops, with scf, arith and memref around them, to the LLVM dialect. Memrefs become expanded
/// descriptors, as buildHostPipeline has them.
void buildCpuPipeline(OpPassManager &passes, const CpuOptions &options);

/// As the textual pipeline `tpa-cpu{lanes= registers= amx=}`.
void registerCpuPipelines();

/// Dialects and interfaces that the pipeline needs, beyond those of the reference path.
void registerCpuDialects(DialectRegistry &registry);

} // namespace mlir::tpa

#endif // TPAC_LOWERING_CPU_PASSES_H
