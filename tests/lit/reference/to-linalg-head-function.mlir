// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.head_function and tpa.scale_head as linalg ops.

// CHECK-LABEL: func.func @identity(
// CHECK: linalg.generic
// CHECK: %[[X:.*]] = arith.extf {{.*}} : bf16 to f32
// CHECK-NEXT: linalg.yield %[[X]] : f32
func.func @identity(%a: tensor<?x2x4xbf16>, %init: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %r = tpa.head_function identity ins(%a : tensor<?x2x4xbf16>) outs(%init : tensor<?x2x4xf32>)
  return %r : tensor<?x2x4xf32>
}

// 1 / (1 + exp(-a))
// CHECK-LABEL: func.func @sigmoid(
// CHECK: linalg.generic
// CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
// CHECK: %[[A:.*]] = arith.extf {{.*}} : bf16 to f32
// CHECK: %[[MINUS:.*]] = arith.negf %[[A]]
// CHECK: %[[EXP:.*]] = math.exp %[[MINUS]]
// CHECK: %[[DENOMINATOR:.*]] = arith.addf %[[ONE]], %[[EXP]]
// CHECK: arith.divf %[[ONE]], %[[DENOMINATOR]]
func.func @sigmoid(%a: tensor<?x2x4xbf16>, %init: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %r = tpa.head_function sigmoid ins(%a : tensor<?x2x4xbf16>) outs(%init : tensor<?x2x4xf32>)
  return %r : tensor<?x2x4xf32>
}

// Over the heads, which are last; less the maximum, so that nothing overflows.
// CHECK-LABEL: func.func @softmax(
// CHECK: %[[START:.*]] = arith.constant 0xFF800000 : f32
// CHECK: %[[LOWEST:.*]] = linalg.fill ins(%[[START]] : f32) outs({{.*}} : tensor<?x2xf32>)
// CHECK: %[[MAX:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>],
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0 : {{.*}} outs(%[[LOWEST]] :
// CHECK: arith.maximumf
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0, %[[MAX]] :
// CHECK: %[[SHIFTED:.*]] = arith.subf
// CHECK: %[[EXP:.*]] = math.exp %[[SHIFTED]]
// CHECK: arith.addf {{.*}}, %[[EXP]]
// CHECK: %[[R:.*]] = linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0, %[[MAX]], %[[SUM]] :
// CHECK: ^bb0(%[[IN:.*]]: bf16, %[[MAX_IN:.*]]: f32, %[[SUM_IN:.*]]: f32, %{{.*}}: f32):
// CHECK: %[[A:.*]] = arith.extf %[[IN]]
// CHECK: %[[SHIFTED:.*]] = arith.subf %[[A]], %[[MAX_IN]]
// CHECK: %[[EXP:.*]] = math.exp %[[SHIFTED]]
// CHECK: arith.divf %[[EXP]], %[[SUM_IN]]
// CHECK: return %[[R]]
func.func @softmax(%a: tensor<?x2x4xbf16>, %init: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %r = tpa.head_function softmax ins(%a : tensor<?x2x4xbf16>) outs(%init : tensor<?x2x4xf32>)
  return %r : tensor<?x2x4xf32>
}

// One scale per rank, for all its heads; the product is rounded once.
// CHECK-LABEL: func.func @scale_head(
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>,
// CHECK-SAME: affine_map<(d0, d1, d2) -> (d0, d1, d2)>],
// CHECK-SAME: ins(%arg0, %arg1 :
// CHECK: %[[A:.*]] = arith.extf {{.*}} : bf16 to f32
// CHECK-NEXT: %[[PRODUCT:.*]] = arith.mulf %[[A]],
// CHECK-NEXT: %[[ROUNDED:.*]] = arith.truncf %[[PRODUCT]] : f32 to bf16
// CHECK-NEXT: linalg.yield %[[ROUNDED]]
func.func @scale_head(%a: tensor<?x2x4xbf16>, %s: tensor<?x2xf32>, %init: tensor<?x2x4xbf16>) -> tensor<?x2x4xbf16> {
  %r = tpa.scale_head ins(%a, %s : tensor<?x2x4xbf16>, tensor<?x2xf32>) outs(%init : tensor<?x2x4xbf16>)
  return %r : tensor<?x2x4xbf16>
}
