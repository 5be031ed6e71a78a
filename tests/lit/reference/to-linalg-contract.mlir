// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.contract as a linalg.generic. Loops: tokens, h, one per small factor, r last. What its maps say is equation 3.1.

// CHECK-LABEL: func.func @order2(
// CHECK-SAME: %[[A:arg0]]:{{.*}} %[[B:arg1]]:{{.*}} %[[INIT:arg2]]:
// CHECK: %[[ZERO:.*]] = linalg.fill ins({{.*}} : f32) outs(%[[INIT]] :
// CHECK: %[[R:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d3, d1)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>],
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%[[A]], %[[B]] :
// CHECK-SAME: outs(%[[ZERO]] :
// CHECK-NEXT: ^bb0(%[[A_IN:.*]]: bf16, %[[B_IN:.*]]: bf16, %[[SUM:.*]]: f32):
// CHECK-DAG: %[[X:.*]] = arith.extf %[[A_IN]] : bf16 to f32
// CHECK-DAG: %[[Y:.*]] = arith.extf %[[B_IN]] : bf16 to f32
// CHECK: %[[XY:.*]] = arith.mulf %[[X]], %[[Y]] : f32
// CHECK: %[[RANK_FACTOR:.*]] = arith.constant 5.000000e-01 : f32
// CHECK: %[[TERM:.*]] = arith.mulf %[[XY]], %[[RANK_FACTOR]] : f32
// CHECK: %[[NEXT:.*]] = arith.addf %[[SUM]], %[[TERM]] : f32
// CHECK: linalg.yield %[[NEXT]] : f32
// CHECK: return %[[R]]
func.func @order2(%a: tensor<?x2x4xbf16>, %b: tensor<?x2x8xbf16>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xbf16>) token(%b : tensor<?x2x8xbf16>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// Order 3 over a cache: feature i + d1*j. The learned head factor has no token dimensions, the stored scale no feature. Not normalised: the
// only products are those of the factors.
// CHECK-LABEL: func.func @order3(
// CHECK-SAME: %[[A:arg0]]:{{.*}} %[[B:arg1]]:{{.*}} %[[C:arg2]]:{{.*}} %[[SCALE:arg3]]:
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d5, d2)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d3)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d4)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3 + d4 * 4)>],
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction"]}
// CHECK-SAME: ins(%[[A]], %[[SCALE]], %[[B]], %[[C]] :
// CHECK-NOT: arith.constant
// CHECK-COUNT-3: arith.mulf
// CHECK-NOT: arith.mulf
// CHECK: arith.addf
func.func @order3(%a: tensor<2x3xf32>, %b: tensor<?x?x2x4xi8>, %c: tensor<?x?x2x5xi8>, %s: tensor<?x?x2xf32>,
                  %init: tensor<?x?x3x20xf32>) -> tensor<?x?x3x20xf32> {
  %r = tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 4>, <source = contextual, size = 5>]>
    heads <4, 1 to 4> head(%a : tensor<2x3xf32>) token(%b, %c : tensor<?x?x2x4xi8>, tensor<?x?x2x5xi8>)
    scale(%s : tensor<?x?x2xf32>) outs(%init : tensor<?x?x3x20xf32>)
  return %r : tensor<?x?x3x20xf32>
}

// Order 4: feature i + d1*(j + d2*k).
// CHECK-LABEL: func.func @order4(
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 + d3 * 4 + d4 * 8)>]
func.func @order4(%a: tensor<?x2x3xf32>, %b: tensor<?x2x4xf32>, %c: tensor<?x2x2xf32>, %e: tensor<?x2x3xf32>,
                  %init: tensor<?x3x24xf32>) -> tensor<?x3x24xf32> {
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 2>, <source = contextual, size = 3>]>
    heads <3> head(%a : tensor<?x2x3xf32>) token(%b, %c, %e : tensor<?x2x4xf32>, tensor<?x2x2xf32>, tensor<?x2x3xf32>)
    outs(%init : tensor<?x3x24xf32>)
  return %r : tensor<?x3x24xf32>
}

// Fixed head factors: head h reads its rank. No sum, no multiply, and no rank factor though normalised.
// Groups are counted by the global head: local head 0 is head 1 of 6.
// CHECK-LABEL: func.func @groups(
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, ((d1 + 1) * 2) floordiv 6, d2)>,
// CHECK-SAME: affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]}
// CHECK-NOT: arith.mulf
// CHECK-NOT: arith.addf
// CHECK: linalg.yield
func.func @groups(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %r = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <6, 1 to 5>
    token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// A one_hot tensor is sliced with the heads: its ranks are the local heads.
// CHECK-LABEL: func.func @one_hot(
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>],
// CHECK-NOT: arith.mulf
// CHECK-NOT: arith.addf
// CHECK: linalg.yield
func.func @one_hot(%b: tensor<?x4x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %r = tpa.contract <rank = 6, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <6, 1 to 5>
    token(%b : tensor<?x4x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// The stored scale of a quantised row is the one multiply of a fixed head factor.
// CHECK-LABEL: func.func @ones(
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, 0)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>]
// CHECK-COUNT-1: arith.mulf
// CHECK-NOT: arith.mulf
// CHECK: linalg.yield
func.func @ones(%b: tensor<?x?x1x8xi8>, %s: tensor<?x?x1xf32>, %init: tensor<?x?x4x8xf32>) -> tensor<?x?x4x8xf32> {
  %r = tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <4>
    token(%b : tensor<?x?x1x8xi8>) scale(%s : tensor<?x?x1xf32>) outs(%init : tensor<?x?x4x8xf32>)
  return %r : tensor<?x?x4x8xf32>
}

// A 16-bit result is summed in f32 and rounded once.
// CHECK-LABEL: func.func @rounded(
// CHECK: %[[WIDE:.*]] = tensor.empty({{.*}}) : tensor<?x4x8xf32>
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} outs(%[[WIDE]] :
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} outs(%[[ZERO]] : tensor<?x4x8xf32>)
// CHECK: %[[R:.*]] = linalg.generic {{.*}} ins(%[[SUM]] : tensor<?x4x8xf32>) outs(%arg2 : tensor<?x4x8xbf16>)
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: return %[[R]]
func.func @rounded(%a: tensor<?x2x4xbf16>, %b: tensor<?x2x8xbf16>, %init: tensor<?x4x8xbf16>) -> tensor<?x4x8xbf16> {
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<?x2x4xbf16>) token(%b : tensor<?x2x8xbf16>) outs(%init : tensor<?x4x8xbf16>)
  return %r : tensor<?x4x8xbf16>
}
