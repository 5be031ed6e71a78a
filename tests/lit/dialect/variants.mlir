// RUN: tpa-opt %s | tpa-opt | FileCheck %s
// RUN: tpa-opt %s -mlir-print-op-generic | tpa-opt | FileCheck %s
// RUN: tpa-opt %s --verify-roundtrip -o /dev/null
//
// Members of the family as #tpa.variant: all fields, and fields left out. Variants are printed as aliases at the top of the file.

// Published T6: every field at its default.
// CHECK-DAG: [[T6:#[a-z0-9]+]] = #tpa.variant<name = "t6", heads = <47>, q = <rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>, rope = <d_rot = 64, base = 1.000000e+04>, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-DAG: [[ALL:#[a-z0-9]+]] = #tpa.variant<name = "all-fields_1.0", heads = <48, 12 to 24>, q = <rank = 3, normalized = false, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 8>, <source = learned, size = 2>]>, k = <rank = 5, head = <source = contextual>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>, v = <rank = 5, head = <source = fixed, map = groups>, token = [<source = shared, size = 8>, <source = shared, size = 1>]>, rope = <layout = interleaved, direction = 1, d_rot = 4, offset = 2, base = 5.000000e+05, amplitude = 1.250000e+00>, v_sees = unrotated, scale = 1.250000e-01, softcap = 3.000000e+01, causal = false, window = 1024, query_precision = storage, head_factor_rows = rank_major, types = <activation = f16, head = f32, token = f8E4M3FN, output = f32, compute = f32>>
// CHECK-DAG: [[MLA:#[a-z0-9]+]] = #tpa.variant<name = "mla", heads = <16>, q = <rank = 16, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 576>]>, k = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 576>]>, v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = shared, size = 512>]>, rope = <d_rot = 64, offset = 512, base = 1.000000e+04>, scale = 0.072168783648703216, types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
// CHECK-DAG: [[SHARED:#[a-z0-9]+]] = #tpa.variant<name = "shared", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual, function = softmax>, token = [<source = shared, size = 4>]>, rope = <d_rot = 2, base = 1.000000e+04>, v_sees = rotated, types = <activation = f64, head = f64, token = i8, output = f64, compute = f64>>
// CHECK-DAG: [[ORDER4:#[a-z0-9]+]] = #tpa.variant<name = "order4", heads = <34>, q = <rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>, k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>, <source = contextual, size = 2>, <source = contextual, size = 2>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 48>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// CHECK-LABEL: func.func private @variants()
// CHECK-SAME: all = [[ALL]], mla = [[MLA]], order4 = [[ORDER4]], shared = [[SHARED]], t6 = [[T6]]
func.func private @variants() attributes {
  all = #tpa.variant<name = "all-fields_1.0", heads = <48, 12 to 24>,
    q = <rank = 3, normalized = false, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 8>, <source = learned, size = 2>]>,
    k = <rank = 5, head = <source = contextual>, token = [<source = contextual, size = 8>, <source = contextual, size = 2>]>,
    v = <rank = 5, head = <source = fixed, map = groups>, token = [<source = shared, size = 8>, <source = shared, size = 1>]>,
    rope = <layout = interleaved, direction = 1, d_rot = 4, offset = 2, base = 500000.0, amplitude = 1.25>,
    v_sees = unrotated, scale = 0.125, softcap = 30.0, causal = false, window = 1024, query_precision = storage,
    head_factor_rows = rank_major, types = <activation = f16, head = f32, token = f8E4M3FN, output = f32, compute = f32>>,
  // The features that RoPE rotates stand behind those of V, so v_sees is not given.
  mla = #tpa.variant<name = "mla", heads = <16>,
    q = <rank = 16, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 576>]>,
    k = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 576>]>,
    v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = shared, size = 512>]>,
    rope = <d_rot = 64, offset = 512, base = 10000.0>, scale = 0.072168783648703216,
    types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>,
  // Orders may differ between Q, K and V, and E from D.
  order4 = #tpa.variant<name = "order4", heads = <34>,
    q = <rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
    k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>, <source = contextual, size = 2>, <source = contextual, size = 2>]>,
    v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 48>]>,
    types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>,
  shared = #tpa.variant<name = "shared", heads = <4>,
    q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
    k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
    v = <rank = 2, head = <source = contextual, function = softmax>, token = [<source = shared, size = 4>]>,
    rope = <d_rot = 2, base = 10000.0>, v_sees = rotated,
    types = <activation = f64, head = f64, token = i8, output = f64, compute = f64>>,
  t6 = #tpa.variant<name = "t6", heads = <47, 0 to 47>,
    q = <rank = 6, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
    k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
    v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]>,
    rope = <d_rot = 64, base = 10000.0>, causal = true, query_precision = full, head_factor_rows = head_major,
    types = <activation = bf16, head = bf16, token = bf16, output = bf16, compute = f32>>
}
