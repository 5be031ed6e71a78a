// SPDX-License-Identifier: Apache-2.0
//
// Enumerations of the tpa dialect. The spellings are those of the variant JSON.

#ifndef TPAC_DIALECT_TPAENUMS_TD
#define TPAC_DIALECT_TPAENUMS_TD

include "mlir/IR/EnumAttr.td"
include "dialect/TPADialect.td"

class TPA_Enum<string name, string summary, list<I32EnumCase> cases> : I32Enum<name, summary, cases> {
  let cppNamespace = "::mlir::tpa";
}

def TPA_Source : TPA_Enum<"Source", "where the values of a factor come from", [
    I32EnumCase<"contextual", 0>,
    I32EnumCase<"learned", 1>,
    I32EnumCase<"fixed", 2>,
    I32EnumCase<"shared", 3>]> {
  let description = [{
    - `contextual`: one value per token, a linear map of the hidden state.
    - `learned`: one value for the whole layer; not cached.
    - `fixed`: known when compiling; costs no memory and no multiply.
    - `shared`: V's token factor is K's, or its first features; stored once.
  }];
}

def TPA_HeadMap : TPA_Enum<"HeadMap", "fixed head factors: which rank a head uses", [
    I32EnumCase<"one_hot", 0>,
    I32EnumCase<"groups", 1>,
    I32EnumCase<"ones", 2>]> {
  let description = [{
    - `one_hot`: as many ranks as heads, head h uses rank h (a dense Q; K and V of MHA).
    - `groups`: G ranks, head h uses rank floor(h * G / H) (GQA).
    - `ones`: one rank, used by every head (MQA, MLA).
  }];
}

def TPA_HeadFunction : TPA_Enum<"HeadFunction", "function applied to a head factor before use", [
    I32EnumCase<"identity", 0>,
    I32EnumCase<"sigmoid", 1>,
    I32EnumCase<"softmax", 2>]> {
  let description = [{
    - `identity`: none.
    - `sigmoid`: 1 / (1 + exp(-a)), element by element.
    - `softmax`: over all heads of one token and rank.
  }];
}

def TPA_RopeLayout : TPA_Enum<"RopeLayout", "which features RoPE rotates together", [
    I32EnumCase<"half", 0>,
    I32EnumCase<"interleaved", 1>]> {
  let description = [{
    - `half`: pairs (j, j + d_rot/2).
    - `interleaved`: pairs (2j, 2j + 1).
  }];
}

def TPA_ValueSees : TPA_Enum<"ValueSees", "what V reads of a shared token factor that RoPE rotates", [
    I32EnumCase<"rotated", 0>,
    I32EnumCase<"unrotated", 1>]> {
  let description = [{
    - `rotated`: the factor is stored once, rotated.
    - `unrotated`: the factor is stored unrotated with its position; K is rotated when read.
  }];
}

def TPA_QueryPrecision : TPA_Enum<"QueryPrecision", "how precisely the merged query is kept", [
    I32EnumCase<"full", 0>,
    I32EnumCase<"storage", 1>]> {
  let description = [{
    - `full`: to the precision of the arithmetic.
    - `storage`: rounded once to the activation type, as a model computing in that type does.
  }];
}

def TPA_WeightRows : TPA_Enum<"WeightRows", "order of a projection's output rows", [
    I32EnumCase<"rank_major", 0>,
    I32EnumCase<"head_major", 1>]> {
  let description = [{
    For a result `[..., R, S]`:
    - `rank_major`: row r*S + s of the weight makes element (r, s).
    - `head_major`: row s*R + r does (head factors of the published T6 checkpoints, with s the head).
  }];
}

// The two that ops carry as attributes.
def TPA_HeadFunctionAttr : EnumAttr<TPA_Dialect, TPA_HeadFunction, "head_function">;
def TPA_WeightRowsAttr : EnumAttr<TPA_Dialect, TPA_WeightRows, "weight_rows">;

#endif // TPAC_DIALECT_TPAENUMS_TD
