// RUN: tpa-opt %s | tpa-opt | FileCheck %s
// RUN: tpa-opt %s -mlir-print-op-generic | tpa-opt | FileCheck %s
// RUN: tpa-opt %s --verify-roundtrip -o /dev/null
//
// Every attribute, every case of every enumeration, every field given and left out. Fields at their defaults are not printed.

// CHECK-LABEL: func.func private @heads()
// CHECK-SAME: all = #tpa.heads<47>
// CHECK-SAME: one = #tpa.heads<1>
// CHECK-SAME: some = #tpa.heads<48, 12 to 24>
// CHECK-SAME: whole = #tpa.heads<48>
func.func private @heads() attributes {
  all = #tpa.heads<47>,
  one = #tpa.heads<1>,
  some = #tpa.heads<48, 12 to 24>,
  whole = #tpa.heads<48, 0 to 48>
}

// CHECK-LABEL: func.func private @rope()
// CHECK-SAME: defaults = #tpa.rope<d_rot = 64, base = 1.000000e+04>
// CHECK-SAME: given = #tpa.rope<d_rot = 64, base = 1.000000e+04>
// CHECK-SAME: precise = #tpa.rope<d_rot = 2, base = 10000.000000000002>
// CHECK-SAME: rest = #tpa.rope<layout = interleaved, direction = 1, d_rot = 16, offset = 48, base = 5.000000e+05, amplitude = 1.250000e+00>
// CHECK-SAME: table = #tpa.rope<d_rot = 4, inv_freq = [1.000000e+00, 1.000000e-02], amplitude = 1.1386294361119891>
func.func private @rope() attributes {
  defaults = #tpa.rope<d_rot = 64, base = 10000.0>,
  given = #tpa.rope<layout = half, direction = -1, d_rot = 64, offset = 0, base = 10000.0>,
  precise = #tpa.rope<d_rot = 2, base = 10000.000000000002>,
  rest = #tpa.rope<layout = interleaved, direction = 1, d_rot = 16, offset = 48, base = 500000.0, amplitude = 1.25>,
  table = #tpa.rope<d_rot = 4, inv_freq = [1.0, 0.01], amplitude = 1.138629436111989>
}

// CHECK-LABEL: func.func private @head_factor()
// CHECK-SAME: contextual = #tpa.head_factor<source = contextual>
// CHECK-SAME: groups = #tpa.head_factor<source = fixed, map = groups>
// CHECK-SAME: identity = #tpa.head_factor<source = contextual>
// CHECK-SAME: learned = #tpa.head_factor<source = learned>
// CHECK-SAME: one_hot = #tpa.head_factor<source = fixed, map = one_hot>
// CHECK-SAME: ones = #tpa.head_factor<source = fixed, map = ones>
// CHECK-SAME: sigmoid = #tpa.head_factor<source = contextual, function = sigmoid>
// CHECK-SAME: softmax = #tpa.head_factor<source = learned, function = softmax>
func.func private @head_factor() attributes {
  contextual = #tpa.head_factor<source = contextual>,
  groups = #tpa.head_factor<source = fixed, map = groups>,
  identity = #tpa.head_factor<source = contextual, function = identity>,
  learned = #tpa.head_factor<source = learned>,
  one_hot = #tpa.head_factor<source = fixed, map = one_hot>,
  ones = #tpa.head_factor<source = fixed, map = ones>,
  sigmoid = #tpa.head_factor<source = contextual, function = sigmoid>,
  softmax = #tpa.head_factor<source = learned, function = softmax>
}

// CHECK-LABEL: func.func private @token_factor()
// CHECK-SAME: contextual = #tpa.token_factor<source = contextual, size = 64>
// CHECK-SAME: learned = #tpa.token_factor<source = learned, size = 1>
// CHECK-SAME: shared = #tpa.token_factor<source = shared, size = 512>
func.func private @token_factor() attributes {
  contextual = #tpa.token_factor<source = contextual, size = 64>,
  learned = #tpa.token_factor<source = learned, size = 1>,
  shared = #tpa.token_factor<source = shared, size = 512>
}

// CHECK-LABEL: func.func private @factorization()
// CHECK-SAME: folded = #tpa.factorization<rank = 2, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 64>]>
// CHECK-SAME: order2 = #tpa.factorization<rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>
// CHECK-SAME: order3 = #tpa.factorization<rank = 2, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 32>, <source = learned, size = 2>]>
// CHECK-SAME: order4 = #tpa.factorization<rank = 1, head = <source = fixed, map = ones>, token = [<source = shared, size = 16>, <source = shared, size = 2>, <source = shared, size = 2>]>
func.func private @factorization() attributes {
  folded = #tpa.factorization<rank = 2, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
  order2 = #tpa.factorization<rank = 6, normalized = true, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
  order3 = #tpa.factorization<rank = 2, head = <source = learned, function = sigmoid>,
    token = [<source = contextual, size = 32>, <source = learned, size = 2>]>,
  order4 = #tpa.factorization<rank = 1, head = <source = fixed, map = ones>,
    token = [<source = shared, size = 16>, <source = shared, size = 2>, <source = shared, size = 2>]>
}

// CHECK-LABEL: func.func private @types()
// CHECK-SAME: double = #tpa.types<activation = f64, head = f64, token = f64, output = f64, compute = f64>
// CHECK-SAME: fp8 = #tpa.types<activation = f16, head = f16, token = f8E4M3FN, output = f32, compute = f32>
// CHECK-SAME: int8 = #tpa.types<activation = bf16, head = f32, token = i8, output = bf16, compute = f64>
// CHECK-SAME: published = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
func.func private @types() attributes {
  double = #tpa.types<activation = f64, head = f64, token = f64, output = f64, compute = f64>,
  fp8 = #tpa.types<activation = f16, head = f16, token = f8E4M3FN, output = f32, compute = f32>,
  int8 = #tpa.types<activation = bf16, head = f32, token = i8, output = bf16, compute = f64>,
  published = #tpa.types<activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>
}

// CHECK-LABEL: func.func private @schedule()
// CHECK-SAME: blocks = #tpa.schedule<tokens = 128, queries = 1, heads = 32, operands = bf16, query_parts = 2, split = 8192, value_block = 32>
// CHECK-SAME: pages = #tpa.schedule<tokens = 16, queries = 1, heads = 32, operands = f32, value_block = 32, page_size = 96>
// CHECK-SAME: rows = #tpa.schedule<tokens = 16, queries = 4, heads = 47, score = rebuilt, value = rebuilt, operands = f32>
func.func private @schedule() attributes {
  blocks = #tpa.schedule<tokens = 128, queries = 1, heads = 32, score = merged, operands = bf16, query_parts = 2, split = 8192, value_block = 32>,
  pages = #tpa.schedule<tokens = 16, queries = 1, heads = 32, operands = f32, value_block = 32, page_size = 96>,
  rows = #tpa.schedule<tokens = 16, queries = 4, heads = 47, score = rebuilt, value = rebuilt, operands = f32, value_block = 0>
}

// CHECK-LABEL: func.func private @enums()
// CHECK-SAME: head_major = #tpa<weight_rows head_major>
// CHECK-SAME: identity = #tpa<head_function identity>
// CHECK-SAME: rank_major = #tpa<weight_rows rank_major>
// CHECK-SAME: sigmoid = #tpa<head_function sigmoid>
// CHECK-SAME: softmax = #tpa<head_function softmax>
func.func private @enums() attributes {
  head_major = #tpa<weight_rows head_major>,
  identity = #tpa<head_function identity>,
  rank_major = #tpa<weight_rows rank_major>,
  sigmoid = #tpa<head_function sigmoid>,
  softmax = #tpa<head_function softmax>
}
