// RUN: tpa-opt %s --tpa-to-linalg --mlir-print-local-scope | FileCheck %s
//
// tpa.merge as linalg ops: w_i = exp(lse_i - max); a part with lse -inf has weight 0 whatever it holds; all such: out 0, lse -inf.

// CHECK-LABEL: func.func @merge(
// CHECK: %[[OUT:.*]] = linalg.generic {{.*}} ins(%arg1, %arg3, %arg0, %arg2 : {{.*}} outs(%arg4 :
// CHECK: ^bb0(%[[L0:.*]]: f32, %[[L1:.*]]: f32, %[[O0:.*]]: bf16, %[[O1:.*]]: bf16, %{{.*}}: bf16):
// CHECK: %[[MINUS_INFINITY:.*]] = arith.constant 0xFF800000 : f32
// CHECK: %[[MAX0:.*]] = arith.maximumf %[[MINUS_INFINITY]], %[[L0]]
// CHECK: %[[MAX:.*]] = arith.maximumf %[[MAX0]], %[[L1]]
// CHECK: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: %[[EMPTY0:.*]] = arith.cmpf oeq, %[[L0]], %[[MINUS_INFINITY]]
// CHECK: %[[D0:.*]] = arith.subf %[[L0]], %[[MAX]]
// CHECK: %[[E0:.*]] = math.exp %[[D0]]
// CHECK: %[[W0:.*]] = arith.select %[[EMPTY0]], %[[ZERO]], %[[E0]]
// CHECK: %[[EMPTY1:.*]] = arith.cmpf oeq, %[[L1]], %[[MINUS_INFINITY]]
// CHECK: %[[D1:.*]] = arith.subf %[[L1]], %[[MAX]]
// CHECK: %[[E1:.*]] = math.exp %[[D1]]
// CHECK: %[[W1:.*]] = arith.select %[[EMPTY1]], %[[ZERO]], %[[E1]]
// CHECK: %[[SUM:.*]] = arith.addf {{.*}}, %[[W1]]
// CHECK: %[[EMPTY:.*]] = arith.cmpf oeq, %[[MAX]], %[[MINUS_INFINITY]]
// CHECK: %[[NOTHING0:.*]] = arith.cmpf oeq, %[[W0]],
// CHECK: %[[X0:.*]] = arith.extf %[[O0]]
// CHECK: %[[P0:.*]] = arith.mulf %[[W0]], %[[X0]]
// CHECK: arith.select %[[NOTHING0]], {{.*}}, %[[P0]]
// CHECK: %[[NOTHING1:.*]] = arith.cmpf oeq, %[[W1]],
// CHECK: %[[X1:.*]] = arith.extf %[[O1]]
// CHECK: %[[P1:.*]] = arith.mulf %[[W1]], %[[X1]]
// CHECK: %[[T1:.*]] = arith.select %[[NOTHING1]], {{.*}}, %[[P1]]
// CHECK: %[[TOTAL:.*]] = arith.addf {{.*}}, %[[T1]]
// CHECK: %[[MEAN:.*]] = arith.divf %[[TOTAL]], %[[SUM]]
// CHECK: %[[O:.*]] = arith.select %[[EMPTY]], {{.*}}, %[[MEAN]]
// CHECK: arith.truncf %[[O]] : f32 to bf16
// CHECK: %[[LSE:.*]] = linalg.generic {{.*}} ins(%arg1, %arg3 : {{.*}} outs(%arg5 :
// CHECK: ^bb0(%[[L0:.*]]: f32, %[[L1:.*]]: f32, %{{.*}}: f32):
// CHECK: %[[MINUS_INFINITY:.*]] = arith.constant 0xFF800000 : f32
// CHECK: %[[MAX0:.*]] = arith.maximumf %[[MINUS_INFINITY]], %[[L0]]
// CHECK: %[[MAX:.*]] = arith.maximumf %[[MAX0]], %[[L1]]
// CHECK: arith.cmpf oeq, %[[L0]], %[[MINUS_INFINITY]]
// CHECK: %[[D0:.*]] = arith.subf %[[L0]], %[[MAX]]
// CHECK: %[[E0:.*]] = math.exp %[[D0]]
// CHECK: arith.select {{.*}}, %[[E0]]
// CHECK: arith.cmpf oeq, %[[L1]], %[[MINUS_INFINITY]]
// CHECK: %[[D1:.*]] = arith.subf %[[L1]], %[[MAX]]
// CHECK: %[[E1:.*]] = math.exp %[[D1]]
// CHECK: %[[W1:.*]] = arith.select {{.*}}, %[[E1]]
// CHECK: %[[SUM:.*]] = arith.addf {{.*}}, %[[W1]]
// CHECK: %[[EMPTY:.*]] = arith.cmpf oeq, %[[MAX]], %[[MINUS_INFINITY]]
// CHECK: %[[LOG:.*]] = math.log %[[SUM]]
// CHECK: %[[L:.*]] = arith.addf %[[MAX]], %[[LOG]]
// CHECK: arith.select %[[EMPTY]], %[[MAX]], %[[L]]
// CHECK: return %[[OUT]], %[[LSE]]
func.func @merge(%o0: tensor<?x2x8xbf16>, %l0: tensor<?x2xf32>, %o1: tensor<?x2x8xbf16>, %l1: tensor<?x2xf32>,
                 %out: tensor<?x2x8xbf16>, %lse: tensor<?x2xf32>) -> (tensor<?x2x8xbf16>, tensor<?x2xf32>) {
  %o, %l = tpa.merge parts(%o0, %o1 : tensor<?x2x8xbf16>, tensor<?x2x8xbf16>)
    lse(%l0, %l1 : tensor<?x2xf32>, tensor<?x2xf32>) outs(%out, %lse : tensor<?x2x8xbf16>, tensor<?x2xf32>)
  return %o, %l : tensor<?x2x8xbf16>, tensor<?x2xf32>
}
