func.func @rope(%b: tensor<?x2x4xf32>, %p: tensor<?xi32>, %init: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %r = tpa.rope <d_rot = 3, base = 10000.0> block 4
    ins(%b, %p : tensor<?x2x4xf32>, tensor<?xi32>) outs(%init : tensor<?x2x4xf32>)
  return %r : tensor<?x2x4xf32>
}
