// SPDX-License-Identifier: Apache-2.0
//
// Passes of the GPU target.

#ifndef TPAC_LOWERING_GPU_GPUPASSES_TD
#define TPAC_LOWERING_GPU_GPUPASSES_TD

include "mlir/Pass/PassBase.td"

def TilesToGpu : Pass<"tpa-tiles-to-gpu", "::mlir::ModuleOp"> {
  let summary = "tile programs of attention to kernels of NVIDIA GPUs";
  let description = [{
    Replaces `@PHASE_part_item` and `@PHASE_parts_item` by two kernels: `@PHASE_parts` computes the parts into which the
    device divides the call's blocks of cached tokens, evenly over its thread blocks; `@PHASE_merge` merges them. An item
    with `tpac.items` is replaced by one kernel, `@PHASE` of `@PHASE_item`, whose thread blocks take items in turn and
    compute the elements of its stores one by one; the items are `new_tokens` of all requests (append), each request's
    `cached_tokens` (import, export), or `rows` of states (merge). All other functions are erased.

    One warp computes 16 rows (heads, of one or more query tokens); the warps of a group share a block of cached tokens,
    which arrives in a ring of stages in shared memory. Products run on the tensor cores, head factors are read as
    matrices in accumulator layout, and probabilities go into the second product without leaving their registers.

    Expects on these functions `tpac.schedule`, and `tpac.cache` with the planes and row bytes of the cache; on each cached
    tensor `tpac.cached`, its offset in a row and the bytes from rank to rank. Afterwards kernels carry `tpac.threads` and
    `tpac.shared_bytes`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::math::MathDialect"];
}

#endif // TPAC_LOWERING_GPU_GPUPASSES_TD
