// RUN: tpa-opt %s | tpa-opt | FileCheck %s
// RUN: tpa-opt %s -mlir-print-op-generic | tpa-opt | FileCheck %s
// RUN: tpa-opt %s --verify-roundtrip -o /dev/null
//
// tpa.append and tpa.attention of members of the family that have different sets of tensors.

// CHECK-DAG: [[ORDER2:#variant[0-9]*]] = #tpa.variant<name = "order2"
// CHECK-DAG: [[ORDER3:#variant[0-9]*]] = #tpa.variant<name = "order3"
// CHECK-DAG: [[MLA:#variant[0-9]*]] = #tpa.variant<name = "mla"
// CHECK-DAG: [[UNROTATED:#variant[0-9]*]] = #tpa.variant<name = "unrotated"
// CHECK-DAG: [[LEARNED:#variant[0-9]*]] = #tpa.variant<name = "learned"
// CHECK-DAG: [[STORED_SCALE:#variant[0-9]*]] = #tpa.variant<name = "stored_scale"
// CHECK-DAG: [[SHARED_SCALE:#variant[0-9]*]] = #tpa.variant<name = "shared_scale"
// CHECK-DAG: [[OWN_SCALE:#variant[0-9]*]] = #tpa.variant<name = "own_scale"
// CHECK-DAG: [[NOTHING_CACHED:#variant[0-9]*]] = #tpa.variant<name = "nothing_cached"

// Order 2, everything contextual.
#order2 = #tpa.variant<name = "order2", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @order2_append(
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK: %[[R:[a-z0-9_]+]]:4 = tpa.append [[ORDER2]]
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CAK]], %[[CBK]], %[[CAV]], %[[CBV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2, %[[R]]#3
func.func @order2_append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>,
                         %bv: tensor<?x2x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                         %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xbf16>, %cav: tensor<?x?x2x4xbf16>,
                         %cbv: tensor<?x?x2x8xbf16>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) {
  %r:4 = tpa.append #order2 k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>
}

// CHECK-LABEL: func.func @order2_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x2x8xbf16>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[ORDER2]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CAK]], %[[CBK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: v(%[[CAV]], %[[CBV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @order2_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                            %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xbf16>,
                            %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                            %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #order2 q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%cak, %cbk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// Orders 3 and 4, E other than D, a part of the heads, static sizes.
#order3 = #tpa.variant<name = "order3", heads = <4, 1 to 4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>,
  v = <rank = 5, head = <source = contextual>, token = [<source = contextual, size = 3>, <source = contextual, size = 2>, <source = contextual, size = 2>]>,
  rope = <d_rot = 4, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @order3_append(
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<5x2x3xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<5x2x4xbf16>
// CHECK-SAME: %[[CK:[a-z0-9]+]]: tensor<?x2x2xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x5x3xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x5x3xbf16>
// CHECK-SAME: %[[CV:[a-z0-9]+]]: tensor<?x5x2xbf16>
// CHECK-SAME: %[[EV:[a-z0-9]+]]: tensor<?x5x2xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<2x64x2x3xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x64x2x4xbf16>
// CHECK-SAME: %[[CCK:[a-z0-9]+]]: tensor<2x?x2x2xbf16>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x5x3xbf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x5x3xbf16>
// CHECK-SAME: %[[CCV:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK-SAME: %[[CEV:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK: %[[R:[a-z0-9_]+]]:7 = tpa.append [[ORDER3]]
// CHECK-SAME: k(%[[AK]], %[[BK]], %[[CK]] : tensor<5x2x3xbf16>, tensor<5x2x4xbf16>, tensor<?x2x2xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]], %[[CV]], %[[EV]] : tensor<?x5x3xbf16>, tensor<?x5x3xbf16>, tensor<?x5x2xbf16>, tensor<?x5x2xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CAK]], %[[CBK]], %[[CCK]], %[[CAV]], %[[CBV]], %[[CCV]], %[[CEV]] : tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2, %[[R]]#3, %[[R]]#4, %[[R]]#5, %[[R]]#6
func.func @order3_append(%ak: tensor<5x2x3xbf16>, %bk: tensor<5x2x4xbf16>, %ck: tensor<?x2x2xbf16>,
                         %av: tensor<?x5x3xbf16>, %bv: tensor<?x5x3xbf16>, %cv: tensor<?x5x2xbf16>,
                         %ev: tensor<?x5x2xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                         %cak: tensor<2x64x2x3xbf16>, %cbk: tensor<?x64x2x4xbf16>, %cck: tensor<2x?x2x2xbf16>,
                         %cav: tensor<?x?x5x3xbf16>, %cbv: tensor<?x?x5x3xbf16>, %ccv: tensor<?x?x5x2xbf16>,
                         %cev: tensor<?x?x5x2xbf16>)
    -> (tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>) {
  %r:7 = tpa.append #order3 k(%ak, %bk, %ck : tensor<5x2x3xbf16>, tensor<5x2x4xbf16>, tensor<?x2x2xbf16>)
    v(%av, %bv, %cv, %ev : tensor<?x5x3xbf16>, tensor<?x5x3xbf16>, tensor<?x5x2xbf16>, tensor<?x5x2xbf16>)
    positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cck, %cav, %cbv, %ccv, %cev : tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
  return %r#0, %r#1, %r#2, %r#3, %r#4, %r#5, %r#6 : tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>
}

// CHECK-LABEL: func.func @order3_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<5x3x3xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<2x64x2x3xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x64x2x4xbf16>
// CHECK-SAME: %[[CCK:[a-z0-9]+]]: tensor<2x?x2x2xbf16>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x5x3xbf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x5x3xbf16>
// CHECK-SAME: %[[CCV:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK-SAME: %[[CEV:[a-z0-9]+]]: tensor<?x?x5x2xbf16>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<5x3x12xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<5x3xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[ORDER3]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<5x3x3xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CAK]], %[[CBK]], %[[CCK]] : tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>)
// CHECK-SAME: v(%[[CAV]], %[[CBV]], %[[CCV]], %[[CEV]] : tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<5x3x12xbf16>, tensor<5x3xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @order3_attention(%aq: tensor<5x3x3xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                            %l: tensor<?xi32>, %cak: tensor<2x64x2x3xbf16>, %cbk: tensor<?x64x2x4xbf16>,
                            %cck: tensor<2x?x2x2xbf16>, %cav: tensor<?x?x5x3xbf16>, %cbv: tensor<?x?x5x3xbf16>,
                            %ccv: tensor<?x?x5x2xbf16>, %cev: tensor<?x?x5x2xbf16>, %out: tensor<5x3x12xbf16>,
                            %lse: tensor<5x3xf32>) -> (tensor<5x3x12xbf16>, tensor<5x3xf32>) {
  %r:2 = tpa.attention #order3 q(%aq, %bq : tensor<5x3x3xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%cak, %cbk, %cck : tensor<2x64x2x3xbf16>, tensor<?x64x2x4xbf16>, tensor<2x?x2x2xbf16>)
    v(%cav, %cbv, %ccv, %cev : tensor<?x?x5x3xbf16>, tensor<?x?x5x3xbf16>, tensor<?x?x5x2xbf16>, tensor<?x?x5x2xbf16>)
    outs(%out, %lse : tensor<5x3x12xbf16>, tensor<5x3xf32>)
  return %r#0, %r#1 : tensor<5x3x12xbf16>, tensor<5x3xf32>
}

// Dense queries, V the first features of K, nothing of V to append or read.
#mla = #tpa.variant<name = "mla", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]>,
  v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = shared, size = 6>]>,
  rope = <d_rot = 2, offset = 6, base = 10000.0>, scale = 0.25,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @mla_append(
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x1x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x1x8xbf16>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.append [[MLA]]
// CHECK-SAME: k(%[[BK]] : tensor<?x1x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CBK]] : tensor<?x?x1x8xbf16>)
// CHECK: return %[[R]]
func.func @mla_append(%bk: tensor<?x1x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                      %cbk: tensor<?x?x1x8xbf16>) -> tensor<?x?x1x8xbf16> {
  %r = tpa.append #mla k(%bk : tensor<?x1x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%cbk : tensor<?x?x1x8xbf16>)
  return %r : tensor<?x?x1x8xbf16>
}

// CHECK-LABEL: func.func @mla_attention(
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x1x8xbf16>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x6xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[MLA]]
// CHECK-SAME: q(%[[BQ]] : tensor<?x4x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CBK]] : tensor<?x?x1x8xbf16>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x6xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @mla_attention(%bq: tensor<?x4x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                         %cbk: tensor<?x?x1x8xbf16>, %out: tensor<?x4x6xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x6xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #mla q(%bq : tensor<?x4x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%cbk : tensor<?x?x1x8xbf16>)
    outs(%out, %lse : tensor<?x4x6xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x6xbf16>, tensor<?x4xf32>
}

// V sees the shared rows unrotated: key positions are cached. fp8 rows; their scales fold into contextual head factors.
#unrotated = #tpa.variant<name = "unrotated", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>, v_sees = unrotated,
  types = <activation = bf16, head = bf16, token = f8E4M3FN, output = f32, compute = f32>>

// CHECK-LABEL: func.func @unrotated_append(
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x2x4xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xf8E4M3FN>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[KP:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK: %[[R:[a-z0-9_]+]]:4 = tpa.append [[UNROTATED]]
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
// CHECK-SAME: v(%[[AV]] : tensor<?x2x4xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CAK]], %[[CBK]], %[[CAV]], %[[KP]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2, %[[R]]#3
func.func @unrotated_append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>,
                            %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                            %cbk: tensor<?x?x2x8xf8E4M3FN>, %cav: tensor<?x?x2x4xbf16>, %kp: tensor<?x?xi32>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>) {
  %r:4 = tpa.append #unrotated k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) v(%av : tensor<?x2x4xbf16>)
    positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %kp : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>
}

// CHECK-LABEL: func.func @unrotated_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xf8E4M3FN>
// CHECK-SAME: %[[CAV:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[KP:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[UNROTATED]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CAK]], %[[CBK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>)
// CHECK-SAME: v(%[[CAV]] : tensor<?x?x2x4xbf16>)
// CHECK-SAME: key_positions(%[[KP]] : tensor<?x?xi32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xf32>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @unrotated_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>,
                               %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                               %cbk: tensor<?x?x2x8xf8E4M3FN>, %cav: tensor<?x?x2x4xbf16>, %kp: tensor<?x?xi32>,
                               %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #unrotated q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%cak, %cbk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xf8E4M3FN>) v(%cav : tensor<?x?x2x4xbf16>)
    key_positions(%kp : tensor<?x?xi32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// Learned factors are read in place of caches; learned rows of K are rotated on read.
#learned = #tpa.variant<name = "learned", heads = <4>,
  q = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = learned, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = f16, head = f32, token = f64, output = f32, compute = f64>>

// CHECK-LABEL: func.func @learned_append(
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x2x4xf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x2x8xf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xf32>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x2x8xf64>
// CHECK-SAME: %[[KP:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK: %[[R:[a-z0-9_]+]]:3 = tpa.append [[LEARNED]]
// CHECK-SAME: k(%[[AK]] : tensor<?x2x4xf16>)
// CHECK-SAME: v(%[[BV]] : tensor<?x2x8xf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CAK]], %[[CBV]], %[[KP]] : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf64>, tensor<?x?xi32>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2
func.func @learned_append(%ak: tensor<?x2x4xf16>, %bv: tensor<?x2x8xf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                          %l: tensor<?xi32>, %cak: tensor<?x?x2x4xf32>, %cbv: tensor<?x?x2x8xf64>,
                          %kp: tensor<?x?xi32>) -> (tensor<?x?x2x4xf32>, tensor<?x?x2x8xf64>, tensor<?x?xi32>) {
  %r:3 = tpa.append #learned k(%ak : tensor<?x2x4xf16>) v(%bv : tensor<?x2x8xf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbv, %kp : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf64>, tensor<?x?xi32>)
  return %r#0, %r#1, %r#2 : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf64>, tensor<?x?xi32>
}

// CHECK-LABEL: func.func @learned_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<3x4xf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<2x8xf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<2x4xf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x2x8xf64>
// CHECK-SAME: %[[KP:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf64>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[LEARNED]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<3x4xf16>, tensor<?x3x8xf16>)
// CHECK-SAME: positions(%[[P]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CAK]], %[[BK]] : tensor<?x?x2x4xf32>, tensor<2x8xf16>)
// CHECK-SAME: v(%[[AV]], %[[CBV]] : tensor<2x4xf16>, tensor<?x?x2x8xf64>)
// CHECK-SAME: key_positions(%[[KP]] : tensor<?x?xi32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xf32>, tensor<?x4xf64>)
// CHECK: return %[[R0]], %[[R1]]
func.func @learned_attention(%aq: tensor<3x4xf16>, %bq: tensor<?x3x8xf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                             %l: tensor<?xi32>, %cak: tensor<?x?x2x4xf32>, %bk: tensor<2x8xf16>,
                             %av: tensor<2x4xf16>, %cbv: tensor<?x?x2x8xf64>, %kp: tensor<?x?xi32>,
                             %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf64>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf64>) {
  %r:2 = tpa.attention #learned q(%aq, %bq : tensor<3x4xf16>, tensor<?x3x8xf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%cak, %bk : tensor<?x?x2x4xf32>, tensor<2x8xf16>)
    v(%av, %cbv : tensor<2x4xf16>, tensor<?x?x2x8xf64>) key_positions(%kp : tensor<?x?xi32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf64>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf64>
}

// No cached head factor can carry the scales of int8 rows: they are stored. No RoPE, no positions.
#stored_scale = #tpa.variant<name = "stored_scale", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>,
  v = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  causal = false, window = 16,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @stored_scale_append(
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SK:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x3x8xi8>
// CHECK-SAME: %[[SV:[a-z0-9]+]]: tensor<?x?x3xf32>
// CHECK: %[[R:[a-z0-9_]+]]:4 = tpa.append [[STORED_SCALE]]
// CHECK-SAME: k(%[[BK]] : tensor<?x2x8xbf16>)
// CHECK-SAME: v(%[[BV]] : tensor<?x3x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CBK]], %[[SK]], %[[CBV]], %[[SV]] : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2, %[[R]]#3
func.func @stored_scale_append(%bk: tensor<?x2x8xbf16>, %bv: tensor<?x3x8xbf16>, %s: tensor<?xi32>,
                               %l: tensor<?xi32>, %cbk: tensor<?x?x2x8xi8>, %sk: tensor<?x?x2xf32>,
                               %cbv: tensor<?x?x3x8xi8>, %sv: tensor<?x?x3xf32>)
    -> (tensor<?x?x2x8xi8>, tensor<?x?x2xf32>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>) {
  %r:4 = tpa.append #stored_scale k(%bk : tensor<?x2x8xbf16>) v(%bv : tensor<?x3x8xbf16>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cbk, %sk, %cbv, %sv : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>
}

// CHECK-LABEL: func.func @stored_scale_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SK:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<3x4xbf16>
// CHECK-SAME: %[[CBV:[a-z0-9]+]]: tensor<?x?x3x8xi8>
// CHECK-SAME: %[[SV:[a-z0-9]+]]: tensor<?x?x3xf32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[STORED_SCALE]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CBK]], %[[SK]] : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
// CHECK-SAME: v(%[[AV]], %[[CBV]], %[[SV]] : tensor<3x4xbf16>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @stored_scale_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>,
                                  %l: tensor<?xi32>, %cbk: tensor<?x?x2x8xi8>, %sk: tensor<?x?x2xf32>,
                                  %av: tensor<3x4xbf16>, %cbv: tensor<?x?x3x8xi8>, %sv: tensor<?x?x3xf32>,
                                  %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #stored_scale q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%cbk, %sk : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
    v(%av, %cbv, %sv : tensor<3x4xbf16>, tensor<?x?x3x8xi8>, tensor<?x?x3xf32>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// V shares K's rows and their stored scales.
#shared_scale = #tpa.variant<name = "shared_scale", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = fixed, map = groups>, token = [<source = shared, size = 8>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @shared_scale_append(
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SK:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK: %[[R:[a-z0-9_]+]]:2 = tpa.append [[SHARED_SCALE]]
// CHECK-SAME: k(%[[BK]] : tensor<?x2x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CBK]], %[[SK]] : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @shared_scale_append(%bk: tensor<?x2x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                               %cbk: tensor<?x?x2x8xi8>, %sk: tensor<?x?x2xf32>)
    -> (tensor<?x?x2x8xi8>, tensor<?x?x2xf32>) {
  %r:2 = tpa.append #shared_scale k(%bk : tensor<?x2x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%cbk, %sk : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
  return %r#0, %r#1 : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>
}

// CHECK-LABEL: func.func @shared_scale_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SK:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[SHARED_SCALE]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CBK]], %[[SK]] : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @shared_scale_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>,
                                  %l: tensor<?xi32>, %cbk: tensor<?x?x2x8xi8>, %sk: tensor<?x?x2xf32>,
                                  %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #shared_scale q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%cbk, %sk : tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// K's scales fold into its head factor, so V, whose head factor is fixed, stores them.
#own_scale = #tpa.variant<name = "own_scale", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = fixed, map = groups>, token = [<source = shared, size = 8>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @own_scale_append(
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<?x2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SV:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK: %[[R:[a-z0-9_]+]]:3 = tpa.append [[OWN_SCALE]]
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CAK]], %[[CBK]], %[[SV]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
// CHECK: return %[[R]]#0, %[[R]]#1, %[[R]]#2
func.func @own_scale_append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                            %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xi8>, %sv: tensor<?x?x2xf32>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2xf32>) {
  %r:3 = tpa.append #own_scale k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%cak, %cbk, %sv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2xf32>)
  return %r#0, %r#1, %r#2 : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2xf32>
}

// CHECK-LABEL: func.func @own_scale_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CAK:[a-z0-9]+]]: tensor<?x?x2x4xbf16>
// CHECK-SAME: %[[CBK:[a-z0-9]+]]: tensor<?x?x2x8xi8>
// CHECK-SAME: %[[SV:[a-z0-9]+]]: tensor<?x?x2xf32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[OWN_SCALE]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[CAK]], %[[CBK]] : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>)
// CHECK-SAME: v(%[[SV]] : tensor<?x?x2xf32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @own_scale_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>,
                               %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xi8>,
                               %sv: tensor<?x?x2xf32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #own_scale q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%cak, %cbk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>) v(%sv : tensor<?x?x2xf32>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// All of K and V learned: nothing to append.
#nothing_cached = #tpa.variant<name = "nothing_cached", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @nothing_cached_append(
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK: tpa.append [[NOTHING_CACHED]]
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
func.func @nothing_cached_append(%s: tensor<?xi32>, %l: tensor<?xi32>) {
  tpa.append #nothing_cached token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
  return
}

// CHECK-LABEL: func.func @nothing_cached_attention(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xbf16>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xbf16>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[AK:[a-z0-9]+]]: tensor<2x4xbf16>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<2x8xbf16>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<2x4xbf16>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<2x8xbf16>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xbf16>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.attention [[NOTHING_CACHED]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<2x4xbf16>, tensor<2x8xbf16>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<2x4xbf16>, tensor<2x8xbf16>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x4x8xbf16>, tensor<?x4xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @nothing_cached_attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>,
                                    %l: tensor<?xi32>, %ak: tensor<2x4xbf16>, %bk: tensor<2x8xbf16>,
                                    %av: tensor<2x4xbf16>, %bv: tensor<2x8xbf16>, %out: tensor<?x4x8xbf16>,
                                    %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.attention #nothing_cached q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<2x4xbf16>, tensor<2x8xbf16>)
    v(%av, %bv : tensor<2x4xbf16>, tensor<2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}
