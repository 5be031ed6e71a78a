// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// One case per message of the phases: tpa.append and tpa.attention (P), tpa.merge (M).

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                     %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{q: expected 2 tensors (q_head, q_token), got 1 [P1]}}
  %r:2 = tpa.attention #v q(%aq : tensor<?x3x4xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// Dense queries have no head factor.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x4x4xbf16>, %bq: tensor<?x4x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{q: expected 1 tensors (q_token), got 2 [P1]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x4x4xbf16>, tensor<?x4x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                     %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{k: expected 3 tensors (k_head_cache, k_token0_cache, k_token1_cache), got 2 [P1]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// V's token factor is K's.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                     %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{v: expected 1 tensors (v_head_cache), got 2 [P1]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// No cached head factor can carry the scales of V's rows.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                     %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xi8>, %bv: tensor<?x?x1x8xi8>,
                     %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{v: expected 2 tensors (v_token_cache, v_scale_cache), got 1 [P1]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xi8>) v(%bv : tensor<?x?x1x8xi8>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// A learned factor is not cached.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                  %cbk: tensor<?x?x2x8xbf16>, %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{k: expected 1 tensors (k_token), got 2 [P1]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                  %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xbf16>,
                  %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{v: expected 2 tensors (v_head, v_token), got 0 [P1]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

// A learned row is rotated on read, at the keys' cached positions.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = learned, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>, %p: tensor<?xi32>,
                  %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>, %cav: tensor<?x?x2x4xbf16>,
                  %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{outs: expected 4 tensors (k_head_cache, v_head_cache, v_token_cache, key_positions_cache), got 3 [P1]}}
  %r:3 = tpa.append #v k(%ak : tensor<?x2x4xbf16>) v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{q_head: expected element type 'bf16', got 'f32' [P2]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = f8E4M3FN, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{k_token_cache: expected element type 'f8E4M3FN', got 'bf16' [P2]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// Learned factors have the activation type.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<2x4xf32>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{v_head: expected element type 'bf16', got 'f32' [P2]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<2x4xf32>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xf32>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{out: expected element type 'bf16', got 'f32' [P2]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xbf16>) {
  // expected-error @below {{lse: expected element type 'f32', got 'bf16' [P2]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                  %cbk: tensor<?x?x2x8xbf16>, %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{k_token_cache: expected element type 'i8', got 'bf16' [P2]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x9xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{q_token: expected shape [?, 3, 8], got [?, 3, 9] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x9xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// A learned factor has no tokens.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{q_head: expected shape [3, 4], got [?, 3, 4] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{k_head_cache: expected shape [?, ?, 2, 4], got [?, 2, 4] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// Head factors are sliced to the range.
#v = #tpa.variant<name = "t", heads = <4, 1 to 4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x3xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{k_head_cache: expected shape [?, ?, 2, 3], got [?, ?, 2, 4] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x3xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?x?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{positions: expected shape [?], got [?, ?] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?x?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// The output has the features of V.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 6>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x6xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{out: expected shape [?, 4, 6], got [?, 4, 8] [P3]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                  %cbk: tensor<?x?x3x8xbf16>, %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{k_token_cache: expected shape [?, ?, 2, 8], got [?, ?, 3, 8] [P3]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x3x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                     %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>, %av: tensor<?x?x2x4xbf16>,
                     %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{positions: expected a tensor for this variant, got none [P4]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{positions: expected none for this variant, got one [P4]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// V sees K's rows unrotated, so K is rotated on read.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>, v_sees = unrotated,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{key_positions_cache: expected a tensor for this variant, got none [P4]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av : tensor<?x?x2x4xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %kp: tensor<?x?xi32>,
                     %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{key_positions_cache: expected none for this variant, got one [P4]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    key_positions(%kp : tensor<?x?xi32>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>, %cbk: tensor<?x?x2x8xbf16>,
                  %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{positions: expected a tensor for this variant, got none [P4]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<?x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                  %cbk: tensor<?x?x2x8xbf16>, %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{positions: expected none for this variant, got one [P4]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<5x3x4xbf16>, %bq: tensor<6x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{q_token: expected tokens = 5 as in earlier operands, got 6 [P5]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<5x3x4xbf16>, tensor<6x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<0xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{token_start: expected one element more than requests, got none [P6]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<0xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

// token_start has one more element than there are requests.
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<3xi32>,
                     %l: tensor<3xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{lengths: expected batch = 2 as in earlier operands, got 3 [P5]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<3xi32>) lengths(%l : tensor<3xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<3xi32>,
                     %l: tensor<?xi32>, %ak: tensor<1x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{k_head_cache: expected batch = 2 as in earlier operands, got 1 [P5]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<3xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<1x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<?x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x64x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x64x2x4xbf16>, %bv: tensor<?x32x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<?x4xf32>) {
  // expected-error @below {{v_token_cache: expected capacity = 64 as in earlier operands, got 32 [P5]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<?x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x64x2x4xbf16>, tensor<?x?x2x8xbf16>)
    v(%av, %bv : tensor<?x64x2x4xbf16>, tensor<?x32x2x8xbf16>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @attention(%aq: tensor<?x3x4xbf16>, %bq: tensor<5x3x8xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>,
                     %l: tensor<?xi32>, %ak: tensor<?x?x2x4xbf16>, %bk: tensor<?x?x2x8xbf16>,
                     %av: tensor<?x?x2x4xbf16>, %bv: tensor<?x?x2x8xbf16>, %out: tensor<?x4x8xbf16>,
                     %lse: tensor<4x4xf32>) {
  // expected-error @below {{lse: expected tokens = 5 as in earlier operands, got 4 [P5]}}
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xbf16>, tensor<5x3x8xbf16>) positions(%p : tensor<?xi32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>) v(%av, %bv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
    outs(%out, %lse : tensor<?x4x8xbf16>, tensor<4x4xf32>)
  return
}

// -----

#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  rope = <d_rot = 8, base = 10000.0>,
  types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
func.func @append(%ak: tensor<5x2x4xbf16>, %bk: tensor<?x2x8xbf16>, %av: tensor<?x2x4xbf16>, %bv: tensor<?x2x8xbf16>,
                  %p: tensor<7xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cak: tensor<?x?x2x4xbf16>,
                  %cbk: tensor<?x?x2x8xbf16>, %cav: tensor<?x?x2x4xbf16>, %cbv: tensor<?x?x2x8xbf16>) {
  // expected-error @below {{positions: expected tokens = 5 as in earlier operands, got 7 [P5]}}
  %r:4 = tpa.append #v k(%ak, %bk : tensor<5x2x4xbf16>, tensor<?x2x8xbf16>)
    v(%av, %bv : tensor<?x2x4xbf16>, tensor<?x2x8xbf16>) positions(%p : tensor<7xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>)
    outs(%cak, %cbk, %cav, %cbv : tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x8xbf16>)
  return
}

// -----

func.func @merge(%out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{parts: expected one or more, as many as lse, got 0 and 0 [M1]}}
  %r:2 = tpa.merge outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @merge(%o0: tensor<?x4x8xf32>, %o1: tensor<?x4x8xf32>, %l0: tensor<?x4xf32>, %out: tensor<?x4x8xf32>,
                 %lse: tensor<?x4xf32>) {
  // expected-error @below {{parts: expected one or more, as many as lse, got 2 and 1 [M1]}}
  %r:2 = tpa.merge parts(%o0, %o1 : tensor<?x4x8xf32>, tensor<?x4x8xf32>) lse(%l0 : tensor<?x4xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @merge(%o0: tensor<?x4xf32>, %l0: tensor<?x4xf32>, %out: tensor<?x4xf32>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{outs: expected out of shape [tokens, heads, features], got [?, 4] [M2]}}
  %r:2 = tpa.merge parts(%o0 : tensor<?x4xf32>) lse(%l0 : tensor<?x4xf32>)
    outs(%out, %lse : tensor<?x4xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @merge(%o0: tensor<?x4x8xf32>, %o1: tensor<?x4x9xf32>, %l0: tensor<?x4xf32>, %l1: tensor<?x4xf32>,
                 %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{parts: expected shape [?, 4, 8], got [?, 4, 9] [M3]}}
  %r:2 = tpa.merge parts(%o0, %o1 : tensor<?x4x8xf32>, tensor<?x4x9xf32>)
    lse(%l0, %l1 : tensor<?x4xf32>, tensor<?x4xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @merge(%o0: tensor<?x4x8xf32>, %o1: tensor<?x4x8xf32>, %l0: tensor<?x4xf32>, %l1: tensor<?x5xf32>,
                 %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>) {
  // expected-error @below {{lse: expected shape [?, 4], got [?, 5] [M4]}}
  %r:2 = tpa.merge parts(%o0, %o1 : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%l0, %l1 : tensor<?x4xf32>, tensor<?x5xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @merge(%o0: tensor<?x4x8xf32>, %l0: tensor<?x4xf32>, %out: tensor<?x4x8xf32>, %lse: tensor<?xf32>) {
  // expected-error @below {{outs: expected shape [?, 4], got [?] [M4]}}
  %r:2 = tpa.merge parts(%o0 : tensor<?x4x8xf32>) lse(%l0 : tensor<?x4xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?xf32>)
  return
}
