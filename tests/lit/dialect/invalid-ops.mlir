// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// One case per message of the ops that phases are made of: tpa.contract (C), tpa.head_function (N), tpa.project (J),
// tpa.quantize (Q), tpa.rope (O), tpa.scale_head (S), tpa.store_tokens (K); and of attributes on them (D).

func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{factorization: expected contextual or learned token factors, got shared [C1]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%b: tensor<?x3x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{rank: expected the number of heads, 4, where head.map is one_hot, got 3 [C2]}}
  %r = tpa.contract <rank = 3, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%b: tensor<?x5x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{rank: expected at most the number of heads, 4, where head.map is groups, got 5 [C10]}}
  %r = tpa.contract <rank = 5, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x5x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{head.function: expected identity, since a contraction takes head factors after their function, got sigmoid [C9]}}
  %r = tpa.contract <rank = 2, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{head: expected a tensor, got none [C3]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{head: expected none, since the head factor is fixed, got one [C3]}}
  %r = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{token: expected 2 small factors, got 1 [C4]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<2x4xf32>, %b: tensor<2x8xf32>, %init: tensor<8xf32>) {
  // expected-error @below {{outs: expected shape [.., heads, features], got [8] [C5]}}
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<2x8xf32>) outs(%init : tensor<8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x5xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{head: expected shape [?, 2, 4], got [?, 2, 5] [C6]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x5xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

// Head factors are sliced to the range of heads.
func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x2x8xf32>) {
  // expected-error @below {{head: expected shape [?, 2, 2], got [?, 2, 4] [C6]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4, 2 to 4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x2x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x4xf32>, %b0: tensor<?x2x4xf32>, %b1: tensor<?x2x4xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{token: expected shape [?, 2, 2], got [?, 2, 4] [C6]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b0, %b1 : tensor<?x2x4xf32>, tensor<?x2x4xf32>)
    outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

// A factor has all leading dimensions of the result or none.
func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x?x2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{token: expected shape [?, 2, 8], got [?, ?, 2, 8] [C6]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%b: tensor<?x2x8xi8>, %s: tensor<?x3xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{scale: expected shape [?, 2], got [?, 3] [C6]}}
  %r = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x2x8xi8>) scale(%s : tensor<?x3xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<2x4xf32>, %b: tensor<2x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{outs: expected no token dimensions where all factors are learned, got [?, 4, 8] [C7]}}
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @contract(%a: tensor<?x2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x9xf32>) {
  // expected-error @below {{outs: expected shape [?, 4, 8], got [?, 4, 9] [C8]}}
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x9xf32>)
  return
}

// -----

func.func @contract(%b: tensor<?x3x8xf32>, %init: tensor<?x4x8xf32>) {
  // expected-error @below {{outs: expected shape [?, 3, 8], got [?, 4, 8] [C8]}}
  %r = tpa.contract <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <4, 1 to 4>
    token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return
}

// -----

func.func @head_function(%a: tensor<4xf32>, %init: tensor<4xf32>) {
  // expected-error @below {{ins: expected shape [.., rank, heads], got [4] [N1]}}
  %r = tpa.head_function sigmoid ins(%a : tensor<4xf32>) outs(%init : tensor<4xf32>)
  return
}

// -----

func.func @head_function(%a: tensor<?x2x4xf32>, %init: tensor<?x4x2xf32>) {
  // expected-error @below {{outs: expected shape [?, 2, 4], got [?, 4, 2] [N2]}}
  %r = tpa.head_function softmax ins(%a : tensor<?x2x4xf32>) outs(%init : tensor<?x4x2xf32>)
  return
}

// -----

func.func @project(%x: tensor<f32>, %w: tensor<6x16xf32>, %init: tensor<2x3xf32>) {
  // expected-error @below {{ins: expected input [.., channels] and weight [rows, channels], got [] and [6, 16] [J1]}}
  %r = tpa.project rank_major ins(%x, %w : tensor<f32>, tensor<6x16xf32>) outs(%init : tensor<2x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<2x3x16xf32>, %init: tensor<?x2x3xf32>) {
  // expected-error @below {{ins: expected input [.., channels] and weight [rows, channels], got [?, 16] and [2, 3, 16] [J1]}}
  %r = tpa.project rank_major ins(%x, %w : tensor<?x16xf32>, tensor<2x3x16xf32>) outs(%init : tensor<?x2x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<6x16xf32>, %init: tensor<?x6xf32>) {
  // expected-error @below {{outs: expected the input's shape with two sizes in place of the channels, got [?, 6] for input [?, 16] [J2]}}
  %r = tpa.project rank_major ins(%x, %w : tensor<?x16xf32>, tensor<6x16xf32>) outs(%init : tensor<?x6xf32>)
  return
}

// -----

func.func @project(%x: tensor<5x16xf32>, %w: tensor<6x16xf32>, %init: tensor<7x2x3xf32>) {
  // expected-error @below {{outs: expected the input's shape with two sizes in place of the channels, got [7, 2, 3] for input [5, 16] [J2]}}
  %r = tpa.project rank_major ins(%x, %w : tensor<5x16xf32>, tensor<6x16xf32>) outs(%init : tensor<7x2x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<6x32xbf16>, %init: tensor<?x2x3xf32>) {
  // expected-error @below {{weight: expected 16 channels, got 32 [J3]}}
  %r = tpa.project head_major ins(%x, %w : tensor<?x16xf32>, tensor<6x32xbf16>) outs(%init : tensor<?x2x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<6x16xf32>, %init: tensor<?x?x3xf32>) {
  // expected-error @below {{outs: expected static rank, size and weight rows, got [?, ?, 3] and [6, 16] [J4]}}
  %r = tpa.project head_major ins(%x, %w : tensor<?x16xf32>, tensor<6x16xf32>) outs(%init : tensor<?x?x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<?x16xf32>, %init: tensor<?x2x3xf32>) {
  // expected-error @below {{outs: expected static rank, size and weight rows, got [?, 2, 3] and [?, 16] [J4]}}
  %r = tpa.project head_major ins(%x, %w : tensor<?x16xf32>, tensor<?x16xf32>) outs(%init : tensor<?x2x3xf32>)
  return
}

// -----

func.func @project(%x: tensor<?x16xf32>, %w: tensor<8x16xf32>, %init: tensor<?x2x3xf32>) {
  // expected-error @below {{weight: expected 2 * 3 rows, got 8 [J5]}}
  %r = tpa.project head_major ins(%x, %w : tensor<?x16xf32>, tensor<8x16xf32>) outs(%init : tensor<?x2x3xf32>)
  return
}

// -----

func.func @quantize(%b: tensor<8xf32>, %values: tensor<8xi8>, %scale: tensor<f32>) {
  // expected-error @below {{ins: expected shape [.., rank, features], got [8] [Q1]}}
  %q:2 = tpa.quantize ins(%b : tensor<8xf32>) outs(%values, %scale : tensor<8xi8>, tensor<f32>)
  return
}

// -----

func.func @quantize(%b: tensor<?x2x8xf32>, %values: tensor<?x2x4xf8E4M3FN>, %scale: tensor<?x2xf32>) {
  // expected-error @below {{outs: expected shape [?, 2, 8], got [?, 2, 4] [Q2]}}
  %q:2 = tpa.quantize ins(%b : tensor<?x2x8xf32>) outs(%values, %scale : tensor<?x2x4xf8E4M3FN>, tensor<?x2xf32>)
  return
}

// -----

func.func @quantize(%b: tensor<?x2x8xf32>, %values: tensor<?x2x8xi8>, %scale: tensor<?x2x8xf32>) {
  // expected-error @below {{scale: expected shape [?, 2], got [?, 2, 8] [Q3]}}
  %q:2 = tpa.quantize ins(%b : tensor<?x2x8xf32>) outs(%values, %scale : tensor<?x2x8xi8>, tensor<?x2x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<8xf32>, %p: tensor<?xi32>, %init: tensor<?x8xf32>) {
  // expected-error @below {{ins: expected input [.., rank, features] with the positions' dimensions first, or none, got input [8] and positions [?] [O1]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<?x2x8xf32>, %p: tensor<?x?xi32>, %init: tensor<?x?x2x8xf32>) {
  // expected-error @below {{ins: expected input [.., rank, features] with the positions' dimensions first, or none, got input [?, 2, 8] and positions [?, ?] [O1]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<?x2x8xf32>, tensor<?x?xi32>)
    outs(%init : tensor<?x?x2x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<5x2x8xf32>, %p: tensor<6xi32>, %init: tensor<6x2x8xf32>) {
  // expected-error @below {{ins: expected input [.., rank, features] with the positions' dimensions first, or none, got input [5, 2, 8] and positions [6] [O1]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<5x2x8xf32>, tensor<6xi32>)
    outs(%init : tensor<6x2x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<?x2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x2x8xf32>) {
  // expected-error @below {{block: expected a divisor of the features, got 0 for input [?, 2, 8] [O2]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 0 ins(%b, %p : tensor<?x2x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<?x2x12xf32>, %p: tensor<?xi32>, %init: tensor<?x2x12xf32>) {
  // expected-error @below {{block: expected a divisor of the features, got 8 for input [?, 2, 12] [O2]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<?x2x12xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x12xf32>)
  return
}

// -----

// The features must be known when compiling.
func.func @rope(%b: tensor<?x2x?xf32>, %p: tensor<?xi32>, %init: tensor<?x2x?xf32>) {
  // expected-error @below {{block: expected a divisor of the features, got 8 for input [?, 2, ?] [O2]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<?x2x?xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x?xf32>)
  return
}

// -----

func.func @rope(%b: tensor<?x2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x2x8xf32>) {
  // expected-error @below {{block: expected at least offset + d_rot = 10, got 8 [O3]}}
  %r = tpa.rope <d_rot = 8, offset = 2, base = 10000.0> block 8 ins(%b, %p : tensor<?x2x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x8xf32>)
  return
}

// -----

func.func @rope(%b: tensor<?x2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x2x16xf32>) {
  // expected-error @below {{outs: expected shape [?, 2, 8], got [?, 2, 16] [O4]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<?x2x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x16xf32>)
  return
}

// -----

// A rotated learned factor has a row per token.
func.func @rope(%b: tensor<2x8xf32>, %p: tensor<?xi32>, %init: tensor<2x8xf32>) {
  // expected-error @below {{outs: expected shape [?, 2, 8], got [2, 8] [O4]}}
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%b, %p : tensor<2x8xf32>, tensor<?xi32>)
    outs(%init : tensor<2x8xf32>)
  return
}

// -----

func.func @scale_head(%a: tensor<4xf32>, %s: tensor<f32>, %init: tensor<4xf32>) {
  // expected-error @below {{ins: expected head [.., rank, heads], got [4] [S1]}}
  %r = tpa.scale_head ins(%a, %s : tensor<4xf32>, tensor<f32>) outs(%init : tensor<4xf32>)
  return
}

// -----

func.func @scale_head(%a: tensor<?x2x4xf32>, %s: tensor<?x4xf32>, %init: tensor<?x2x4xf32>) {
  // expected-error @below {{scale: expected shape [?, 2], got [?, 4] [S2]}}
  %r = tpa.scale_head ins(%a, %s : tensor<?x2x4xf32>, tensor<?x4xf32>) outs(%init : tensor<?x2x4xf32>)
  return
}

// -----

func.func @scale_head(%a: tensor<?x2x4xf32>, %s: tensor<?x2xf32>, %init: tensor<?x4xf32>) {
  // expected-error @below {{outs: expected shape [?, 2, 4], got [?, 4] [S3]}}
  %r = tpa.scale_head ins(%a, %s : tensor<?x2x4xf32>, tensor<?x2xf32>) outs(%init : tensor<?x4xf32>)
  return
}

// -----

func.func @store_tokens(%x: tensor<?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x2x8xbf16>) {
  // expected-error @below {{outs: expected [batch, capacity] followed by the input's sizes per token, got [?, 2, 8] for input [?, 2, 8] [K1]}}
  %r = tpa.store_tokens ins(%x : tensor<?x2x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x2x8xbf16>)
  return
}

// -----

func.func @store_tokens(%x: tensor<?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?x2x9xbf16>) {
  // expected-error @below {{outs: expected [batch, capacity] followed by the input's sizes per token, got [?, ?, 2, 9] for input [?, 2, 8] [K1]}}
  %r = tpa.store_tokens ins(%x : tensor<?x2x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x2x9xbf16>)
  return
}

// -----

func.func @store_tokens(%x: tensor<f32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?xf32>) {
  // expected-error @below {{outs: expected [batch, capacity] followed by the input's sizes per token, got [?] for input [] [K1]}}
  %r = tpa.store_tokens ins(%x : tensor<f32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?xf32>)
  return
}

// -----

func.func @store_tokens(%x: tensor<?x2x8xf32>, %s: tensor<?x2xi32>, %l: tensor<?xi32>, %cache: tensor<?x?x2x8xf32>) {
  // expected-error @below {{token_start: expected token_start [batch + 1] and lengths [batch], got [?, 2] and [?] [K2]}}
  %r = tpa.store_tokens ins(%x : tensor<?x2x8xf32>) token_start(%s : tensor<?x2xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x2x8xf32>)
  return
}

// -----

func.func @store_tokens(%x: tensor<?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<i32>, %cache: tensor<?x?x2x8xf32>) {
  // expected-error @below {{token_start: expected token_start [batch + 1] and lengths [batch], got [?] and [] [K2]}}
  %r = tpa.store_tokens ins(%x : tensor<?x2x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<i32>)
    outs(%cache : tensor<?x?x2x8xf32>)
  return
}

// -----

// Rows are quantised by tpa.quantize, which makes their scales.
func.func @store_tokens(%x: tensor<?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                        %cache: tensor<?x?x2x8xf8E4M3FN>) {
  // expected-error @below {{outs: expected the input's element type or a conversion between f64, f32, bf16 and f16, got 'f32' to 'f8E4M3FN' [K3]}}
  %r = tpa.store_tokens ins(%x : tensor<?x2x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x2x8xf8E4M3FN>)
  return
}

// -----

func.func @store_tokens(%x: tensor<?xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?xi32>) {
  // expected-error @below {{outs: expected the input's element type or a conversion between f64, f32, bf16 and f16, got 'f32' to 'i32' [K3]}}
  %r = tpa.store_tokens ins(%x : tensor<?xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?xi32>)
  return
}

// -----

// expected-error @below {{tpa.schedule: expected #tpa.schedule on tpa.append, tpa.attention or tpa.merge, got 3 : i64 [D1]}}
func.func private @misplaced() attributes {tpa.schedule = 3 : i64}

// -----

func.func @merge(%p: tensor<?x4x8xf32>, %l: tensor<?x4xf32>) -> tensor<?x4x8xf32> {
  // expected-error @below {{tpa.schedule: expected #tpa.schedule on tpa.append, tpa.attention or tpa.merge, got "fast" [D1]}}
  %r:2 = tpa.merge parts(%p : tensor<?x4x8xf32>) lse(%l : tensor<?x4xf32>) outs(%p, %l : tensor<?x4x8xf32>, tensor<?x4xf32>) {tpa.schedule = "fast"}
  return %r#0 : tensor<?x4x8xf32>
}

// -----

// expected-error @below {{tpa.variant: expected #tpa.variant on builtin.module, got "t6" [D2]}}
module attributes {tpa.variant = "t6"} {}

// -----

// expected-error @below {{"tpa.schedul": expected tpa.schedule or tpa.variant [D3]}}
func.func private @misspelt() attributes {tpa.schedul = 3 : i64}

// -----

func.func @load_pages(%pool: tensor<?x?x8xf32>, %t: tensor<?x?xi32>, %l: tensor<?xi32>, %init: tensor<?x?x8xf32>) {
  // expected-error @below {{expected a pool [pages, page size, ...] with a size >= 1 that is known, for a cache [batch, capacity, ...], got [?, ?, 8] for [?, ?, 8] [K4]}}
  %r = tpa.load_pages ins(%pool, %t : tensor<?x?x8xf32>, tensor<?x?xi32>) lengths(%l : tensor<?xi32>)
    outs(%init : tensor<?x?x8xf32>)
  return
}

// -----

func.func @load_pages(%pool: tensor<?x4x8xf32>, %t: tensor<?xi32>, %l: tensor<?xi32>, %init: tensor<?x?x8xf32>) {
  // expected-error @below {{expected a table [batch, entries] and lengths [batch], got [?] and [?] [K5]}}
  %r = tpa.load_pages ins(%pool, %t : tensor<?x4x8xf32>, tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%init : tensor<?x?x8xf32>)
  return
}

// -----

func.func @store_pages(%x: tensor<?x?x8xf32>, %t: tensor<?x?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                       %pool: tensor<?x4x8xbf16>) {
  // expected-error @below {{expected a pool of the cache's element type 'f32', got 'bf16' [K6]}}
  %r = tpa.store_pages ins(%x, %t : tensor<?x?x8xf32>, tensor<?x?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x4x8xbf16>)
  return
}

// -----

func.func @load_pages(%pool: tensor<?x4x8xf32>, %t: tensor<?x?xi32>, %s: tensor<i32>, %l: tensor<?xi32>,
                      %init: tensor<?x?x8xf32>) {
  // expected-error @below {{expected page_starts [batch + 1] or empty, got [] [K8]}}
  %r = tpa.load_pages ins(%pool, %t : tensor<?x4x8xf32>, tensor<?x?xi32>) page_starts(%s : tensor<i32>)
    lengths(%l : tensor<?xi32>) outs(%init : tensor<?x?x8xf32>)
  return
}

// -----

func.func @store_pages(%x: tensor<?x?x8xf32>, %t: tensor<?x?xi32>, %s: tensor<i32>, %l: tensor<?xi32>,
                       %pool: tensor<?x4x8xf32>) {
  // expected-error @below {{expected token_start [batch + 1], got [] [K7]}}
  %r = tpa.store_pages ins(%x, %t : tensor<?x?x8xf32>, tensor<?x?xi32>) token_start(%s : tensor<i32>)
    lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x4x8xf32>)
  return
}
