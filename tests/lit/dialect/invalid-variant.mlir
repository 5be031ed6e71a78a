// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// One case per message of #tpa.variant: rules that need more than one of its parts.

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{name: expected a letter, then letters, digits, '_', '.' or '-', got "" [V1]}}
#a = #tpa.variant<name = "", heads = <4>, q = #qkv, k = #qkv, v = #qkv, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{name: expected a letter, then letters, digits, '_', '.' or '-', got "6t" [V1]}}
#a = #tpa.variant<name = "6t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{name: expected a letter, then letters, digits, '_', '.' or '-', got "t6 medium" [V1]}}
#a = #tpa.variant<name = "t6 medium", heads = <4>, q = #qkv, k = #qkv, v = #qkv, types = #types>

// -----

#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>
#kv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{q.token[0].source: expected contextual or learned, got shared: only v shares k's token factor [V2]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #kv, v = #kv, types = #types>

// -----

#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.token[0].source: expected contextual or learned, got shared: only v shares k's token factor [V2]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qv, k = #k, v = #qv, types = #types>

// -----

#q = #tpa.factorization<rank = 3, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>
#kv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{q.rank: expected the number of heads, 4, where head.map is one_hot, got 3 [V3]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #kv, v = #kv, types = #types>

// -----

#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 3, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.rank: expected the number of heads, 4, where head.map is one_hot, got 3 [V3]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qv, k = #k, v = #qv, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 3, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.rank: expected the number of heads, 4, where head.map is one_hot, got 3 [V3]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

#q = #tpa.factorization<rank = 5, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
#kv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{q.rank: expected at most the number of heads, 4, where head.map is groups, got 5 [V4]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #kv, v = #kv, types = #types>

// -----

#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 5, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.rank: expected at most the number of heads, 4, where head.map is groups, got 5 [V4]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qv, k = #k, v = #qv, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 5, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.rank: expected at most the number of heads, 4, where head.map is groups, got 5 [V4]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 3, head = <source = contextual>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.rank: expected k's rank 2 where the token factor is shared, got 3 [V5]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 4>, <source = shared, size = 2>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.token: expected as many small factors as k has, 1, where they are shared, got 2 [V6]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 9>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.token[0].size: expected at most 8, k's size, where the factor is shared, got 9 [V7]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

// At order 3 only the last size may be smaller than that of K.
#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 2>, <source = shared, size = 2>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.token[0].size: expected 4, k's size, where the factor is shared, got 2 [V7]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #k, v = #v, types = #types>

// -----

#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 4>, <source = shared, size = 4>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.token[1].size: expected at most 2, k's size, where the factor is shared, got 4 [V7]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #k, v = #v, types = #types>

// -----

// V would have the local ranks and K all of them.
#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 4, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 4, head = <source = fixed, map = one_hot>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.head: expected both k and v or neither to be one_hot where they share token factors and head_range is a part of the heads, got one [V8]}}
#a = #tpa.variant<name = "t", heads = <4, 0 to 2>, q = #q, k = #k, v = #v, types = #types>

// -----

#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 4, head = <source = contextual>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.head: expected both k and v or neither to be one_hot where they share token factors and head_range is a part of the heads, got one [V8]}}
#a = #tpa.variant<name = "t", heads = <4, 0 to 2>, q = #q, k = #k, v = #v, types = #types>

// -----

#q = #tpa.factorization<rank = 2, head = <source = contextual, function = softmax>, token = [<source = contextual, size = 8>]>
#kv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{q.head.function: expected identity or sigmoid where head_range is a part of the heads, got softmax, which needs all of them [V9]}}
#a = #tpa.variant<name = "t", heads = <4, 2 to 4>, q = #q, k = #kv, v = #kv, types = #types>

// -----

#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual, function = softmax>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.head.function: expected identity or sigmoid where head_range is a part of the heads, got softmax, which needs all of them [V9]}}
#a = #tpa.variant<name = "t", heads = <4, 2 to 4>, q = #qv, k = #k, v = #qv, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual, function = softmax>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v.head.function: expected identity or sigmoid where head_range is a part of the heads, got softmax, which needs all of them [V9]}}
#a = #tpa.variant<name = "t", heads = <4, 2 to 4>, q = #qk, k = #qk, v = #v, types = #types>

// -----

#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.token: expected sizes whose product is q's, 8, got 12 [V10]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qv, k = #k, v = #qv, types = #types>

// -----

#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 2>, <source = contextual, size = 4>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{k.token[0].size: expected q's first size, 4, where both are rotated at order 3 or above, got 2 [V11]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #k, v = #v, rope = <d_rot = 2, base = 10000.0>, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{rope.d_rot: expected offset + d_rot at most 8, the features of the factor rotated, got 0 + 10 [V12]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv,
  rope = <d_rot = 10, base = 10000.0>, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{rope.d_rot: expected offset + d_rot at most 8, the features of the factor rotated, got 4 + 6 [V12]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv,
  rope = <d_rot = 6, offset = 4, base = 10000.0>, types = #types>

// -----

// K's first small factor sets the block.
#qv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{rope.d_rot: expected offset + d_rot at most 4, the features of the factor rotated, got 0 + 6 [V12]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qv, k = #k, v = #qv,
  rope = <d_rot = 6, base = 10000.0>, types = #types>

// -----

// Where K is of order 2, Q's first small factor does.
#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 2>, <source = contextual, size = 4>]>
#kv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{rope.d_rot: expected offset + d_rot at most 2, the features of the factor rotated, got 0 + 4 [V12]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #kv, v = #kv,
  rope = <d_rot = 4, base = 10000.0>, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v_sees: expected rotated or unrotated, since v uses features of k that rope rotates, got none [V13]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v,
  rope = <d_rot = 8, base = 10000.0>, types = #types>

// -----

// At order 3 V uses the whole first small factor.
#q = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#k = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 4>, <source = shared, size = 1>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v_sees: expected rotated or unrotated, since v uses features of k that rope rotates, got none [V13]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #q, k = #k, v = #v,
  rope = <d_rot = 2, offset = 2, base = 10000.0>, types = #types>

// -----

// Multi-head latent attention: the features behind those of V are rotated.
#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 4>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v_sees: expected none, since v uses no feature of k that rope rotates, got rotated [V13]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v,
  rope = <d_rot = 4, offset = 4, base = 10000.0>, v_sees = rotated, types = #types>

// -----

#qk = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#v = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v_sees: expected none, since v uses no feature of k that rope rotates, got unrotated [V13]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qk, k = #qk, v = #v, v_sees = unrotated, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{v_sees: expected none, since v uses no feature of k that rope rotates, got unrotated [V13]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv,
  rope = <d_rot = 8, base = 10000.0>, v_sees = unrotated, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{scale: expected a finite number > 0, got 0 [V14]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, scale = 0.0, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{scale: expected a finite number > 0, got +Inf [V14]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, scale = 0x7FF0000000000000, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{softcap: expected a finite number > 0, got -30 [V15]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, softcap = -30.0, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{softcap: expected a finite number > 0, got NaN [V15]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, softcap = 0x7FF8000000000000, types = #types>

// -----

#qkv = #tpa.factorization<rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>
#types = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
// expected-error @below {{window: expected an integer >= 1, got 0 [V16]}}
#a = #tpa.variant<name = "t", heads = <4>, q = #qkv, k = #qkv, v = #qkv, window = 0, types = #types>
