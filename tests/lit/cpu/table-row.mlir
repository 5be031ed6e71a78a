// RUN: tpa-opt %s -tpa-tiles-to-cpu="lanes=8 registers=16" -canonicalize -cse | FileCheck %s
//
// The row of a table of pages: one load where there are starts, before the loop over blocks.

// CHECK-LABEL: func.func @load(
// CHECK-SAME: %[[POOL:[a-z0-9]+]]: memref<?x16xf32>, %[[TABLE:[a-z0-9]+]]: memref<?x?xi32>, %[[STARTS:[a-z0-9]+]]: memref<?xi32>, %[[REQUEST:[a-z0-9]+]]: index
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[SIZE:.*]] = memref.dim %[[STARTS]], %[[C0]]
// CHECK: %[[GIVEN:.*]] = arith.cmpi ne, %[[SIZE]], %[[C0]]
// CHECK: %[[ROW:.*]] = scf.if %[[GIVEN]] -> (index) {
// CHECK-NEXT: %[[START:.*]] = memref.load %[[STARTS]][%[[REQUEST]]]
// CHECK-NEXT: %[[INDEX:.*]] = arith.index_cast %[[START]] : i32 to index
// CHECK-NEXT: scf.yield %[[INDEX]]
// CHECK-NEXT: } else {
// CHECK-NEXT: scf.yield %[[REQUEST]]
// CHECK: scf.for
// CHECK-NOT: %[[STARTS]]
// CHECK: memref.load %[[TABLE]][%[[ROW]], %{{.*}}]
func.func @load(%pool: memref<?x16xf32>, %table: memref<?x?xi32>, %starts: memref<?xi32>, %request: index, %end: index,
                %out: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %row = tile.table_row %starts[%request] : memref<?xi32>
  scf.for %m = %c0 to %end step %c16 {
    %x = tile.load %pool[%row, %m] axes ["", "m"] pages %table runs 16
      : memref<?x16xf32>, memref<?x?xi32> -> !tile.tile<m 16, f32>
    tile.store %x, %out[%m] axes ["m"] : !tile.tile<m 16, f32> -> memref<?xf32>
  }
  return
}
