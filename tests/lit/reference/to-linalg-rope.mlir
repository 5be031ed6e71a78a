// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.rope as a linalg.generic that reads a feature and its partner. Angles are formed in f64.

// Pairs (j, j + 2) of the four features from 2 on, in each block of 8; direction -1: x1 cos + x2 sin, x2 cos - x1 sin.
// CHECK-LABEL: func.func @half(
// CHECK-SAME: %[[B:arg0]]:{{.*}} %[[P:arg1]]:{{.*}} %[[INIT:arg2]]:
// CHECK: %[[TABLE:.*]] = arith.constant dense<[1.000000e+00, 5.000000e-01]> : tensor<2xf64>
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>],
// CHECK-SAME: ins(%[[P]] : tensor<?xi32>) outs(%[[INIT]] :
// CHECK-NEXT: ^bb0(%[[POSITION:.*]]: i32,
// CHECK-DAG: %[[T:.*]] = linalg.index 0
// CHECK-DAG: %[[R:.*]] = linalg.index 1
// CHECK-DAG: %[[FEATURE:.*]] = linalg.index 2
// CHECK: %[[BLOCK:.*]] = arith.constant 8 : index
// CHECK: %[[IN_BLOCK:.*]] = arith.remui %[[FEATURE]], %[[BLOCK]]
// CHECK: %[[OFFSET:.*]] = arith.constant 2 : index
// CHECK: %[[FROM_OFFSET:.*]] = arith.subi %[[IN_BLOCK]], %[[OFFSET]]
// CHECK: %[[D_ROT:.*]] = arith.constant 4 : index
// CHECK: %[[ROTATED:.*]] = arith.cmpi ult, %[[FROM_OFFSET]], %[[D_ROT]]
// CHECK: %[[K:.*]] = arith.select %[[ROTATED]], %[[FROM_OFFSET]],
// CHECK: %[[HALF0:.*]] = arith.constant 2 : index
// CHECK: %[[PAIR:.*]] = arith.remui %[[K]], %[[HALF0]]
// CHECK: %[[HALF1:.*]] = arith.constant 2 : index
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi ult, %[[K]], %[[HALF1]]
// CHECK: %[[DISTANCE:.*]] = arith.constant 2 : index
// CHECK: %[[AFTER:.*]] = arith.addi %[[FEATURE]], %[[DISTANCE]]
// CHECK: %[[BEFORE:.*]] = arith.subi %[[FEATURE]], %[[DISTANCE]]
// CHECK: %[[PARTNER0:.*]] = arith.select %[[IS_FIRST]], %[[AFTER]], %[[BEFORE]]
// CHECK: %[[PARTNER:.*]] = arith.select %[[ROTATED]], %[[PARTNER0]], %[[FEATURE]]
// CHECK: %[[F64:.*]] = arith.sitofp %[[POSITION]] : i32 to f64
// CHECK: %[[FREQUENCY:.*]] = tensor.extract %[[TABLE]][%[[PAIR]]]
// CHECK: %[[ANGLE:.*]] = arith.mulf %[[F64]], %[[FREQUENCY]] : f64
// CHECK: %[[AMPLITUDE:.*]] = arith.constant 1.250000e+00 : f64
// CHECK: %[[COS0:.*]] = math.cos %[[ANGLE]] : f64
// CHECK: %[[COS:.*]] = arith.mulf %[[COS0]], %[[AMPLITUDE]]
// CHECK: %[[SIN0:.*]] = math.sin %[[ANGLE]] : f64
// CHECK: %[[SIN:.*]] = arith.mulf %[[SIN0]], %[[AMPLITUDE]]
// CHECK: %[[MINUS:.*]] = arith.negf %[[SIN]]
// CHECK: %[[PLUS:.*]] = arith.negf %[[MINUS]]
// CHECK: %[[SIGNED:.*]] = arith.select %[[IS_FIRST]], %[[PLUS]], %[[MINUS]]
// CHECK: %[[OWN0:.*]] = tensor.extract %[[B]][%[[T]], %[[R]], %[[FEATURE]]]
// CHECK: %[[OWN:.*]] = arith.extf %[[OWN0]] : bf16 to f32
// CHECK: %[[C:.*]] = arith.truncf %[[COS]] : f64 to f32
// CHECK: %[[X:.*]] = arith.mulf %[[OWN]], %[[C]]
// CHECK: %[[OTHER0:.*]] = tensor.extract %[[B]][%[[T]], %[[R]], %[[PARTNER]]]
// CHECK: %[[OTHER:.*]] = arith.extf %[[OTHER0]] : bf16 to f32
// CHECK: %[[S:.*]] = arith.truncf %[[SIGNED]] : f64 to f32
// CHECK: %[[Y:.*]] = arith.mulf %[[OTHER]], %[[S]]
// CHECK: %[[SUM:.*]] = arith.addf %[[X]], %[[Y]]
// CHECK: %[[RESULT:.*]] = arith.select %[[ROTATED]], %[[SUM]], %[[OWN]]
// CHECK: linalg.yield %[[RESULT]] : f32
func.func @half(%b: tensor<?x2x16xbf16>, %p: tensor<?xi32>, %init: tensor<?x2x16xf32>) -> tensor<?x2x16xf32> {
  %r = tpa.rope <d_rot = 4, offset = 2, inv_freq = [1.0, 0.5], amplitude = 1.25> block 8
    ins(%b, %p : tensor<?x2x16xbf16>, tensor<?xi32>) outs(%init : tensor<?x2x16xf32>)
  return %r : tensor<?x2x16xf32>
}

// Pairs (2j, 2j + 1) of all features; direction 1: x1 cos - x2 sin, x1 sin + x2 cos; frequencies 100^(-2j/4).
// CHECK-LABEL: func.func @interleaved(
// CHECK: arith.constant dense<[1.000000e+00, 1.000000e-01]> : tensor<2xf64>
// CHECK: %[[K:.*]] = arith.select
// CHECK: %[[TWO:.*]] = arith.constant 2 : index
// CHECK: %[[PAIR:.*]] = arith.divui %[[K]], %[[TWO]]
// CHECK: %[[TWO1:.*]] = arith.constant 2 : index
// CHECK: %[[ODD:.*]] = arith.remui %[[K]], %[[TWO1]]
// CHECK: %[[ZERO:.*]] = arith.constant 0 : index
// CHECK: %[[IS_FIRST:.*]] = arith.cmpi eq, %[[ODD]], %[[ZERO]]
// CHECK: %[[ONE:.*]] = arith.constant 1 : index
// CHECK: arith.addi {{.*}}, %[[ONE]]
// CHECK: tensor.extract {{.*}}[%[[PAIR]]]
// CHECK: %[[SIN0:.*]] = math.sin
// CHECK: %[[SIN:.*]] = arith.mulf %[[SIN0]],
// CHECK-NEXT: %[[MINUS:.*]] = arith.negf %[[SIN]]
// CHECK-NEXT: arith.select %[[IS_FIRST]], %[[MINUS]], %[[SIN]]
func.func @interleaved(%b: tensor<?x2x4xf32>, %p: tensor<?xi32>, %init: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %r = tpa.rope <layout = interleaved, direction = 1, d_rot = 4, base = 100.0> block 4
    ins(%b, %p : tensor<?x2x4xf32>, tensor<?xi32>) outs(%init : tensor<?x2x4xf32>)
  return %r : tensor<?x2x4xf32>
}

// A learned factor has no token dimensions: it is the same for all of them before the rotation. Here by the positions of cached keys.
// CHECK-LABEL: func.func @learned(
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>],
// CHECK-DAG: %[[R:.*]] = linalg.index 2
// CHECK-DAG: %[[FEATURE:.*]] = linalg.index 3
// CHECK: tensor.extract %arg0[%[[R]], %[[FEATURE]]] : tensor<2x4xbf16>
func.func @learned(%b: tensor<2x4xbf16>, %p: tensor<?x?xi32>, %init: tensor<?x?x2x4xf32>) -> tensor<?x?x2x4xf32> {
  %r = tpa.rope <d_rot = 4, base = 10000.0> block 4
    ins(%b, %p : tensor<2x4xbf16>, tensor<?x?xi32>) outs(%init : tensor<?x?x2x4xf32>)
  return %r : tensor<?x?x2x4xf32>
}
