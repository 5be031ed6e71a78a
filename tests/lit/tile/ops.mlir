// RUN: tpa-opt %s | tpa-opt | FileCheck %s
// RUN: tpa-opt %s -mlir-print-op-generic | tpa-opt | FileCheck %s
// RUN: tpa-opt %s --verify-roundtrip -o /dev/null
//
// Every tile op, with each optional part given and left out.

// CHECK-LABEL: func.func @types(
// CHECK-SAME: !tile.tile<h 47, d 64, f32>
// CHECK-SAME: !tile.tile<f32>
// CHECK-SAME: !tile.tile<n 1, i32>
// CHECK-SAME: !tile.tile<m 128, d0 32, f8E4M3FN>
func.func @types(%a: !tile.tile<h 47, d 64, f32>, %b: !tile.tile<f32>, %c: !tile.tile<n 1, i32>,
                 %d: !tile.tile<m 128, d0 32, f8E4M3FN>) {
  return
}

// CHECK-LABEL: func.func @memory(
// CHECK-SAME: %[[K:[a-z0-9]+]]: memref<?x?x2x64xbf16>, %[[B:[a-z0-9]+]]: index, %[[M:[a-z0-9]+]]: index, %[[COUNT:[a-z0-9]+]]: index
// CHECK: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[X:.*]] = tile.load %[[K]][%[[B]], %[[M]], %[[C0]], %[[C0]]] axes ["", "m", "", "d"] limits ["m"](%[[COUNT]]) : memref<?x?x2x64xbf16> -> <m 128, d 64, bf16>
// CHECK: tile.store %[[X]], %[[K]][%[[B]], %[[M]], %[[C0]], %[[C0]]] axes ["", "m", "", "d"] limits ["m", "d"](%[[COUNT]], %[[M]]) : <m 128, d 64, bf16> -> memref<?x?x2x64xbf16>
// CHECK: %[[Y:.*]] = tile.load %[[K]][%[[B]], %[[M]], %[[C0]], %[[C0]]] axes ["", "m", "", "d"] : memref<?x?x2x64xbf16> -> <d 64, m 128, bf16>
// CHECK: tile.store %[[Y]], %[[K]][%[[B]], %[[M]], %[[C0]], %[[C0]]] axes ["", "m", "", "d"] : <d 64, m 128, bf16> -> memref<?x?x2x64xbf16>
func.func @memory(%k: memref<?x?x2x64xbf16>, %b: index, %m: index, %count: index) {
  %c0 = arith.constant 0 : index
  %x = tile.load %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] limits ["m"] (%count)
    : memref<?x?x2x64xbf16> -> !tile.tile<m 128, d 64, bf16>
  tile.store %x, %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] limits ["m", "d"] (%count, %m)
    : !tile.tile<m 128, d 64, bf16> -> memref<?x?x2x64xbf16>
  %y = tile.load %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] : memref<?x?x2x64xbf16> -> !tile.tile<d 64, m 128, bf16>
  tile.store %y, %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] : !tile.tile<d 64, m 128, bf16> -> memref<?x?x2x64xbf16>
  return
}

// An axis in blocks of 32.
// CHECK-LABEL: func.func @blocks(
// CHECK: %[[X:.*]] = tile.load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] axes ["", "m", "", "e", "m"] limits ["m"](%{{.*}}) : memref<?x?x2x64x32xbf16> -> <m 128, e 64, bf16>
// CHECK: tile.store %[[X]], %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] axes ["", "m", "", "e", "m"] : <m 128, e 64, bf16> -> memref<?x?x2x64x32xbf16>
func.func @blocks(%v: memref<?x?x2x64x32xbf16>, %b: index, %m: index, %count: index) {
  %c0 = arith.constant 0 : index
  %x = tile.load %v[%b, %m, %c0, %c0, %c0] axes ["", "m", "", "e", "m"] limits ["m"] (%count)
    : memref<?x?x2x64x32xbf16> -> !tile.tile<m 128, e 64, bf16>
  tile.store %x, %v[%b, %m, %c0, %c0, %c0] axes ["", "m", "", "e", "m"] : !tile.tile<m 128, e 64, bf16> -> memref<?x?x2x64x32xbf16>
  return
}

// Pages, which a table gives.
// CHECK-LABEL: func.func @pages(
// CHECK: %[[X:.*]] = tile.load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] axes ["", "m", "", "d"] limits ["m"](%{{.*}}) pages %[[T:.*]] runs 16 : memref<?x16x2x64xbf16>, memref<?x?xi32> -> <m 32, d 64, bf16>
// CHECK: tile.store %[[X]], %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] axes ["", "m", "", "d"] pages %[[T]] runs 1 : <m 32, d 64, bf16> -> memref<?x16x2x64xbf16>, memref<?x?xi32>
func.func @pages(%k: memref<?x16x2x64xbf16>, %table: memref<?x?xi32>, %b: index, %m: index, %count: index) {
  %c0 = arith.constant 0 : index
  %x = tile.load %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] limits ["m"] (%count) pages %table runs 16
    : memref<?x16x2x64xbf16>, memref<?x?xi32> -> !tile.tile<m 32, d 64, bf16>
  tile.store %x, %k[%b, %m, %c0, %c0] axes ["", "m", "", "d"] pages %table runs 1
    : !tile.tile<m 32, d 64, bf16> -> memref<?x16x2x64xbf16>, memref<?x?xi32>
  return
}

// CHECK-LABEL: func.func @table_row(
// CHECK: tile.table_row %{{.*}}[%{{.*}}] : memref<?xi32, strided<[?], offset: ?>>
func.func @table_row(%starts: memref<?xi32, strided<[?], offset: ?>>, %b: index) -> index {
  %row = tile.table_row %starts[%b] : memref<?xi32, strided<[?], offset: ?>>
  return %row : index
}

// CHECK-LABEL: func.func @scalar_memory(
// CHECK: %[[X:.*]] = tile.load %{{.*}}[] axes [] : memref<f32> -> <f32>
// CHECK: tile.store %[[X]], %{{.*}}[] axes [] : <f32> -> memref<f32>
func.func @scalar_memory(%a: memref<f32>) {
  %x = tile.load %a[] axes [] : memref<f32> -> !tile.tile<f32>
  tile.store %x, %a[] axes [] : !tile.tile<f32> -> memref<f32>
  return
}

// CHECK-LABEL: func.func @elements(
// CHECK-SAME: %[[S:[a-z0-9]+]]: !tile.tile<n 1, h 47, m 128, f32>, %[[A:[a-z0-9]+]]: !tile.tile<m 128, h 47, bf16>
// CHECK: %[[F:.*]] = tile.fill 0.000000e+00 : <n 1, h 47, m 128, f32>
// CHECK: tile.fill 0xFFF0000000000000 : <n 1, h 47, f32>
// CHECK: tile.convert %[[A]] : <m 128, h 47, bf16> -> <h 47, m 128, f32>
// CHECK: %{{.*}}, %{{.*}} = tile.split %[[S]] : <n 1, h 47, m 128, f32> -> <n 1, h 47, m 128, bf16>
// CHECK: tile.mul %[[S]], %[[A]] : <n 1, h 47, m 128, f32>, <m 128, h 47, bf16> -> <n 1, h 47, m 128, f32>
// CHECK: tile.add %[[S]], %[[F]] : <n 1, h 47, m 128, f32>, <n 1, h 47, m 128, f32> -> <n 1, h 47, m 128, f32>
// CHECK: tile.constant_mul %[[S]], 1.250000e-01 : <n 1, h 47, m 128, f32> -> <n 1, h 47, m 128, f32>
// CHECK: tile.softcap %[[S]], 5.000000e+01 : <n 1, h 47, m 128, f32> -> <n 1, h 47, m 128, f32>
func.func @elements(%s: !tile.tile<n 1, h 47, m 128, f32>, %a: !tile.tile<m 128, h 47, bf16>) {
  %f = tile.fill 0.0 : !tile.tile<n 1, h 47, m 128, f32>
  %i = tile.fill 0xFFF0000000000000 : !tile.tile<n 1, h 47, f32>
  %c = tile.convert %a : !tile.tile<m 128, h 47, bf16> -> !tile.tile<h 47, m 128, f32>
  %hi, %lo = tile.split %s : !tile.tile<n 1, h 47, m 128, f32> -> !tile.tile<n 1, h 47, m 128, bf16>
  %w = tile.mul %s, %a : !tile.tile<n 1, h 47, m 128, f32>, !tile.tile<m 128, h 47, bf16> -> !tile.tile<n 1, h 47, m 128, f32>
  %t = tile.add %s, %f : !tile.tile<n 1, h 47, m 128, f32>, !tile.tile<n 1, h 47, m 128, f32> -> !tile.tile<n 1, h 47, m 128, f32>
  %m = tile.constant_mul %s, 0.125 : !tile.tile<n 1, h 47, m 128, f32> -> !tile.tile<n 1, h 47, m 128, f32>
  %l = tile.softcap %s, 50.0 : !tile.tile<n 1, h 47, m 128, f32> -> !tile.tile<n 1, h 47, m 128, f32>
  return
}

// CHECK-LABEL: func.func @contractions(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: !tile.tile<h 47, d 64, bf16>, %[[K:[a-z0-9]+]]: !tile.tile<m 128, d 64, bf16>
// CHECK: %[[S:.*]] = tile.dot %[[Q]], %[[K]] : <h 47, d 64, bf16>, <m 128, d 64, bf16> -> <h 47, m 128, f32>
// CHECK: tile.dot %[[Q]], %[[K]] acc %[[S]] : !tile.tile<h 47, m 128, f32>, <h 47, d 64, bf16>, <m 128, d 64, bf16> -> <h 47, m 128, f32>
// CHECK: tile.slice %[[K]] "d" as "e" : <m 128, d 64, bf16> -> <m 128, e 32, bf16>
func.func @contractions(%q: !tile.tile<h 47, d 64, bf16>, %k: !tile.tile<m 128, d 64, bf16>) {
  %s = tile.dot %q, %k : !tile.tile<h 47, d 64, bf16>, !tile.tile<m 128, d 64, bf16> -> !tile.tile<h 47, m 128, f32>
  %t = tile.dot %q, %k acc %s : !tile.tile<h 47, m 128, f32>, !tile.tile<h 47, d 64, bf16>, !tile.tile<m 128, d 64, bf16>
    -> !tile.tile<h 47, m 128, f32>
  %e = tile.slice %k "d" as "e" : !tile.tile<m 128, d 64, bf16> -> !tile.tile<m 128, e 32, bf16>
  return
}

// CHECK-LABEL: func.func @outer(
// CHECK: tile.outer %{{.*}}, %{{.*}} join "d0" "d1" as "d" : <m 128, d0 32, bf16>, <m 128, d1 2, bf16> -> <m 128, d 64, f32>
func.func @outer(%b: !tile.tile<m 128, d0 32, bf16>, %c: !tile.tile<m 128, d1 2, bf16>) {
  %r = tile.outer %b, %c join "d0" "d1" as "d" : !tile.tile<m 128, d0 32, bf16>, !tile.tile<m 128, d1 2, bf16>
    -> !tile.tile<m 128, d 64, f32>
  return
}

// CHECK-LABEL: func.func @factors(
// CHECK: tile.rope <d_rot = 32, offset = 32, base = 1.000000e+04> block 64 axis "d" %{{.*}}, %{{.*}} : <r 6, d 64, f32>, <n 4, i32> -> <n 4, r 6, d 64, f32>
// CHECK: tile.head_function sigmoid %{{.*}} : <r 6, h 47, f32> -> <r 6, h 47, f32>
// CHECK: tile.head_function softmax %{{.*}} : <r 6, h 47, f32> -> <h 47, r 6, f32>
// CHECK: %{{.*}}, %{{.*}} = tile.quantize %{{.*}} along "d" : <r 6, d 64, f32> -> <r 6, d 64, i8>, <r 6, f32>
// CHECK: tile.quantize %{{.*}} along "d" : <r 6, d 64, f32> -> <r 6, d 64, f8E4M3FN>, <r 6, f32>
func.func @factors(%b: !tile.tile<r 6, d 64, f32>, %a: !tile.tile<r 6, h 47, f32>, %p: !tile.tile<n 4, i32>) {
  %r = tile.rope <d_rot = 32, offset = 32, base = 1.000000e+04> block 64 axis "d" %b, %p
    : !tile.tile<r 6, d 64, f32>, !tile.tile<n 4, i32> -> !tile.tile<n 4, r 6, d 64, f32>
  %f = tile.head_function sigmoid %a : !tile.tile<r 6, h 47, f32> -> !tile.tile<r 6, h 47, f32>
  %g = tile.head_function softmax %a : !tile.tile<r 6, h 47, f32> -> !tile.tile<h 47, r 6, f32>
  %q, %s = tile.quantize %b along "d" : !tile.tile<r 6, d 64, f32> -> !tile.tile<r 6, d 64, i8>, !tile.tile<r 6, f32>
  %q8, %s8 = tile.quantize %b along "d" : !tile.tile<r 6, d 64, f32> -> !tile.tile<r 6, d 64, f8E4M3FN>, !tile.tile<r 6, f32>
  return
}

// CHECK-LABEL: func.func @softmax(
// CHECK-SAME: %[[L:[a-z0-9]+]]: !tile.tile<n 4, h 47, m 128, f32>, %[[STATE:[a-z0-9]+]]: !tile.tile<n 4, h 47, f32>, %[[ACC:[a-z0-9]+]]: !tile.tile<n 4, h 47, e 64, f32>
// CHECK-SAME: %[[M:[a-z0-9]+]]: index, %[[LIMIT:[a-z0-9]+]]: index, %[[END:[a-z0-9]+]]: index
// CHECK: tile.mask %[[L]] at %[[M]], %[[LIMIT]], %[[END]] causal window 4096 : <n 4, h 47, m 128, f32> -> <n 4, h 47, m 128, f32>
// CHECK: tile.mask %[[L]] at %[[M]], %[[LIMIT]], %[[END]] causal : <n 4, h 47, m 128, f32>
// CHECK: tile.mask %[[L]] at %[[M]], %[[LIMIT]], %[[END]] window 16 : <n 4, h 47, m 128, f32>
// CHECK: tile.mask %[[L]] at %[[M]], %[[LIMIT]], %[[END]] : <n 4, h 47, m 128, f32>
// CHECK: %{{.*}}, %[[MAX:.*]], %[[SUM:.*]], %{{.*}} = tile.softmax_step %[[L]], %[[STATE]], %[[STATE]] : <n 4, h 47, m 128, f32>, <n 4, h 47, f32> -> <n 4, h 47, m 128, f32>
// CHECK: %[[OUT:.*]], %[[LSE:.*]] = tile.finish %[[ACC]], %[[MAX]], %[[SUM]] : <n 4, h 47, e 64, f32>, <n 4, h 47, f32>
// CHECK: tile.merge %[[OUT]], %[[LSE]], %[[OUT]], %[[LSE]] : <n 4, h 47, e 64, f32>, <n 4, h 47, f32>
func.func @softmax(%l: !tile.tile<n 4, h 47, m 128, f32>, %state: !tile.tile<n 4, h 47, f32>,
                   %acc: !tile.tile<n 4, h 47, e 64, f32>, %m: index, %limit: index, %end: index) {
  %k0 = tile.mask %l at %m, %limit, %end causal window 4096 : !tile.tile<n 4, h 47, m 128, f32> -> !tile.tile<n 4, h 47, m 128, f32>
  %k1 = tile.mask %l at %m, %limit, %end causal : !tile.tile<n 4, h 47, m 128, f32> -> !tile.tile<n 4, h 47, m 128, f32>
  %k2 = tile.mask %l at %m, %limit, %end window 16 : !tile.tile<n 4, h 47, m 128, f32> -> !tile.tile<n 4, h 47, m 128, f32>
  %k3 = tile.mask %l at %m, %limit, %end : !tile.tile<n 4, h 47, m 128, f32> -> !tile.tile<n 4, h 47, m 128, f32>
  %p, %max, %sum, %c = tile.softmax_step %l, %state, %state
    : !tile.tile<n 4, h 47, m 128, f32>, !tile.tile<n 4, h 47, f32> -> !tile.tile<n 4, h 47, m 128, f32>
  %o, %lse = tile.finish %acc, %max, %sum : !tile.tile<n 4, h 47, e 64, f32>, !tile.tile<n 4, h 47, f32>
  %o2, %lse2 = tile.merge %o, %lse, %o, %lse : !tile.tile<n 4, h 47, e 64, f32>, !tile.tile<n 4, h 47, f32>
  return
}
