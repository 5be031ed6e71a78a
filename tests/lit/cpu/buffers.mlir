// RUN: tpa-opt %s -tpa-tiles-to-cpu -canonicalize -cse -split-input-file | FileCheck %s

// What a loop carries stays in one buffer; what a block computes reuses the buffers of the block before it.
// CHECK-LABEL: func.func @in_place
// CHECK-COUNT-2: memref.alloca() {alignment = 64 : i64} : memref<4x16xf32>
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
func.func @kept(%in: memref<2x47xf32>, %out: memref<2x47xf32>) {
  %c0 = arith.constant 0 : index
  %a = tile.load %in[%c0, %c0] axes ["m", "h"] : memref<2x47xf32> -> !tile.tile<m 2, h 47, f32>
  %b = tile.constant_mul %a, 2.0 : !tile.tile<m 2, h 47, f32> -> !tile.tile<m 2, h 47, f32>
  %c = tile.add %a, %b : !tile.tile<m 2, h 47, f32>, !tile.tile<m 2, h 47, f32> -> !tile.tile<m 2, h 47, f32>
  tile.store %c, %out[%c0, %c0] axes ["m", "h"] : !tile.tile<m 2, h 47, f32> -> memref<2x47xf32>
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
