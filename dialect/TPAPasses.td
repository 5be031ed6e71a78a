// SPDX-License-Identifier: Apache-2.0
//
// Rewrites between equal spellings of an attention at the variant level.

#ifndef TPAC_DIALECT_TPAPASSES_TD
#define TPAC_DIALECT_TPAPASSES_TD

include "mlir/Pass/PassBase.td"

def FoldFixedHeads : Pass<"tpa-fold-fixed-heads"> {
  let summary = "constant head factors become head maps";
  let description = [{
    A constant head factor that is (1/s_R) times a head map - one rank per head, every entry the reciprocal of the rank factor in force, so that
    the 1/R cancels - becomes a fixed head factor: the operand and its multiply vanish.

    ```mlir
    %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
    tpa.contract <rank = 2, head = <source = learned>, ...> heads <4> head(%a : tensor<2x4xf32>) token(...)
    // becomes
    tpa.contract <rank = 2, head = <source = fixed, map = groups>, ...> heads <4> token(...)
    ```
    Afterwards no `tpa.contract` or `tpa.attention` takes such a constant.
  }];
}

def FormAttention : Pass<"tpa-form-attention"> {
  let summary = "dense attention on contracted factors becomes attention on factors";
  let description = [{
    A `tpa.attention` whose dense q, k or v (fixed `one_hot`, one contextual small factor) is the result of `tpa.contract` takes the contraction's factors instead, and
    an explicit scale is multiplied by the contraction's rank factors. All three sides must be dense or contracted, without RoPE and head functions of
    their own (apply `tpa-rope-through-contract` first).
    Afterwards no `tpa.attention` reads a dense tensor made by `tpa.contract`, unless the element types of the factors of all sides together
    forbid it or V shares a dense K.
  }];
}

def RopeThroughContract : Pass<"tpa-rope-through-contract"> {
  let summary = "rope(contract(A, B)) becomes contract(A, rope(B))";
  let description = [{
    Theorem 3.1 of the paper (equation 3.5) and, at order 3 and above, Theorem C.1: RoPE in blocks of the first small factor's size
    rotates that factor alone. Keys are then rotated once, when they enter the cache.
    Afterwards no `tpa.rope` reads the result of a `tpa.contract` whose first small factor has the size of the block or a multiple of it, unless that
    factor is quantised.
  }];
}

#endif // TPAC_DIALECT_TPAPASSES_TD
