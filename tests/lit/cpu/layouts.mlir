// RUN: tpa-opt %s -tpa-tile-layouts=lanes=16 -split-input-file | FileCheck %s

// Heads are the vector where there are enough: of queries, scores, states and accumulators. Token factors keep their
// features last.
// CHECK-LABEL: func.func @factored
func.func @factored(%bk: memref<64x64xbf16>, %ak: memref<64x47xbf16>, %q: memref<47x64xf32>, %out: memref<47x64xf32>) {
  %c0 = arith.constant 0 : index
  // CHECK: tile.load %{{.*}} : memref<47x64xf32> -> <d 64, h 47, f32>
  %query = tile.load %q[%c0, %c0] axes ["h", "d"] : memref<47x64xf32> -> !tile.tile<h 47, d 64, f32>
  // CHECK: tile.load %{{.*}} : memref<64x64xbf16> -> <m 64, d 64, bf16>
  %b = tile.load %bk[%c0, %c0] axes ["m", "d"] : memref<64x64xbf16> -> !tile.tile<m 64, d 64, bf16>
  %a = tile.load %ak[%c0, %c0] axes ["m", "h"] : memref<64x47xbf16> -> !tile.tile<m 64, h 47, bf16>
  // CHECK-NOT: tile.convert
  // CHECK: tile.dot %{{.*}} -> <m 64, h 47, f32>
  %s = tile.dot %query, %b : !tile.tile<h 47, d 64, f32>, !tile.tile<m 64, d 64, bf16> -> !tile.tile<h 47, m 64, f32>
  // CHECK: tile.mul %{{.*}} -> <m 64, h 47, f32>
  %l = tile.mul %s, %a : !tile.tile<h 47, m 64, f32>, !tile.tile<m 64, h 47, bf16> -> !tile.tile<h 47, m 64, f32>
  tile.store %l, %out[%c0, %c0] axes ["h", "m"] : !tile.tile<h 47, m 64, f32> -> memref<47x64xf32>
  return
}

// -----

// Heads with keys and values of their own: features are the vector, and the score sums over lanes.
// CHECK-LABEL: func.func @heads_of_their_own
func.func @heads_of_their_own(%k: memref<64x32x64xbf16>, %q: memref<32x64xf32>, %out: memref<32x64xf32>) {
  %c0 = arith.constant 0 : index
  // CHECK: tile.load %{{.*}} -> <h 32, d 64, f32>
  %query = tile.load %q[%c0, %c0] axes ["h", "d"] : memref<32x64xf32> -> !tile.tile<h 32, d 64, f32>
  // CHECK: tile.load %{{.*}} -> <m 64, h 32, d 64, bf16>
  %b = tile.load %k[%c0, %c0, %c0] axes ["m", "h", "d"] : memref<64x32x64xbf16> -> !tile.tile<m 64, h 32, d 64, bf16>
  // CHECK-NOT: tile.convert
  // CHECK: tile.dot %{{.*}} -> <m 64, h 32, f32>
  %s = tile.dot %query, %b : !tile.tile<h 32, d 64, f32>, !tile.tile<m 64, h 32, d 64, bf16> -> !tile.tile<h 32, m 64, f32>
  tile.store %s, %out[%c0, %c0] axes ["h", "m"] : !tile.tile<h 32, m 64, f32> -> memref<32x64xf32>
  return
}

// -----

// Few heads: tokens are the vector of scores, and a head factor is converted once, behind its load.
// CHECK-LABEL: func.func @few_heads
func.func @few_heads(%p: memref<4x64xf32>, %a: memref<64x4xbf16>, %bv: memref<64x48xbf16>, %out: memref<4x48xf32>) {
  %c0 = arith.constant 0 : index
  // CHECK: tile.load %{{.*}} -> <h 4, m 64, f32>
  %prob = tile.load %p[%c0, %c0] axes ["h", "m"] : memref<4x64xf32> -> !tile.tile<h 4, m 64, f32>
  %head = tile.load %a[%c0, %c0] axes ["m", "h"] : memref<64x4xbf16> -> !tile.tile<m 64, h 4, bf16>
  // CHECK: tile.mul %{{.*}} -> <h 4, m 64, f32>
  %w = tile.mul %prob, %head : !tile.tile<h 4, m 64, f32>, !tile.tile<m 64, h 4, bf16> -> !tile.tile<h 4, m 64, f32>
  %v = tile.load %bv[%c0, %c0] axes ["m", "e"] : memref<64x48xbf16> -> !tile.tile<m 64, e 48, bf16>
  // CHECK: tile.dot %{{.*}} -> <h 4, e 48, f32>
  %o = tile.dot %w, %v : !tile.tile<h 4, m 64, f32>, !tile.tile<m 64, e 48, bf16> -> !tile.tile<h 4, e 48, f32>
  tile.store %o, %out[%c0, %c0] axes ["h", "e"] : !tile.tile<h 4, e 48, f32> -> memref<4x48xf32>
  return
}

// -----

// An operand in another order than the op's vectors is converted behind its definition, outside the loop.
// CHECK-LABEL: func.func @converted_once
func.func @converted_once(%q: memref<8x16xf32>, %k: memref<16x8xf32>, %out: memref<16x8xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: %[[A:.*]] = tile.load %{{.*}} -> <x 8, y 16, f32>
  // CHECK: %[[B:.*]] = tile.convert %[[A]] : <x 8, y 16, f32> -> <y 16, x 8, f32>
  // CHECK: scf.for
  %a = tile.load %q[%c0, %c0] axes ["x", "y"] : memref<8x16xf32> -> !tile.tile<x 8, y 16, f32>
  scf.for %i = %c0 to %n step %c1 {
    %b = tile.load %k[%c0, %c0] axes ["y", "x"] : memref<16x8xf32> -> !tile.tile<y 16, x 8, f32>
    // CHECK: tile.add %{{.*}}, %[[B]] :
    %s = tile.add %b, %a : !tile.tile<y 16, x 8, f32>, !tile.tile<x 8, y 16, f32> -> !tile.tile<y 16, x 8, f32>
    tile.store %s, %out[%c0, %c0] axes ["y", "x"] : !tile.tile<y 16, x 8, f32> -> memref<16x8xf32>
  }
  return
}

// -----

// Products with bf16 operands, many queries and one head: queries are the vector of logits and output, tokens that of
// values in blocks. What is stored as rows of features is turned before it is rounded.
// CHECK-LABEL: func.func @queries_as_columns
func.func @queries_as_columns(%q: memref<128x1x64xbf16>, %k: memref<64x64xbf16>, %v: memref<2x64x32xbf16>, %out: memref<128x1x64xbf16>) {
  %c0 = arith.constant 0 : index
  // CHECK: tile.load %{{.*}} : memref<128x1x64xbf16> -> <n 128, h 1, d 64, bf16>
  %query = tile.load %q[%c0, %c0, %c0] axes ["n", "h", "d"] : memref<128x1x64xbf16> -> !tile.tile<n 128, h 1, d 64, bf16>
  // CHECK: tile.load %{{.*}} -> <m 64, d 64, bf16>
  %keys = tile.load %k[%c0, %c0] axes ["m", "d"] : memref<64x64xbf16> -> !tile.tile<m 64, d 64, bf16>
  // CHECK: tile.dot %{{.*}} -> <h 1, m 64, n 128, f32>
  %s = tile.dot %query, %keys : !tile.tile<n 128, h 1, d 64, bf16>, !tile.tile<m 64, d 64, bf16> -> !tile.tile<n 128, h 1, m 64, f32>
  %p = tile.convert %s : !tile.tile<n 128, h 1, m 64, f32> -> !tile.tile<n 128, h 1, m 64, bf16>
  // CHECK: tile.load %{{.*}} -> <e 64, m 64, bf16>
  %values = tile.load %v[%c0, %c0, %c0] axes ["m", "e", "m"] : memref<2x64x32xbf16> -> !tile.tile<m 64, e 64, bf16>
  // CHECK: %[[O:.*]] = tile.dot %{{.*}} -> <h 1, e 64, n 128, f32>
  %o = tile.dot %p, %values : !tile.tile<n 128, h 1, m 64, bf16>, !tile.tile<m 64, e 64, bf16> -> !tile.tile<n 128, h 1, e 64, f32>
  // CHECK: %[[TURNED:.*]] = tile.convert %[[O]] : <h 1, e 64, n 128, f32> -> <h 1, n 128, e 64, f32>
  // CHECK: tile.convert %[[TURNED]] : <h 1, n 128, e 64, f32> -> <h 1, n 128, e 64, bf16>
  %rounded = tile.convert %o : !tile.tile<n 128, h 1, e 64, f32> -> !tile.tile<n 128, h 1, e 64, bf16>
  tile.store %rounded, %out[%c0, %c0, %c0] axes ["n", "h", "e"] : !tile.tile<n 128, h 1, e 64, bf16> -> memref<128x1x64xbf16>
  return
}
