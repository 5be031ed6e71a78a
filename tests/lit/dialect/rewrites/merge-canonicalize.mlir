// RUN: tpa-opt %s -canonicalize -split-input-file | FileCheck %s
//
// Canonical merges: flat, and of two or more parts.

// merge(merge(a, b), c) = merge(a, b, c), in this order.
// CHECK-LABEL: func.func @nested_first(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[B:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[C:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-SAME: %[[LA:[a-z0-9]+]]: tensor<?x4xf32>, %[[LB:[a-z0-9]+]]: tensor<?x4xf32>, %[[LC:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-SAME: %[[O0:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[L0:[a-z0-9]+]]: tensor<?x4xf32>, %[[O1:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[L1:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NEXT: %[[O:.+]], %[[L:.+]] = tpa.merge parts(%[[A]], %[[B]], %[[C]] : {{[^)]+}}) lse(%[[LA]], %[[LB]], %[[LC]] : {{[^)]+}})
// CHECK-SAME: outs(%[[O1]], %[[L1]] :
// CHECK-NEXT: return %[[O]], %[[L]]
func.func @nested_first(%a: tensor<?x4x8xf32>, %b: tensor<?x4x8xf32>, %c: tensor<?x4x8xf32>,
                        %la: tensor<?x4xf32>, %lb: tensor<?x4xf32>, %lc: tensor<?x4xf32>,
                        %o0: tensor<?x4x8xf32>, %l0: tensor<?x4xf32>, %o1: tensor<?x4x8xf32>, %l1: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %i:2 = tpa.merge parts(%a, %b : tensor<?x4x8xf32>, tensor<?x4x8xf32>) lse(%la, %lb : tensor<?x4xf32>, tensor<?x4xf32>)
    outs(%o0, %l0 : tensor<?x4x8xf32>, tensor<?x4xf32>)
  %r:2 = tpa.merge parts(%i#0, %c : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%i#1, %lc : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o1, %l1 : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// merge(a, merge(b, merge(c, d))) = merge(a, b, c, d), in f64.
// CHECK-LABEL: func.func @nested_last_twice(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x4x8xf64>, %[[B:[a-z0-9]+]]: tensor<?x4x8xf64>, %[[C:[a-z0-9]+]]: tensor<?x4x8xf64>, %[[D:[a-z0-9]+]]: tensor<?x4x8xf64>
// CHECK-SAME: %[[LA:[a-z0-9]+]]: tensor<?x4xf64>, %[[LB:[a-z0-9]+]]: tensor<?x4xf64>, %[[LC:[a-z0-9]+]]: tensor<?x4xf64>, %[[LD:[a-z0-9]+]]: tensor<?x4xf64>
// CHECK-NEXT: tpa.merge parts(%[[A]], %[[B]], %[[C]], %[[D]] : {{[^)]+}}) lse(%[[LA]], %[[LB]], %[[LC]], %[[LD]] : {{[^)]+}})
// CHECK-NEXT: return
func.func @nested_last_twice(
    %a: tensor<?x4x8xf64>, %b: tensor<?x4x8xf64>, %c: tensor<?x4x8xf64>, %d: tensor<?x4x8xf64>,
    %la: tensor<?x4xf64>, %lb: tensor<?x4xf64>, %lc: tensor<?x4xf64>, %ld: tensor<?x4xf64>,
    %o: tensor<?x4x8xf64>, %l: tensor<?x4xf64>) -> (tensor<?x4x8xf64>, tensor<?x4xf64>) {
  %i:2 = tpa.merge parts(%c, %d : tensor<?x4x8xf64>, tensor<?x4x8xf64>) lse(%lc, %ld : tensor<?x4xf64>, tensor<?x4xf64>)
    outs(%o, %l : tensor<?x4x8xf64>, tensor<?x4xf64>)
  %j:2 = tpa.merge parts(%b, %i#0 : tensor<?x4x8xf64>, tensor<?x4x8xf64>)
    lse(%lb, %i#1 : tensor<?x4xf64>, tensor<?x4xf64>) outs(%o, %l : tensor<?x4x8xf64>, tensor<?x4xf64>)
  %r:2 = tpa.merge parts(%a, %j#0 : tensor<?x4x8xf64>, tensor<?x4x8xf64>)
    lse(%la, %j#1 : tensor<?x4xf64>, tensor<?x4xf64>) outs(%o, %l : tensor<?x4x8xf64>, tensor<?x4xf64>)
  return %r#0, %r#1 : tensor<?x4x8xf64>, tensor<?x4xf64>
}

// -----

// An inner result in bf16 was rounded; flattening would show.
// CHECK-LABEL: func.func @nested_narrow(
// CHECK: %[[O:.+]], %[[L:.+]] = tpa.merge
// CHECK: tpa.merge parts(%[[O]],
func.func @nested_narrow(%a: tensor<?x4x8xbf16>, %b: tensor<?x4x8xbf16>, %c: tensor<?x4x8xbf16>,
                         %la: tensor<?x4xf32>, %lb: tensor<?x4xf32>, %lc: tensor<?x4xf32>,
                         %o: tensor<?x4x8xbf16>, %l: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %i:2 = tpa.merge parts(%a, %b : tensor<?x4x8xbf16>, tensor<?x4x8xbf16>)
    lse(%la, %lb : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  %r:2 = tpa.merge parts(%i#0, %c : tensor<?x4x8xbf16>, tensor<?x4x8xbf16>)
    lse(%i#1, %lc : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// The same for an inner LSE that was rounded, whatever the output's type.
// CHECK-LABEL: func.func @nested_narrow_lse(
// CHECK: %[[O:.+]], %[[L:.+]] = tpa.merge
// CHECK: tpa.merge parts(%[[O]],
func.func @nested_narrow_lse(%a: tensor<?x4x8xf32>, %b: tensor<?x4x8xf32>, %c: tensor<?x4x8xf32>,
                             %la: tensor<?x4xf32>, %lb: tensor<?x4xf32>, %lc: tensor<?x4xf32>,
                             %o: tensor<?x4x8xf32>, %l: tensor<?x4xf32>, %narrow: tensor<?x4xbf16>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %i:2 = tpa.merge parts(%a, %b : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%la, %lb : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %narrow : tensor<?x4x8xf32>, tensor<?x4xbf16>)
  %r:2 = tpa.merge parts(%i#0, %c : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%i#1, %lc : tensor<?x4xbf16>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// An output with the LSE of another state is not the inner merge.
// CHECK-LABEL: func.func @mixed_state(
// CHECK: %[[O:.+]], %[[L:.+]] = tpa.merge
// CHECK: tpa.merge parts(%[[O]],
func.func @mixed_state(%a: tensor<?x4x8xf32>, %b: tensor<?x4x8xf32>, %c: tensor<?x4x8xf32>,
                       %la: tensor<?x4xf32>, %lb: tensor<?x4xf32>, %lc: tensor<?x4xf32>,
                       %o: tensor<?x4x8xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %i:2 = tpa.merge parts(%a, %b : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%la, %lb : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  %r:2 = tpa.merge parts(%i#0, %c : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%lc, %lb : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// merge(a) = a.
// CHECK-LABEL: func.func @single(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[LA:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NEXT: return %[[A]], %[[LA]]
func.func @single(%a: tensor<?x4x8xf32>, %la: tensor<?x4xf32>, %o: tensor<?x4x8xf32>, %l: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %r:2 = tpa.merge parts(%a : tensor<?x4x8xf32>) lse(%la : tensor<?x4xf32>)
    outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// A merge of one part that converts it is kept.
// CHECK-LABEL: func.func @single_converted(
// CHECK: tpa.merge
func.func @single_converted(%a: tensor<?x4x8xf32>, %la: tensor<?x4xf32>, %o: tensor<?x4x8xbf16>, %l: tensor<?x4xf32>)
    -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %r:2 = tpa.merge parts(%a : tensor<?x4x8xf32>) lse(%la : tensor<?x4xf32>)
    outs(%o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// -----

// A state given twice counts twice: only its LSE would tell, which gains log 2.
// CHECK-LABEL: func.func @duplicate(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[LA:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: tpa.merge parts(%[[A]], %[[A]] : {{[^)]+}}) lse(%[[LA]], %[[LA]] :
func.func @duplicate(%a: tensor<?x4x8xf32>, %la: tensor<?x4xf32>, %o: tensor<?x4x8xf32>, %l: tensor<?x4xf32>)
    -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %r:2 = tpa.merge parts(%a, %a : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%la, %la : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

// The same merge in two places: flattened in both.
// CHECK-LABEL: func.func @duplicate_nested(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x4x8xf32>, %[[B:[a-z0-9]+]]: tensor<?x4x8xf32>
// CHECK-NEXT: tpa.merge parts(%[[A]], %[[B]], %[[A]], %[[B]] :
// CHECK-NEXT: return
func.func @duplicate_nested(%a: tensor<?x4x8xf32>, %b: tensor<?x4x8xf32>, %la: tensor<?x4xf32>, %lb: tensor<?x4xf32>,
                            %o: tensor<?x4x8xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  %i:2 = tpa.merge parts(%a, %b : tensor<?x4x8xf32>, tensor<?x4x8xf32>) lse(%la, %lb : tensor<?x4xf32>, tensor<?x4xf32>)
    outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  %r:2 = tpa.merge parts(%i#0, %i#0 : tensor<?x4x8xf32>, tensor<?x4x8xf32>)
    lse(%i#1, %i#1 : tensor<?x4xf32>, tensor<?x4xf32>) outs(%o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %r#0, %r#1 : tensor<?x4x8xf32>, tensor<?x4xf32>
}
