// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// One case per message of the attributes that stand for themselves. Variants are in invalid-variant.mlir.

// Attribute heads.

// expected-error @below {{heads: expected an integer between 1 and 1048576, got 0 [H1]}}
#a = #tpa.heads<0>

// -----

// expected-error @below {{heads: expected an integer between 1 and 1048576, got 1048577 [H1]}}
#a = #tpa.heads<1048577>

// -----

// expected-error @below {{head_range: expected 0 <= begin < end <= 47, got [12, 48] [H2]}}
#a = #tpa.heads<47, 12 to 48>

// -----

// expected-error @below {{head_range: expected 0 <= begin < end <= 47, got [12, 12] [H2]}}
#a = #tpa.heads<47, 12 to 12>

// -----

// expected-error @below {{head_range: expected 0 <= begin < end <= 47, got [-1, 12] [H2]}}
#a = #tpa.heads<47, -1 to 12>

// -----

// Attribute rope.

// expected-error @below {{direction: expected 1 or -1, got 0 [R1]}}
#a = #tpa.rope<direction = 0, d_rot = 64, base = 10000.0>

// -----

// expected-error @below {{d_rot: expected an even integer between 2 and 1048576, got 7 [R2]}}
#a = #tpa.rope<d_rot = 7, base = 10000.0>

// -----

// expected-error @below {{d_rot: expected an even integer between 2 and 1048576, got 0 [R2]}}
#a = #tpa.rope<d_rot = 0, base = 10000.0>

// -----

// expected-error @below {{offset: expected an integer between 0 and 1048576, got -2 [R3]}}
#a = #tpa.rope<d_rot = 4, offset = -2, base = 10000.0>

// -----

// expected-error @below {{base: expected exactly one of base and inv_freq, got both [R4]}}
#a = #tpa.rope<d_rot = 4, base = 10000.0, inv_freq = [1.0, 0.5]>

// -----

// expected-error @below {{base: expected exactly one of base and inv_freq, got neither [R4]}}
#a = #tpa.rope<d_rot = 4>

// -----

// expected-error @below {{base: expected a finite number > 0, got -1 [R5]}}
#a = #tpa.rope<d_rot = 4, base = -1.0>

// -----

// expected-error @below {{base: expected a finite number > 0, got +Inf [R5]}}
#a = #tpa.rope<d_rot = 4, base = 0x7FF0000000000000>

// -----

// expected-error @below {{inv_freq: expected d_rot/2 = 2 frequencies, got 3 [R6]}}
#a = #tpa.rope<d_rot = 4, inv_freq = [1.0, 0.5, 0.25]>

// -----

// expected-error @below {{inv_freq: expected finite numbers, got one that is not [R7]}}
#a = #tpa.rope<d_rot = 4, inv_freq = [1.0, 0x7FF8000000000000]>

// -----

// expected-error @below {{amplitude: expected a finite number > 0, got 0 [R8]}}
#a = #tpa.rope<d_rot = 4, base = 10000.0, amplitude = 0.0>

// -----

// Attribute head_factor.

// expected-error @below {{source: expected contextual, learned or fixed, got shared: head factors are never shared [A1]}}
#a = #tpa.head_factor<source = shared>

// -----

// expected-error @below {{map: expected one of one_hot, groups, ones where source is fixed and none elsewhere, got none with source fixed [A2]}}
#a = #tpa.head_factor<source = fixed>

// -----

// expected-error @below {{map: expected one of one_hot, groups, ones where source is fixed and none elsewhere, got groups with source learned [A2]}}
#a = #tpa.head_factor<source = learned, map = groups>

// -----

// expected-error @below {{function: expected identity where source is fixed, got sigmoid [A3]}}
#a = #tpa.head_factor<source = fixed, map = ones, function = sigmoid>

// -----

// Attribute token_factor.

// expected-error @below {{source: expected contextual, learned or shared, got fixed: token factors are never fixed [B1]}}
#a = #tpa.token_factor<source = fixed, size = 64>

// -----

// expected-error @below {{size: expected an integer between 1 and 1048576, got 0 [B2]}}
#a = #tpa.token_factor<source = contextual, size = 0>

// -----

// Attribute factorization.

// expected-error @below {{rank: expected an integer between 1 and 1048576, got 0 [F1]}}
#a = #tpa.factorization<rank = 0, head = <source = contextual>, token = [<source = contextual, size = 64>]>

// -----

// expected-error @below {{rank: expected 1 where head.map is ones, got 2 [F2]}}
#a = #tpa.factorization<rank = 2, head = <source = fixed, map = ones>, token = [<source = contextual, size = 64>]>

// -----

// expected-error @below {{token: expected at least one small factor, got none [F3]}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>, token = []>

// -----

// expected-error @below {{token[1].source: expected all small factors shared or none, got contextual after shared [F4]}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>,
  token = [<source = shared, size = 32>, <source = contextual, size = 2>]>

// -----

// expected-error @below {{token[2].source: expected all small factors shared or none, got shared after learned [F4]}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>,
  token = [<source = learned, size = 32>, <source = contextual, size = 2>, <source = shared, size = 2>]>

// -----

// expected-error @below {{token: expected sizes whose product is at most 1048576, got more [F5]}}
#a = #tpa.factorization<rank = 2, head = <source = contextual>,
  token = [<source = contextual, size = 1048576>, <source = contextual, size = 2>]>

// -----

// Attribute types.

// expected-error @below {{activation: expected f64, f32, bf16 or f16, got 'i32' [T1]}}
#a = #tpa.types<activation = i32, head = bf16, token = bf16, output = bf16, compute = f32>

// -----

// expected-error @below {{head: expected f64, f32, bf16 or f16, got 'f8E4M3FN' [T1]}}
#a = #tpa.types<activation = bf16, head = f8E4M3FN, token = bf16, output = bf16, compute = f32>

// -----

// expected-error @below {{output: expected f64, f32, bf16 or f16, got 'i8' [T1]}}
#a = #tpa.types<activation = bf16, head = bf16, token = bf16, output = i8, compute = f32>

// -----

// expected-error @below {{token: expected f64, f32, bf16 or f16, f8E4M3FN or i8, got 'f8E5M2' [T2]}}
#a = #tpa.types<activation = bf16, head = bf16, token = f8E5M2, output = bf16, compute = f32>

// -----

// A signed integer type is not the i8 of a cache.
// expected-error @below {{token: expected f64, f32, bf16 or f16, f8E4M3FN or i8, got 'si8' [T2]}}
#a = #tpa.types<activation = bf16, head = bf16, token = si8, output = bf16, compute = f32>

// -----

// expected-error @below {{compute: expected f32 or f64, got 'bf16' [T3]}}
#a = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = bf16>

// -----

// expected-error @below {{compute: expected f64 where another type is f64, got 'f32' [T4]}}
#a = #tpa.types<activation = f32, head = f32, token = f64, output = f32, compute = f32>

// -----

// expected-error @below {{tokens: expected an integer between 1 and 1048576, got 0 [G1]}}
#a = #tpa.schedule<tokens = 0, queries = 1, heads = 4, operands = f32>

// -----

// expected-error @below {{operands: expected f64, f32, bf16 or f16, got 'i8' [G2]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = i8>

// -----

// expected-error @below {{query_parts: expected 1 or 2, got 3 [G3]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, query_parts = 3>

// -----

// expected-error @below {{split: expected 0 or a multiple of tokens = 16, at most 1048576, got 24 [G4]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, split = 24>

// -----

// expected-error @below {{value_block: expected 0 or a power of two from 2 to 64, got 24 [G5]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, value_block = 24>

// -----

// expected-error @below {{value_block: expected 0 or a power of two from 2 to 64, got 1 [G5]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, value_block = 1>

// -----

// expected-error @below {{stages: expected an integer between 1 and 64, got 0 [G6]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, stages = 0>

// -----

// expected-error @below {{page_size: expected 0 or a multiple of 32, at most 1048576, got 48 [G7]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, value_block = 32, page_size = 48>

// -----

// expected-error @below {{item_heads: expected 0 or a multiple of heads = 4, at most 1048576, got 6 [G8]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, item_heads = 6>

// -----

// expected-error @below {{item_heads: expected 0 where a cache is split, got 8 [G9]}}
#a = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = bf16, item_heads = 8, split = 32>
