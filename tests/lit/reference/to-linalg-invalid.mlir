// RUN: tpa-opt %s --tpa-to-linalg --split-input-file --verify-diagnostics
//
// What tpa-to-linalg refuses: phases that tpa-decompose-phases has not been run on.

#variant = #tpa.variant<name = "order2", heads = <4>,
  q = <rank = 3, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  k = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

func.func @attention(%aq: tensor<?x3x4xf32>, %bq: tensor<?x3x8xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>,
    %ak: tensor<?x?x2x4xf32>, %bk: tensor<?x?x2x8xf32>, %av: tensor<?x?x2x4xf32>, %bv: tensor<?x?x2x8xf32>,
    %out: tensor<?x4x8xf32>, %lse: tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>) {
  // expected-error@+1 {{failed to legalize operation 'tpa.attention'}}
  %o, %l = tpa.attention #variant q(%aq, %bq : tensor<?x3x4xf32>, tensor<?x3x8xf32>) token_start(%s : tensor<?xi32>)
    lengths(%n : tensor<?xi32>) k(%ak, %bk : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>)
    v(%av, %bv : tensor<?x?x2x4xf32>, tensor<?x?x2x8xf32>) outs(%out, %lse : tensor<?x4x8xf32>, tensor<?x4xf32>)
  return %o, %l : tensor<?x4x8xf32>, tensor<?x4xf32>
}

// -----

#variant = #tpa.variant<name = "mqa", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  k = <rank = 1, head = <source = fixed, map = ones>, token = [<source = contextual, size = 8>]>,
  v = <rank = 1, head = <source = fixed, map = ones>, token = [<source = shared, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = f32, compute = f32>>

func.func @append(%b: tensor<?x1x8xf32>, %s: tensor<?xi32>, %l: tensor<?xi32>, %cache: tensor<?x?x1x8xf32>)
    -> tensor<?x?x1x8xf32> {
  // expected-error@+1 {{failed to legalize operation 'tpa.append'}}
  %c = tpa.append #variant k(%b : tensor<?x1x8xf32>) token_start(%s : tensor<?xi32>) lengths(%l : tensor<?xi32>)
    outs(%cache : tensor<?x?x1x8xf32>)
  return %c : tensor<?x?x1x8xf32>
}
