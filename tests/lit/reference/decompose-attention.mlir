// RUN: tpa-opt %s --tpa-decompose-phases | FileCheck %s
//
// tpa.attention as dense attention on Q, K and V in the compute type, contracted from their factors. Dense means: one rank per head and no
// RoPE, no functions, no quantisation left in the variant.

// CHECK-DAG: #[[ORDER2:variant[0-9]*]] = #tpa.variant<name = "order2", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, scale = 3.125000e-02, softcap = 3.000000e+01, window = 5, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[ROUNDED:variant[0-9]*]] = #tpa.variant<name = "rounded", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, scale = 3.000000e+00, causal = false, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[FUNCTIONS:variant[0-9]*]] = #tpa.variant<name = "functions", heads = <4, 1 to 3>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 6>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[LEARNED:variant[0-9]*]] = #tpa.variant<name = "learned", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = learned, size = 16>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[STORED:variant[0-9]*]] = #tpa.variant<name = "stored", heads = <6, 1 to 5>, q = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, scale = 2.500000e-01, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[SHARED:variant[0-9]*]] = #tpa.variant<name = "shared", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[UNROTATED:variant[0-9]*]] = #tpa.variant<name = "unrotated", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 12>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[KEY_SCALE:variant[0-9]*]] = #tpa.variant<name = "key_scale", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[OWN_SCALE:variant[0-9]*]] = #tpa.variant<name = "own_scale", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, scale = 3.125000e-02, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>
// CHECK-DAG: #[[DENSE:variant[0-9]*]] = #tpa.variant<name = "dense", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>, v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// The scale, 1/4 * 1/2 / sqrt(16), multiplies the raw sums, so neither Q nor K is normalised; V is.
#order2 = #tpa.variant<name = "order2", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  rope = <d_rot = 16, base = 1.000000e+04>,
  softcap = 3.000000e+01,
  window = 5,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @order2_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[K_TOKEN_CACHE:arg6]]:
// CHECK-SAME: %[[V_HEAD_CACHE:arg7]]:{{.*}} %[[V_TOKEN_CACHE:arg8]]:{{.*}} %[[OUT:arg9]]:{{.*}} %[[LSE:arg10]]:
// CHECK: %[[RQ:[a-z0-9_]+]] = tpa.rope <d_rot = 16, base = 1.000000e+04> block 16 ins(%[[Q_TOKEN]], %[[POSITIONS]] :
// CHECK-SAME: outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[RQ]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK-NOT: tpa.rope
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD_CACHE]] : {{.*}} token(%[[V_TOKEN_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[ORDER2]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @order2_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %k_token_cache: tensor<?x?x2x16xbf16>, %v_head_cache: tensor<?x?x2x4xbf16>,
    %v_token_cache: tensor<?x?x2x16xbf16>, %out: tensor<?x4x16xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #order2 q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token_cache : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>)
      v(%v_head_cache, %v_token_cache : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>) outs(%out, %lse
      : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// The query is rounded with its rank factor, which the scale given for the raw sums then no longer holds: 0.75 / (1/4).
#rounded = #tpa.variant<name = "rounded", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  scale = 7.500000e-01,
  causal = false,
  query_precision = storage,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @rounded_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[TOKEN_START:arg2]]:{{.*}} %[[LENGTHS:arg3]]:
// CHECK-SAME: %[[K_HEAD_CACHE:arg4]]:{{.*}} %[[K_TOKEN_CACHE:arg5]]:{{.*}} %[[V_HEAD_CACHE:arg6]]:
// CHECK-SAME: %[[V_TOKEN_CACHE:arg7]]:{{.*}} %[[OUT:arg8]]:{{.*}} %[[LSE:arg9]]:
// CHECK: %[[M:[a-z0-9_]+]] = tpa.contract <rank = 4, head
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[Q_TOKEN]] : {{.*}} outs({{.*}} : tensor<?x4x16xbf16>)
// CHECK: %[[Q:[a-z0-9_]+]] = arith.extf %[[M]] : tensor<?x4x16xbf16> to tensor<?x4x16xf32>
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD_CACHE]] : {{.*}} token(%[[V_TOKEN_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[ROUNDED]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @rounded_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %token_start: tensor<?xi32>,
    %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>, %k_token_cache: tensor<?x?x2x16xbf16>,
    %v_head_cache: tensor<?x?x2x4xbf16>, %v_token_cache: tensor<?x?x2x16xbf16>, %out: tensor<?x4x16xbf16>,
    %lse: tensor<?x4xf32>) -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #rounded q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>) k(%k_head_cache, %k_token_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>) v(%v_head_cache, %v_token_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>) outs(%out, %lse : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// Functions of the query's and of learned head factors are applied here; a cached head factor has been through its own. The
// query is rotated in blocks of K's first small factor. Two of four heads.
#functions = #tpa.variant<name = "functions", heads = <4, 1 to 3>,
  q = <rank = 4, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 2, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 3>, <source = contextual, size = 2>]>,
  rope = <d_rot = 4, offset = 2, base = 1.000000e+04>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @functions_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[K_TOKEN0_CACHE:arg6]]:
// CHECK-SAME: %[[K_TOKEN1_CACHE:arg7]]:{{.*}} %[[V_HEAD:arg8]]:{{.*}} %[[V_TOKEN0_CACHE:arg9]]:
// CHECK-SAME: %[[V_TOKEN1_CACHE:arg10]]:{{.*}} %[[OUT:arg11]]:{{.*}} %[[LSE:arg12]]:
// CHECK: %[[A:[a-z0-9_]+]] = tpa.head_function sigmoid ins(%[[Q_HEAD]] :
// CHECK: %[[RQ:[a-z0-9_]+]] = tpa.rope <d_rot = 4, offset = 2, base = 1.000000e+04> block 8 ins(%[[Q_TOKEN]], %[[POSITIONS]] :
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: heads <4, 1 to 3> head(%[[A]] : {{.*}} token(%[[RQ]] : {{.*}} outs({{.*}} : tensor<?x2x16xf32>)
// CHECK-NOT: tpa.head_function
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: heads <4, 1 to 3> head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN0_CACHE]], %[[K_TOKEN1_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x2x16xf32>)
// CHECK: %[[AV:[a-z0-9_]+]] = tpa.head_function sigmoid ins(%[[V_HEAD]] : {{.*}} outs({{.*}} : tensor<2x2xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[AV]] : {{.*}} token(%[[V_TOKEN0_CACHE]], %[[V_TOKEN1_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x2x6xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[FUNCTIONS]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @functions_decode(%q_head: tensor<?x4x2xbf16>, %q_token: tensor<?x4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x2xbf16>,
    %k_token0_cache: tensor<?x?x2x8xbf16>, %k_token1_cache: tensor<?x?x2x2xbf16>, %v_head: tensor<2x2xbf16>,
    %v_token0_cache: tensor<?x?x2x3xbf16>, %v_token1_cache: tensor<?x?x2x2xbf16>, %out: tensor<?x2x6xbf16>,
    %lse: tensor<?x2xf32>) -> (tensor<?x2x6xbf16>, tensor<?x2xf32>) {
  %out_0, %lse_1 = tpa.attention #functions q(%q_head, %q_token : tensor<?x4x2xbf16>, tensor<?x4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token0_cache, %k_token1_cache
      : tensor<?x?x2x2xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x2xbf16>) v(%v_head, %v_token0_cache, %v_token1_cache
      : tensor<2x2xbf16>, tensor<?x?x2x3xbf16>, tensor<?x?x2x2xbf16>) outs(%out, %lse
      : tensor<?x2x6xbf16>, tensor<?x2xf32>)
  return %out_0, %lse_1 : tensor<?x2x6xbf16>, tensor<?x2xf32>
}

// Rotation gives a learned factor the leading dimensions of the positions: the queries', or those of the cached keys. V, all
// learned, has none.
#learned = #tpa.variant<name = "learned", heads = <4>,
  q = <rank = 4, head = <source = learned>, token = [<source = learned, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = learned, size = 16>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = learned, size = 16>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @learned_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[K_TOKEN:arg6]]:{{.*}} %[[V_HEAD:arg7]]:
// CHECK-SAME: %[[V_TOKEN:arg8]]:{{.*}} %[[KEY_POSITIONS_CACHE:arg9]]:{{.*}} %[[OUT:arg10]]:{{.*}} %[[LSE:arg11]]:
// CHECK: %[[RQ:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[Q_TOKEN]], %[[POSITIONS]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = learned>, token = [<source = contextual, size = 16>]>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[RQ]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[RK:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[K_TOKEN]], %[[KEY_POSITIONS_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x2x16xf32>)
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 16>]>
// CHECK-SAME: head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[RK]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 16>]>
// CHECK-SAME: head(%[[V_HEAD]] : {{.*}} token(%[[V_TOKEN]] : {{.*}} outs({{.*}} : tensor<4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[LEARNED]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @learned_decode(%q_head: tensor<4x4xbf16>, %q_token: tensor<4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %k_token: tensor<2x16xbf16>, %v_head: tensor<2x4xbf16>, %v_token: tensor<2x16xbf16>,
    %key_positions_cache: tensor<?x?xi32>, %out: tensor<?x4x16xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #learned q(%q_head, %q_token : tensor<4x4xbf16>, tensor<4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token : tensor<?x?x2x4xbf16>, tensor<2x16xbf16>) v(%v_head, %v_token
      : tensor<2x4xbf16>, tensor<2x16xbf16>) key_positions(%key_positions_cache : tensor<?x?xi32>) outs(%out, %lse
      : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// Stored scales multiply K and V where these are contracted. Fixed head factors keep their maps and have no rank factor: the
// scale is 1 / sqrt(16).
#stored = #tpa.variant<name = "stored", heads = <6, 1 to 5>,
  q = <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 16>]>,
  types = <activation = bf16, head = bf16, token = f8E4M3FN, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @stored_decode(
// CHECK-SAME: %[[Q_TOKEN:arg0]]:{{.*}} %[[TOKEN_START:arg1]]:{{.*}} %[[LENGTHS:arg2]]:
// CHECK-SAME: %[[K_TOKEN0_CACHE:arg3]]:{{.*}} %[[K_TOKEN1_CACHE:arg4]]:{{.*}} %[[K_SCALE_CACHE:arg5]]:
// CHECK-SAME: %[[V_TOKEN_CACHE:arg6]]:{{.*}} %[[V_SCALE_CACHE:arg7]]:{{.*}} %[[OUT:arg8]]:{{.*}} %[[LSE:arg9]]:
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 6, normalized = false, head = <source = fixed, map = one_hot>
// CHECK-SAME: heads <6, 1 to 5> token(%[[Q_TOKEN]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head = <source = fixed, map = groups>
// CHECK-SAME: heads <6, 1 to 5> token(%[[K_TOKEN0_CACHE]], %[[K_TOKEN1_CACHE]] : {{.*}} scale(%[[K_SCALE_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 1, head = <source = fixed, map = ones>
// CHECK-SAME: heads <6, 1 to 5> token(%[[V_TOKEN_CACHE]] : {{.*}} scale(%[[V_SCALE_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[STORED]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @stored_decode(%q_token: tensor<?x4x16xbf16>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_token0_cache: tensor<?x?x2x8xf8E4M3FN>, %k_token1_cache: tensor<?x?x2x2xf8E4M3FN>,
    %k_scale_cache: tensor<?x?x2xf32>, %v_token_cache: tensor<?x?x1x16xf8E4M3FN>, %v_scale_cache: tensor<?x?x1xf32>,
    %out: tensor<?x4x16xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #stored q(%q_token : tensor<?x4x16xbf16>) token_start(%token_start : tensor<?xi32>)
      lengths(%lengths : tensor<?xi32>) k(%k_token0_cache, %k_token1_cache, %k_scale_cache
      : tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x2xf8E4M3FN>, tensor<?x?x2xf32>) v(%v_token_cache, %v_scale_cache
      : tensor<?x?x1x16xf8E4M3FN>, tensor<?x?x1xf32>) outs(%out, %lse : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// A shared V is the stored, rotated factors of K, of the last of them its first features.
#shared = #tpa.variant<name = "shared", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>, <source = shared, size = 1>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  v_sees = rotated,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @shared_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[K_TOKEN0_CACHE:arg6]]:
// CHECK-SAME: %[[K_TOKEN1_CACHE:arg7]]:{{.*}} %[[V_HEAD_CACHE:arg8]]:{{.*}} %[[OUT:arg9]]:{{.*}} %[[LSE:arg10]]:
// CHECK: %[[RQ:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[Q_TOKEN]], %[[POSITIONS]] :
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[RQ]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK-NOT: tpa.rope
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN0_CACHE]], %[[K_TOKEN1_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[FIRST:[a-z0-9_]+]] = tensor.extract_slice %[[K_TOKEN1_CACHE]][0, 0, 0, 0] [{{.*}}, 2, 1] [1, 1, 1, 1]
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN0_CACHE]], %[[FIRST]] : {{.*}} outs({{.*}} : tensor<?x?x4x8xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[SHARED]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @shared_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %k_token0_cache: tensor<?x?x2x8xbf16>, %k_token1_cache: tensor<?x?x2x2xbf16>,
    %v_head_cache: tensor<?x?x2x4xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #shared q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token0_cache, %k_token1_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x2xbf16>) v(%v_head_cache : tensor<?x?x2x4xbf16>)
      outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// K is rotated by the cached positions, V sees the factor as it is stored.
#unrotated = #tpa.variant<name = "unrotated", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 12>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  v_sees = unrotated,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @unrotated_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[K_TOKEN_CACHE:arg6]]:
// CHECK-SAME: %[[V_HEAD_CACHE:arg7]]:{{.*}} %[[KEY_POSITIONS_CACHE:arg8]]:{{.*}} %[[OUT:arg9]]:
// CHECK-SAME: %[[LSE:arg10]]:
// CHECK: %[[RQ:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[Q_TOKEN]], %[[POSITIONS]] :
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[RQ]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[RK:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[K_TOKEN_CACHE]], %[[KEY_POSITIONS_CACHE]] :
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD_CACHE]] : {{.*}} token(%[[RK]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[FIRST:[a-z0-9_]+]] = tensor.extract_slice %[[K_TOKEN_CACHE]][0, 0, 0, 0] [{{.*}}, 2, 12] [1, 1, 1, 1]
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD_CACHE]] : {{.*}} token(%[[FIRST]] : {{.*}} outs({{.*}} : tensor<?x?x4x12xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[UNROTATED]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @unrotated_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %k_token_cache: tensor<?x?x2x16xbf16>, %v_head_cache: tensor<?x?x2x4xbf16>,
    %key_positions_cache: tensor<?x?xi32>, %out: tensor<?x4x12xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x12xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #unrotated q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token_cache : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>) v(%v_head_cache
      : tensor<?x?x2x4xbf16>) key_positions(%key_positions_cache : tensor<?x?xi32>) outs(%out, %lse
      : tensor<?x4x12xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x12xbf16>, tensor<?x4xf32>
}

// A shared V with a learned head factor has K's stored scale.
#key_scale = #tpa.variant<name = "key_scale", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = shared, size = 16>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @key_scale_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[TOKEN_START:arg2]]:{{.*}} %[[LENGTHS:arg3]]:
// CHECK-SAME: %[[K_HEAD:arg4]]:{{.*}} %[[K_TOKEN_CACHE:arg5]]:{{.*}} %[[K_SCALE_CACHE:arg6]]:
// CHECK-SAME: %[[V_HEAD:arg7]]:{{.*}} %[[OUT:arg8]]:{{.*}} %[[LSE:arg9]]:
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[Q_TOKEN]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD]] : {{.*}} token(%[[K_TOKEN_CACHE]] : {{.*}} scale(%[[K_SCALE_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD]] : {{.*}} token(%[[K_TOKEN_CACHE]] : {{.*}} scale(%[[K_SCALE_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[KEY_SCALE]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @key_scale_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %token_start: tensor<?xi32>,
    %lengths: tensor<?xi32>, %k_head: tensor<2x4xbf16>, %k_token_cache: tensor<?x?x2x16xi8>,
    %k_scale_cache: tensor<?x?x2xf32>, %v_head: tensor<2x4xbf16>, %out: tensor<?x4x16xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #key_scale q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      k(%k_head, %k_token_cache, %k_scale_cache : tensor<2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2xf32>) v(%v_head
      : tensor<2x4xbf16>) outs(%out, %lse : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// A shared V with a contextual head factor holds the scale there already; K's is not applied to it again.
#own_scale = #tpa.variant<name = "own_scale", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 16>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @own_scale_decode(
// CHECK-SAME: %[[Q_HEAD:arg0]]:{{.*}} %[[Q_TOKEN:arg1]]:{{.*}} %[[TOKEN_START:arg2]]:{{.*}} %[[LENGTHS:arg3]]:
// CHECK-SAME: %[[K_HEAD:arg4]]:{{.*}} %[[K_TOKEN_CACHE:arg5]]:{{.*}} %[[K_SCALE_CACHE:arg6]]:
// CHECK-SAME: %[[V_HEAD_CACHE:arg7]]:{{.*}} %[[OUT:arg8]]:{{.*}} %[[LSE:arg9]]:
// CHECK: %[[Q:[a-z0-9_]+]] = tpa.contract <rank = 4, normalized = false, head = <source = contextual>
// CHECK-SAME: head(%[[Q_HEAD]] : {{.*}} token(%[[Q_TOKEN]] : {{.*}} outs({{.*}} : tensor<?x4x16xf32>)
// CHECK: %[[K:[a-z0-9_]+]] = tpa.contract <rank = 2, normalized = false, head
// CHECK-SAME: head(%[[K_HEAD]] : {{.*}} token(%[[K_TOKEN_CACHE]] : {{.*}} scale(%[[K_SCALE_CACHE]] : {{.*}} outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[V:[a-z0-9_]+]] = tpa.contract <rank = 2, head
// CHECK-SAME: head(%[[V_HEAD_CACHE]] : {{.*}} token(%[[K_TOKEN_CACHE]] : tensor<?x?x2x16xi8>) outs({{.*}} : tensor<?x?x4x16xf32>)
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[OWN_SCALE]] q(%[[Q]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K]] : {{.*}} v(%[[V]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @own_scale_decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %token_start: tensor<?xi32>,
    %lengths: tensor<?xi32>, %k_head: tensor<2x4xbf16>, %k_token_cache: tensor<?x?x2x16xi8>,
    %k_scale_cache: tensor<?x?x2xf32>, %v_head_cache: tensor<?x?x2x4xbf16>, %out: tensor<?x4x16xbf16>,
    %lse: tensor<?x4xf32>) -> (tensor<?x4x16xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #own_scale q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      k(%k_head, %k_token_cache, %k_scale_cache : tensor<2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2xf32>)
      v(%v_head_cache : tensor<?x?x2x4xbf16>) outs(%out, %lse : tensor<?x4x16xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x16xbf16>, tensor<?x4xf32>
}

// Dense already: nothing to do.
#dense = #tpa.variant<name = "dense", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @dense_decode(
// CHECK-SAME: %[[Q_TOKEN:arg0]]:{{.*}} %[[TOKEN_START:arg1]]:{{.*}} %[[LENGTHS:arg2]]:
// CHECK-SAME: %[[K_TOKEN_CACHE:arg3]]:{{.*}} %[[V_TOKEN_CACHE:arg4]]:{{.*}} %[[OUT:arg5]]:{{.*}} %[[LSE:arg6]]:
// CHECK-NOT: tpa.contract
// CHECK: %[[O:[a-z0-9_]+]], %[[L:[a-z0-9_]+]] = tpa.attention #[[DENSE]] q(%[[Q_TOKEN]] :
// CHECK-NOT: positions(
// CHECK-SAME: token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} k(%[[K_TOKEN_CACHE]] : {{.*}} v(%[[V_TOKEN_CACHE]] : {{.*}} outs(%[[OUT]], %[[LSE]] :
// CHECK: return %[[O]], %[[L]] :
func.func @dense_decode(%q_token: tensor<?x4x16xf32>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_token_cache: tensor<?x?x4x16xf32>, %v_token_cache: tensor<?x?x4x8xf32>, %out: tensor<?x4x8xbf16>,
    %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #dense q(%q_token : tensor<?x4x16xf32>) token_start(%token_start : tensor<?xi32>)
      lengths(%lengths : tensor<?xi32>) k(%k_token_cache : tensor<?x?x4x16xf32>) v(%v_token_cache
      : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}
