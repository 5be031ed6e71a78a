// RUN: tpa-opt %s --tpa-to-linalg | FileCheck %s
//
// tpa.load_pages and tpa.store_pages as loops: slot m of request b is in page table[b, m / P], at m mod P.

// CHECK-LABEL: func.func @load(
// CHECK-SAME: %[[POOL:arg0]]:{{.*}} %[[TABLE:arg1]]:{{.*}} %[[LENGTHS:arg2]]:{{.*}} %[[INIT:arg3]]:
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : index
// CHECK: %[[REQUESTS:.*]] = tensor.dim %[[LENGTHS]],
// CHECK: %[[R:.*]] = scf.for %[[REQUEST:.*]] = %[[C0]] to %[[REQUESTS]] step %[[C1]] iter_args(%{{.*}} = %[[INIT]])
// CHECK: %[[LENGTH0:.*]] = tensor.extract %[[LENGTHS]][%[[REQUEST]]]
// CHECK: %[[LENGTH:.*]] = arith.index_cast %[[LENGTH0]]
// CHECK: scf.for %[[SLOT:.*]] = %{{.*}} to %[[LENGTH]] step %[[C1]]
// CHECK: %[[ENTRY:.*]] = arith.divui %[[SLOT]], %[[C4]]
// CHECK: %[[PAGE0:.*]] = tensor.extract %[[TABLE]][%[[REQUEST]], %[[ENTRY]]]
// CHECK: %[[PAGE:.*]] = arith.index_cast %[[PAGE0]]
// CHECK: %[[PLACE:.*]] = arith.remui %[[SLOT]], %[[C4]]
// CHECK: scf.for %[[D:.*]] = %{{.*}} iter_args(%[[CARRIED:.*]] =
// CHECK: %[[X:.*]] = tensor.extract %[[POOL]][%[[PAGE]], %[[PLACE]], %[[D]]]
// CHECK: tensor.insert %[[X]] into %[[CARRIED]][%[[REQUEST]], %[[SLOT]], %[[D]]]
// CHECK: return %[[R]]
func.func @load(%pool: tensor<?x4x8xf32>, %t: tensor<?x?xi32>, %l: tensor<?xi32>, %init: tensor<?x?x8xf32>)
    -> tensor<?x?x8xf32> {
  %c = tpa.load_pages ins(%pool, %t : tensor<?x4x8xf32>, tensor<?x?xi32>) lengths(%l : tensor<?xi32>)
    outs(%init : tensor<?x?x8xf32>)
  return %c : tensor<?x?x8xf32>
}

// New tokens alone, here one number each.
// CHECK-LABEL: func.func @store(
// CHECK-SAME: %[[CACHE:arg0]]:{{.*}} %[[TABLE:arg1]]:{{.*}} %[[TOKEN_START:arg2]]:{{.*}} %[[LENGTHS:arg3]]:{{.*}} %[[POOL:arg4]]:
// CHECK: scf.for %[[REQUEST:[a-z0-9]+]] = {{.*}} iter_args(%{{.*}} = %[[POOL]])
// CHECK: %[[LENGTH0:.*]] = tensor.extract %[[LENGTHS]][%[[REQUEST]]]
// CHECK: %[[LENGTH:.*]] = arith.index_cast %[[LENGTH0]]
// CHECK: %[[BEGIN0:.*]] = tensor.extract %[[TOKEN_START]][%[[REQUEST]]]
// CHECK: %[[BEGIN:.*]] = arith.index_cast %[[BEGIN0]]
// CHECK: %[[NEXT:.*]] = arith.addi %[[REQUEST]],
// CHECK: %[[END0:.*]] = tensor.extract %[[TOKEN_START]][%[[NEXT]]]
// CHECK: %[[END:.*]] = arith.index_cast %[[END0]]
// CHECK: %[[ADDED:.*]] = arith.subi %[[END]], %[[BEGIN]]
// CHECK: %[[LAST:.*]] = arith.addi %[[LENGTH]], %[[ADDED]]
// CHECK: scf.for %[[SLOT:.*]] = %[[LENGTH]] to %[[LAST]]
// CHECK: %[[X:.*]] = tensor.extract %[[CACHE]][%[[REQUEST]], %[[SLOT]]]
// CHECK: tensor.insert %[[X]] into %{{.*}}[%{{.*}}, %{{.*}}]
func.func @store(%x: tensor<?x?xi32>, %t: tensor<?x?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %pool: tensor<?x4xi32>)
    -> tensor<?x4xi32> {
  %p = tpa.store_pages ins(%x, %t : tensor<?x?xi32>, tensor<?x?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x4xi32>)
  return %p : tensor<?x4xi32>
}

// With a list of pages the request's row is where its pages start, unless there are no starts.
// CHECK-LABEL: func.func @list(
// CHECK-SAME: %{{.*}}, %[[TABLE:arg1]]:{{.*}} %[[STARTS:arg2]]:{{.*}} %[[LENGTHS:arg3]]:
// CHECK: scf.for %[[REQUEST:[a-z0-9]+]] =
// CHECK: %[[SIZE:.*]] = tensor.dim %[[STARTS]],
// CHECK: %[[GIVEN:.*]] = arith.cmpi ne, %[[SIZE]],
// CHECK: %[[ROW:.*]] = scf.if %[[GIVEN]]
// CHECK: %[[START0:.*]] = tensor.extract %[[STARTS]][%[[REQUEST]]]
// CHECK: %[[START:.*]] = arith.index_cast %[[START0]]
// CHECK: scf.yield %[[START]]
// CHECK: scf.yield %[[REQUEST]]
// CHECK: tensor.extract %[[TABLE]][%[[ROW]], %{{.*}}]
func.func @list(%pool: tensor<?x4x8xf32>, %t: tensor<?x?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                %init: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %c = tpa.load_pages ins(%pool, %t : tensor<?x4x8xf32>, tensor<?x?xi32>) page_starts(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%init : tensor<?x?x8xf32>)
  return %c : tensor<?x?x8xf32>
}
