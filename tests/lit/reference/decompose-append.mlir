// RUN: tpa-opt %s --tpa-decompose-phases | FileCheck %s
//
// tpa.append in terms of its parts.

// K's first small factor is rotated in blocks of its own size, the others of K and all of V are not. Head functions give the
// compute type, which is rounded once, when stored.
#functions = #tpa.variant<name = "functions", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 2, head = <source = contextual, function = softmax>, token = [<source = contextual, size = 16>]>,
  rope = <d_rot = 4, offset = 2, base = 1.000000e+04>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @functions_append(
// CHECK-SAME: %[[K_HEAD:arg0]]:{{.*}} %[[K_TOKEN0:arg1]]:{{.*}} %[[K_TOKEN1:arg2]]:{{.*}} %[[V_HEAD:arg3]]:
// CHECK-SAME: %[[V_TOKEN:arg4]]:{{.*}} %[[POSITIONS:arg5]]:{{.*}} %[[TOKEN_START:arg6]]:{{.*}} %[[LENGTHS:arg7]]:
// CHECK-SAME: %[[K_HEAD_CACHE:arg8]]:{{.*}} %[[K_TOKEN0_CACHE:arg9]]:{{.*}} %[[K_TOKEN1_CACHE:arg10]]:
// CHECK-SAME: %[[V_HEAD_CACHE:arg11]]:{{.*}} %[[V_TOKEN_CACHE:arg12]]:
// CHECK-NOT: tpa.append
// CHECK: %[[B:[a-z0-9_]+]] = tpa.rope <d_rot = 4, offset = 2, base = 1.000000e+04> block 8
// CHECK-SAME: ins(%[[K_TOKEN0]], %[[POSITIONS]] : {{.*}}) outs({{.*}} : tensor<?x2x8xf32>)
// CHECK: %[[AK:[a-z0-9_]+]] = tpa.head_function sigmoid ins(%[[K_HEAD]] {{.*}} outs({{.*}} : tensor<?x2x4xf32>)
// CHECK-NOT: tpa.rope
// CHECK: %[[AV:[a-z0-9_]+]] = tpa.head_function softmax ins(%[[V_HEAD]] {{.*}} outs({{.*}} : tensor<?x2x4xf32>)
// CHECK-NOT: tpa.rope
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[AK]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_HEAD_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[B]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN0_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[K_TOKEN1]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN1_CACHE]] :
// CHECK: %[[S3:[a-z0-9_]+]] = tpa.store_tokens ins(%[[AV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_HEAD_CACHE]] :
// CHECK: %[[S4:[a-z0-9_]+]] = tpa.store_tokens ins(%[[V_TOKEN]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_TOKEN_CACHE]] :
// CHECK: return %[[S0]], %[[S1]], %[[S2]], %[[S3]], %[[S4]] :
func.func @functions_append(%k_head: tensor<?x2x4xbf16>, %k_token0: tensor<?x2x8xbf16>,
    %k_token1: tensor<?x2x2xbf16>, %v_head: tensor<?x2x4xbf16>, %v_token: tensor<?x2x16xbf16>,
    %positions: tensor<?xi32>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_head_cache: tensor<?x?x2x4xbf16>, %k_token0_cache: tensor<?x?x2x8xbf16>,
    %k_token1_cache: tensor<?x?x2x2xbf16>, %v_head_cache: tensor<?x?x2x4xbf16>,
    %v_token_cache: tensor<?x?x2x16xbf16>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x2xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>) {
  %0:5 = tpa.append #functions k(%k_head, %k_token0, %k_token1
      : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>, tensor<?x2x2xbf16>) v(%v_head, %v_token
      : tensor<?x2x4xbf16>, tensor<?x2x16xbf16>) positions(%positions : tensor<?xi32>) token_start(%token_start
      : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      outs(%k_head_cache, %k_token0_cache, %k_token1_cache, %v_head_cache, %v_token_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x2xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>)
  return %0#0, %0#1, %0#2, %0#3, %0#4
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x2xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>
}

// Quantised with a contextual head factor: the scales of all small factors go into the head factor, after its function, and
// are not stored.
#folded = #tpa.variant<name = "folded", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @folded_append(
// CHECK-SAME: %[[K_HEAD:arg0]]:{{.*}} %[[K_TOKEN0:arg1]]:{{.*}} %[[K_TOKEN1:arg2]]:{{.*}} %[[V_HEAD:arg3]]:
// CHECK-SAME: %[[V_TOKEN:arg4]]:{{.*}} %[[TOKEN_START:arg5]]:{{.*}} %[[LENGTHS:arg6]]:{{.*}} %[[K_HEAD_CACHE:arg7]]:
// CHECK-SAME: %[[K_TOKEN0_CACHE:arg8]]:{{.*}} %[[K_TOKEN1_CACHE:arg9]]:{{.*}} %[[V_HEAD_CACHE:arg10]]:
// CHECK-SAME: %[[V_TOKEN_CACHE:arg11]]:
// CHECK: %[[Q0:[a-z0-9_]+]], %[[SCALE0:[a-z0-9_]+]] = tpa.quantize ins(%[[K_TOKEN0]] :
// CHECK-SAME: outs({{.*}} : tensor<?x2x8xi8>, tensor<?x2xf32>)
// CHECK: %[[Q1:[a-z0-9_]+]], %[[SCALE1:[a-z0-9_]+]] = tpa.quantize ins(%[[K_TOKEN1]] :
// CHECK: %[[F:[a-z0-9_]+]] = tpa.head_function sigmoid ins(%[[K_HEAD]] :
// CHECK: %[[H0:[a-z0-9_]+]] = tpa.scale_head ins(%[[F]], %[[SCALE0]] : {{.*}} outs({{.*}} : tensor<?x2x4xf32>)
// CHECK: %[[H1:[a-z0-9_]+]] = tpa.scale_head ins(%[[H0]], %[[SCALE1]] : {{.*}} outs({{.*}} : tensor<?x2x4xf32>)
// CHECK: %[[QV:[a-z0-9_]+]], %[[SCALEV:[a-z0-9_]+]] = tpa.quantize ins(%[[V_TOKEN]] :
// CHECK: %[[HV:[a-z0-9_]+]] = tpa.scale_head ins(%[[V_HEAD]], %[[SCALEV]] :
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[H1]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_HEAD_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q0]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN0_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q1]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN1_CACHE]] :
// CHECK: %[[S3:[a-z0-9_]+]] = tpa.store_tokens ins(%[[HV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_HEAD_CACHE]] :
// CHECK: %[[S4:[a-z0-9_]+]] = tpa.store_tokens ins(%[[QV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_TOKEN_CACHE]] :
// CHECK-NOT: tpa.store_tokens
// CHECK: return %[[S0]], %[[S1]], %[[S2]], %[[S3]], %[[S4]] :
func.func @folded_append(%k_head: tensor<?x2x4xbf16>, %k_token0: tensor<?x2x8xbf16>, %k_token1: tensor<?x2x2xbf16>,
    %v_head: tensor<?x2x4xbf16>, %v_token: tensor<?x2x16xbf16>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_head_cache: tensor<?x?x2x4xbf16>, %k_token0_cache: tensor<?x?x2x8xi8>, %k_token1_cache: tensor<?x?x2x2xi8>,
    %v_head_cache: tensor<?x?x2x4xbf16>, %v_token_cache: tensor<?x?x2x16xi8>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2x2xi8>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>) {
  %0:5 = tpa.append #folded k(%k_head, %k_token0, %k_token1
      : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>, tensor<?x2x2xbf16>) v(%v_head, %v_token
      : tensor<?x2x4xbf16>, tensor<?x2x16xbf16>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) outs(%k_head_cache, %k_token0_cache, %k_token1_cache, %v_head_cache, %v_token_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2x2xi8>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>)
  return %0#0, %0#1, %0#2, %0#3, %0#4
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>, tensor<?x?x2x2xi8>, tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>
}

// Quantised with a fixed or learned head factor: the product of the scales is stored beside the rows.
#stored = #tpa.variant<name = "stored", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
  v = <rank = 1, head = <source = learned>, token = [<source = contextual, size = 16>]>,
  types = <activation = bf16, head = bf16, token = f8E4M3FN, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @stored_append(
// CHECK-SAME: %[[K_TOKEN0:arg0]]:{{.*}} %[[K_TOKEN1:arg1]]:{{.*}} %[[V_TOKEN:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_TOKEN0_CACHE:arg5]]:{{.*}} %[[K_TOKEN1_CACHE:arg6]]:
// CHECK-SAME: %[[K_SCALE_CACHE:arg7]]:{{.*}} %[[V_TOKEN_CACHE:arg8]]:{{.*}} %[[V_SCALE_CACHE:arg9]]:
// CHECK-NOT: tpa.scale_head
// CHECK: %[[Q0:[a-z0-9_]+]], %[[SCALE0:[a-z0-9_]+]] = tpa.quantize ins(%[[K_TOKEN0]] :
// CHECK-SAME: outs({{.*}} : tensor<?x2x8xf8E4M3FN>, tensor<?x2xf32>)
// CHECK: %[[Q1:[a-z0-9_]+]], %[[SCALE1:[a-z0-9_]+]] = tpa.quantize ins(%[[K_TOKEN1]] :
// CHECK: %[[SCALE:[a-z0-9_]+]] = arith.mulf %[[SCALE0]], %[[SCALE1]] : tensor<?x2xf32>
// CHECK: %[[QV:[a-z0-9_]+]], %[[SCALEV:[a-z0-9_]+]] = tpa.quantize ins(%[[V_TOKEN]] :
// CHECK-NOT: tpa.scale_head
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q0]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN0_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q1]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN1_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[SCALE]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_SCALE_CACHE]] :
// CHECK: %[[S3:[a-z0-9_]+]] = tpa.store_tokens ins(%[[QV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_TOKEN_CACHE]] :
// CHECK: %[[S4:[a-z0-9_]+]] = tpa.store_tokens ins(%[[SCALEV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_SCALE_CACHE]] :
// CHECK: return %[[S0]], %[[S1]], %[[S2]], %[[S3]], %[[S4]] :
func.func @stored_append(%k_token0: tensor<?x2x8xbf16>, %k_token1: tensor<?x2x2xbf16>, %v_token: tensor<?x1x16xbf16>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_token0_cache: tensor<?x?x2x8xf8E4M3FN>,
    %k_token1_cache: tensor<?x?x2x2xf8E4M3FN>, %k_scale_cache: tensor<?x?x2xf32>,
    %v_token_cache: tensor<?x?x1x16xf8E4M3FN>, %v_scale_cache: tensor<?x?x1xf32>)
    -> (tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x2xf8E4M3FN>, tensor<?x?x2xf32>, tensor<?x?x1x16xf8E4M3FN>,
      tensor<?x?x1xf32>) {
  %0:5 = tpa.append #stored k(%k_token0, %k_token1 : tensor<?x2x8xbf16>, tensor<?x2x2xbf16>) v(%v_token
      : tensor<?x1x16xbf16>) token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      outs(%k_token0_cache, %k_token1_cache, %k_scale_cache, %v_token_cache, %v_scale_cache
      : tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x2xf8E4M3FN>, tensor<?x?x2xf32>, tensor<?x?x1x16xf8E4M3FN>,
        tensor<?x?x1xf32>)
  return %0#0, %0#1, %0#2, %0#3, %0#4
      : tensor<?x?x2x8xf8E4M3FN>, tensor<?x?x2x2xf8E4M3FN>, tensor<?x?x2xf32>, tensor<?x?x1x16xf8E4M3FN>,
        tensor<?x?x1xf32>
}

// A shared token factor is stored once, rotated before it is quantised; its scale goes into both head factors.
#shared = #tpa.variant<name = "shared", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 12>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  v_sees = rotated,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @shared_append(
// CHECK-SAME: %[[K_HEAD:arg0]]:{{.*}} %[[K_TOKEN:arg1]]:{{.*}} %[[V_HEAD:arg2]]:{{.*}} %[[POSITIONS:arg3]]:
// CHECK-SAME: %[[TOKEN_START:arg4]]:{{.*}} %[[LENGTHS:arg5]]:{{.*}} %[[K_HEAD_CACHE:arg6]]:
// CHECK-SAME: %[[K_TOKEN_CACHE:arg7]]:{{.*}} %[[V_HEAD_CACHE:arg8]]:
// CHECK: %[[R:[a-z0-9_]+]] = tpa.rope {{.*}} ins(%[[K_TOKEN]], %[[POSITIONS]] :
// CHECK: %[[Q:[a-z0-9_]+]], %[[SCALE:[a-z0-9_]+]] = tpa.quantize ins(%[[R]] :
// CHECK: %[[HK:[a-z0-9_]+]] = tpa.scale_head ins(%[[K_HEAD]], %[[SCALE]] :
// CHECK-NOT: tpa.quantize
// CHECK: %[[HV:[a-z0-9_]+]] = tpa.scale_head ins(%[[V_HEAD]], %[[SCALE]] :
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[HK]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_HEAD_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[HV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_HEAD_CACHE]] :
// CHECK-NOT: tpa.store_tokens
// CHECK: return %[[S0]], %[[S1]], %[[S2]] :
func.func @shared_append(%k_head: tensor<?x2x4xbf16>, %k_token: tensor<?x2x16xbf16>, %v_head: tensor<?x2x4xbf16>,
    %positions: tensor<?xi32>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_head_cache: tensor<?x?x2x4xbf16>, %k_token_cache: tensor<?x?x2x16xi8>, %v_head_cache: tensor<?x?x2x4xbf16>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>) {
  %0:3 = tpa.append #shared k(%k_head, %k_token : tensor<?x2x4xbf16>, tensor<?x2x16xbf16>) v(%v_head
      : tensor<?x2x4xbf16>) positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>)
      lengths(%lengths : tensor<?xi32>) outs(%k_head_cache, %k_token_cache, %v_head_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>)
  return %0#0, %0#1, %0#2 : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>
}

// K's head factor is learned, so K's scale is stored; V shares the rows and has a contextual head factor that takes the same scale.
#own_scale = #tpa.variant<name = "own_scale", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 12>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @own_scale_append(
// CHECK-SAME: %[[K_TOKEN:arg0]]:{{.*}} %[[V_HEAD:arg1]]:{{.*}} %[[TOKEN_START:arg2]]:{{.*}} %[[LENGTHS:arg3]]:
// CHECK-SAME: %[[K_TOKEN_CACHE:arg4]]:{{.*}} %[[K_SCALE_CACHE:arg5]]:{{.*}} %[[V_HEAD_CACHE:arg6]]:
// CHECK: %[[Q:[a-z0-9_]+]], %[[SCALE:[a-z0-9_]+]] = tpa.quantize ins(%[[K_TOKEN]] :
// CHECK: %[[HV:[a-z0-9_]+]] = tpa.scale_head ins(%[[V_HEAD]], %[[SCALE]] :
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[Q]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[SCALE]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_SCALE_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[HV]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_HEAD_CACHE]] :
// CHECK: return %[[S0]], %[[S1]], %[[S2]] :
func.func @own_scale_append(%k_token: tensor<?x2x16xbf16>, %v_head: tensor<?x2x4xbf16>, %token_start: tensor<?xi32>,
    %lengths: tensor<?xi32>, %k_token_cache: tensor<?x?x2x16xi8>, %k_scale_cache: tensor<?x?x2xf32>,
    %v_head_cache: tensor<?x?x2x4xbf16>) -> (tensor<?x?x2x16xi8>, tensor<?x?x2xf32>, tensor<?x?x2x4xbf16>) {
  %0:3 = tpa.append #own_scale k(%k_token : tensor<?x2x16xbf16>) v(%v_head : tensor<?x2x4xbf16>)
      token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      outs(%k_token_cache, %k_scale_cache, %v_head_cache
      : tensor<?x?x2x16xi8>, tensor<?x?x2xf32>, tensor<?x?x2x4xbf16>)
  return %0#0, %0#1, %0#2 : tensor<?x?x2x16xi8>, tensor<?x?x2xf32>, tensor<?x?x2x4xbf16>
}

// Keys rotated when read: the factor is stored as it comes, with its positions.
#unrotated = #tpa.variant<name = "unrotated", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 16>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  v_sees = unrotated,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @unrotated_append(
// CHECK-SAME: %[[K_HEAD:arg0]]:{{.*}} %[[K_TOKEN:arg1]]:{{.*}} %[[V_HEAD:arg2]]:{{.*}} %[[POSITIONS:arg3]]:
// CHECK-SAME: %[[TOKEN_START:arg4]]:{{.*}} %[[LENGTHS:arg5]]:{{.*}} %[[K_HEAD_CACHE:arg6]]:
// CHECK-SAME: %[[K_TOKEN_CACHE:arg7]]:{{.*}} %[[V_HEAD_CACHE:arg8]]:{{.*}} %[[KEY_POSITIONS_CACHE:arg9]]:
// CHECK-NOT: tpa.rope
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[K_HEAD]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_HEAD_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[K_TOKEN]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_TOKEN_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[V_HEAD]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_HEAD_CACHE]] :
// CHECK: %[[S3:[a-z0-9_]+]] = tpa.store_tokens ins(%[[POSITIONS]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[KEY_POSITIONS_CACHE]] :
// CHECK: return %[[S0]], %[[S1]], %[[S2]], %[[S3]] :
func.func @unrotated_append(%k_head: tensor<?x2x4xbf16>, %k_token: tensor<?x2x16xbf16>, %v_head: tensor<?x2x4xbf16>,
    %positions: tensor<?xi32>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_head_cache: tensor<?x?x2x4xbf16>, %k_token_cache: tensor<?x?x2x16xbf16>, %v_head_cache: tensor<?x?x2x4xbf16>,
    %key_positions_cache: tensor<?x?xi32>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>) {
  %0:4 = tpa.append #unrotated k(%k_head, %k_token : tensor<?x2x4xbf16>, tensor<?x2x16xbf16>) v(%v_head
      : tensor<?x2x4xbf16>) positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>)
      lengths(%lengths : tensor<?xi32>) outs(%k_head_cache, %k_token_cache, %v_head_cache, %key_positions_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>)
  return %0#0, %0#1, %0#2, %0#3 : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>
}

// Learned factors are not cached; a learned key factor is rotated when read, so its positions are.
#learned = #tpa.variant<name = "learned", heads = <4>,
  q = <rank = 4, head = <source = contextual>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = learned, size = 16>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 16>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @learned_append(
// CHECK-SAME: %[[K_HEAD:arg0]]:{{.*}} %[[V_TOKEN:arg1]]:{{.*}} %[[POSITIONS:arg2]]:{{.*}} %[[TOKEN_START:arg3]]:
// CHECK-SAME: %[[LENGTHS:arg4]]:{{.*}} %[[K_HEAD_CACHE:arg5]]:{{.*}} %[[V_TOKEN_CACHE:arg6]]:
// CHECK-SAME: %[[KEY_POSITIONS_CACHE:arg7]]:
// CHECK-NOT: tpa.rope
// CHECK: %[[S0:[a-z0-9_]+]] = tpa.store_tokens ins(%[[K_HEAD]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[K_HEAD_CACHE]] :
// CHECK: %[[S1:[a-z0-9_]+]] = tpa.store_tokens ins(%[[V_TOKEN]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[V_TOKEN_CACHE]] :
// CHECK: %[[S2:[a-z0-9_]+]] = tpa.store_tokens ins(%[[POSITIONS]]{{.*}} token_start(%[[TOKEN_START]] {{.*}} lengths(%[[LENGTHS]] {{.*}} outs(%[[KEY_POSITIONS_CACHE]] :
// CHECK-NOT: tpa.store_tokens
// CHECK: return %[[S0]], %[[S1]], %[[S2]] :
func.func @learned_append(%k_head: tensor<?x2x4xbf16>, %v_token: tensor<?x2x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %v_token_cache: tensor<?x?x2x16xbf16>, %key_positions_cache: tensor<?x?xi32>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?xi32>) {
  %0:3 = tpa.append #learned k(%k_head : tensor<?x2x4xbf16>) v(%v_token : tensor<?x2x16xbf16>) positions(%positions
      : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths : tensor<?xi32>)
      outs(%k_head_cache, %v_token_cache, %key_positions_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?xi32>)
  return %0#0, %0#1, %0#2 : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?xi32>
}
