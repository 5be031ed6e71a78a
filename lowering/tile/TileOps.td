// SPDX-License-Identifier: Apache-2.0
//
// Operations of the tile dialect.

#ifndef TPAC_LOWERING_TILE_TILEOPS_TD
#define TPAC_LOWERING_TILE_TILEOPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "dialect/TPAAttributes.td"
include "lowering/tile/TileDialect.td"

class Tile_Op<string opMnemonic, list<Trait> traits = []> : Op<Tile_Dialect, opMnemonic, traits> {
  let hasVerifier = 1;
}

// --- Memory ---

class Tile_MemoryOp<string opMnemonic, list<Trait> traits = []> : Tile_Op<opMnemonic, [AttrSizedOperandSegments] # traits> {
  code axisHelpers = [{
    /// Dimension of the memory that axis `name` runs along: the first one, which counts its blocks, where it has two.
    int64_t getDimOfAxis(::llvm::StringRef name);
    /// Elements per block where axis `name` runs along two dimensions of the memory; else 0.
    int64_t getBlockOfAxis(::llvm::StringRef name);
    /// Elements per page, along the axis of the memory's second dimension; 0 where there are no pages.
    int64_t getPageSize();
    /// The axis that runs through pages; only where there are some.
    ::mlir::StringAttr getPagedAxis();
    /// Whether pages are found once: the whole tile lies in one.
    bool isWithinPage();
  }];
}

def Tile_LoadOp : Tile_MemoryOp<"load"> {
  let summary = "a block of a tensor";
  let description = [{
    `result[a, b, ..] = memory[indices + offsets of the axes]`. `axes` names for each dimension of the memory the axis that runs along it, or "" for a
    dimension where only the index counts. `limits` are, for the axes in `limited`, how many elements of the axis exist: the rest of the tile is 0 and
    its memory is not read.

    An axis that is named twice is stored in blocks: its first dimension counts the blocks, its second, of static size S and with index 0, is the place within
    a block. The index of the first is still an element, any one: element i of the axis is at (x floordiv S, x mod S), x = index + i.

    With `pages`, the memory is a pool of pages: its first dimension counts them, the axis along its second dimension has P elements in each. The first index
    is then a row r of the table of page numbers (`tile.table_row`), the second an element x of that row: it is at place x mod P of page table[r, x floordiv P]. `runs` says how many
    elements in a row are known to lie in one page: the second index is a multiple of it. The table is read only for elements within the limits.

    Example:
    ```mlir
    %bk = tile.load %k_token_cache[%b, %m, %c0, %c0] axes ["", "m", "", "d"] limits ["m"] (%count)
      : memref<?x?x2x64xbf16> -> !tile.tile<m 128, d 64, bf16>
    %bv = tile.load %v_token_cache[%b, %m, %c0, %c0, %c0] axes ["", "m", "", "e", "m"]
      : memref<?x?x2x64x32xbf16> -> !tile.tile<m 128, e 64, bf16>
    %bp = tile.load %k_token_cache[%b, %m, %c0, %c0] axes ["", "m", "", "d"] pages %block_table runs 16
      : memref<?x16x2x64xbf16>, memref<?x?xi32> -> !tile.tile<m 32, d 64, bf16>
    ```
  }];
  let arguments = (ins Arg<AnyMemRef, "", [MemRead]>:$memory, Variadic<Index>:$indices, StrArrayAttr:$axes,
                       DefaultValuedAttr<StrArrayAttr, "{}">:$limited, Variadic<Index>:$limits,
                       Optional<MemRefRankOf<[I32], [2]>>:$table, OptionalAttr<I64Attr>:$run);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = [{
    $memory `[` $indices `]` `axes` $axes (`limits` $limited^ `(` $limits `)`)? (`pages` $table^ `runs` $run)? attr-dict
    `:` type($memory) (`,` type($table)^)? `->` type($result)
  }];
  let extraClassDeclaration = axisHelpers;
}

def Tile_StoreOp : Tile_MemoryOp<"store"> {
  let summary = "a tile into a block of a tensor";
  let description = [{
    The inverse of `tile.load`; elements beyond the limits are not written.

    Example: `tile.store %o, %out[%t, %h, %c0] axes ["n", "h", "e"] limits ["n"] (%count) : !tile.tile<n 4, h 47, e 64, f32> -> memref<?x47x64xf32>`
  }];
  let arguments = (ins Tile_TileType:$value, Arg<AnyMemRef, "", [MemWrite]>:$memory, Variadic<Index>:$indices,
                       StrArrayAttr:$axes, DefaultValuedAttr<StrArrayAttr, "{}">:$limited, Variadic<Index>:$limits,
                       Optional<MemRefRankOf<[I32], [2]>>:$table, OptionalAttr<I64Attr>:$run);
  let assemblyFormat = [{
    $value `,` $memory `[` $indices `]` `axes` $axes (`limits` $limited^ `(` $limits `)`)? (`pages` $table^ `runs` $run)? attr-dict
    `:` type($value) `->` type($memory) (`,` type($table)^)?
  }];
  let extraClassDeclaration = axisHelpers;
}

def Tile_TableRowOp : Tile_Op<"table_row"> {
  let summary = "the row of a table of pages that is a request's";
  let description = [{
    `starts[request]`, or `request` where `starts` is empty. Rows of a table [requests, entries] are numbered by request. A list of all requests' pages is a
    table whose rows begin one element apart (strides 1, 1), and row `starts[request]` of it begins with the request's first page.

    Example: `%row = tile.table_row %page_starts[%request] : memref<?xi32>`
  }];
  let arguments = (ins Arg<MemRefRankOf<[I32], [1]>, "", [MemRead]>:$starts, Index:$request);
  let results = (outs Index:$row);
  let assemblyFormat = "$starts `[` $request `]` attr-dict `:` type($starts)";
  let hasVerifier = 0;
}

// --- Elements ---

def Tile_FillOp : Tile_Op<"fill", [Pure]> {
  let summary = "a tile of one value";
  let description = "Example: `%z = tile.fill 0.0 : !tile.tile<n 1, h 47, e 64, f32>`";
  let arguments = (ins F64Attr:$value);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
}

def Tile_ConvertOp : Tile_Op<"convert", [Pure]> {
  let summary = "the same elements in another type, or axes in another order";
  let description = [{
    Rounds to nearest even. Also how quantised values are read: their scale is elsewhere.

    Example: `%f = tile.convert %b : !tile.tile<m 128, d 64, bf16> -> !tile.tile<m 128, d 64, f32>`
  }];
  let arguments = (ins Tile_TileType:$input);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Tile_SplitOp : Tile_Op<"split", [Pure, AllTypesMatch<["high", "low"]>]> {
  let summary = "a tile as the sum of two narrower ones";
  let description = [{
    `high` is the input rounded to the narrow type, `low` the rounded rest: for a product in a narrow type at nearly the input's precision.

    Example: `%hi, %lo = tile.split %q : !tile.tile<h 47, d 64, f32> -> !tile.tile<h 47, d 64, bf16>`
  }];
  let arguments = (ins Tile_TileType:$input);
  let results = (outs Tile_TileType:$high, Tile_TileType:$low);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($high)";
}

def Tile_MulOp : Tile_Op<"mul", [Pure]> {
  let summary = "product, element by element, over the union of the axes";
  let description = [{
    A head factor on scores or probabilities, a correction on an accumulator. The result's axes are all axes of both operands.

    Example: `%w = tile.mul %p, %av : !tile.tile<n 1, h 47, m 128, f32>, !tile.tile<m 128, h 47, bf16> -> !tile.tile<n 1, h 47, m 128, f32>`
  }];
  let arguments = (ins Tile_TileType:$lhs, Tile_TileType:$rhs);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def Tile_AddOp : Tile_Op<"add", [Pure]> {
  let summary = "sum, element by element, of tiles with the same axes";
  let description = "Example: `%l = tile.add %l0, %l1 : <h 47, m 128, f32>, <h 47, m 128, f32> -> <h 47, m 128, f32>`";
  let arguments = (ins Tile_TileType:$lhs, Tile_TileType:$rhs);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def Tile_ConstantMulOp : Tile_Op<"constant_mul", [Pure]> {
  let summary = "a tile times a number known when compiling";
  let description = "Example: `%s = tile.constant_mul %q, 0.125 : <h 47, d 64, f32> -> <h 47, d 64, f32>`";
  let arguments = (ins Tile_TileType:$input, F64Attr:$factor);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$input `,` $factor attr-dict `:` type($input) `->` type($result)";
}

// --- Contraction ---

def Tile_DotOp : Tile_Op<"dot", [Pure]> {
  let summary = "contraction over the axes that the result lacks";
  let description = [{
    `result = accumulator + sum lhs * rhs` over the axes that both operands have and the result does not. Axes that both operands and the result have are
    batched. The sum is kept in the result's type.

    Example:
    ```mlir
    %s = tile.dot %q, %bk : !tile.tile<h 47, d 64, bf16>, !tile.tile<m 128, d 64, bf16> -> !tile.tile<h 47, m 128, f32>
    %o = tile.dot %w, %bv acc %o0 : !tile.tile<h 47, e 64, f32>, <h 47, m 128, bf16>, <m 128, e 64, bf16> -> <h 47, e 64, f32>
    ```
  }];
  let arguments = (ins Tile_TileType:$lhs, Tile_TileType:$rhs, Optional<Tile_TileType>:$accumulator);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`acc` $accumulator^ `:` type($accumulator) `,`):(`:`)? type($lhs) `,` type($rhs) `->` type($result) attr-dict
  }];
}

def Tile_OuterOp : Tile_Op<"outer", [Pure]> {
  let summary = "features from small factors (order 3 and above)";
  let description = [{
    The outer product of two small factors with their feature axes joined to one: `result[.., i + size(fast)*j] = lhs[.., i] * rhs[.., j]`, i running along `fast` of
    lhs, j along `slow` of rhs, joined as axis `joined` (vec of Theorem C.1).

    Example: `%b = tile.outer %b0, %b1 join "d0" "d1" as "d" : !tile.tile<m 128, d0 32, bf16>, !tile.tile<m 128, d1 2, bf16> -> !tile.tile<m 128, d 64, f32>`
  }];
  let arguments = (ins Tile_TileType:$lhs, Tile_TileType:$rhs, StrAttr:$fast, StrAttr:$slow, StrAttr:$joined);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$lhs `,` $rhs `join` $fast $slow `as` $joined attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def Tile_SliceOp : Tile_Op<"slice", [Pure]> {
  let summary = "some elements of an axis, under another name";
  let description = [{
    `result[.., i] = input[.., offset + i]` for i below the size of axis `to` of the result, where the input's axis is `from`: how V reads K's features, and a
    tile of heads those of all heads. Without an offset it is 0; offset and size must lie within the input.

    Example:
    ```mlir
    %v = tile.slice %k "d" as "e" : <m 64, d 576, bf16> -> <m 64, e 512, bf16>
    %a = tile.slice %all "h" as "h" at %head : <n 1, r 6, h 48, f32> -> <n 1, r 6, h 16, f32>
    ```
  }];
  let arguments = (ins Tile_TileType:$input, StrAttr:$from, StrAttr:$to, Optional<Index>:$offset);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$input $from `as` $to (`at` $offset^)? attr-dict `:` type($input) `->` type($result)";
}

// --- Attention ---

def Tile_RopeOp : Tile_Op<"rope", [Pure]> {
  let summary = "RoPE along a feature axis";
  let description = [{
    As `tpa.rope`, on axis `axis` in blocks of `block` features, by the `positions` of the tokens.

    Example: `%r = tile.rope <d_rot = 64, base = 1.000000e+04> block 64 axis "d" %b, %p : <n 1, r 6, d 64, bf16>, <n 1, i32> -> <n 1, r 6, d 64, f32>`
  }];
  let arguments = (ins TPA_RopeAttr:$rope, I64Attr:$block, StrAttr:$axis, Tile_TileType:$input, Tile_TileType:$positions);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$rope `block` $block `axis` $axis $input `,` $positions attr-dict `:` type($input) `,` type($positions) `->` type($result)";
}

def Tile_HeadFunctionOp : Tile_Op<"head_function", [Pure]> {
  let summary = "the function of a head factor";
  let description = [{
    As `tpa.head_function`; softmax runs over axis h, which then holds all heads.

    Example: `%a = tile.head_function sigmoid %x : <n 1, r 6, h 47, bf16> -> <n 1, r 6, h 47, f32>`
  }];
  let arguments = (ins TPA_HeadFunctionAttr:$function, Tile_TileType:$input);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$function $input attr-dict `:` type($input) `->` type($result)";
}

def Tile_SoftcapOp : Tile_Op<"softcap", [Pure]> {
  let summary = "c tanh(L / c)";
  let description = "Example: `%c = tile.softcap %l, 50.0 : <n 1, h 47, m 128, f32> -> <n 1, h 47, m 128, f32>`";
  let arguments = (ins Tile_TileType:$input, F64Attr:$cap);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = "$input `,` $cap attr-dict `:` type($input) `->` type($result)";
}

def Tile_MaskOp : Tile_Op<"mask", [Pure]> {
  let summary = "-infinity where a query may not see a token";
  let description = [{
    Element (n, m) stands for cached token `token` + m. With last = `limit` + n where `causal`, else `limit`, it keeps its value where max(last - window, 0) <=
    token + m < min(last, `end`), without a lower bound where there is no window, and is -infinity elsewhere.

    Example: `%k = tile.mask %l at %m, %limit, %end causal window 4096 : <n 4, h 47, m 128, f32> -> <n 4, h 47, m 128, f32>`
  }];
  let arguments = (ins Tile_TileType:$input, Index:$token, Index:$limit, Index:$end, UnitAttr:$causal,
                       OptionalAttr<I64Attr>:$window);
  let results = (outs Tile_TileType:$result);
  let assemblyFormat = [{
    $input `at` $token `,` $limit `,` $end (`causal` $causal^)? (`window` $window^)? attr-dict `:` type($input) `->` type($result)
  }];
}

def Tile_SoftmaxStepOp : Tile_Op<"softmax_step", [
    Pure, AllTypesMatch<["max", "sum", "new_max", "new_sum", "correction"]>]> {
  let summary = "one block of an online softmax, in base 2";
  let description = [{
    With new_max = max(max, max_m logits): `probabilities` = 2^(logits - new_max), `correction` = 2^(max - new_max), new_sum = sum * correction + sum_m probabilities.
    Where new_max is -infinity, probabilities are 0 and the correction 1. Logits carry the factor log2(e).

    Example:
    ```mlir
    %p, %max1, %sum1, %c = tile.softmax_step %l, %max, %sum
      : !tile.tile<n 1, h 47, m 128, f32>, !tile.tile<n 1, h 47, f32> -> !tile.tile<n 1, h 47, m 128, f32>
    ```
  }];
  let arguments = (ins Tile_TileType:$logits, Tile_TileType:$max, Tile_TileType:$sum);
  let results = (outs Tile_TileType:$probabilities, Tile_TileType:$new_max, Tile_TileType:$new_sum,
                      Tile_TileType:$correction);
  let assemblyFormat = [{
    $logits `,` $max `,` $sum attr-dict `:` type($logits) `,` type($max) `->` type($probabilities)
  }];
}

def Tile_FinishOp : Tile_Op<"finish", [
    Pure, AllTypesMatch<["accumulator", "out"]>, AllTypesMatch<["max", "sum", "lse"]>]> {
  let summary = "a softmax state to output and LSE";
  let description = [{
    `out` = accumulator / sum, `lse` = (max + log2(sum)) * ln 2; 0 and -infinity where sum is 0.

    Example: `%o, %lse = tile.finish %acc, %max, %sum : !tile.tile<n 1, h 47, e 64, f32>, !tile.tile<n 1, h 47, f32>`
  }];
  let arguments = (ins Tile_TileType:$accumulator, Tile_TileType:$max, Tile_TileType:$sum);
  let results = (outs Tile_TileType:$out, Tile_TileType:$lse);
  let assemblyFormat = "$accumulator `,` $max `,` $sum attr-dict `:` type($accumulator) `,` type($max)";
}

def Tile_MergeOp : Tile_Op<"merge", [
    Pure, AllTypesMatch<["out0", "out1", "out"]>, AllTypesMatch<["lse0", "lse1", "lse"]>]> {
  let summary = "two partial results as one";
  let description = [{
    As `tpa.merge` of two parts.

    Example: `%o, %l = tile.merge %o0, %l0, %o1, %l1 : !tile.tile<n 1, h 47, e 64, f32>, !tile.tile<n 1, h 47, f32>`
  }];
  let arguments = (ins Tile_TileType:$out0, Tile_TileType:$lse0, Tile_TileType:$out1, Tile_TileType:$lse1);
  let results = (outs Tile_TileType:$out, Tile_TileType:$lse);
  let assemblyFormat = "$out0 `,` $lse0 `,` $out1 `,` $lse1 attr-dict `:` type($out0) `,` type($lse0)";
}

def Tile_QuantizeOp : Tile_Op<"quantize", [Pure]> {
  let summary = "rows to fp8 or int8, with one scale each";
  let description = [{
    As `tpa.quantize`, rows running along `axis`.

    Example: `%q, %s = tile.quantize %b along "d" : !tile.tile<n 16, r 2, d 64, f32> -> !tile.tile<n 16, r 2, d 64, i8>, !tile.tile<n 16, r 2, f32>`
  }];
  let arguments = (ins Tile_TileType:$input, StrAttr:$axis);
  let results = (outs Tile_TileType:$values, Tile_TileType:$scale);
  let assemblyFormat = "$input `along` $axis attr-dict `:` type($input) `->` type($values) `,` type($scale)";
}

#endif // TPAC_LOWERING_TILE_TILEOPS_TD
