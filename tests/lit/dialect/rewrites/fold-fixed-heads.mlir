// RUN: tpa-opt %s -tpa-fold-fixed-heads -split-input-file | FileCheck %s
//
// Constant head factors that are (1/s_R) times a head map become fixed ones; all others stay.

// The reciprocal of 1/R in the place of each head: K[h] is B[h * R / H], and the 1/R cancels.
// CHECK-LABEL: func.func @groups(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4> token(%[[B]] :
func.func @groups(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Heads need not be a multiple of the ranks: head h uses rank floor(2 h / 5).
// CHECK-LABEL: func.func @groups_unequal(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <5> token(%[[B]] :
func.func @groups_unequal(%b: tensor<?x2x8xf32>, %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0, 2.0]]> : tensor<2x5xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<2x5xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Without the factor 1/R the entries are 1.
// CHECK-LABEL: func.func @groups_not_normalized(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 2, normalized = false, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4> token(%[[B]] :
func.func @groups_not_normalized(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// In a narrow type the entries are as exact.
// CHECK-LABEL: func.func @groups_bf16(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 3, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <6> token(%[[B]] :
func.func @groups_bf16(%b: tensor<?x3x8xf32>, %init: tensor<?x6x8xf32>) -> tensor<?x6x8xf32> {
  %a = arith.constant dense<[[3.0, 3.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 3.0, 3.0]]> : tensor<3x6xbf16>
  %r = tpa.contract <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <6>
    head(%a : tensor<3x6xbf16>) token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x6x8xf32>)
  return %r : tensor<?x6x8xf32>
}

// -----

// As many ranks as heads.
// CHECK-LABEL: func.func @one_hot(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <4> token(%[[B]] :
func.func @one_hot(%b: tensor<?x4x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[4.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 4.0]]> : tensor<4x4xf32>
  %r = tpa.contract <rank = 4, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<4x4xf32>) token(%b : tensor<?x4x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// CHECK-LABEL: func.func @one_hot_not_normalized(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 3, normalized = false, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]> heads <3> token(%[[B]] :
func.func @one_hot_not_normalized(%b: tensor<?x3x8xf32>, %init: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %a = arith.constant dense<[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]> : tensor<3x3xf64>
  %r = tpa.contract <rank = 3, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <3>
    head(%a : tensor<3x3xf64>) token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x3x8xf32>)
  return %r : tensor<?x3x8xf32>
}

// -----

// One rank, used by every head; 1/R is 1.
// CHECK-LABEL: func.func @ones(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x1x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <5> token(%[[B]] :
func.func @ones(%b: tensor<?x1x8xf32>, %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %a = arith.constant dense<1.0> : tensor<1x5xf32>
  %r = tpa.contract <rank = 1, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<1x5xf32>) token(%b : tensor<?x1x8xf32>) outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Maps count global heads: heads 1 to 4 of 6 use ranks 0, 1 and 1 of 3.
// CHECK-LABEL: func.func @groups_head_range(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 3, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4> token(%[[B]] :
func.func @groups_head_range(%b: tensor<?x3x8xf32>, %init: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %a = arith.constant dense<[[3.0, 0.0, 0.0], [0.0, 3.0, 3.0], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %r = tpa.contract <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4>
    head(%a : tensor<3x3xf32>) token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x3x8xf32>)
  return %r : tensor<?x3x8xf32>
}

// -----

// CHECK-LABEL: func.func @ones_head_range(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x1x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4> token(%[[B]] :
func.func @ones_head_range(%b: tensor<?x1x8xf32>, %init: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %a = arith.constant dense<1.0> : tensor<1x3xf32>
  %r = tpa.contract <rank = 1, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4>
    head(%a : tensor<1x3xf32>) token(%b : tensor<?x1x8xf32>) outs(%init : tensor<?x3x8xf32>)
  return %r : tensor<?x3x8xf32>
}

// -----

// In a part of the heads the operand still has all ranks, which one_hot would slice: as many groups as heads say the same.
// CHECK-LABEL: func.func @one_hot_head_range(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 4, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <4, 1 to 3> token(%[[B]] :
func.func @one_hot_head_range(%b: tensor<?x4x8xf32>, %init: tensor<?x2x8xf32>) -> tensor<?x2x8xf32> {
  %a = arith.constant dense<[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 0.0]]> : tensor<4x2xf32>
  %r = tpa.contract <rank = 4, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4, 1 to 3>
    head(%a : tensor<4x2xf32>) token(%b : tensor<?x4x8xf32>) outs(%init : tensor<?x2x8xf32>)
  return %r : tensor<?x2x8xf32>
}

// -----

// 1 / (1/49) is not 49 in floating point; 49 is meant.
// CHECK-LABEL: func.func @reciprocal_inexact(
// CHECK-SAME: %[[B:[a-z0-9]+]]: tensor<?x49x8xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.contract <rank = 49, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]> heads <49, 0 to 1> token(%[[B]] :
func.func @reciprocal_inexact(%b: tensor<?x49x8xf32>, %init: tensor<?x1x8xf32>) -> tensor<?x1x8xf32> {
  %a = arith.constant dense<[[49.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [0.0]]> : tensor<49x1xf32>
  %r = tpa.contract <rank = 49, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <49, 0 to 1>
    head(%a : tensor<49x1xf32>) token(%b : tensor<?x49x8xf32>) outs(%init : tensor<?x1x8xf32>)
  return %r : tensor<?x1x8xf32>
}

// -----

// Normalized, entries of 1 leave a factor 1/R: no map.
// CHECK-LABEL: func.func @not_reciprocal(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @not_reciprocal(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Not normalized, entries of R leave a factor R.
// CHECK-LABEL: func.func @not_normalized_reciprocal(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @not_normalized_reciprocal(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// One entry is the next f32 after 2.
// CHECK-LABEL: func.func @off_by_little(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @off_by_little(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.00000024]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// One entry is not quite 0.
// CHECK-LABEL: func.func @off_zero(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @off_zero(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 1.0e-30], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Head 1 uses both ranks.
// CHECK-LABEL: func.func @two_nonzeros(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @two_nonzeros(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 2.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Head 3 uses no rank.
// CHECK-LABEL: func.func @no_nonzero(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @no_nonzero(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// CHECK-LABEL: func.func @negative(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @negative(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, -2.0, -2.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Some map, but none that has a name: the groups are in another order.
// CHECK-LABEL: func.func @other_order(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4> head(%[[A]] :
func.func @other_order(%b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %a = arith.constant dense<[[0.0, 0.0, 2.0, 2.0], [2.0, 2.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}

// -----

// Groups of two and three heads where floor(2 h / 5) has three and two.
// CHECK-LABEL: func.func @unequal_otherwise(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5> head(%[[A]] :
func.func @unequal_otherwise(%b: tensor<?x2x8xf32>, %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %a = arith.constant dense<[[2.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0, 2.0]]> : tensor<2x5xf32>
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<2x5xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// A map of heads 0 to 3, in a contraction that computes heads 1 to 4.
// CHECK-LABEL: func.func @wrong_range(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4> head(%[[A]] :
func.func @wrong_range(%b: tensor<?x3x8xf32>, %init: tensor<?x3x8xf32>) -> tensor<?x3x8xf32> {
  %a = arith.constant dense<[[3.0, 3.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %r = tpa.contract <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <6, 1 to 4>
    head(%a : tensor<3x3xf32>) token(%b : tensor<?x3x8xf32>) outs(%init : tensor<?x3x8xf32>)
  return %r : tensor<?x3x8xf32>
}

// -----

// CHECK-LABEL: func.func @ones_other_value(
// CHECK: %[[A:.+]] = arith.constant
// CHECK: tpa.contract <rank = 1, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5> head(%[[A]] :
func.func @ones_other_value(%b: tensor<?x1x8xf32>, %init: tensor<?x5x8xf32>) -> tensor<?x5x8xf32> {
  %a = arith.constant dense<2.0> : tensor<1x5xf32>
  %r = tpa.contract <rank = 1, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <5>
    head(%a : tensor<1x5xf32>) token(%b : tensor<?x1x8xf32>) outs(%init : tensor<?x5x8xf32>)
  return %r : tensor<?x5x8xf32>
}

// -----

// Learned head factors of an attention are folded alike; the default scale follows the rank factors by itself.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_k_v(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[BV]] : tensor<?x?x2x8xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_k_v(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x2x8xf32>,
                         %bv: tensor<?x?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xf32>,
                         %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %av = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av, %bv : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// A scale given multiplies the raw sum, which loses the constants of Q (4) and K (2): 0.125 * 4 * 2 = 1. V has no part in it.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, scale = 1.000000e+00, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_scale(
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[BQ]] : tensor<?x4x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[BV]] : tensor<?x?x2x8xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 4, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  scale = 1.250000e-01,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_scale(%bq: tensor<?x4x8xf32>, %bk: tensor<?x?x2x8xf32>, %bv: tensor<?x?x2x8xf32>,
                           %s: tensor<?xi32>, %l: tensor<?xi32>, %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %aq = arith.constant dense<[[4.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 4.0]]> : tensor<4x4xf32>
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %av = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<4x4xf32>, tensor<?x4x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av, %bv : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Where the constants are 1, the scale stays.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, normalized = false, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, normalized = false, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, scale = 1.250000e-01, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_scale_not_normalized(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[BV]] : tensor<?x?x2x8xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, normalized = false, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  scale = 1.250000e-01,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_scale_not_normalized(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x2x8xf32>,
                                          %bv: tensor<?x?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                                          %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]> : tensor<2x4xf32>
  %av = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av, %bv : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Only what is a map is folded: two heads of V use both ranks.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_one_of_two(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[AV:.+]] = arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_one_of_two(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x2x8xf32>,
                                %bv: tensor<?x?x2x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                                %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %av = arith.constant dense<[[2.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av, %bv : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// A function stands between the constant and its use.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_function(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: %[[AK:.+]] = arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[AK]], %[[BK]] : tensor<2x4xf32>, tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned, function = sigmoid>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_function(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x2x8xf32>,
                              %av: tensor<?x?x2x4xf32>, %bv: tensor<?x?x2x8xf32>, %s: tensor<?xi32>,
                              %l: tensor<?xi32>, %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av, %bv : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// V shares K's rows: one head factor may be folded without the other.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 2, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_shared(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x4xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x2x8xf32>
// CHECK-SAME: %[[AV:[a-z0-9]+]]: tensor<?x?x2x4xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x2x8xf32>)
// CHECK-SAME: v(%[[AV]] : tensor<?x?x2x4xf32>)
#v = #tpa.variant<name = "t", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_shared(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x2x8xf32>,
                            %av: tensor<?x?x2x4xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                            %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %ak = arith.constant dense<[[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0]]> : tensor<2x4xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<2x4xf32>, tensor<?x?x2x8xf32>) v(%av : tensor<?x?x2x4xf32>)
    outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// Heads 2 to 4 of 6 use rank 1 of 3.
// CHECK: [[V:#variant[0-9]*]] = #tpa.variant<name = "t", heads = <6, 2 to 4>, q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>, k = <rank = 3, head = <source = fixed, map = groups>, token = [<source = contextual, size = 8>]>, v = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>, types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
// CHECK-LABEL: func.func @attention_head_range(
// CHECK-SAME: %[[AQ:[a-z0-9]+]]: tensor<?x3x2xf32>
// CHECK-SAME: %[[BQ:[a-z0-9]+]]: tensor<?x3x8xf32>
// CHECK-SAME: %[[BK:[a-z0-9]+]]: tensor<?x?x3x8xf32>
// CHECK-SAME: %[[BV:[a-z0-9]+]]: tensor<?x?x3x8xf32>
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xi32>
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x2x8xf32>
// CHECK-SAME: %[[LSE:[a-z0-9]+]]: tensor<?x2xf32>
// CHECK: %[[AV:.+]] = arith.constant
// CHECK: tpa.attention [[V]]
// CHECK-SAME: q(%[[AQ]], %[[BQ]] : tensor<?x3x2xf32>, tensor<?x3x8xf32>)
// CHECK-SAME: k(%[[BK]] : tensor<?x?x3x8xf32>)
// CHECK-SAME: v(%[[AV]], %[[BV]] : tensor<3x2xf32>, tensor<?x?x3x8xf32>)
#v = #tpa.variant<name = "t", heads = <6, 2 to 4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  v = <rank = 3, head = <source = learned>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>
func.func @attention_head_range(%aq: tensor<?x3x2xf32>, %bq: tensor<?x3x8xf32>, %bk: tensor<?x?x3x8xf32>,
                                %bv: tensor<?x?x3x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>,
                                %out: tensor<?x2x8xf32>, %lse: tensor<?x2xf32>)
    -> (tensor<?x2x8xf32>, tensor<?x2xf32>) {
  %ak = arith.constant dense<[[0.0, 0.0], [3.0, 3.0], [0.0, 0.0]]> : tensor<3x2xf32>
  %av = arith.constant dense<[[3.0, 3.0], [0.0, 0.0], [0.0, 0.0]]> : tensor<3x2xf32>
  %r:2 = tpa.attention #v q(%aq, %bq : tensor<?x3x2xf32>, tensor<?x3x8xf32>)
    token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    k(%ak, %bk : tensor<3x2xf32>, tensor<?x?x3x8xf32>) v(%av, %bv : tensor<3x2xf32>, tensor<?x?x3x8xf32>)
    outs(%out, %lse : tensor<?x2x8xf32>, tensor<?x2xf32>)
  return %r#0, %r#1 : tensor<?x2x8xf32>, tensor<?x2xf32>
}

// -----

// Known only when running.
// CHECK-LABEL: func.func @not_constant(
// CHECK: tpa.contract <rank = 2, head = <source = learned>, {{.+}} head(
func.func @not_constant(%a: tensor<2x4xf32>, %b: tensor<?x2x8xf32>, %init: tensor<?x4x8xf32>) -> tensor<?x4x8xf32> {
  %r = tpa.contract <rank = 2, head = <source = learned>, token = [<source = contextual, size = 8>]> heads <4>
    head(%a : tensor<2x4xf32>) token(%b : tensor<?x2x8xf32>) outs(%init : tensor<?x4x8xf32>)
  return %r : tensor<?x4x8xf32>
}
