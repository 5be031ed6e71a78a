// RUN: tpa-opt %s | tpa-opt | FileCheck %s
// RUN: tpa-opt %s -mlir-print-op-generic | tpa-opt | FileCheck %s
// RUN: tpa-opt %s --verify-roundtrip -o /dev/null
//
// Every op that phases are made of, and tpa.merge: each optional operand given and left out, each enumeration, orders 2 to 4.

// CHECK-LABEL: func.func @contract_order2(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x47xbf16>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x64xbf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x47x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]> heads <47>
// CHECK-SAME: head(%[[A]] : tensor<?x2x47xbf16>)
// CHECK-SAME: token(%[[B]] : tensor<?x2x64xbf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x47x64xf32>)
// CHECK: return %[[R]]
func.func @contract_order2(%a: tensor<?x2x47xbf16>, %b: tensor<?x2x64xbf16>, %init: tensor<?x47x64xf32>)
    -> tensor<?x47x64xf32> {
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 64>]> heads <47>
    head(%a : tensor<?x2x47xbf16>) token(%b : tensor<?x2x64xbf16>) outs(%init : tensor<?x47x64xf32>)
  return %r : tensor<?x47x64xf32>
}

// Two leading dimensions, as of a cache.
// CHECK-LABEL: func.func @contract_order3(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<7x11x3x5xf32>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<7x11x3x32xf32>
// CHECK-SAME: %[[C:[a-z0-9]+]]: tensor<7x?x3x2xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<7x11x5x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 3, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 32>, <source = contextual, size = 2>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<7x11x3x5xf32>)
// CHECK-SAME: token(%[[B]], %[[C]] : tensor<7x11x3x32xf32>, tensor<7x?x3x2xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<7x11x5x64xf32>)
// CHECK: return %[[R]]
func.func @contract_order3(%a: tensor<7x11x3x5xf32>, %b: tensor<7x11x3x32xf32>, %c: tensor<7x?x3x2xf32>,
                           %init: tensor<7x11x5x64xf32>) -> tensor<7x11x5x64xf32> {
  %r = tpa.contract <rank = 3, normalized = false, head = <source = contextual>, token = [<source = contextual, size = 32>, <source = contextual, size = 2>]> heads <5>
    head(%a : tensor<7x11x3x5xf32>) token(%b, %c : tensor<7x11x3x32xf32>, tensor<7x?x3x2xf32>)
    outs(%init : tensor<7x11x5x64xf32>)
  return %r : tensor<7x11x5x64xf32>
}

// CHECK-LABEL: func.func @contract_order4(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x5xf32>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x16xf32>
// CHECK-SAME: %[[C:[a-z0-9]+]]: tensor<2x2xf32>
// CHECK-SAME: %[[E:[a-z0-9]+]]: tensor<?x2x2xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x5x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>, <source = learned, size = 2>, <source = contextual, size = 2>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<?x2x5xf32>)
// CHECK-SAME: token(%[[B]], %[[C]], %[[E]] : tensor<?x2x16xf32>, tensor<2x2xf32>, tensor<?x2x2xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x5x64xf32>)
// CHECK: return %[[R]]
func.func @contract_order4(%a: tensor<?x2x5xf32>, %b: tensor<?x2x16xf32>, %c: tensor<2x2xf32>,
                           %e: tensor<?x2x2xf32>, %init: tensor<?x5x64xf32>) -> tensor<?x5x64xf32> {
  %r = tpa.contract <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 16>, <source = learned, size = 2>, <source = contextual, size = 2>]> heads <5>
    head(%a : tensor<?x2x5xf32>) token(%b, %c, %e : tensor<?x2x16xf32>, tensor<2x2xf32>, tensor<?x2x2xf32>)
    outs(%init : tensor<?x5x64xf32>)
  return %r : tensor<?x5x64xf32>
}

// CHECK-LABEL: func.func @contract_learned_head(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<2x5xf32>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x5x8xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<2x5xf32>)
// CHECK-SAME: token(%[[B]] : tensor<?x2x8xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x5x8xf32>)
// CHECK: return %[[R]]
func.func @contract_learned_head(%a: tensor<2x5xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x5x8xf32>)
    -> tensor<?x5x8xf32> {
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<2x5xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// CHECK-LABEL: func.func @contract_all_learned(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<2x5xf32>
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<2x8xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<5x8xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]> heads <5>
// CHECK-SAME: head(%[[A]] : tensor<2x5xf32>)
// CHECK-SAME: token(%[[B]] : tensor<2x8xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<5x8xf32>)
// CHECK: return %[[R]]
func.func @contract_all_learned(%a: tensor<2x5xf32>, %b: tensor<2x8xf32>, %init: tensor<5x8xf32>)
    -> tensor<5x8xf32> {
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = learned, size = 8>]> heads <5>
    head(%a : tensor<2x5xf32>) token(%b : tensor<2x8xf32>) outs(%init : tensor<5x8xf32>)
  return %r : tensor<5x8xf32>
}

// The ranks of a one_hot factor are sliced with the heads.
// CHECK-LABEL: func.func @contract_one_hot(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x12x8xf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x12x8xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 48, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <48, 12 to 24>
// CHECK-SAME: token(%[[B]] : tensor<?x12x8xf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x12x8xf32>)
// CHECK: return %[[R]]
func.func @contract_one_hot(%b: tensor<?x12x8xf16>, %init: tensor<?x12x8xf32>) -> tensor<?x12x8xf32> {
  %r = tpa.contract <rank = 48, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <48, 12 to 24>
    token(%b : tensor<?x12x8xf16>) outs(%init : tensor<?x12x8xf32>)
  return %r : tensor<?x12x8xf32>
}

// CHECK-LABEL: func.func @contract_groups(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x8x8xi8>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?x8xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x12x8xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 8, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <48, 12 to 24>
// CHECK-SAME: token(%[[B]] : tensor<?x8x8xi8>)
// CHECK-SAME: scale(%[[S]] : tensor<?x8xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x12x8xf32>)
// CHECK: return %[[R]]
func.func @contract_groups(%b: tensor<?x8x8xi8>, %s: tensor<?x8xf32>, %init: tensor<?x12x8xf32>)
    -> tensor<?x12x8xf32> {
  %r = tpa.contract <rank = 8, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <48, 12 to 24>
    token(%b : tensor<?x8x8xi8>) scale(%s : tensor<?x8xf32>) outs(%init : tensor<?x12x8xf32>)
  return %r : tensor<?x12x8xf32>
}

// CHECK-LABEL: func.func @contract_ones(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x1x8xf8E4M3FN>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?x1xf64>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x5x8xf64>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <5>
// CHECK-SAME: token(%[[B]] : tensor<?x1x8xf8E4M3FN>)
// CHECK-SAME: scale(%[[S]] : tensor<?x1xf64>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x5x8xf64>)
// CHECK: return %[[R]]
func.func @contract_ones(%b: tensor<?x1x8xf8E4M3FN>, %s: tensor<?x1xf64>, %init: tensor<?x5x8xf64>)
    -> tensor<?x5x8xf64> {
  %r = tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <5>
    token(%b : tensor<?x1x8xf8E4M3FN>) scale(%s : tensor<?x1xf64>) outs(%init : tensor<?x5x8xf64>)
  return %r : tensor<?x5x8xf64>
}

// CHECK-LABEL: func.func @head_function_identity(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x47xbf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x47xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.head_function identity
// CHECK-SAME: ins(%[[A]] : tensor<?x2x47xbf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x47xf32>)
// CHECK: return %[[R]]
func.func @head_function_identity(%a: tensor<?x2x47xbf16>, %init: tensor<?x2x47xf32>) -> tensor<?x2x47xf32> {
  %r = tpa.head_function identity ins(%a : tensor<?x2x47xbf16>) outs(%init : tensor<?x2x47xf32>)
  return %r : tensor<?x2x47xf32>
}

// CHECK-LABEL: func.func @head_function_sigmoid(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x47xbf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x47xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.head_function sigmoid
// CHECK-SAME: ins(%[[A]] : tensor<?x2x47xbf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x47xf32>)
// CHECK: return %[[R]]
func.func @head_function_sigmoid(%a: tensor<?x2x47xbf16>, %init: tensor<?x2x47xf32>) -> tensor<?x2x47xf32> {
  %r = tpa.head_function sigmoid ins(%a : tensor<?x2x47xbf16>) outs(%init : tensor<?x2x47xf32>)
  return %r : tensor<?x2x47xf32>
}

// CHECK-LABEL: func.func @head_function_softmax(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x47xbf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x47xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.head_function softmax
// CHECK-SAME: ins(%[[A]] : tensor<?x2x47xbf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x47xf32>)
// CHECK: return %[[R]]
func.func @head_function_softmax(%a: tensor<?x2x47xbf16>, %init: tensor<?x2x47xf32>) -> tensor<?x2x47xf32> {
  %r = tpa.head_function softmax ins(%a : tensor<?x2x47xbf16>) outs(%init : tensor<?x2x47xf32>)
  return %r : tensor<?x2x47xf32>
}

// CHECK-LABEL: func.func @project_rank_major(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x256xf32>
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<384x256xbf16>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x6x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.project rank_major
// CHECK-SAME: ins(%[[X]], %[[W]] : tensor<?x256xf32>, tensor<384x256xbf16>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x6x64xf32>)
// CHECK: return %[[R]]
func.func @project_rank_major(%x: tensor<?x256xf32>, %w: tensor<384x256xbf16>, %init: tensor<?x6x64xf32>)
    -> tensor<?x6x64xf32> {
  %r = tpa.project rank_major ins(%x, %w : tensor<?x256xf32>, tensor<384x256xbf16>) outs(%init : tensor<?x6x64xf32>)
  return %r : tensor<?x6x64xf32>
}

// CHECK-LABEL: func.func @project_head_major(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<256xf32>
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<66x256xf64>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<6x11xf64>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.project head_major
// CHECK-SAME: ins(%[[X]], %[[W]] : tensor<256xf32>, tensor<66x256xf64>)
// CHECK-SAME: outs(%[[INIT]] : tensor<6x11xf64>)
// CHECK: return %[[R]]
func.func @project_head_major(%x: tensor<256xf32>, %w: tensor<66x256xf64>, %init: tensor<6x11xf64>)
    -> tensor<6x11xf64> {
  %r = tpa.project head_major ins(%x, %w : tensor<256xf32>, tensor<66x256xf64>) outs(%init : tensor<6x11xf64>)
  return %r : tensor<6x11xf64>
}

// CHECK-LABEL: func.func @quantize_fp8(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x64xf32>
// CHECK-SAME: %[[VALUES:[a-z0-9]+]]: tensor<?x2x64xf8E4M3FN>
// CHECK-SAME: %[[SCALE:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.quantize
// CHECK-SAME: ins(%[[B]] : tensor<?x2x64xf32>)
// CHECK-SAME: outs(%[[VALUES]], %[[SCALE]] : tensor<?x2x64xf8E4M3FN>, tensor<?x2xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @quantize_fp8(%b: tensor<?x2x64xf32>, %values: tensor<?x2x64xf8E4M3FN>, %scale: tensor<?x2xf32>)
    -> (tensor<?x2x64xf8E4M3FN>, tensor<?x2xf32>) {
  %r:2 = tpa.quantize ins(%b : tensor<?x2x64xf32>) outs(%values, %scale : tensor<?x2x64xf8E4M3FN>, tensor<?x2xf32>)
  return %r#0, %r#1 : tensor<?x2x64xf8E4M3FN>, tensor<?x2xf32>
}

// CHECK-LABEL: func.func @quantize_i8(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<2x64xbf16>
// CHECK-SAME: %[[VALUES:[a-z0-9]+]]: tensor<2x64xi8>
// CHECK-SAME: %[[SCALE:[a-z0-9]+]]: tensor<2xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.quantize
// CHECK-SAME: ins(%[[B]] : tensor<2x64xbf16>)
// CHECK-SAME: outs(%[[VALUES]], %[[SCALE]] : tensor<2x64xi8>, tensor<2xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @quantize_i8(%b: tensor<2x64xbf16>, %values: tensor<2x64xi8>, %scale: tensor<2xf32>)
    -> (tensor<2x64xi8>, tensor<2xf32>) {
  %r:2 = tpa.quantize ins(%b : tensor<2x64xbf16>) outs(%values, %scale : tensor<2x64xi8>, tensor<2xf32>)
  return %r#0, %r#1 : tensor<2x64xi8>, tensor<2xf32>
}

// CHECK-LABEL: func.func @rope(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x64xbf16>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.rope <d_rot = 64, base = 1.000000e+04> block 64
// CHECK-SAME: ins(%[[B]], %[[P]] : tensor<?x2x64xbf16>, tensor<?xi32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x64xf32>)
// CHECK: return %[[R]]
func.func @rope(%b: tensor<?x2x64xbf16>, %p: tensor<?xi32>, %init: tensor<?x2x64xf32>) -> tensor<?x2x64xf32> {
  %r = tpa.rope <d_rot = 64, base = 1.000000e+04> block 64 ins(%b, %p : tensor<?x2x64xbf16>, tensor<?xi32>)
    outs(%init : tensor<?x2x64xf32>)
  return %r : tensor<?x2x64xf32>
}

// Four blocks, of which six features each are used or skipped alike; two leading dimensions.
// CHECK-LABEL: func.func @rope_blocks(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x?x2x64xf32>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x?x2x64xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.rope <layout = interleaved, direction = 1, d_rot = 4, offset = 2, inv_freq = [1.000000e+00, 5.000000e-01], amplitude = 1.250000e+00> block 16
// CHECK-SAME: ins(%[[B]], %[[P]] : tensor<?x?x2x64xf32>, tensor<?x?xi32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x?x2x64xf32>)
// CHECK: return %[[R]]
func.func @rope_blocks(%b: tensor<?x?x2x64xf32>, %p: tensor<?x?xi32>, %init: tensor<?x?x2x64xf32>)
    -> tensor<?x?x2x64xf32> {
  %r = tpa.rope <layout = interleaved, direction = 1, d_rot = 4, offset = 2, inv_freq = [1.000000e+00, 5.000000e-01], amplitude = 1.250000e+00> block 16
    ins(%b, %p : tensor<?x?x2x64xf32>, tensor<?x?xi32>) outs(%init : tensor<?x?x2x64xf32>)
  return %r : tensor<?x?x2x64xf32>
}

// A learned row is rotated once per token.
// CHECK-LABEL: func.func @rope_learned(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<2x8xf32>
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.rope <d_rot = 8, base = 1.000000e+04> block 8
// CHECK-SAME: ins(%[[B]], %[[P]] : tensor<2x8xf32>, tensor<?xi32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x8xf32>)
// CHECK: return %[[R]]
func.func @rope_learned(%b: tensor<2x8xf32>, %p: tensor<?xi32>, %init: tensor<?x2x8xf32>) -> tensor<?x2x8xf32> {
  %r = tpa.rope <d_rot = 8, base = 1.000000e+04> block 8 ins(%b, %p : tensor<2x8xf32>, tensor<?xi32>)
    outs(%init : tensor<?x2x8xf32>)
  return %r : tensor<?x2x8xf32>
}

// CHECK-LABEL: func.func @scale_head(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x2x47xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x2x47xbf16>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.scale_head
// CHECK-SAME: ins(%[[A]], %[[S]] : tensor<?x2x47xf32>, tensor<?x2xf32>)
// CHECK-SAME: outs(%[[INIT]] : tensor<?x2x47xbf16>)
// CHECK: return %[[R]]
func.func @scale_head(%a: tensor<?x2x47xf32>, %s: tensor<?x2xf32>, %init: tensor<?x2x47xbf16>)
    -> tensor<?x2x47xbf16> {
  %r = tpa.scale_head ins(%a, %s : tensor<?x2x47xf32>, tensor<?x2xf32>) outs(%init : tensor<?x2x47xbf16>)
  return %r : tensor<?x2x47xbf16>
}

// CHECK-LABEL: func.func @store_tokens_converted(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x2x64xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CACHE:[a-z0-9]+]]: tensor<?x?x2x64xbf16>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.store_tokens
// CHECK-SAME: ins(%[[X]] : tensor<?x2x64xf32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CACHE]] : tensor<?x?x2x64xbf16>)
// CHECK: return %[[R]]
func.func @store_tokens_converted(%x: tensor<?x2x64xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                                  %cache: tensor<?x?x2x64xbf16>) -> tensor<?x?x2x64xbf16> {
  %r = tpa.store_tokens ins(%x : tensor<?x2x64xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x2x64xbf16>)
  return %r : tensor<?x?x2x64xbf16>
}

// CHECK-LABEL: func.func @store_tokens_fp8(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x2x64xf8E4M3FN>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CACHE:[a-z0-9]+]]: tensor<3x128x2x64xf8E4M3FN>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.store_tokens
// CHECK-SAME: ins(%[[X]] : tensor<?x2x64xf8E4M3FN>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CACHE]] : tensor<3x128x2x64xf8E4M3FN>)
// CHECK: return %[[R]]
func.func @store_tokens_fp8(%x: tensor<?x2x64xf8E4M3FN>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                            %cache: tensor<3x128x2x64xf8E4M3FN>) -> tensor<3x128x2x64xf8E4M3FN> {
  %r = tpa.store_tokens ins(%x : tensor<?x2x64xf8E4M3FN>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%cache : tensor<3x128x2x64xf8E4M3FN>)
  return %r : tensor<3x128x2x64xf8E4M3FN>
}

// CHECK-LABEL: func.func @store_tokens_positions(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[CACHE:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK: %[[R:[a-z0-9_]+]] = tpa.store_tokens
// CHECK-SAME: ins(%[[X]] : tensor<?xi32>)
// CHECK-SAME: token_start(%[[S]] : tensor<?xi32>)
// CHECK-SAME: lengths(%[[L]] : tensor<?xi32>)
// CHECK-SAME: outs(%[[CACHE]] : tensor<?x?xi32>)
// CHECK: return %[[R]]
func.func @store_tokens_positions(%x: tensor<?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?xi32>)
    -> tensor<?x?xi32> {
  %r = tpa.store_tokens ins(%x : tensor<?xi32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?xi32>)
  return %r : tensor<?x?xi32>
}

// CHECK-LABEL: func.func @merge_two(
// CHECK-SAME: %[[O0:[a-z0-9]+]]: tensor<?x47x64xf32>
// CHECK-SAME: %[[O1:[a-z0-9]+]]: tensor<?x47x64xf32>
// CHECK-SAME: %[[L0:[a-z0-9]+]]: tensor<?x47xf32>
// CHECK-SAME: %[[L1:[a-z0-9]+]]: tensor<?x47xf32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x47x64xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x47xf32>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.merge
// CHECK-SAME: parts(%[[O0]], %[[O1]] : tensor<?x47x64xf32>, tensor<?x47x64xf32>)
// CHECK-SAME: lse(%[[L0]], %[[L1]] : tensor<?x47xf32>, tensor<?x47xf32>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x47x64xf32>, tensor<?x47xf32>)
// CHECK: return %[[R0]], %[[R1]]
func.func @merge_two(%o0: tensor<?x47x64xf32>, %o1: tensor<?x47x64xf32>, %l0: tensor<?x47xf32>,
                     %l1: tensor<?x47xf32>, %out: tensor<?x47x64xf32>, %lse: tensor<?x47xf32>)
    -> (tensor<?x47x64xf32>, tensor<?x47xf32>) {
  %r:2 = tpa.merge parts(%o0, %o1 : tensor<?x47x64xf32>, tensor<?x47x64xf32>)
    lse(%l0, %l1 : tensor<?x47xf32>, tensor<?x47xf32>) outs(%out, %lse : tensor<?x47x64xf32>, tensor<?x47xf32>)
  return %r#0, %r#1 : tensor<?x47x64xf32>, tensor<?x47xf32>
}

// CHECK-LABEL: func.func @merge_one(
// CHECK-SAME: %[[O0:[a-z0-9]+]]: tensor<5x47x64xbf16>
// CHECK-SAME: %[[L0:[a-z0-9]+]]: tensor<?x47xf64>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x47x64xf64>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x47xf64>
// CHECK: %[[R0:[a-z0-9_]+]], %[[R1:[a-z0-9_]+]] = tpa.merge
// CHECK-SAME: parts(%[[O0]] : tensor<5x47x64xbf16>)
// CHECK-SAME: lse(%[[L0]] : tensor<?x47xf64>)
// CHECK-SAME: outs(%[[OUT]], %[[LSE]] : tensor<?x47x64xf64>, tensor<?x47xf64>)
// CHECK: return %[[R0]], %[[R1]]
func.func @merge_one(%o0: tensor<5x47x64xbf16>, %l0: tensor<?x47xf64>, %out: tensor<?x47x64xf64>,
                     %lse: tensor<?x47xf64>) -> (tensor<?x47x64xf64>, tensor<?x47xf64>) {
  %r:2 = tpa.merge parts(%o0 : tensor<5x47x64xbf16>) lse(%l0 : tensor<?x47xf64>)
    outs(%out, %lse : tensor<?x47x64xf64>, tensor<?x47xf64>)
  return %r#0, %r#1 : tensor<?x47x64xf64>, tensor<?x47xf64>
}

// CHECK-LABEL: func.func @pages(
// CHECK-SAME: %[[POOL:[a-z0-9]+]]: tensor<?x16x2x64xbf16>
// CHECK-SAME: %[[T:[a-z0-9]+]]: tensor<?x?xi32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[INIT:[a-z0-9]+]]: tensor<?x?x2x64xbf16>
// CHECK: %[[C:[a-z0-9_]+]] = tpa.load_pages ins(%[[POOL]], %[[T]] : tensor<?x16x2x64xbf16>, tensor<?x?xi32>) lengths(%[[L]] : tensor<?xi32>) outs(%[[INIT]] : tensor<?x?x2x64xbf16>)
// CHECK: %[[P:[a-z0-9_]+]] = tpa.store_pages ins(%[[C]], %[[T]] : tensor<?x?x2x64xbf16>, tensor<?x?xi32>) token_start(%[[S]] : tensor<?xi32>) lengths(%[[L]] : tensor<?xi32>) outs(%[[POOL]] : tensor<?x16x2x64xbf16>)
// CHECK: return %[[P]]
func.func @pages(%pool: tensor<?x16x2x64xbf16>, %t: tensor<?x?xi32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                 %init: tensor<?x?x2x64xbf16>) -> tensor<?x16x2x64xbf16> {
  %c = tpa.load_pages ins(%pool, %t : tensor<?x16x2x64xbf16>, tensor<?x?xi32>) lengths(%l : tensor<?xi32>)
    outs(%init : tensor<?x?x2x64xbf16>)
  %p = tpa.store_pages ins(%c, %t : tensor<?x?x2x64xbf16>, tensor<?x?xi32>) token_start(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x16x2x64xbf16>)
  return %p : tensor<?x16x2x64xbf16>
}

// A list of pages, and where those of each request start.
// CHECK-LABEL: func.func @page_list(
// CHECK: %[[C:.*]] = tpa.load_pages ins(%{{.*}}, %[[T:.*]] : tensor<?x16xf32>, tensor<?x?xi32>) page_starts(%[[S:.*]] : tensor<?xi32>) lengths(%[[L:.*]] : tensor<?xi32>) outs(%{{.*}} : tensor<?x?xf32>)
// CHECK: tpa.store_pages ins(%[[C]], %[[T]] : tensor<?x?xf32>, tensor<?x?xi32>) page_starts(%[[S]] : tensor<?xi32>) token_start(%{{.*}} : tensor<?xi32>) lengths(%[[L]] : tensor<?xi32>) outs(%{{.*}} : tensor<?x16xf32>)
func.func @page_list(%pool: tensor<?x16xf32>, %t: tensor<?x?xi32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %l: tensor<?xi32>,
                     %init: tensor<?x?xf32>) -> tensor<?x16xf32> {
  %c = tpa.load_pages ins(%pool, %t : tensor<?x16xf32>, tensor<?x?xi32>) page_starts(%s : tensor<?xi32>)
    lengths(%l : tensor<?xi32>) outs(%init : tensor<?x?xf32>)
  %p = tpa.store_pages ins(%c, %t : tensor<?x?xf32>, tensor<?x?xi32>) page_starts(%s : tensor<?xi32>)
    token_start(%n : tensor<?xi32>) lengths(%l : tensor<?xi32>) outs(%pool : tensor<?x16xf32>)
  return %p : tensor<?x16xf32>
}
