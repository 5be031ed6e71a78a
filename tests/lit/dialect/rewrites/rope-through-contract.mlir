// RUN: tpa-opt %s -tpa-rope-through-contract -split-input-file | FileCheck %s
//
// rope(contract(A, B)) = contract(A, rope(B)): Theorem 3.1 at order 2, Theorem C.1 above.

// The rotated factor has the element type of what was rotated, and a row per position.
// CHECK-LABEL: func.func @order2(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x5xbf16>, %[[B:[a-z0-9]+]]: tensor<?x2x8xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[K:[a-z0-9]+]]: tensor<?x5x8xf32>, %[[INIT:[a-z0-9]+]]: tensor<?x5x8xf32>
// CHECK-DAG: %[[C0:.+]] = arith.constant 0 : index
// CHECK-DAG: %[[T:.+]] = tensor.dim %[[P]], %[[C0]]
// CHECK: %[[E:.+]] = tensor.empty(%[[T]]) : tensor<?x2x8xf32>
// CHECK: %[[ROT:.+]] = tpa.rope <d_rot = 8, base = 1.000000e+04> block 8
// CHECK-SAME: ins(%[[B]], %[[P]] : tensor<?x2x8xbf16>, tensor<?xi32>) outs(%[[E]] : tensor<?x2x8xf32>)
// CHECK: %[[R:.+]] = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<?x2x5xbf16>) token(%[[ROT]] : tensor<?x2x8xf32>) outs(%[[INIT]] : tensor<?x5x8xf32>)
// CHECK-NOT: tpa.
// CHECK: return %[[R]]
func.func @order2(%a: tensor<?x2x5xbf16>, %b: tensor<?x2x8xbf16>, %p: tensor<?xi32>, %k: tensor<?x5x8xf32>,
                  %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<?x2x5xbf16>) token(%b : tensor<?x2x8xbf16>) outs(%k : tensor<?x5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<?x5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Keys of a cache: positions, and the rotated factor, have two leading dimensions. Other options of RoPE go along.
// CHECK-LABEL: func.func @cached(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<2x5xf32>, %[[B:[a-z0-9]+]]: tensor<3x?x2x8xf32>, %[[P:[a-z0-9]+]]: tensor<3x?xi32>
// CHECK: %[[C1:.+]] = arith.constant 1 : index
// CHECK: %[[M:.+]] = tensor.dim %[[P]], %[[C1]]
// CHECK: %[[E:.+]] = tensor.empty(%[[M]]) : tensor<3x?x2x8xf32>
// CHECK: %[[ROT:.+]] = tpa.rope <layout = interleaved, direction = 1, d_rot = 4, offset = 2, inv_freq = [1.000000e+00, 5.000000e-01], amplitude = 1.250000e+00> block 8
// CHECK-SAME: ins(%[[B]], %[[P]] : tensor<3x?x2x8xf32>, tensor<3x?xi32>) outs(%[[E]]
// CHECK: tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<2x5xf32>) token(%[[ROT]] : tensor<3x?x2x8xf32>)
func.func @cached(%a: tensor<2x5xf32>, %b: tensor<3x?x2x8xf32>, %p: tensor<3x?xi32>, %k: tensor<3x?x5x8xf32>,
                  %init: tensor<3x?x5x8xf32>) -> tensor<3x?x5x8xf32> {
  %x = tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]>
    heads <5> head(%a : tensor<2x5xf32>) token(%b : tensor<3x?x2x8xf32>) outs(%k : tensor<3x?x5x8xf32>)
  %r = tpa.rope <layout = interleaved, direction = 1, d_rot = 4, offset = 2, inv_freq = [1.0, 0.5], amplitude = 1.25>
    block 8 ins(%x, %p : tensor<3x?x5x8xf32>, tensor<3x?xi32>) outs(%init : tensor<3x?x5x8xf32>)
  return %r : tensor<3x?x5x8xf32>
}

// -----

// Order 2, two blocks in the token factor: it is rotated block by block, as the product was.
// CHECK-LABEL: func.func @order2_two_blocks(
// CHECK: %[[ROT:.+]] = tpa.rope <d_rot = 4, base = 1.000000e+04> block 4 ins(%{{.+}} : tensor<?x2x8xf32>, tensor<?xi32>)
// CHECK: %[[R:.+]] = tpa.contract {{.+}} heads <5, 1 to 4> token(%[[ROT]] : tensor<?x2x8xf32>)
// CHECK-NOT: tpa.
// CHECK: return %[[R]]
func.func @order2_two_blocks(%b: tensor<?x2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <5, 1 to 4> token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x3x8xf32>)
  %r = tpa.rope <d_rot = 4, base = 10000.0> block 4 ins(%x, %p : tensor<?x3x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x3x8xf32>)
  return %r : tensor<?x3x8xf32>
}

// -----

// Theorem C.1: the first small factor is rotated and the others are left alone.
// CHECK-LABEL: func.func @order3(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x5xf32>, %[[B:[a-z0-9]+]]: tensor<?x2x4xf32>, %[[C:[a-z0-9]+]]: tensor<?x2x3xf32>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK: %[[ROT:.+]] = tpa.rope <d_rot = 4, base = 1.000000e+04> block 4 ins(%[[B]], %[[P]] : tensor<?x2x4xf32>, tensor<?xi32>)
// CHECK: %[[R:.+]] = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<?x2x5xf32>) token(%[[ROT]], %[[C]] : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
// CHECK-NOT: tpa.
// CHECK: return %[[R]]
func.func @order3(%a: tensor<?x2x5xf32>, %b: tensor<?x2x4xf32>, %c: tensor<?x2x3xf32>, %p: tensor<?xi32>,
                  %init: tensor<?x5x12xf32>) -> tensor<?x5x12xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]>
    heads <5> head(%a : tensor<?x2x5xf32>) token(%b, %c : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
    outs(%init : tensor<?x5x12xf32>)
  %r = tpa.rope <d_rot = 4, base = 10000.0> block 4 ins(%x, %p : tensor<?x5x12xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x12xf32>)
  return %r : tensor<?x5x12xf32>
}

// -----

// A first small factor of two blocks is rotated in blocks: blocks of the product never cross it.
// CHECK-LABEL: func.func @order3_two_blocks(
// CHECK: %[[ROT:.+]] = tpa.rope <d_rot = 2, base = 1.000000e+04> block 2 ins(%{{.+}} : tensor<?x2x4xf32>, tensor<?xi32>)
// CHECK: %[[R:.+]] = tpa.contract {{.+}} token(%[[ROT]], %{{.+}} : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
// CHECK-NOT: tpa.
// CHECK: return %[[R]]
func.func @order3_two_blocks(%a: tensor<?x2x5xf32>, %b: tensor<?x2x4xf32>, %c: tensor<?x2x3xf32>, %p: tensor<?xi32>,
                             %init: tensor<?x5x12xf32>) -> tensor<?x5x12xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]>
    heads <5> head(%a : tensor<?x2x5xf32>) token(%b, %c : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
    outs(%init : tensor<?x5x12xf32>)
  %r = tpa.rope <d_rot = 2, base = 10000.0> block 2 ins(%x, %p : tensor<?x5x12xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x12xf32>)
  return %r : tensor<?x5x12xf32>
}

// -----

// A block that is longer than the first small factor mixes it with the second: nothing to push.
// CHECK-LABEL: func.func @order3_long_block(
// CHECK: %[[X:.+]] = tpa.contract
// CHECK: %[[R:.+]] = tpa.rope <d_rot = 12, base = 1.000000e+04> block 12 ins(%[[X]],
// CHECK: return %[[R]]
func.func @order3_long_block(%a: tensor<?x2x5xf32>, %b: tensor<?x2x4xf32>, %c: tensor<?x2x3xf32>, %p: tensor<?xi32>,
                             %init: tensor<?x5x12xf32>) -> tensor<?x5x12xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]>
    heads <5> head(%a : tensor<?x2x5xf32>) token(%b, %c : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
    outs(%init : tensor<?x5x12xf32>)
  %r = tpa.rope <d_rot = 12, base = 10000.0> block 12 ins(%x, %p : tensor<?x5x12xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x12xf32>)
  return %r : tensor<?x5x12xf32>
}

// -----

// A block of 6 covers one and a half first small factors.
// CHECK-LABEL: func.func @order3_crossing_block(
// CHECK: %[[X:.+]] = tpa.contract
// CHECK: %[[R:.+]] = tpa.rope <d_rot = 4, base = 1.000000e+04> block 6 ins(%[[X]],
// CHECK: return %[[R]]
func.func @order3_crossing_block(%a: tensor<?x2x5xf32>, %b: tensor<?x2x4xf32>, %c: tensor<?x2x3xf32>,
                                 %p: tensor<?xi32>, %init: tensor<?x5x12xf32>) -> tensor<?x5x12xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 4>, <source = contextual, size = 3>]>
    heads <5> head(%a : tensor<?x2x5xf32>) token(%b, %c : tensor<?x2x4xf32>, tensor<?x2x3xf32>)
    outs(%init : tensor<?x5x12xf32>)
  %r = tpa.rope <d_rot = 4, base = 10000.0> block 6 ins(%x, %p : tensor<?x5x12xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x12xf32>)
  return %r : tensor<?x5x12xf32>
}

// -----

// A learned token factor is one row for all tokens until it is rotated: then it is contextual.
// CHECK-LABEL: func.func @learned_token(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x5xf32>, %[[B:[a-z0-9]+]]: tensor<2x8xf32>, %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK: %[[E:.+]] = tensor.empty(%{{.+}}) : tensor<?x2x8xf32>
// CHECK: %[[ROT:.+]] = tpa.rope {{.+}} ins(%[[B]], %[[P]] : tensor<2x8xf32>, tensor<?xi32>) outs(%[[E]] : tensor<?x2x8xf32>)
// CHECK: tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<?x2x5xf32>) token(%[[ROT]] : tensor<?x2x8xf32>)
func.func @learned_token(%a: tensor<?x2x5xf32>, %b: tensor<2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x5x8xf32>)
    -> tensor<?x5x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = learned, size = 8>]> heads <5>
    head(%a : tensor<?x2x5xf32>) token(%b : tensor<2x8xf32>) outs(%init : tensor<?x5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<?x5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// All learned: the product has no tokens, its rotation does.
// CHECK-LABEL: func.func @all_learned(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<2x5xf32>, %[[B:[a-z0-9]+]]: tensor<2x8xf32>, %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK: %[[ROT:.+]] = tpa.rope {{.+}} ins(%[[B]], %[[P]] : tensor<2x8xf32>, tensor<?xi32>) outs(%{{.+}} : tensor<?x2x8xf32>)
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<2x5xf32>) token(%[[ROT]] : tensor<?x2x8xf32>) outs(%{{.+}} : tensor<?x5x8xf32>)
func.func @all_learned(%a: tensor<2x5xf32>, %b: tensor<2x8xf32>, %p: tensor<?xi32>, %k: tensor<5x8xf32>,
                       %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]> heads <5>
    head(%a : tensor<2x5xf32>) token(%b : tensor<2x8xf32>) outs(%k : tensor<5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Scales multiply whole rows, so they commute with the rotation too.
// CHECK-LABEL: func.func @scaled(
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK: %[[ROT:.+]] = tpa.rope
// CHECK: tpa.contract {{.+}} token(%[[ROT]] : tensor<?x2x8xf32>) scale(%[[S]] : tensor<?x2xf32>)
func.func @scaled(%s: tensor<?x2xf32>, %b: tensor<?x2x8xf16>, %p: tensor<?xi32>, %init: tensor<?x5x8xf32>)
    -> tensor<?x5x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <5> token(%b : tensor<?x2x8xf16>) scale(%s : tensor<?x2xf32>) outs(%init : tensor<?x5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<?x5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Integer rows have no rotation of their own.
// CHECK-LABEL: func.func @int8_rows(
// CHECK: %[[X:.+]] = tpa.contract
// CHECK: tpa.rope {{.+}} ins(%[[X]],
func.func @int8_rows(%s: tensor<?x2xf32>, %b: tensor<?x2x8xi8>, %p: tensor<?xi32>, %init: tensor<?x5x8xf32>)
    -> tensor<?x5x8xf32> {
  %x = tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>
    heads <5> token(%b : tensor<?x2x8xi8>) scale(%s : tensor<?x2xf32>) outs(%init : tensor<?x5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<?x5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// The unrotated product is wanted as well: it stays, and the rotation still acts on the factor.
// CHECK-LABEL: func.func @two_users(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x5xf32>, %[[B:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK: %[[X:.+]] = tpa.contract {{.+}} token(%[[B]] :
// CHECK: %[[ROT:.+]] = tpa.rope {{.+}} ins(%[[B]],
// CHECK: %[[R:.+]] = tpa.contract {{.+}} token(%[[ROT]] :
// CHECK: return %[[X]], %[[R]]
func.func @two_users(%a: tensor<?x2x5xf32>, %b: tensor<?x2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x5x8xf32>)
    -> (tensor<?x5x8xf32>, tensor<?x5x8xf32>) {
  %x = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<?x2x5xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x5x8xf32>)
  %r = tpa.rope <d_rot = 8, base = 10000.0> block 8 ins(%x, %p : tensor<?x5x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x5x8xf32>)
  return %x, %r : tensor<?x5x8xf32>, tensor<?x5x8xf32>
}
