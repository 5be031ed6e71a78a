// RUN: tpa-opt %s -split-input-file -tpa-phases-to-tiles -verify-diagnostics
//
// Programs are built from the module's variant: what differs from it is refused, not ignored.

// expected-error @below {{expected the attribute tpa.variant}}
module {}

// -----

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

module attributes {tpa.variant = #mha} {
  // expected-error @below {{expected a function @append, @decode, @prefill or @merge}}
  func.func private @attend()
}

// -----

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

// The parts in the wrong order.
module attributes {tpa.variant = #mha} {
  // expected-error @below {{expected the phase as the module's tpa.variant defines it}}
  func.func private @merge(%p0: tensor<?x4x16xf32>, %l0: tensor<?x4xf32>, %p1: tensor<?x4x16xf32>, %l1: tensor<?x4xf32>,
      %o: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x16xf32>, tensor<?x4xf32>) {
    %r:2 = tpa.merge parts(%p1, %p0 : tensor<?x4x16xf32>, tensor<?x4x16xf32>) lse(%l1, %l0 : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
      {tpa.schedule = #tpa.schedule<tokens = 64, queries = 4, heads = 4, operands = f32>}
    return %r#0, %r#1 : tensor<?x4x16xf32>, tensor<?x4xf32>
  }
}

// -----

#mha = #tpa.variant<name = "mha", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

module attributes {tpa.variant = #mha} {
  // expected-error @below {{expected a phase with the attribute tpa.schedule}}
  func.func private @merge(%p0: tensor<?x4x16xf32>, %l0: tensor<?x4xf32>, %p1: tensor<?x4x16xf32>, %l1: tensor<?x4xf32>,
      %o: tensor<?x4x16xf32>, %l: tensor<?x4xf32>) -> (tensor<?x4x16xf32>, tensor<?x4xf32>) {
    %r:2 = tpa.merge parts(%p0, %p1 : tensor<?x4x16xf32>, tensor<?x4x16xf32>) lse(%l0, %l1 : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%o, %l : tensor<?x4x16xf32>, tensor<?x4xf32>)
    return %r#0, %r#1 : tensor<?x4x16xf32>, tensor<?x4xf32>
  }
}
