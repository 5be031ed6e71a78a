// RUN: tpa-opt %s --pass-pipeline='builtin.module(func.func(tpa-copies-to-linalg))' | FileCheck %s
//
// memref.copy becomes a linalg copy, which the LLVM lowering turns into loops and no library call.

// CHECK-LABEL: func.func @strided(
// CHECK-SAME: %[[FROM:arg0]]:{{.*}} %[[TO:arg1]]:
// CHECK-NOT: memref.copy
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]} ins(%[[FROM]] : {{.*}} outs(%[[TO]] :
// CHECK-NEXT: ^bb0(%[[IN:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: linalg.yield %[[IN]] : f32
// CHECK-NOT: memref.copy
// CHECK: return
func.func @strided(%from: memref<?x?xf32, strided<[?, ?], offset: ?>>, %to: memref<?x?xf32, strided<[?, ?], offset: ?>>) {
  memref.copy %from, %to : memref<?x?xf32, strided<[?, ?], offset: ?>> to memref<?x?xf32, strided<[?, ?], offset: ?>>
  return
}

// Copies inside loops too.
// CHECK-LABEL: func.func @nested(
// CHECK: scf.for
// CHECK-NOT: memref.copy
// CHECK: linalg.generic
// CHECK-NOT: memref.copy
// CHECK: return
func.func @nested(%from: memref<4xi8>, %to: memref<4xi8>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    memref.copy %from, %to : memref<4xi8> to memref<4xi8>
  }
  return
}
