// SPDX-License-Identifier: Apache-2.0
//
// Operations of the tpa dialect. The phases of a variant are `tpa.append`, `tpa.attention` and `tpa.merge`; the other ops are
// the parts they are made of, and what a naive graph is written in.

#ifndef TPAC_DIALECT_TPAOPS_TD
#define TPAC_DIALECT_TPAOPS_TD

include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "dialect/TPAAttributes.td"
include "dialect/TPASchedule.td"

def TPA_FloatTensor : RankedTensorOf<[AnyFloat]>;
def TPA_StorageTensor : RankedTensorOf<[AnyFloat, I8]>;
def TPA_I32Tensor : RankedTensorOf<[I32]>;
def TPA_AnyTensor : RankedTensorOf<[AnyType]>;

/// Destination style: results have the types of the `outs` operands.
class TPA_Op<string opMnemonic, list<Trait> traits = []>
    : Op<TPA_Dialect, opMnemonic, [Pure, DestinationStyleOpInterface, InferTypeOpAdaptor] # traits> {
  let hasVerifier = 1;
  code initsDeclaration = "";
  let extraClassDeclaration = initsDeclaration;
}

class TPA_SingleInitOp<string opMnemonic, list<Trait> traits = []> : TPA_Op<opMnemonic, traits> {
  let initsDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
  }];
}

// --- The phases ---

def TPA_AppendOp : TPA_Op<"append", [AttrSizedOperandSegments]> {
  let summary = "new tokens enter the factor cache";
  let description = [{
    Takes the projected factors of new tokens and writes them into the cache: head factors after their function, token
    factors after RoPE (K's first small factor, unless keys are rotated on read), quantised where the cache's type asks for it, with the scales
    folded into the head factor or stored beside it. Token t of request b goes to slot `lengths[b] + t - token_start[b]`; other slots keep their values.

    `k`, `v`: contextual factors, head factor first, `[tokens, rank, size]` in the activation type. `outs`: what is cached, K's before V's, each
    head factor, token factors, scale, all `[batch, capacity, ...]`; last the key positions. Which of them exist is in docs/variant.md.

    Example:
    ```mlir
    %cache:4 = tpa.append #t6 k(%ak, %bk : tensor<?x2x47xbf16>, tensor<?x2x64xbf16>)
      v(%av, %bv : tensor<?x2x47xbf16>, tensor<?x2x64xbf16>) positions(%p : tensor<?xi32>)
      token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
      outs(%0, %1, %2, %3 : tensor<?x?x2x47xbf16>, tensor<?x?x2x64xbf16>, tensor<?x?x2x47xbf16>, tensor<?x?x2x64xbf16>)
    ```
  }];
  let arguments = (ins TPA_VariantAttr:$variant, Variadic<TPA_FloatTensor>:$k, Variadic<TPA_FloatTensor>:$v,
                       Optional<TPA_I32Tensor>:$positions, TPA_I32Tensor:$token_start, TPA_I32Tensor:$lengths,
                       Variadic<TPA_AnyTensor>:$inits);
  let results = (outs Variadic<TPA_AnyTensor>:$results);
  let assemblyFormat = [{
    qualified($variant) (`k` `(` $k^ `:` type($k) `)`)? (`v` `(` $v^ `:` type($v) `)`)?
    (`positions` `(` $positions^ `:` type($positions) `)`)?
    `token_start` `(` $token_start `:` type($token_start) `)` `lengths` `(` $lengths `:` type($lengths) `)`
    (`outs` `(` $inits^ `:` type($inits) `)`)? attr-dict
  }];
  let initsDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitsMutable(); }
  }];
}

def TPA_AttentionOp : TPA_Op<"attention", [AttrSizedOperandSegments]> {
  let summary = "attention of query tokens over a factor cache";
  let description = [{
    For query n and head h, over cached tokens m (MATH: equations 3.1 to 3.6):

        L[n,h,m] = scale * sum_{r,s} AQ[n,r,h] AK[m,s,h] <BQ[n,r,:], BK[m,s,:]>,  then softcap, then mask
        out[n,h,:] = s_V sum_m softmax_m(L)[n,h,m] sum_u AV[m,u,h] BV[m,u,:],    lse[n,h] = log sum_m exp(L[n,h,m])

    `q`: head factor before its function, token factors before RoPE (both are applied here; `positions` are the queries'), `[tokens, rank, size]` in the activation
    type, without the leading dimension where learned. `k`, `v`: what `tpa.append` cached, or learned factors in its place: head factor, token factors, scale.
    Request b has queries `token_start[b]` to `token_start[b+1]` and `lengths[b]` cached tokens, which include the queries' own. A query that sees nothing gives
    out 0 and lse -inf. Rows of no request keep the destination's value.

    Example:
    ```mlir
    %o, %l = tpa.attention #t6 q(%aq, %bq : tensor<?x6x47xbf16>, tensor<?x6x64xbf16>) positions(%p : tensor<?xi32>)
      token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
      k(%ak, %bk : tensor<?x?x2x47xbf16>, tensor<?x?x2x64xbf16>) v(%av, %bv : tensor<?x?x2x47xbf16>, tensor<?x?x2x64xbf16>)
      outs(%0, %1 : tensor<?x47x64xbf16>, tensor<?x47xf32>)
    ```
  }];
  let arguments = (ins TPA_VariantAttr:$variant, Variadic<TPA_FloatTensor>:$q, Optional<TPA_I32Tensor>:$positions,
                       TPA_I32Tensor:$token_start, TPA_I32Tensor:$lengths, Variadic<TPA_StorageTensor>:$k,
                       Variadic<TPA_StorageTensor>:$v, Optional<TPA_I32Tensor>:$key_positions,
                       TPA_FloatTensor:$out_init, TPA_FloatTensor:$lse_init);
  let results = (outs TPA_FloatTensor:$out, TPA_FloatTensor:$lse);
  let assemblyFormat = [{
    qualified($variant) `q` `(` $q `:` type($q) `)` (`positions` `(` $positions^ `:` type($positions) `)`)?
    `token_start` `(` $token_start `:` type($token_start) `)` `lengths` `(` $lengths `:` type($lengths) `)`
    (`k` `(` $k^ `:` type($k) `)`)? (`v` `(` $v^ `:` type($v) `)`)?
    (`key_positions` `(` $key_positions^ `:` type($key_positions) `)`)?
    `outs` `(` $out_init `,` $lse_init `:` type($out_init) `,` type($lse_init) `)` attr-dict
  }];
  let initsDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(getOperation(), getOutInitMutable().getOperandNumber(), 2);
    }
  }];
}

def TPA_MergeOp : TPA_Op<"merge", [AttrSizedOperandSegments]> {
  let summary = "attention over a union of disjoint token sets, from the parts";
  let description = [{
    With m = max_i lse_i and w_i = exp(lse_i - m): out = sum_i w_i out_i / sum_i w_i, lse = m + log sum_i w_i. A part with lse -inf has
    weight 0; if all have, out is 0 and lse -inf. Canonicalisation flattens nested merges and drops a merge of one part.

    Example:
    ```mlir
    %o, %l = tpa.merge parts(%o0, %o1 : tensor<?x47x64xf32>, tensor<?x47x64xf32>) lse(%l0, %l1 : tensor<?x47xf32>, tensor<?x47xf32>)
      outs(%0, %1 : tensor<?x47x64xf32>, tensor<?x47xf32>)
    ```
  }];
  let arguments = (ins Variadic<TPA_FloatTensor>:$parts, Variadic<TPA_FloatTensor>:$part_lses,
                       TPA_FloatTensor:$out_init, TPA_FloatTensor:$lse_init);
  let results = (outs TPA_FloatTensor:$out, TPA_FloatTensor:$lse);
  let assemblyFormat = [{
    (`parts` `(` $parts^ `:` type($parts) `)`)? (`lse` `(` $part_lses^ `:` type($part_lses) `)`)?
    `outs` `(` $out_init `,` $lse_init `:` type($out_init) `,` type($lse_init) `)` attr-dict
  }];
  let hasCanonicalizer = 1;
  let initsDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(getOperation(), getOutInitMutable().getOperandNumber(), 2);
    }
  }];
}

// --- Their parts ---

def TPA_ContractOp : TPA_SingleInitOp<"contract", [AttrSizedOperandSegments]> {
  let summary = "Q, K or V from its factors";
  let description = [{
    `result[.., h, i + d1*(j + ...)] = s_R sum_r scale[.., r] A[.., r, h] b[.., r, i] c[.., r, j] ...` (equation 3.1; order 3 and above by
    Theorem C.1's vec). Factors have the same leading (token) dimensions or, where learned, none. A fixed head factor has no operand: head h reads rank
    map(h) and nothing is multiplied. `scale` holds the scales of quantised token factors where no head factor carries them.

    Example:
    ```mlir
    %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]> heads <47>
      head(%a : tensor<?x2x47xbf16>) token(%b : tensor<?x2x64xbf16>) outs(%init : tensor<?x47x64xf32>)
    ```
  }];
  let arguments = (ins TPA_FactorizationAttr:$factorization, TPA_HeadsAttr:$heads, Optional<TPA_FloatTensor>:$head,
                       Variadic<TPA_StorageTensor>:$token, Optional<TPA_FloatTensor>:$scale, TPA_FloatTensor:$init);
  let results = (outs TPA_FloatTensor:$result);
  let assemblyFormat = [{
    $factorization `heads` $heads (`head` `(` $head^ `:` type($head) `)`)? `token` `(` $token `:` type($token) `)`
    (`scale` `(` $scale^ `:` type($scale) `)`)? `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

def TPA_HeadFunctionOp : TPA_SingleInitOp<"head_function"> {
  let summary = "the function of a head factor";
  let description = [{
    `result[.., r, h] = f(input[.., r, h])`; softmax runs over h.

    Example: `%f = tpa.head_function sigmoid ins(%a : tensor<?x2x47xbf16>) outs(%init : tensor<?x2x47xf32>)`
  }];
  let arguments = (ins TPA_HeadFunctionAttr:$function, TPA_FloatTensor:$input, TPA_FloatTensor:$init);
  let results = (outs TPA_FloatTensor:$result);
  let assemblyFormat = "$function `ins` `(` $input `:` type($input) `)` `outs` `(` $init `:` type($init) `)` attr-dict";
}

def TPA_ProjectOp : TPA_SingleInitOp<"project"> {
  let summary = "hidden states to factors: a linear map";
  let description = [{
    `result[.., r, s] = sum_c weight[row(r, s), c] * input[.., c]` (equation 3.2), row(r, s) = r*S + s (`rank_major`) or s*R + r
    (`head_major`). Weights lie as in a checkpoint, `[R*S, C]`. The sum is kept in f64.

    Example: `%a = tpa.project head_major ins(%x, %w : tensor<?x256xf32>, tensor<66x256xbf16>) outs(%init : tensor<?x6x11xf32>)`
  }];
  let arguments = (ins TPA_WeightRowsAttr:$rows, TPA_FloatTensor:$input, TPA_FloatTensor:$weight, TPA_FloatTensor:$init);
  let results = (outs TPA_FloatTensor:$result);
  let assemblyFormat = [{
    $rows `ins` `(` $input `,` $weight `:` type($input) `,` type($weight) `)` `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

def TPA_QuantizeOp : TPA_Op<"quantize"> {
  let summary = "rows of a token factor to fp8 or int8, with one scale each";
  let description = [{
    `scale[.., r] = max_d |input[.., r, d]| / q` with q = 448 (f8E4M3FN) or 127 (i8), 1 for a row of zeros;
    `values[.., r, d] = round(input[.., r, d] / scale[.., r])`, to nearest, ties to even.

    Example:
    ```mlir
    %q, %s = tpa.quantize ins(%b : tensor<?x2x64xf32>) outs(%0, %1 : tensor<?x2x64xf8E4M3FN>, tensor<?x2xf32>)
    ```
  }];
  let arguments = (ins TPA_FloatTensor:$input, RankedTensorOf<[F8E4M3FN, I8]>:$values_init, TPA_FloatTensor:$scale_init);
  let results = (outs RankedTensorOf<[F8E4M3FN, I8]>:$values, TPA_FloatTensor:$scale);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `outs` `(` $values_init `,` $scale_init `:` type($values_init) `,` type($scale_init) `)`
    attr-dict
  }];
  let initsDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(getOperation(), getValuesInitMutable().getOperandNumber(), 2);
    }
  }];
}

def TPA_RopeOp : TPA_SingleInitOp<"rope"> {
  let summary = "rotary position embedding of token factors, or of Q or K itself";
  let description = [{
    Rotates the features of `input[.., r, :]`, taken in consecutive blocks of `block` features that are all treated alike, by the position of their
    token. `positions` has the leading dimensions of `input`, one less than two; a learned input `[R, d]` has none and the result gains them.
    Angles are formed in f64. Since RoPE is linear, `rope(contract(A, B)) = contract(A, rope(B))` (Theorem 3.1; C.1 at order 3 and above).

    Example: `%r = tpa.rope <d_rot = 64, base = 1.000000e+04> block 64 ins(%b, %p : tensor<?x2x64xbf16>, tensor<?xi32>) outs(%init : tensor<?x2x64xf32>)`
  }];
  let arguments = (ins TPA_RopeAttr:$rope, I64Attr:$block, TPA_StorageTensor:$input, TPA_I32Tensor:$positions,
                       TPA_FloatTensor:$init);
  let results = (outs TPA_FloatTensor:$result);
  let assemblyFormat = [{
    $rope `block` $block `ins` `(` $input `,` $positions `:` type($input) `,` type($positions) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

def TPA_ScaleHeadOp : TPA_SingleInitOp<"scale_head"> {
  let summary = "folds the scales of quantised rows into the head factor";
  let description = [{
    `result[.., r, h] = head[.., r, h] * scale[.., r]`.

    Example: `%f = tpa.scale_head ins(%a, %s : tensor<?x2x47xf32>, tensor<?x2xf32>) outs(%init : tensor<?x2x47xbf16>)`
  }];
  let arguments = (ins TPA_FloatTensor:$head, TPA_FloatTensor:$scale, TPA_FloatTensor:$init);
  let results = (outs TPA_FloatTensor:$result);
  let assemblyFormat = [{
    `ins` `(` $head `,` $scale `:` type($head) `,` type($scale) `)` `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

def TPA_StoreTokensOp : TPA_SingleInitOp<"store_tokens"> {
  let summary = "rows of new tokens into their cache slots";
  let description = [{
    `result[b, lengths[b] + t - token_start[b], ...] = input[t, ...]` for the tokens t of request b, converted to the cache's element type; other
    elements keep the destination's value.

    Example:
    ```mlir
    %c = tpa.store_tokens ins(%b : tensor<?x2x64xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
      outs(%cache : tensor<?x?x2x64xbf16>)
    ```
  }];
  let arguments = (ins TPA_AnyTensor:$input, TPA_I32Tensor:$token_start, TPA_I32Tensor:$lengths, TPA_AnyTensor:$init);
  let results = (outs TPA_AnyTensor:$result);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `token_start` `(` $token_start `:` type($token_start) `)`
    `lengths` `(` $lengths `:` type($lengths) `)` `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

// --- Pages ---

def TPA_LoadPagesOp : TPA_SingleInitOp<"load_pages"> {
  let summary = "a cache out of a pool of pages";
  let description = [{
    `result[b, m, ...] = pool[table[r, m floordiv P], m mod P, ...]` for m below `lengths[b]`, P being the size of the pool's second dimension; other elements
    keep the destination's value. r is b, or `page_starts[b]` where there are such and they are not empty: the table is then a list in which row r is what stands
    from element r on.

    Example:
    ```mlir
    %c = tpa.load_pages ins(%pool, %table : tensor<?x16x2x64xbf16>, tensor<?x?xi32>) lengths(%l : tensor<?xi32>)
      outs(%init : tensor<?x?x2x64xbf16>)
    ```
  }];
  let arguments = (ins TPA_AnyTensor:$pool, TPA_I32Tensor:$table, Optional<TPA_I32Tensor>:$page_starts, TPA_I32Tensor:$lengths,
                       TPA_AnyTensor:$init);
  let results = (outs TPA_AnyTensor:$result);
  let assemblyFormat = [{
    `ins` `(` $pool `,` $table `:` type($pool) `,` type($table) `)` (`page_starts` `(` $page_starts^ `:` type($page_starts) `)`)?
    `lengths` `(` $lengths `:` type($lengths) `)` `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

def TPA_StorePagesOp : TPA_SingleInitOp<"store_pages"> {
  let summary = "new tokens of a cache into a pool of pages";
  let description = [{
    `result[table[r, m floordiv P], m mod P, ...] = input[b, m, ...]` for m from `lengths[b]` on, as many as request b has new tokens:
    `token_start[b + 1] - token_start[b]`. Other elements keep the destination's value. r is as in `tpa.load_pages`.

    Example:
    ```mlir
    %p = tpa.store_pages ins(%cache, %table : tensor<?x?x2x64xbf16>, tensor<?x?xi32>) token_start(%s : tensor<?xi32>)
      lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x16x2x64xbf16>)
    ```
  }];
  let arguments = (ins TPA_AnyTensor:$input, TPA_I32Tensor:$table, Optional<TPA_I32Tensor>:$page_starts,
                       TPA_I32Tensor:$token_start, TPA_I32Tensor:$lengths, TPA_AnyTensor:$init);
  let results = (outs TPA_AnyTensor:$result);
  let assemblyFormat = [{
    `ins` `(` $input `,` $table `:` type($input) `,` type($table) `)` (`page_starts` `(` $page_starts^ `:` type($page_starts) `)`)?
    `token_start` `(` $token_start `:` type($token_start) `)` `lengths` `(` $lengths `:` type($lengths) `)` `outs` `(` $init `:` type($init) `)` attr-dict
  }];
}

#endif // TPAC_DIALECT_TPAOPS_TD
