// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.project as a matrix product whose sum is kept in f64. Loops: tokens, r, s, channel.

// Row s*R + r of the weight.
// CHECK-LABEL: func.func @head_major(
// CHECK: %[[WIDE:.*]] = tensor.empty({{.*}}) : tensor<?x2x3xf64>
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} outs(%[[WIDE]] :
// CHECK: %[[SUM:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d3)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d2 * 2 + d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>],
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%arg0, %arg1 : {{.*}} outs(%[[ZERO]] :
// CHECK: %[[PRODUCT:.*]] = arith.mulf {{.*}} : f64
// CHECK: arith.addf {{.*}}, %[[PRODUCT]] : f64
// CHECK: linalg.generic {{.*}} ins(%[[SUM]] : tensor<?x2x3xf64>) outs(%arg2 : tensor<?x2x3xbf16>)
func.func @head_major(%x: tensor<?x7xbf16>, %w: tensor<6x7xbf16>, %init: tensor<?x2x3xbf16>) -> tensor<?x2x3xbf16> {
  %r = tpa.project head_major ins(%x, %w : tensor<?x7xbf16>, tensor<6x7xbf16>) outs(%init : tensor<?x2x3xbf16>)
  return %r : tensor<?x2x3xbf16>
}

// Row r*S + s.
// CHECK-LABEL: func.func @rank_major(
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d1 * 3 + d2, d3)>
func.func @rank_major(%x: tensor<?x7xf32>, %w: tensor<6x7xf32>, %init: tensor<?x2x3xf32>) -> tensor<?x2x3xf32> {
  %r = tpa.project rank_major ins(%x, %w : tensor<?x7xf32>, tensor<6x7xf32>) outs(%init : tensor<?x2x3xf32>)
  return %r : tensor<?x2x3xf32>
}
