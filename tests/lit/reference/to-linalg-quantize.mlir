// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.quantize as linalg ops: the largest magnitude of each row, its scale, the rounded values.

// CHECK-LABEL: func.func @int8(
// CHECK: %[[LARGEST:.*]] = linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0 :
// CHECK: math.absf
// CHECK: arith.maximumf
// CHECK: %[[SCALE:.*]] = linalg.generic {{.*}} ins(%[[LARGEST]] : tensor<?x2xf32>) outs(%arg2 : tensor<?x2xf32>)
// CHECK: ^bb0(%[[IN:.*]]: f32, %{{.*}}: f32):
// CHECK: %[[Q:.*]] = arith.constant 1.270000e+02 : f32
// CHECK: %[[RATIO:.*]] = arith.divf %[[IN]], %[[Q]]
// CHECK: %[[IS_ZERO:.*]] = arith.cmpf oeq, %[[RATIO]],
// CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
// CHECK: arith.select %[[IS_ZERO]], %[[ONE]], %[[RATIO]]
// CHECK: %[[VALUES:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>,
// CHECK-SAME: affine_map<(d0, d1, d2) -> (d0, d1)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>],
// CHECK-SAME: ins(%arg0, %[[SCALE]] : {{.*}} outs(%arg1 : tensor<?x2x8xi8>)
// CHECK: ^bb0(%[[IN:.*]]: f32, %[[SCALE_IN:.*]]: f32, %{{.*}}: i8):
// CHECK: %[[X:.*]] = arith.divf %[[IN]], %[[SCALE_IN]]
// CHECK: %[[ROUNDED:.*]] = math.roundeven %[[X]]
// CHECK: arith.fptosi {{.*}} : f32 to i8
// CHECK: return %[[VALUES]], %[[SCALE]]
func.func @int8(%b: tensor<?x2x8xf32>, %q: tensor<?x2x8xi8>, %s: tensor<?x2xf32>) -> (tensor<?x2x8xi8>, tensor<?x2xf32>) {
  %r:2 = tpa.quantize ins(%b : tensor<?x2x8xf32>) outs(%q, %s : tensor<?x2x8xi8>, tensor<?x2xf32>)
  return %r#0, %r#1 : tensor<?x2x8xi8>, tensor<?x2xf32>
}

// Encoding fp8 is integer arithmetic on the bits of an f32: no target needs the instruction, and no library is called.
// CHECK-LABEL: func.func @fp8(
// CHECK: arith.constant 4.480000e+02 : f32
// CHECK-NOT: arith.truncf
// The value times 2^-120 has the fp8's fields at bit 20 of an f32; to nearest, ties to even; not above 448.
// CHECK: %[[SHRINK:.*]] = arith.constant 7.52316385E-37 : f32
// CHECK: %[[SMALL:.*]] = arith.mulf %{{.*}}, %[[SHRINK]]
// CHECK: %[[BITS:.*]] = arith.bitcast %[[SMALL]] : f32 to i32
// CHECK: %[[SHIFTED:.*]] = arith.shrui %[[BITS]], %c20_i32
// CHECK: %[[ODD:.*]] = arith.andi %[[SHIFTED]], %c1_i32
// CHECK: %[[HALF:.*]] = arith.addi %[[BITS]], %c524287_i32
// CHECK: %[[ROUNDED:.*]] = arith.addi %[[HALF]], %[[ODD]]
// CHECK: %[[CODE:.*]] = arith.shrui %[[ROUNDED]], %c20_i32
// CHECK: %[[SATURATED:.*]] = arith.minui %[[CODE]], %c126_i32
// CHECK: arith.andi %{{.*}}, %c128_i32
// CHECK: arith.ori %[[SATURATED]],
// CHECK: arith.bitcast {{.*}} : i8 to f8E4M3FN
func.func @fp8(%b: tensor<?x2x8xbf16>, %q: tensor<?x2x8xf8E4M3FN>, %s: tensor<?x2xf32>)
    -> (tensor<?x2x8xf8E4M3FN>, tensor<?x2xf32>) {
  %r:2 = tpa.quantize ins(%b : tensor<?x2x8xbf16>) outs(%q, %s : tensor<?x2x8xf8E4M3FN>, tensor<?x2xf32>)
  return %r#0, %r#1 : tensor<?x2x8xf8E4M3FN>, tensor<?x2xf32>
}

// Reading it back: the bits, shifted into an f32's, times 2^120.
// CHECK-LABEL: func.func @read_fp8(
// CHECK-NOT: arith.extf
// CHECK: %[[BITS:.*]] = arith.bitcast {{.*}} : f8E4M3FN to i8
// CHECK: %[[WIDE:.*]] = arith.extui %[[BITS]] : i8 to i32
// CHECK: %[[SHIFT:.*]] = arith.constant 20 : i32
// CHECK: %[[SHIFTED:.*]] = arith.shli {{.*}}, %[[SHIFT]]
// CHECK: %[[FLOAT:.*]] = arith.bitcast %[[SHIFTED]] : i32 to f32
// CHECK: %[[GROW:.*]] = arith.constant 1.329228E+36 : f32
// CHECK: %[[MAGNITUDE:.*]] = arith.mulf %[[FLOAT]], %[[GROW]]
// CHECK: %[[MINUS:.*]] = arith.negf %[[MAGNITUDE]]
// CHECK: %[[VALUE:.*]] = arith.select {{.*}}, %[[MINUS]], %[[MAGNITUDE]]
// CHECK: arith.constant 127 : i32
// CHECK: arith.constant 0x7FC00000 : f32
func.func @read_fp8(%b: tensor<?x1x8xf8E4M3FN>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %r = tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x1x8xf8E4M3FN>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}
