// RUN: tpa-opt %s --tpa-to-linalg | FileCheck %s
//
// tpa.store_tokens as loops: token t of request b goes to slot lengths[b] + t - token_start[b].

// CHECK-LABEL: func.func @factor(
// CHECK-SAME: %[[B:arg0]]:{{.*}} %[[TOKEN_START:arg1]]:{{.*}} %[[LENGTHS:arg2]]:{{.*}} %[[CACHE:arg3]]:
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK: %[[REQUESTS:.*]] = tensor.dim %[[LENGTHS]],
// CHECK: %[[R:.*]] = scf.for %[[REQUEST:.*]] = %[[C0]] to %[[REQUESTS]] step %[[C1]] iter_args(%{{.*}} = %[[CACHE]])
// CHECK: %[[BEGIN0:.*]] = tensor.extract %[[TOKEN_START]][%[[REQUEST]]]
// CHECK: %[[BEGIN:.*]] = arith.index_cast %[[BEGIN0]]
// CHECK: %[[NEXT:.*]] = arith.addi %[[REQUEST]], %[[C1]]
// CHECK: %[[END0:.*]] = tensor.extract %[[TOKEN_START]][%[[NEXT]]]
// CHECK: %[[END:.*]] = arith.index_cast %[[END0]]
// CHECK: %[[LENGTH0:.*]] = tensor.extract %[[LENGTHS]][%[[REQUEST]]]
// CHECK: %[[LENGTH:.*]] = arith.index_cast %[[LENGTH0]]
// CHECK: %[[SHIFT:.*]] = arith.subi %[[LENGTH]], %[[BEGIN]]
// CHECK: scf.for %[[T:.*]] = %[[BEGIN]] to %[[END]] step %[[C1]]
// CHECK: %[[SLOT:.*]] = arith.addi %[[T]], %[[SHIFT]]
// CHECK: scf.for %[[RANK:.*]] = %{{.*}} to %c2{{[_0-9]*}} step
// CHECK: scf.for %[[D:.*]] = %{{.*}} to %c8{{[_0-9]*}} step {{.*}} iter_args(%[[CARRIED:.*]] =
// CHECK: %[[X:.*]] = tensor.extract %[[B]][%[[T]], %[[RANK]], %[[D]]]
// CHECK: %[[Y:.*]] = arith.truncf %[[X]] : f32 to bf16
// CHECK: tensor.insert %[[Y]] into %[[CARRIED]][%[[REQUEST]], %[[SLOT]], %[[RANK]], %[[D]]]
// CHECK: return %[[R]]
func.func @factor(%b: tensor<?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?x2x8xbf16>)
    -> tensor<?x?x2x8xbf16> {
  %c = tpa.store_tokens ins(%b : tensor<?x2x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x2x8xbf16>)
  return %c : tensor<?x?x2x8xbf16>
}

// Positions: no dimension but the tokens', and nothing to convert.
// CHECK-LABEL: func.func @positions(
// CHECK: scf.for %[[REQUEST:[a-z0-9]+]] =
// CHECK: scf.for %[[T:[a-z0-9]+]] =
// CHECK: %[[SLOT:.*]] = arith.addi %[[T]],
// CHECK-NEXT: %[[X:.*]] = tensor.extract %arg0[%[[T]]]
// CHECK-NEXT: tensor.insert %[[X]] into %{{.*}}[%[[REQUEST]], %[[SLOT]]]
func.func @positions(%p: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %c = tpa.store_tokens ins(%p : tensor<?xi32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?xi32>)
  return %c : tensor<?x?xi32>
}
