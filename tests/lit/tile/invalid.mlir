// RUN: tpa-opt %s -split-input-file -verify-diagnostics
//
// One case per message of tiles and tile ops, and per op of the rules that several share (X). In text a size follows its
// axis, so that X1 has its test in C++.

// expected-error @+1 {{expected each axis once, got "h" twice [X2]}}
func.func @type(%a: !tile.tile<h 4, h 4, f32>) { return }

// -----

// expected-error @+1 {{axis d: expected a size >= 1, got 0 [X3]}}
func.func @type(%a: !tile.tile<h 4, d 0, f32>) { return }

// -----

// expected-error @+1 {{expected a number as element type, got 'index' [X4]}}
func.func @type(%a: !tile.tile<h 4, index>) { return }

// -----

func.func @load(%a: memref<?x8xf32>, %i: index) {
  // expected-error @+1 {{expected one index and one axis name per dimension of 'memref<?x8xf32>', got 1 and 2 [X5]}}
  %x = tile.load %a[%i] axes ["m", "d"] : memref<?x8xf32> -> !tile.tile<m 4, d 8, f32>
  return
}

// -----

func.func @load(%a: memref<?x8xf32>, %i: index) {
  // expected-error @+1 {{expected one index and one axis name per dimension of 'memref<?x8xf32>', got 2 and 1 [X5]}}
  %x = tile.load %a[%i, %i] axes ["m"] : memref<?x8xf32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @load(%a: memref<?x8xf32>, %i: index) {
  // expected-error @+1 {{expected axes of '!tile.tile<m 4, d 8, f32>', got "e" [X6]}}
  %x = tile.load %a[%i, %i] axes ["m", "e"] : memref<?x8xf32> -> !tile.tile<m 4, d 8, f32>
  return
}

// -----

func.func @load(%a: memref<?x8xf32>, %i: index) {
  // expected-error @+1 {{expected each axis of '!tile.tile<m 4, d 8, f32>' along one dimension or two, got "d" along 0 [X7]}}
  %x = tile.load %a[%i, %i] axes ["m", ""] : memref<?x8xf32> -> !tile.tile<m 4, d 8, f32>
  return
}

// -----

func.func @store(%x: !tile.tile<m 4, f32>, %a: memref<?x8x8xf32>, %i: index) {
  // expected-error @+1 {{expected each axis of '!tile.tile<m 4, f32>' along one dimension or two, got "m" along 3 [X7]}}
  tile.store %x, %a[%i, %i, %i] axes ["m", "m", "m"] : !tile.tile<m 4, f32> -> memref<?x8x8xf32>
  return
}

// -----

func.func @load(%a: memref<?x8x?xf32>, %i: index) {
  // expected-error @+1 {{axis m: expected a second dimension of static size >= 1, got dimension 2 of 'memref<?x8x?xf32>' [X21]}}
  %x = tile.load %a[%i, %i, %i] axes ["m", "e", "m"] : memref<?x8x?xf32> -> !tile.tile<m 4, e 8, f32>
  return
}

// -----

func.func @store(%x: !tile.tile<m 4, f32>, %a: memref<?x8xf32>, %i: index) {
  %c8 = arith.constant 8 : index
  // expected-error @+1 {{axis m: expected index 0 in its second dimension, got 8 [X22]}}
  tile.store %x, %a[%i, %c8] axes ["m", "m"] : !tile.tile<m 4, f32> -> memref<?x8xf32>
  return
}

// -----

func.func @load(%a: memref<?x8xf32>, %t: memref<?x?xi32>, %i: index) {
  // expected-error @+1 {{expected pages and runs together [X23]}}
  %x = "tile.load"(%a, %i, %i, %t) <{axes = ["", "m"], operandSegmentSizes = array<i32: 1, 2, 0, 1>}>
    : (memref<?x8xf32>, index, index, memref<?x?xi32>) -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @load(%a: memref<?x?xf32>, %t: memref<?x?xi32>, %i: index) {
  // expected-error @+1 {{pages: expected a first dimension without an axis and a second one of static size >= 1 with one, got axes ["", "m"] of 'memref<?x?xf32>' [X24]}}
  %x = tile.load %a[%i, %i] axes ["", "m"] pages %t runs 4 : memref<?x?xf32>, memref<?x?xi32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @store(%x: !tile.tile<m 4, f32>, %a: memref<?x6xf32>, %t: memref<?x?xi32>, %i: index) {
  // expected-error @+1 {{runs: expected a divisor of the page's 6 elements and of the 4 of axis m, got 4 [X25]}}
  tile.store %x, %a[%i, %i] axes ["", "m"] pages %t runs 4 : !tile.tile<m 4, f32> -> memref<?x6xf32>, memref<?x?xi32>
  return
}

// -----

func.func @load(%a: memref<?x8xf32>, %i: index) {
  // expected-error @+1 {{expected one limit per limited axis, got 2 for 1 [X8]}}
  %x = tile.load %a[%i, %i] axes ["m", "d"] limits ["m"] (%i, %i) : memref<?x8xf32> -> !tile.tile<m 4, d 8, f32>
  return
}

// -----

func.func @store(%x: !tile.tile<m 4, f32>, %a: memref<?xf32>, %i: index) {
  // expected-error @+1 {{limits: expected axes of '!tile.tile<m 4, f32>', got "d" [X9]}}
  tile.store %x, %a[%i] axes ["m"] limits ["d"] (%i) : !tile.tile<m 4, f32> -> memref<?xf32>
  return
}

// -----

func.func @store(%x: !tile.tile<m 4, f32>, %a: memref<?xbf16>, %i: index) {
  // expected-error @+1 {{expected the memory's element type 'bf16', got 'f32' [X10]}}
  tile.store %x, %a[%i] axes ["m"] : !tile.tile<m 4, f32> -> memref<?xbf16>
  return
}

// -----

// Same axes, X11.

func.func @convert(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, d 8, f32>', got '!tile.tile<m 4, d 4, f32>' [X11]}}
  %y = tile.convert %x : !tile.tile<m 4, d 8, f32> -> !tile.tile<m 4, d 4, f32>
  return
}

// -----

func.func @constant_mul(%x: !tile.tile<m 4, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<n 4, f32>' [X11]}}
  %y = tile.constant_mul %x, 2.0 : !tile.tile<m 4, f32> -> !tile.tile<n 4, f32>
  return
}

// -----

func.func @softcap(%x: !tile.tile<m 4, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<m 4, n 1, f32>' [X11]}}
  %y = tile.softcap %x, 2.0 : !tile.tile<m 4, f32> -> !tile.tile<m 4, n 1, f32>
  return
}

// -----

func.func @head_function(%x: !tile.tile<r 2, h 4, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<r 2, h 4, f32>', got '!tile.tile<h 4, f32>' [X11]}}
  %y = tile.head_function sigmoid %x : !tile.tile<r 2, h 4, f32> -> !tile.tile<h 4, f32>
  return
}

// -----

func.func @split(%x: !tile.tile<m 4, f32>) {
  // expected-error @+1 {{high: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<m 5, bf16>' [X11]}}
  %hi, %lo = tile.split %x : !tile.tile<m 4, f32> -> !tile.tile<m 5, bf16>
  return
}

// -----

func.func @add(%x: !tile.tile<m 4, f32>, %y: !tile.tile<n 4, f32>) {
  // expected-error @+1 {{rhs: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<n 4, f32>' [X11]}}
  %z = tile.add %x, %y : !tile.tile<m 4, f32>, !tile.tile<n 4, f32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @add(%x: !tile.tile<m 4, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<n 4, f32>' [X11]}}
  %z = tile.add %x, %x : !tile.tile<m 4, f32>, !tile.tile<m 4, f32> -> !tile.tile<n 4, f32>
  return
}

// -----

func.func @mul(%x: !tile.tile<m 4, f32>, %y: !tile.tile<n 2, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, n 2, f32>', got '!tile.tile<m 4, f32>' [X11]}}
  %z = tile.mul %x, %y : !tile.tile<m 4, f32>, !tile.tile<n 2, f32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @outer(%x: !tile.tile<m 4, a 2, f32>, %y: !tile.tile<m 4, b 3, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, d 6, f32>', got '!tile.tile<m 4, d 5, f32>' [X11]}}
  %z = tile.outer %x, %y join "a" "b" as "d" : !tile.tile<m 4, a 2, f32>, !tile.tile<m 4, b 3, f32> -> !tile.tile<m 4, d 5, f32>
  return
}

// -----

func.func @slice(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<m 4, f32>', got '!tile.tile<n 4, f32>' [X11]}}
  %y = tile.slice %x "d" as "e" : !tile.tile<m 4, d 8, f32> -> !tile.tile<n 4, e 8, f32>
  return
}

// -----

func.func @rope(%x: !tile.tile<d 4, f32>, %p: !tile.tile<n 2, i32>) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<n 2, d 4, f32>', got '!tile.tile<d 4, f32>' [X11]}}
  %y = tile.rope <d_rot = 4, base = 1.0e+04> block 4 axis "d" %x, %p : !tile.tile<d 4, f32>, !tile.tile<n 2, i32> -> !tile.tile<d 4, f32>
  return
}

// -----

func.func @mask(%x: !tile.tile<n 2, m 4, f32>, %i: index) {
  // expected-error @+1 {{result: expected the axes of '!tile.tile<n 2, m 4, f32>', got '!tile.tile<m 4, f32>' [X11]}}
  %y = tile.mask %x at %i, %i, %i : !tile.tile<n 2, m 4, f32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @softmax_step(%x: !tile.tile<n 2, m 4, f32>, %s: !tile.tile<n 2, m 4, f32>) {
  // expected-error @+1 {{max: expected the axes of '!tile.tile<n 2, f32>', got '!tile.tile<n 2, m 4, f32>' [X11]}}
  %p, %a, %b, %c = tile.softmax_step %x, %s, %s : !tile.tile<n 2, m 4, f32>, !tile.tile<n 2, m 4, f32> -> !tile.tile<n 2, m 4, f32>
  return
}

// -----

func.func @softmax_step(%x: !tile.tile<n 2, m 4, f32>, %s: !tile.tile<n 2, f32>) {
  // expected-error @+1 {{probabilities: expected the axes of '!tile.tile<n 2, m 4, f32>', got '!tile.tile<n 2, f32>' [X11]}}
  %p, %a, %b, %c = tile.softmax_step %x, %s, %s : !tile.tile<n 2, m 4, f32>, !tile.tile<n 2, f32> -> !tile.tile<n 2, f32>
  return
}

// -----

func.func @finish(%x: !tile.tile<n 2, e 4, f32>, %s: !tile.tile<h 2, f32>) {
  // expected-error @+1 {{max: expected the axes of '!tile.tile<n 2, f32>', got '!tile.tile<h 2, f32>' [X11]}}
  %o, %l = tile.finish %x, %s, %s : !tile.tile<n 2, e 4, f32>, !tile.tile<h 2, f32>
  return
}

// -----

func.func @merge(%x: !tile.tile<n 2, e 4, f32>, %s: !tile.tile<h 2, f32>) {
  // expected-error @+1 {{lse0: expected the axes of '!tile.tile<n 2, f32>', got '!tile.tile<h 2, f32>' [X11]}}
  %o, %l = tile.merge %x, %s, %x, %s : !tile.tile<n 2, e 4, f32>, !tile.tile<h 2, f32>
  return
}

// -----

func.func @quantize(%x: !tile.tile<r 2, d 4, f32>) {
  // expected-error @+1 {{values: expected the axes of '!tile.tile<r 2, d 4, f32>', got '!tile.tile<r 2, d 5, i8>' [X11]}}
  %q, %s = tile.quantize %x along "d" : !tile.tile<r 2, d 4, f32> -> !tile.tile<r 2, d 5, i8>, !tile.tile<r 2, f32>
  return
}

// -----

func.func @quantize(%x: !tile.tile<r 2, d 4, f32>) {
  // expected-error @+1 {{scale: expected the axes of '!tile.tile<r 2, f32>', got '!tile.tile<d 4, f32>' [X11]}}
  %q, %s = tile.quantize %x along "d" : !tile.tile<r 2, d 4, f32> -> !tile.tile<r 2, d 4, i8>, !tile.tile<d 4, f32>
  return
}

// -----

// An axis that an op works along, X12.

func.func @head_function(%x: !tile.tile<r 2, f32>) {
  // expected-error @+1 {{input: expected an axis h, got '!tile.tile<r 2, f32>' [X12]}}
  %y = tile.head_function softmax %x : !tile.tile<r 2, f32> -> !tile.tile<r 2, f32>
  return
}

// -----

func.func @outer(%x: !tile.tile<m 4, a 2, f32>, %y: !tile.tile<m 4, b 3, f32>) {
  // expected-error @+1 {{lhs: expected an axis b, got '!tile.tile<m 4, a 2, f32>' [X12]}}
  %z = tile.outer %x, %y join "b" "b" as "d" : !tile.tile<m 4, a 2, f32>, !tile.tile<m 4, b 3, f32> -> !tile.tile<m 4, d 6, f32>
  return
}

// -----

func.func @outer(%x: !tile.tile<m 4, a 2, f32>, %y: !tile.tile<m 4, b 3, f32>) {
  // expected-error @+1 {{rhs: expected an axis a, got '!tile.tile<m 4, b 3, f32>' [X12]}}
  %z = tile.outer %x, %y join "a" "a" as "d" : !tile.tile<m 4, a 2, f32>, !tile.tile<m 4, b 3, f32> -> !tile.tile<m 4, d 6, f32>
  return
}

// -----

func.func @slice(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{input: expected an axis e, got '!tile.tile<m 4, d 8, f32>' [X12]}}
  %y = tile.slice %x "e" as "e" : !tile.tile<m 4, d 8, f32> -> !tile.tile<m 4, e 8, f32>
  return
}

// -----

func.func @slice(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{result: expected an axis e, got '!tile.tile<m 4, d 8, f32>' [X12]}}
  %y = tile.slice %x "d" as "e" : !tile.tile<m 4, d 8, f32> -> !tile.tile<m 4, d 8, f32>
  return
}

// -----

func.func @rope(%x: !tile.tile<n 2, d 4, f32>, %p: !tile.tile<n 2, i32>) {
  // expected-error @+1 {{input: expected an axis e, got '!tile.tile<n 2, d 4, f32>' [X12]}}
  %y = tile.rope <d_rot = 4, base = 1.0e+04> block 4 axis "e" %x, %p : !tile.tile<n 2, d 4, f32>, !tile.tile<n 2, i32> -> !tile.tile<n 2, d 4, f32>
  return
}

// -----

func.func @mask(%x: !tile.tile<h 2, m 4, f32>, %i: index) {
  // expected-error @+1 {{input: expected an axis n, got '!tile.tile<h 2, m 4, f32>' [X12]}}
  %y = tile.mask %x at %i, %i, %i : !tile.tile<h 2, m 4, f32> -> !tile.tile<h 2, m 4, f32>
  return
}

// -----

func.func @mask(%x: !tile.tile<n 2, f32>, %i: index) {
  // expected-error @+1 {{input: expected an axis m, got '!tile.tile<n 2, f32>' [X12]}}
  %y = tile.mask %x at %i, %i, %i : !tile.tile<n 2, f32> -> !tile.tile<n 2, f32>
  return
}

// -----

func.func @softmax_step(%x: !tile.tile<n 2, f32>, %s: !tile.tile<n 2, f32>) {
  // expected-error @+1 {{logits: expected an axis m, got '!tile.tile<n 2, f32>' [X12]}}
  %p, %a, %b, %c = tile.softmax_step %x, %s, %s : !tile.tile<n 2, f32>, !tile.tile<n 2, f32> -> !tile.tile<n 2, f32>
  return
}

// -----

func.func @finish(%x: !tile.tile<n 2, d 4, f32>, %s: !tile.tile<n 2, f32>) {
  // expected-error @+1 {{accumulator: expected an axis e, got '!tile.tile<n 2, d 4, f32>' [X12]}}
  %o, %l = tile.finish %x, %s, %s : !tile.tile<n 2, d 4, f32>, !tile.tile<n 2, f32>
  return
}

// -----

func.func @merge(%x: !tile.tile<n 2, d 4, f32>, %s: !tile.tile<n 2, f32>) {
  // expected-error @+1 {{out0: expected an axis e, got '!tile.tile<n 2, d 4, f32>' [X12]}}
  %o, %l = tile.merge %x, %s, %x, %s : !tile.tile<n 2, d 4, f32>, !tile.tile<n 2, f32>
  return
}

// -----

func.func @quantize(%x: !tile.tile<r 2, d 4, f32>) {
  // expected-error @+1 {{input: expected an axis e, got '!tile.tile<r 2, d 4, f32>' [X12]}}
  %q, %s = tile.quantize %x along "e" : !tile.tile<r 2, d 4, f32> -> !tile.tile<r 2, d 4, i8>, !tile.tile<r 2, f32>
  return
}

// -----

// One size per axis, X13.

func.func @mul(%x: !tile.tile<m 4, f32>, %y: !tile.tile<m 2, f32>) {
  // expected-error @+1 {{axis m: expected one size, got 4 and 2 [X13]}}
  %z = tile.mul %x, %y : !tile.tile<m 4, f32>, !tile.tile<m 2, f32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @dot(%x: !tile.tile<m 4, d 8, f32>, %y: !tile.tile<n 2, d 4, f32>) {
  // expected-error @+1 {{axis d: expected one size, got 8 and 4 [X13]}}
  %z = tile.dot %x, %y : !tile.tile<m 4, d 8, f32>, !tile.tile<n 2, d 4, f32> -> !tile.tile<m 4, n 2, f32>
  return
}

// -----

func.func @dot(%x: !tile.tile<m 4, d 8, f32>, %y: !tile.tile<n 2, d 8, f32>) {
  // expected-error @+1 {{axis n: expected one size, got 2 and 3 [X13]}}
  %z = tile.dot %x, %y : !tile.tile<m 4, d 8, f32>, !tile.tile<n 2, d 8, f32> -> !tile.tile<m 4, n 3, f32>
  return
}

// -----

func.func @outer(%x: !tile.tile<m 4, a 2, f32>, %y: !tile.tile<m 5, b 3, f32>) {
  // expected-error @+1 {{axis m: expected one size, got 4 and 5 [X13]}}
  %z = tile.outer %x, %y join "a" "b" as "d" : !tile.tile<m 4, a 2, f32>, !tile.tile<m 5, b 3, f32> -> !tile.tile<m 4, d 6, f32>
  return
}

// -----

func.func @rope(%x: !tile.tile<n 3, d 4, f32>, %p: !tile.tile<n 2, i32>) {
  // expected-error @+1 {{axis n: expected one size, got 3 and 2 [X13]}}
  %y = tile.rope <d_rot = 4, base = 1.0e+04> block 4 axis "d" %x, %p : !tile.tile<n 3, d 4, f32>, !tile.tile<n 2, i32> -> !tile.tile<n 3, d 4, f32>
  return
}

// -----

func.func @dot(%x: !tile.tile<m 4, d 8, f32>, %y: !tile.tile<n 2, d 8, f32>) {
  // expected-error @+1 {{expected the result's axes among the operands', got "h" [X14]}}
  %z = tile.dot %x, %y : !tile.tile<m 4, d 8, f32>, !tile.tile<n 2, d 8, f32> -> !tile.tile<m 4, h 2, f32>
  return
}

// -----

func.func @dot(%x: !tile.tile<m 4, d 8, f32>, %y: !tile.tile<n 2, d 8, f32>) {
  // expected-error @+1 {{expected an axis that the result lacks in both operands, got "n" in one [X15]}}
  %z = tile.dot %x, %y : !tile.tile<m 4, d 8, f32>, !tile.tile<n 2, d 8, f32> -> !tile.tile<m 4, f32>
  return
}

// -----

func.func @dot(%x: !tile.tile<m 4, d 8, f32>, %y: !tile.tile<n 2, d 8, f32>, %a: !tile.tile<n 2, m 4, f32>) {
  // expected-error @+1 {{acc: expected the result's type '!tile.tile<m 4, n 2, f32>', got '!tile.tile<n 2, m 4, f32>' [X16]}}
  %z = tile.dot %x, %y acc %a : !tile.tile<n 2, m 4, f32>, !tile.tile<m 4, d 8, f32>, !tile.tile<n 2, d 8, f32> -> !tile.tile<m 4, n 2, f32>
  return
}

// -----

func.func @rope(%x: !tile.tile<n 2, d 8, f32>, %p: !tile.tile<n 2, i32>) {
  // expected-error @+1 {{block: expected a divisor of axis d, 8, that holds offset + d_rot = 4 features, got 3 [X17]}}
  %y = tile.rope <d_rot = 4, base = 1.0e+04> block 3 axis "d" %x, %p : !tile.tile<n 2, d 8, f32>, !tile.tile<n 2, i32> -> !tile.tile<n 2, d 8, f32>
  return
}

// -----

func.func @rope(%x: !tile.tile<n 2, d 8, f32>, %p: !tile.tile<n 2, i32>) {
  // expected-error @+1 {{block: expected a divisor of axis d, 8, that holds offset + d_rot = 6 features, got 4 [X17]}}
  %y = tile.rope <d_rot = 4, offset = 2, base = 1.0e+04> block 4 axis "d" %x, %p : !tile.tile<n 2, d 8, f32>, !tile.tile<n 2, i32> -> !tile.tile<n 2, d 8, f32>
  return
}

// -----

func.func @quantize(%x: !tile.tile<r 2, d 4, f32>) {
  // expected-error @+1 {{values: expected element type f8E4M3FN or i8, got 'bf16' [X18]}}
  %q, %s = tile.quantize %x along "d" : !tile.tile<r 2, d 4, f32> -> !tile.tile<r 2, d 4, bf16>, !tile.tile<r 2, f32>
  return
}

// -----

func.func @slice(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{result: expected at most the 8 elements of axis d, got 9 [X19]}}
  %y = tile.slice %x "d" as "e" : !tile.tile<m 4, d 8, f32> -> !tile.tile<m 4, e 9, f32>
  return
}

// -----

func.func @slice(%x: !tile.tile<m 4, d 8, f32>) {
  // expected-error @+1 {{result: expected element type 'f32', got 'bf16' [X20]}}
  %y = tile.slice %x "d" as "e" : !tile.tile<m 4, d 8, f32> -> !tile.tile<m 4, e 8, bf16>
  return
}
