// RUN: tpa-opt %s -tpa-select-schedule=target=x86-64-v3 | FileCheck %s
// RUN: tpa-opt %s -tpa-select-schedule="target=x86-64-v3 value-block=16" | FileCheck %s --check-prefix=BLOCK
//
// A schedule for each phase that has none; one that is there stays.

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// CHECK-LABEL: module
// CHECK-SAME: tpa.variant = #variant
module attributes {tpa.variant = #mha} {
  // One query per item, and the cache in parts: decode.
  // CHECK-LABEL: func.func private @decode
  // CHECK: tpa.attention
  // CHECK-SAME: {tpa.schedule = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = f32, split = 8192>}
  // BLOCK: tpa.attention
  // BLOCK-SAME: {tpa.schedule = #tpa.schedule<tokens = 16, queries = 1, heads = 4, operands = f32, split = 8192, value_block = 16>}
  func.func private @decode(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x4x16xf32>,
      %v: tensor<?x?x4x16xf32>, %o: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x16xf32>, tensor<?x4xf32>) {
    %r:2 = tpa.attention #mha q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
      k(%k : tensor<?x?x4x16xf32>) v(%v : tensor<?x?x4x16xf32>) outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
    return %r#0, %r#1 : tensor<?x4x16xf32>, tensor<?x4xf32>
  }

  // Under another name: as prefill.
  // CHECK-LABEL: func.func private @attend
  // CHECK: tpa.attention
  // CHECK-SAME: {tpa.schedule = #tpa.schedule<tokens = 64, queries = 16, heads = 4, operands = f32>}
  func.func private @attend(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x4x16xf32>,
      %v: tensor<?x?x4x16xf32>, %o: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x16xf32>, tensor<?x4xf32>) {
    %r:2 = tpa.attention #mha q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
      k(%k : tensor<?x?x4x16xf32>) v(%v : tensor<?x?x4x16xf32>) outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
    return %r#0, %r#1 : tensor<?x4x16xf32>, tensor<?x4xf32>
  }

  // CHECK-LABEL: func.func private @append
  // CHECK: tpa.append
  // CHECK-SAME: {tpa.schedule = #tpa.schedule<tokens = 64, queries = 4, heads = 4, operands = f32>}
  func.func private @append(%k: tensor<?x4x16xf32>, %v: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>,
      %kc: tensor<?x?x4x16xf32>, %vc: tensor<?x?x4x16xf32>) -> (tensor<?x?x4x16xf32>, tensor<?x?x4x16xf32>) {
    %r:2 = tpa.append #mha k(%k : tensor<?x4x16xf32>) v(%v : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>)
      lengths(%n : tensor<?xi32>) outs(%kc, %vc : tensor<?x?x4x16xf32>, tensor<?x?x4x16xf32>)
      {tpa.schedule = #tpa.schedule<tokens = 64, queries = 4, heads = 4, operands = f32>}
    return %r#0, %r#1 : tensor<?x?x4x16xf32>, tensor<?x?x4x16xf32>
  }

  // CHECK-LABEL: func.func private @merge
  // CHECK: tpa.merge
  // CHECK-SAME: {tpa.schedule = #tpa.schedule<tokens = 64, queries = 16, heads = 4, operands = f32>}
  func.func private @merge(%p: tensor<?x4x16xf32>, %l: tensor<?x4xf32>, %o: tensor<?x4x16xf32>) -> tensor<?x4x16xf32> {
    %r:2 = tpa.merge parts(%p, %p : tensor<?x4x16xf32>, tensor<?x4x16xf32>) lse(%l, %l : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
    return %r#0 : tensor<?x4x16xf32>
  }
}
