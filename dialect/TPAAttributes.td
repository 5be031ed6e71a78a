// SPDX-License-Identifier: Apache-2.0
//
// Attributes of the tpa dialect: the parts of a variant. Their fields and defaults are those of the variant JSON
// (docs/variant.md); rules that need no more than one attribute are checked by its verifier.

#ifndef TPAC_DIALECT_TPAATTRIBUTES_TD
#define TPAC_DIALECT_TPAATTRIBUTES_TD

include "mlir/IR/AttrTypeBase.td"
include "dialect/TPADialect.td"
include "dialect/TPAEnums.td"

class TPA_Attr<string name, string attrMnemonic> : AttrDef<TPA_Dialect, name> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

/// A float64, printed without its type.
class TPA_F64Parameter<string desc> : AttrParameter<"::mlir::FloatAttr", desc> {
  let parser = "::mlir::tpa::detail::parseF64($_parser)";
  let printer = "::mlir::tpa::detail::printF64($_printer, $_self)";
}
class TPA_OptionalF64Parameter<string desc> : OptionalParameter<"::mlir::FloatAttr", desc> {
  let parser = "::mlir::tpa::detail::parseF64($_parser)";
  let printer = "::mlir::tpa::detail::printF64($_printer, $_self)";
}

def TPA_HeadsAttr : TPA_Attr<"Heads", "heads"> {
  let summary = "the heads of a layer, and those computed here";
  let description = [{
    `total` heads of which `begin` to `end` (half open) are computed: an engine that spreads heads over devices compiles one range
    per device. Head factors are sliced to the range, token factors are replicated, fixed maps count global heads.

    Example: `#tpa.heads<47>`, `#tpa.heads<48, 12 to 24>`.
  }];
  let parameters = (ins
    AttrParameter<"int64_t", "all heads of the layer">:$total,
    AttrParameter<"int64_t", "first head computed">:$begin,
    AttrParameter<"int64_t", "one past the last head computed">:$end);
  let hasCustomAssemblyFormat = 1;
  let builders = [AttrBuilder<(ins "int64_t":$total), [{ return $_get($_ctxt, total, 0, total); }]>];
  let extraClassDeclaration = [{
    /// Heads computed here.
    int64_t getLocal() const { return getEnd() - getBegin(); }
    bool isWhole() const { return getLocal() == getTotal(); }
  }];
}

def TPA_RopeAttr : TPA_Attr<"Rope", "rope"> {
  let summary = "rotary position embedding";
  let description = [{
    Rotates the pair (x1, x2) number j of `d_rot` features from `offset` on by the angle position * theta_j, theta_j =
    base^(-2j/d_rot) or `inv_freq[j]`; cos and sin are multiplied by `amplitude`. `direction` 1: (x1 cos - x2 sin, x1 sin + x2 cos); -1: (x1 cos + x2
    sin, x2 cos - x1 sin), the row form q T_t of equation 3.5 of the paper and what its training code uses.

    Example: `#tpa.rope<d_rot = 64, base = 1.000000e+04>`.
  }];
  let parameters = (ins
    DefaultValuedParameter<"::mlir::tpa::RopeLayout", "::mlir::tpa::RopeLayout::half", "pairing of features">:$layout,
    DefaultValuedParameter<"int64_t", "-1", "1 or -1">:$direction,
    AttrParameter<"int64_t", "features rotated">:$d_rot,
    DefaultValuedParameter<"int64_t", "0", "first feature rotated">:$offset,
    TPA_OptionalF64Parameter<"base of the frequencies; absent where inv_freq is given">:$base,
    OptionalParameter<"::mlir::DenseF64ArrayAttr", "d_rot/2 frequencies in radians per position">:$inv_freq,
    TPA_OptionalF64Parameter<"factor on cos and sin; absent: 1">:$amplitude);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// The d_rot/2 frequencies theta_j, in radians per position.
    ::llvm::SmallVector<double> getFrequencies() const;
    double getAmplitudeValue() const { return getAmplitude() ? getAmplitude().getValueAsDouble() : 1.0; }
  }];
}

def TPA_HeadFactorAttr : TPA_Attr<"HeadFactor", "head_factor"> {
  let summary = "a head factor A[r, h]";
  let description = [{
    Where a head factor comes from and the function applied to it before use. A fixed one is a map from heads to ranks: it is
    (1/s_R) times that map, with s_R the rank factor in force, so that K[h] is exactly B[map(h)].

    Example: `#tpa.head_factor<source = contextual, function = sigmoid>`, `#tpa.head_factor<source = fixed, map = groups>`.
  }];
  let parameters = (ins
    EnumParameter<TPA_Source>:$source,
    OptionalParameter<"std::optional<::mlir::tpa::HeadMap>", "the map of a fixed factor">:$map,
    DefaultValuedParameter<"::mlir::tpa::HeadFunction", "::mlir::tpa::HeadFunction::identity", "applied before use">:$function);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    bool isContextual() const { return getSource() == Source::contextual; }
    bool isLearned() const { return getSource() == Source::learned; }
    bool isFixed() const { return getSource() == Source::fixed; }
  }];
}

def TPA_TokenFactorAttr : TPA_Attr<"TokenFactor", "token_factor"> {
  let summary = "one small factor of a token factor";
  let description = [{
    `size` features per rank. At order 2 there is one and its features are those of Q, K or V.

    Example: `#tpa.token_factor<source = contextual, size = 64>`.
  }];
  let parameters = (ins
    EnumParameter<TPA_Source>:$source,
    AttrParameter<"int64_t", "features">:$size);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    bool isContextual() const { return getSource() == Source::contextual; }
    bool isLearned() const { return getSource() == Source::learned; }
    bool isShared() const { return getSource() == Source::shared; }
  }];
}

def TPA_FactorizationAttr : TPA_Attr<"Factorization", "factorization"> {
  let summary = "how Q, K or V is factored";
  let description = [{
    X[h, :] = s_R sum_r A[r, h] vec(b1_r (x) b2_r (x) ...), s_R = 1/rank where `normalized` (equation 3.1) and 1 otherwise; `vec` puts the first small
    factor's feature fastest: B[r, i + d1*(j + d2*k)] = b[r,i] c[r,j] e[r,k].

    Example: `#tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>`.
  }];
  let parameters = (ins
    AttrParameter<"int64_t", "terms of the sum">:$rank,
    DefaultValuedParameter<"bool", "true", "the factor 1/rank is part of the definition">:$normalized,
    AttrParameter<"::mlir::tpa::HeadFactorAttr", "head factor">:$head,
    ArrayRefParameter<"::mlir::tpa::TokenFactorAttr", "small factors, fastest feature first">:$token);
  let assemblyFormat = "`<` struct($rank, $normalized, $head, custom<TokenFactors>($token)) `>`";
  let builders = [
    AttrBuilder<(ins "int64_t":$rank, "int64_t":$features), [{
      return $_get($_ctxt, rank, true, HeadFactorAttr::get($_ctxt, Source::fixed, HeadMap::one_hot, HeadFunction::identity),
                   TokenFactorAttr::get($_ctxt, Source::contextual, features));
    }]>];
  let extraClassDeclaration = [{
    /// The order of the tensor product: 2 with one small factor.
    int64_t getOrder() const { return 1 + static_cast<int64_t>(getToken().size()); }
    /// Features of Q, K or V: the product of the small factors' sizes.
    int64_t getFeatures() const;
    /// One tensor [.., heads, features] stands for the factors: fixed `one_hot` and one contextual small factor.
    bool isDense() const;
    bool isShared() const { return getToken().front().isShared(); }
    bool hasMap(HeadMap map) const { return getHead().getMap() == map; }
    /// s_R: 1/rank where normalized, 1 where not or where the head factor is fixed.
    double getRankFactor() const;
    /// Ranks stored for a range of heads: a `one_hot` factor is sliced with its heads.
    int64_t getLocalRank(HeadsAttr heads) const;
    /// The rank, among the local ones, that local head `head` uses; the head factor must be fixed.
    int64_t getRankOfHead(HeadsAttr heads, int64_t head) const;
  }];
}

def TPA_TypesAttr : TPA_Attr<"Types", "types"> {
  let summary = "element types of a variant's tensors";
  let description = [{
    `activation`: projected factors given to append and attention, and learned factors. `head`, `token`: cached head and token factors. `output`: O.
    `compute`: arithmetic, softmax state, LSE and scales.

    Example: `#tpa.types<activation = bf16, head = bf16, token = f8E4M3FN, output = bf16, compute = f32>`.
  }];
  let parameters = (ins
    AttrParameter<"::mlir::Type", "projected and learned factors">:$activation,
    AttrParameter<"::mlir::Type", "cached head factors">:$head,
    AttrParameter<"::mlir::Type", "cached token factors">:$token,
    AttrParameter<"::mlir::Type", "attention's output">:$output,
    AttrParameter<"::mlir::Type", "arithmetic, LSE and scales">:$compute);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// Cached token factors carry one scale per (token, rank).
    bool isQuantized() const;
  }];
}

def TPA_VariantAttr : TPA_Attr<"Variant", "variant"> {
  let summary = "a member of the tensor product attention family";
  let description = [{
    All that says what is computed; docs/variant.md explains each field. Two fields have no default in JSON's sense: `scale` absent
    is s_Q s_K / sqrt(D), `rope` absent is no RoPE.

    ```mlir
    #t6 = #tpa.variant<name = "t6", heads = <47>,
      q = <rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
      k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
      v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
      rope = <d_rot = 64, base = 1.000000e+04>,
      types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
    ```
  }];
  let parameters = (ins
    AttrParameter<"::mlir::StringAttr", "name of the pack">:$name,
    AttrParameter<"::mlir::tpa::HeadsAttr", "heads">:$heads,
    AttrParameter<"::mlir::tpa::FactorizationAttr", "queries">:$q,
    AttrParameter<"::mlir::tpa::FactorizationAttr", "keys">:$k,
    AttrParameter<"::mlir::tpa::FactorizationAttr", "values">:$v,
    OptionalParameter<"::mlir::tpa::RopeAttr", "rotary position embedding">:$rope,
    OptionalParameter<"std::optional<::mlir::tpa::ValueSees>", "what V sees of a shared, rotated factor">:$v_sees,
    TPA_OptionalF64Parameter<"factor on the raw double sum over ranks">:$scale,
    TPA_OptionalF64Parameter<"c of c tanh(L/c)">:$softcap,
    DefaultValuedParameter<"bool", "true", "queries stand at the end of the cache and see no later token">:$causal,
    OptionalParameter<"std::optional<int64_t>", "of the tokens seen, only the last so many">:$window,
    DefaultValuedParameter<"::mlir::tpa::QueryPrecision", "::mlir::tpa::QueryPrecision::full", "rounding of the merged query">:$query_precision,
    DefaultValuedParameter<"::mlir::tpa::WeightRows", "::mlir::tpa::WeightRows::head_major", "rows of W_A">:$head_factor_rows,
    AttrParameter<"::mlir::tpa::TypesAttr", "element types">:$types);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// D, features of queries and keys.
    int64_t getKeyFeatures() const { return getK().getFeatures(); }
    /// E, features of values and of the output.
    int64_t getValueFeatures() const { return getV().getFeatures(); }
    /// The factor on the raw double sum over ranks: `scale`, or s_Q s_K / sqrt(D).
    double getScaleValue() const;
    /// Consecutive features that one RoPE covers (Theorem C.1); longer token factors repeat it.
    int64_t getRopeBlock() const;
    /// K's token factor is cached or learned unrotated, and rotated when read: positions are cached beside it.
    bool rotatesKeysOnRead() const;
  }];
}

#endif // TPAC_DIALECT_TPAATTRIBUTES_TD
