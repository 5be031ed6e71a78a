// SPDX-License-Identifier: Apache-2.0
//
// Passes of the reference path.

#ifndef TPAC_LOWERING_REFERENCE_REFERENCEPASSES_TD
#define TPAC_LOWERING_REFERENCE_REFERENCEPASSES_TD

include "mlir/Pass/PassBase.td"

def CopiesToLinalg : Pass<"tpa-copies-to-linalg", "::mlir::func::FuncOp"> {
  let summary = "memref.copy becomes a linalg copy";
  let description = [{
    The LLVM lowering of `memref.copy` between strided buffers calls a run-time library; a kernel pack has none.
    Afterwards no `memref.copy` is left.
  }];
}

def DecomposePhases : Pass<"tpa-decompose-phases"> {
  let summary = "append and attention in terms of their parts";
  let description = [{
    `tpa.append` becomes head functions, RoPE, quantisation and `tpa.store_tokens`. `tpa.attention` on factors becomes head functions, RoPE,
    `tpa.contract` of Q, K and V, and dense attention on them: the inverse of `tpa-form-attention`.

    ```mlir
    %c = tpa.append #variant k(%b : tensor<?x1x8xf32>) positions(%p : tensor<?xi32>) ... outs(%cache : tensor<?x?x1x8xbf16>)
    // becomes
    %r = tpa.rope <...> block 8 ins(%b, %p : ...) outs(%e : tensor<?x1x8xf32>)
    %c = tpa.store_tokens ins(%r : tensor<?x1x8xf32>) ... outs(%cache : tensor<?x?x1x8xbf16>)
    ```
    Afterwards there is no `tpa.append`, and every `tpa.attention` is dense: Q, K and V are tensors in the compute type with one rank per
    head, and its variant has neither RoPE nor head functions.
  }];
}

def ToLinalg : Pass<"tpa-to-linalg"> {
  let summary = "the tpa dialect to linalg, scf and arith on tensors";
  let description = [{
    Each op becomes the formula in its description: a `linalg.generic` where it is a rectangle, `scf` loops where requests have
    lengths of their own. Expects `tpa-decompose-phases` to have run. Afterwards no tpa op is left.
  }];
}

#endif // TPAC_LOWERING_REFERENCE_REFERENCEPASSES_TD
