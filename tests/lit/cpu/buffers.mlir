// RUN: tpa-opt %s -tpa-tiles-to-cpu -canonicalize -cse -split-input-file | FileCheck %s

// What a loop carries stays in one buffer; what is read once needs none.
// CHECK-LABEL: func.func @in_place
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<4x16xf32>
// CHECK-NOT: memref.alloca
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK-NOT: tile
func.func @in_place(%in: memref<?x4x16xf32>, %out: memref<4x16xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = tile.fill 0.0 : !tile.tile<m 4, h 16, f32>
  %sum = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (!tile.tile<m 4, h 16, f32>) {
    %a = tile.load %in[%i, %c0, %c0] axes ["", "m", "h"] : memref<?x4x16xf32> -> !tile.tile<m 4, h 16, f32>
    %b = tile.constant_mul %a, 2.0 : !tile.tile<m 4, h 16, f32> -> !tile.tile<m 4, h 16, f32>
    %c = tile.add %acc, %b : !tile.tile<m 4, h 16, f32>, !tile.tile<m 4, h 16, f32> -> !tile.tile<m 4, h 16, f32>
    scf.yield %c : !tile.tile<m 4, h 16, f32>
  }
  tile.store %sum, %out[%c0, %c0] axes ["m", "h"] : !tile.tile<m 4, h 16, f32> -> memref<4x16xf32>
  return
}

// -----

// A tile that is used again keeps its buffer, and the last axis is padded to whole vectors.
// CHECK-LABEL: func.func @kept
// CHECK-COUNT-2: memref.alloca() {alignment = 64 : i64} : memref<2x48xf32>
// CHECK-NOT: memref.alloca
func.func @kept(%in: memref<2x47xf32>, %out: memref<2x47xf32>, %twice: memref<2x47xf32>) {
  %c0 = arith.constant 0 : index
  %a = tile.load %in[%c0, %c0] axes ["m", "h"] : memref<2x47xf32> -> !tile.tile<m 2, h 47, f32>
  %b = tile.constant_mul %a, 2.0 : !tile.tile<m 2, h 47, f32> -> !tile.tile<m 2, h 47, f32>
  %c = tile.add %a, %b : !tile.tile<m 2, h 47, f32>, !tile.tile<m 2, h 47, f32> -> !tile.tile<m 2, h 47, f32>
  tile.store %c, %out[%c0, %c0] axes ["m", "h"] : !tile.tile<m 2, h 47, f32> -> memref<2x47xf32>
  tile.store %b, %twice[%c0, %c0] axes ["m", "h"] : !tile.tile<m 2, h 47, f32> -> memref<2x47xf32>
  return
}

// -----

// What one op reads once, element by element, is computed there: head factors and the sum over ranks in the softmax, its
// correction of the accumulator in the product.
// CHECK-LABEL: func.func @computed_where_read
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<16x16xf32>
// CHECK-NOT: memref.alloca() {alignment = 64 : i64} : memref<16x16xf32>
// One pass for the logits and their maximum.
// CHECK: scf.for {{.*}} iter_args
// CHECK: arith.mulf
// CHECK: arith.mulf
// CHECK: %[[LOGITS:.*]] = arith.addf
// CHECK: vector.store %[[LOGITS]]
// CHECK: arith.cmpf ogt, %[[LOGITS]]
// Both products in the same registers.
// CHECK-COUNT-8: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: %[[SUMS:.*]]:8 = scf.for
// CHECK-COUNT-8: vector.fma
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[SUMS]]#0
// CHECK-COUNT-8: vector.fma
func.func @computed_where_read(%s: memref<2x16x16xf32>, %v: memref<16x8xf32>, %out: memref<8x16xf32>, %state: memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %s0 = tile.load %s[%c0, %c0, %c0] axes ["", "m", "h"] : memref<2x16x16xf32> -> !tile.tile<m 16, h 16, f32>
  %s1 = tile.load %s[%c1, %c0, %c0] axes ["", "m", "h"] : memref<2x16x16xf32> -> !tile.tile<m 16, h 16, f32>
  %a = tile.load %state[%c0] axes ["h"] : memref<16xf32> -> !tile.tile<h 16, f32>
  %acc = tile.load %out[%c0, %c0] axes ["e", "h"] : memref<8x16xf32> -> !tile.tile<e 8, h 16, f32>
  %t0 = tile.mul %s0, %a : !tile.tile<m 16, h 16, f32>, !tile.tile<h 16, f32> -> !tile.tile<m 16, h 16, f32>
  %t1 = tile.mul %s1, %a : !tile.tile<m 16, h 16, f32>, !tile.tile<h 16, f32> -> !tile.tile<m 16, h 16, f32>
  %l = tile.add %t0, %t1 : !tile.tile<m 16, h 16, f32>, !tile.tile<m 16, h 16, f32> -> !tile.tile<m 16, h 16, f32>
  %p, %max, %sum, %correction = tile.softmax_step %l, %a, %a : !tile.tile<m 16, h 16, f32>, !tile.tile<h 16, f32> -> !tile.tile<m 16, h 16, f32>
  %b = tile.load %v[%c0, %c0] axes ["m", "e"] : memref<16x8xf32> -> !tile.tile<m 16, e 8, f32>
  %acc0 = tile.mul %acc, %correction : !tile.tile<e 8, h 16, f32>, !tile.tile<h 16, f32> -> !tile.tile<e 8, h 16, f32>
  %acc1 = tile.dot %p, %b acc %acc0 : !tile.tile<e 8, h 16, f32>, !tile.tile<m 16, h 16, f32>, !tile.tile<m 16, e 8, f32> -> !tile.tile<e 8, h 16, f32>
  %acc2 = tile.dot %p, %b acc %acc1 : !tile.tile<e 8, h 16, f32>, !tile.tile<m 16, h 16, f32>, !tile.tile<m 16, e 8, f32> -> !tile.tile<e 8, h 16, f32>
  tile.store %acc2, %out[%c0, %c0] axes ["e", "h"] : !tile.tile<e 8, h 16, f32> -> memref<8x16xf32>
  return
}

// -----

// Tiles that change places in a loop are copied as if at once.
// CHECK-LABEL: func.func @swapped
// CHECK-COUNT-4: memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK-NOT: memref.alloca
func.func @swapped(%in: memref<2x16xf32>, %out: memref<2x16xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = tile.load %in[%c0, %c0] axes ["", "h"] : memref<2x16xf32> -> !tile.tile<h 16, f32>
  %b = tile.load %in[%c1, %c0] axes ["", "h"] : memref<2x16xf32> -> !tile.tile<h 16, f32>
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %y = %b) -> (!tile.tile<h 16, f32>, !tile.tile<h 16, f32>) {
    scf.yield %y, %x : !tile.tile<h 16, f32>, !tile.tile<h 16, f32>
  }
  tile.store %r#0, %out[%c0, %c0] axes ["", "h"] : !tile.tile<h 16, f32> -> memref<2x16xf32>
  tile.store %r#1, %out[%c1, %c0] axes ["", "h"] : !tile.tile<h 16, f32> -> memref<2x16xf32>
  return
}
