// RUN: tpa-opt %s -split-input-file -tpa-select-schedule=target=x86-64-v3 -verify-diagnostics
//
// What the select pass refuses.

func.func private @merge(%p: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x4x16xf32> {
  // expected-error @below {{expected a module with the attribute tpa.variant, whose variant says how it is computed}}
  %r:2 = tpa.merge parts(%p : tensor<?x4x16xf32>) lse(%l : tensor<?x4xf32>) outs(%p, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
  return %r#0 : tensor<?x4x16xf32>
}

// -----

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// Not a value of its knob.
module attributes {tpa.variant = #mha} {
  func.func private @merge(%p: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x4x16xf32> {
    // expected-error @below {{schedule: queries: expected 1, 2, 4, 8 or 16, got 3}}
    %r:2 = tpa.merge parts(%p : tensor<?x4x16xf32>) lse(%l : tensor<?x4xf32>) outs(%p, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
      {tpa.schedule = #tpa.schedule<tokens = 64, queries = 3, heads = 4, operands = f32>}
    return %r#0 : tensor<?x4x16xf32>
  }
}

// -----

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// Not legal for the variant, on any target.
module attributes {tpa.variant = #mha} {
  func.func private @prefill(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x4x16xf32>,
      %v: tensor<?x?x4x16xf32>, %o: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x16xf32>, tensor<?x4xf32>) {
    // expected-error @below {{schedule: score: expected merged or rebuilt where q's head factor is fixed, got factored}}
    %r:2 = tpa.attention #mha q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
      k(%k : tensor<?x?x4x16xf32>) v(%v : tensor<?x?x4x16xf32>) outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
      {tpa.schedule = #tpa.schedule<tokens = 16, queries = 1, heads = 4, score = factored, operands = f32>}
    return %r#0, %r#1 : tensor<?x4x16xf32>, tensor<?x4xf32>
  }
}
