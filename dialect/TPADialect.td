// SPDX-License-Identifier: Apache-2.0
//
// The tpa dialect: what a tensor product attention computes. Nothing here says how.

#ifndef TPAC_DIALECT_TPADIALECT_TD
#define TPAC_DIALECT_TPADIALECT_TD

include "mlir/IR/OpBase.td"

def TPA_Dialect : Dialect {
  let name = "tpa";
  let cppNamespace = "::mlir::tpa";
  let summary = "Tensor product attention, as mathematics on tensors";
  let description = [{
    The variant level of tpac. Queries, keys and values are given as factors (Zhang et al., "Tensor Product Attention Is
    All You Need", arXiv 2501.06425, equations 3.1 to 3.6):

        Q[n,h,:] = 1/RQ sum_r AQ[n,r,h] BQ[n,r,:]      (K, V alike)

    where A are *head factors* and B *token factors*; at order 3 and above a token factor is itself a product of small
    factors. Which factors depend on the token, which are learned constants and which are fixed is part of `#tpa.variant`.

    Ops have tensor semantics and destination style: the result has the type of the `outs` operand. Tokens of all requests stand in
    one dimension (`tokens`); `token_start` (i32, one more than requests) says where each request begins. Caches have
    the leading dimensions `[batch, capacity]`, and `lengths` (i32) says how many slots of each request are in use.

    Two attributes stand on ops that do not define them: `tpa.schedule` on `tpa.append`, `tpa.attention` and `tpa.merge` says how they are
    computed (`tpa-select-schedule` attaches it), and `tpa.variant` on a module names the variant whose phases it holds.

    Every rule a verifier checks carries a tag such as `[V4]` in its message; docs/spec.md lists them.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();

    /// Attributes on ops that do not define them.
    static constexpr ::llvm::StringLiteral scheduleName = "tpa.schedule", variantName = "tpa.variant";
  }];
}

#endif // TPAC_DIALECT_TPADIALECT_TD
