// RUN: tpa-opt %s -tpa-form-attention -split-input-file | FileCheck %s
//
// Dense attention on contracted factors becomes attention on the factors.

// The naive graph: Q, K and V are contracted, then attended. The default scale follows the rank factors.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @naive(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @naive(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %iq: tensor<?x4x8xbf16>,
                 %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                 %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x4x8xbf16>,
                 %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x3x4xbf16>) token(%bq : tensor<?x3x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// A scale given applied to Q and K with their factors 1/4 and 1/2: 1 / 8 of it applies to the raw sum. That of V stays in the definition. The other fields stay.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, scale = 1.250000e-01, softcap = 3.000000e+01, causal = false, window = 64, head_factor_rows = rank_major, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @scale(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x4x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x4x4xbf16>, tensor<?x4x8xbf16>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  scale = 1.000000e+00, softcap = 3.000000e+01, causal = false, window = 64, head_factor_rows = rank_major,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @scale(%aq: tensor<?x4x4xbf16>, %bq: tensor<?x4x8xbf16>, %iq: tensor<?x4x8xbf16>,
                 %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                 %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x4x8xbf16>,
                 %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x4x4xbf16>) token(%bq : tensor<?x4x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// Factors that are not normalized, and fixed ones, have no rank factor to take along.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 4, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, scale = 1.000000e+00, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @scale_without_rank_factors(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x4x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x4x4xbf16>, tensor<?x4x8xbf16>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  scale = 1.000000e+00,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @scale_without_rank_factors(%aq: tensor<?x4x4xbf16>, %bq: tensor<?x4x8xbf16>, %iq: tensor<?x4x8xbf16>,
                                      %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                                      %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>,
                                      %iv: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                                      %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 4, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 8>]>
    heads <4> head(%aq : tensor<?x4x4xbf16>) token(%bq : tensor<?x4x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <4> token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// Q stays dense, as in the models that factor K and V only.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, scale = 5.000000e-01, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @dense_queries(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[Q]] : tensor<?x4x8xbf16>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  scale = 1.000000e+00,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @dense_queries(%q: tensor<?x4x8xbf16>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                         %ik: tensor<?x?x4x8xbf16>, %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>,
                         %iv: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>,
                         %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @only_values(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[Q]] : tensor<?x4x8xbf16>)
// CHECK-SAME: k(%[[K]] : tensor<?x?x4x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @only_values(%q: tensor<?x4x8xbf16>, %k: tensor<?x?x4x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                       %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                       %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// Orders 3 and 4, E other than D.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>, v = <rank = 5, head = <source = contextual>, token = [<source = contextual, size = 3>, <source = contextual, size = 2>, <source = contextual, size = 2>]>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @orders(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[B0K:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[B1K:[a-z0-9]+]]: tensor<?x?x2x2xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x5x4xbf16>
// CHECK-SAME: %[[B0V:[a-z0-9]+]]: tensor<?x?x5x3xbf16>
// CHECK-SAME: %[[B1V:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK-SAME: %[[B2V:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x12xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x12xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: k(%[[AK]], %[[B0K]], %[[B1K]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x2xbf16>)
// CHECK-SAME: v(%[[AV]], %[[B0V]], %[[B1V]], %[[B2V]] : tensor<?x?x5x4xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 12>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @orders(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %iq: tensor<?x4x8xbf16>,
                  %ak: tensor<?x?x2x4xbf16>, %b0k: tensor<?x?x2x4xbf16>, %b1k: tensor<?x?x2x2xbf16>,
                  %ik: tensor<?x?x4x8xbf16>, %av: tensor<?x?x5x4xbf16>, %b0v: tensor<?x?x5x3xbf16>,
                  %b1v: tensor<?x?x5x2xbf16>, %b2v: tensor<?x?x5x2xbf16>, %iv: tensor<?x?x4x12xbf16>,
                  %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x12xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x12xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x3x4xbf16>) token(%bq : tensor<?x3x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
    heads <4> head(%ak : tensor<?x?x2x4xbf16>) token(%b0k, %b1k : tensor<?x?x2x4xbf16>, tensor<?x?x2x2xbf16>)
    outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 5, head = <source = contextual>, token = [<source = contextual, size = 3>, <source = contextual, size = 2>, <source = contextual, size = 2>]>
    heads <4> head(%av : tensor<?x?x5x4xbf16>)
    token(%b0v, %b1v, %b2v : tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
    outs(%iv : tensor<?x?x4x12xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x12xbf16>) outs(%out, %lse : tensor<?x4x12xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x12xbf16>, tensor<?x4xf32>
}

// -----

// Learned factors stay learned.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = learned, size = 8>]>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @learned(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @learned(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %iq: tensor<?x4x8xbf16>,
                   %ak: tensor<2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                   %av: tensor<?x?x2x4xbf16>, %bv: tensor<2x8xbf16>, %iv: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>,
                   %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x3x4xbf16>) token(%bq : tensor<?x3x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = learned, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// Two heads of six: dense tensors have the two, contractions the same range.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <6, 2 to 4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 3, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-LABEL: func.func @head_range(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x2xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x3x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x2xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x2xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x3x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x2xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <6, 2 to 4>,
  q = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @head_range(%aq: tensor<?x3x2xbf16>, %bq: tensor<?x3x8xbf16>, %iq: tensor<?x2x8xbf16>,
                      %bk: tensor<?x?x3x8xbf16>, %ik: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x2xbf16>,
                      %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x2x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                      %out: tensor<?x2x8xbf16>, %lse: tensor<?x2xf32>)
    -> (tensor<?x2x8xbf16>, tensor<?x2xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>
    heads <6, 2 to 4> head(%aq : tensor<?x3x2xbf16>) token(%bq : tensor<?x3x8xbf16>) outs(%iq : tensor<?x2x8xbf16>)
  %k = tpa.contract <rank = 3, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <6, 2 to 4> token(%bk : tensor<?x?x3x8xbf16>) outs(%ik : tensor<?x?x2x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
    heads <6, 2 to 4> head(%av : tensor<?x?x2x2xbf16>) token(%bv : tensor<?x?x2x8xbf16>)
    outs(%iv : tensor<?x?x2x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x2x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x2x8xbf16>) v(%v : tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x2x8xbf16>, tensor<?x2xf32>)
  return %r#0, %r#1 : tensor<?x2x8xbf16>, tensor<?x2xf32>
}

// -----

// The formed attention has the element types of the factors, not of the dense tensors.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, types = <activation = f16, head = bf16, token = bf16, output = f32, compute = f32>>
// CHECK-LABEL: func.func @factor_types(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf16>
// CHECK-SAME: %[[IQ:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IK:[a-z0-9]+]]: tensor<?x?x4x8xf32>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[IV:[a-z0-9]+]]: tensor<?x?x4x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[LSE_OUT:[a-z0-9_]+]] = tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf16>, tensor<?x3x8xf16>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[O]], %[[LSE_OUT]]
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @factor_types(%aq: tensor<?x3x4xf16>, %bq: tensor<?x3x8xf16>, %iq: tensor<?x4x8xf32>,
                        %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xf32>,
                        %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x4x8xf32>,
                        %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x3x4xf16>) token(%bq : tensor<?x3x8xf16>) outs(%iq : tensor<?x4x8xf32>)
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xf32>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Cached token factors of K and V have one element type; these have two, and neither is that of the dense tensors.
// CHECK-LABEL: func.func @types_differ(
// CHECK: tpa.contract
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @types_differ(%q: tensor<?x4x8xf32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                        %ik: tensor<?x?x4x8xf32>, %av: tensor<?x?x2x4xf16>, %bv: tensor<?x?x2x8xf16>,
                        %iv: tensor<?x?x4x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xf32>,
                        %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xf32>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xf16>) token(%bv : tensor<?x?x2x8xf16>) outs(%iv : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// V stays dense in f32, so K's token factors cannot be bf16.
// CHECK-LABEL: func.func @types_differ_dense(
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @types_differ_dense(%q: tensor<?x4x8xf32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                              %ik: tensor<?x?x4x8xf32>, %v: tensor<?x?x4x8xf32>, %s: tensor<?xi32>,
                              %l: tensor<?xi32>, %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Factors in f64 need arithmetic in f64.
// CHECK-LABEL: func.func @types_not_legal(
// CHECK: tpa.contract
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @types_not_legal(%q: tensor<?x4x8xf32>, %ak: tensor<?x?x2x4xf64>, %bk: tensor<?x?x2x8xf64>,
                           %ik: tensor<?x?x4x8xf32>, %av: tensor<?x?x2x4xf64>, %bv: tensor<?x?x2x8xf64>,
                           %iv: tensor<?x?x4x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xf32>,
                           %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xf64>) token(%bk : tensor<?x?x2x8xf64>) outs(%ik : tensor<?x?x4x8xf32>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xf64>) token(%bv : tensor<?x?x2x8xf64>) outs(%iv : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Rows whose scales are given to the contraction.
// CHECK-LABEL: func.func @scaled(
// CHECK: tpa.contract
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @scaled(%q: tensor<?x4x8xf32>, %bk: tensor<?x?x2x8xi8>, %sk: tensor<?x?x2xf32>, %ik: tensor<?x?x4x8xf32>,
                  %bv: tensor<?x?x2x8xi8>, %sv: tensor<?x?x2xf32>, %iv: tensor<?x?x4x8xf32>, %s: tensor<?xi32>,
                  %l: tensor<?xi32>, %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <4> token(%bk : tensor<?x?x2x8xi8>) scale(%sk : tensor<?x?x2xf32>) outs(%ik : tensor<?x?x4x8xf32>)
  %v = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <4> token(%bv : tensor<?x?x2x8xi8>) scale(%sv : tensor<?x?x2xf32>) outs(%iv : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Heads 0 to 4 of 8 share one row; of the attention's 4 heads the map would make two groups.
// CHECK-LABEL: func.func @other_heads(
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @other_heads(%q: tensor<?x4x8xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                       %v: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>,
                       %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <8, 0 to 4> token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// RoPE of the attention itself stays where it is.
// CHECK-LABEL: func.func @rope(
// CHECK: tpa.contract
// CHECK: tpa.contract
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 1.000000e+04>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @rope(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %iq: tensor<?x4x8xbf16>,
                %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %ik: tensor<?x?x4x8xbf16>,
                %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %iv: tensor<?x?x4x8xbf16>, %p: tensor<?xi32>,
                %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %q = tpa.contract <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x3x4xbf16>) token(%bq : tensor<?x3x8xbf16>) outs(%iq : tensor<?x4x8xbf16>)
  %k = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x2x4xbf16>) token(%bk : tensor<?x?x2x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xbf16>) token(%bv : tensor<?x?x2x8xbf16>) outs(%iv : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%k : tensor<?x?x4x8xbf16>) v(%v : tensor<?x?x4x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// V shares K's dense rows: they are K[h], which after the rewrite would be B_K.
// CHECK-LABEL: func.func @shared(
// CHECK: tpa.contract
// CHECK: tpa.attention
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = shared, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @shared(%q: tensor<?x4x8xbf16>, %ak: tensor<?x?x4x4xbf16>, %bk: tensor<?x?x4x8xbf16>,
                  %ik: tensor<?x?x4x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xbf16>,
                  %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %k = tpa.contract <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<?x?x4x4xbf16>) token(%bk : tensor<?x?x4x8xbf16>) outs(%ik : tensor<?x?x4x8xbf16>)
  %r:2 = tpa.attention #v q(%q : tensor<?x4x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%k : tensor<?x?x4x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}
