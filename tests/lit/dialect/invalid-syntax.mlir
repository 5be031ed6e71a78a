// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// Attributes whose text cannot be read: the hand-written syntax of heads and of lists of token factors, and what the
// formats of the others say of missing, repeated and misspelt fields.

// expected-error @below {{expected '<'}}
#a = #tpa.heads

// -----

// expected-error @below {{expected integer value}}
#a = #tpa.heads<all>

// -----

// expected-error @below {{expected '>'}}
#a = #tpa.heads<48 12 to 24>

// -----

// expected-error @below {{expected integer value}}
#a = #tpa.heads<48, to 24>

// -----

// expected-error @below {{expected 'to'}}
#a = #tpa.heads<48, 12, 24>

// -----

// expected-error @below {{expected integer value}}
#a = #tpa.heads<48, 12 to>

// -----

// expected-error @below {{expected '>'}}
#a = #tpa.heads<48, 12 to 24, 36>

// -----

// expected-error @below {{expected '['}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = <source = contextual, size = 64>>

// -----

// expected-error @below {{expected ']'}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64> <source = contextual, size = 2>]>

// -----

// expected-error @below {{expected '<'}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = [64]>

// -----

// expected-error @below {{expected '<'}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>,]>

// -----

// expected-error @below {{expected ','}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual>]>

// -----

// expected-error @below {{struct is missing required parameter: token}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>>

// -----

// expected-error @below {{duplicate or unknown struct parameter name: rank}}
#a = #tpa.factorization<rank = 2, rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>

// -----

// expected-error @below {{duplicate or unknown struct parameter name: heads}}
#a = #tpa.factorization<rank = 2, heads = <source = contextual>, token = [<source = contextual, size = 64>]>

// -----

// expected-error @below {{expected one of [contextual, learned, fixed, shared] for where the values of a factor come from, got: projected}}
// expected-error @below {{failed to parse TPA_HeadFactorAttr parameter 'source'}}
#a = #tpa.head_factor<source = projected>

// -----

// expected-error @below {{expected one of [one_hot, groups, ones] for fixed head factors: which rank a head uses, got: diagonal}}
// expected-error @below {{failed to parse TPA_HeadFactorAttr parameter 'map'}}
#a = #tpa.head_factor<source = fixed, map = diagonal>

// -----

// expected-error @below {{expected one of [identity, sigmoid, softmax] for function applied to a head factor before use, got: relu}}
// expected-error @below {{failed to parse TPA_HeadFactorAttr parameter 'function'}}
#a = #tpa.head_factor<source = contextual, function = relu>

// -----

// expected-error @below {{expected one of [half, interleaved] for which features RoPE rotates together, got: full}}
// expected-error @below {{failed to parse TPA_RopeAttr parameter 'layout'}}
#a = #tpa.rope<layout = full, d_rot = 64, base = 10000.0>

// -----

// expected-error @below {{struct is missing required parameter: d_rot}}
#a = #tpa.rope<base = 10000.0>

// -----

// expected-error @below {{expected floating point literal}}
// expected-error @below {{failed to parse TPA_RopeAttr parameter 'base'}}
#a = #tpa.rope<d_rot = 64, base = high>

// -----

// expected-error @below {{expected '['}}
// expected-error @below {{failed to parse TPA_RopeAttr parameter 'inv_freq'}}
#a = #tpa.rope<d_rot = 64, inv_freq = 1.0>

// -----

// expected-error @below {{expected ','}}
#a = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16>

// -----

// expected-error @below {{unknown attribute `factor` in dialect `tpa`}}
#a = #tpa.factor<rank = 2>

// -----

#factors = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{expected one of [rotated, unrotated] for what V reads of a shared token factor that RoPE rotates, got: both}}
// expected-error @below {{failed to parse TPA_VariantAttr parameter 'v_sees'}}
#a = #tpa.variant<name = "t", heads = <4>, q = #factors, k = #factors, v = #factors, v_sees = both, types = #types>

// -----

#factors = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{expected one of [full, storage] for how precisely the merged query is kept, got: low}}
// expected-error @below {{failed to parse TPA_VariantAttr parameter 'query_precision'}}
#a = #tpa.variant<name = "t", heads = <4>, q = #factors, k = #factors, v = #factors, query_precision = low, types = #types>

// -----

func.func @head_function(%a: tensor<2x4xf32>, %init: tensor<2x4xf32>) {
  // expected-error @below {{expected one of [identity, sigmoid, softmax]}}
  // expected-error @below {{failed to parse TPA_HeadFunctionAttr parameter 'value'}}
  %r = tpa.head_function relu ins(%a : tensor<2x4xf32>) outs(%init : tensor<2x4xf32>)
  return
}

// -----

func.func @project(%x: tensor<4xf32>, %w: tensor<8x4xf32>, %init: tensor<2x4xf32>) {
  // expected-error @below {{expected one of [rank_major, head_major]}}
  // expected-error @below {{failed to parse TPA_WeightRowsAttr parameter 'value'}}
  %r = tpa.project column_major ins(%x, %w : tensor<4xf32>, tensor<8x4xf32>) outs(%init : tensor<2x4xf32>)
  return
}
