// RUN: tpa-opt %s -tpa-rope-through-contract -tpa-fold-fixed-heads -tpa-form-attention | FileCheck %s
//
// The rewrites together: a graph that contracts Q, K and V, rotates Q and K, and attends over dense tensors becomes an attention
// on factors with the keys' rows rotated alone. K is grouped by a constant; the model gives its own scale.

// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "naive", heads = <4>, q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, scale = 1.250000e-01, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
#dense = #tpa.variant<name = "naive", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  scale = 0.5,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// CHECK-LABEL: func.func @naive(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x4x4xf32>, %[[BQ:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xf32>, %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>, %[[PK:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK-NOT: tpa.contract
// CHECK-DAG: %[[RQ:.+]] = tpa.rope <d_rot = 8, base = 1.000000e+04> block 8 ins(%[[BQ]], %[[P]] :
// CHECK-DAG: %[[RK:.+]] = tpa.rope <d_rot = 8, base = 1.000000e+04> block 8 ins(%[[BK]], %[[PK]] :
// CHECK-NOT: tpa.contract
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[RQ]] : tensor<?x4x4xf32>, tensor<?x4x8xf32>)
// CHECK-SAME: k(%[[RK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>)
func.func @naive(%aq: tensor<?x4x4xf32>, %bq: tensor<?x4x8xf32>, %bk: tensor<?x?x2x8xf32>,
                 %av: tensor<?x?x2x4xf32>, %bv: tensor<?x?x2x8xf32>, %p: tensor<?xi32>, %pk: tensor<?x?xi32>,
                 %s: tensor<?xi32>, %l: tensor<?xi32>, %x: tensor<?x4x8xf32>, %y: tensor<?x?x4x8xf32>,
                 %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %q = tpa.contract <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%aq : tensor<?x4x4xf32>) token(%bq : tensor<?x4x8xf32>) outs(%x : tensor<?x4x8xf32>)
  %k = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%ak : tensor<2x4xf32>) token(%bk : tensor<?x?x2x8xf32>) outs(%y : tensor<?x?x4x8xf32>)
  %v = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%av : tensor<?x?x2x4xf32>) token(%bv : tensor<?x?x2x8xf32>) outs(%y : tensor<?x?x4x8xf32>)
  %rq = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%q, %p : tensor<?x4x8xf32>, tensor<?xi32>)
    outs(%x : tensor<?x4x8xf32>)
  %rk = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%k, %pk : tensor<?x?x4x8xf32>, tensor<?x?xi32>)
    outs(%y : tensor<?x?x4x8xf32>)
  %r:2 = tpa.attention #dense q(%rq : tensor<?x4x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%rk : tensor<?x?x4x8xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}
