// RUN: tpa-opt %s --tpa-reference-tensors | FileCheck %s --check-prefix=TENSORS
// RUN: tpa-opt %s --tpa-reference-tensors --tpa-host | FileCheck %s --check-prefix=HOST
// RUN: tpa-opt %s --tpa-reference-tensors --tpa-host | grep -o "llvm.func @[A-Za-z0-9_.]*" | sort | FileCheck %s --check-prefix=FUNCTIONS
//
// The reference path as pipelines, for a variant that uses most of it: RoPE on read, functions, a shared V, int8, softcap, window.

// No tpa op is left, and the phases are still functions on tensors.
// TENSORS-NOT: tpa.
// TENSORS: func.func private @append(
// TENSORS-SAME: -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>)
// TENSORS-NOT: tpa.
// TENSORS: linalg.generic
// TENSORS-NOT: tpa.
// TENSORS: func.func private @decode(
// TENSORS-NOT: tpa.
// TENSORS: func.func private @merge(
// TENSORS-NOT: tpa.

// Only the LLVM dialect is left. A phase writes into its arguments and returns nothing.
// HOST-NOT: {{(tpa|linalg|memref|tensor|scf|cf|arith|math|func|builtin)[.]}}
// HOST: llvm.func @append({{[^)]*}}) attributes {sym_visibility = "private"} {
// HOST-NOT: {{(tpa|linalg|memref|tensor|scf|cf|arith|math|func|builtin)[.]}}
// HOST: llvm.return{{$}}
// HOST: llvm.func @decode({{[^)]*}}) attributes {sym_visibility = "private"} {
// HOST-NOT: {{(tpa|linalg|memref|tensor|scf|cf|arith|math|func|builtin)[.]}}
// HOST: llvm.return{{$}}
// HOST: llvm.func @merge({{[^)]*}}) attributes {sym_visibility = "private"} {
// HOST-NOT: {{(tpa|linalg|memref|tensor|scf|cf|arith|math|func|builtin)[.]}}
// HOST: llvm.return{{$}}

// Nothing but memory is asked of a run-time library; mathematics is intrinsics.
// FUNCTIONS: llvm.func @append
// FUNCTIONS-NEXT: llvm.func @decode
// FUNCTIONS-NEXT: llvm.func @free
// FUNCTIONS-NEXT: llvm.func @malloc
// FUNCTIONS-NEXT: llvm.func @merge
// FUNCTIONS-NOT: {{.}}

#all = #tpa.variant<name = "all", heads = <4>,
  q = <rank = 4, head = <source = contextual, function = softmax>, token = [<source = contextual, size = 16>]>,
  k = <rank = 2, head = <source = contextual, function = sigmoid>, token = [<source = contextual, size = 16>]>,
  v = <rank = 2, head = <source = contextual>, token = [<source = shared, size = 12>]>,
  rope = <d_rot = 4, base = 1.000000e+04>,
  v_sees = unrotated,
  softcap = 3.000000e+01,
  window = 5,
  types = <activation = bf16, head = bf16, token = i8, output = bf16, compute = f32>>

func.func private @append(%k_head: tensor<?x2x4xbf16>, %k_token: tensor<?x2x16xbf16>, %v_head: tensor<?x2x4xbf16>,
    %positions: tensor<?xi32>, %token_start: tensor<?xi32>, %lengths: tensor<?xi32>,
    %k_head_cache: tensor<?x?x2x4xbf16>, %k_token_cache: tensor<?x?x2x16xi8>, %v_head_cache: tensor<?x?x2x4xbf16>,
    %key_positions_cache: tensor<?x?xi32>)
    -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>) {
  %0:4 = tpa.append #all k(%k_head, %k_token : tensor<?x2x4xbf16>, tensor<?x2x16xbf16>) v(%v_head
      : tensor<?x2x4xbf16>) positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>)
      lengths(%lengths : tensor<?xi32>) outs(%k_head_cache, %k_token_cache, %v_head_cache, %key_positions_cache
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>)
  return %0#0, %0#1, %0#2, %0#3 : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>, tensor<?x?x2x4xbf16>, tensor<?x?xi32>
}

func.func private @decode(%q_head: tensor<?x4x4xbf16>, %q_token: tensor<?x4x16xbf16>, %positions: tensor<?xi32>,
    %token_start: tensor<?xi32>, %lengths: tensor<?xi32>, %k_head_cache: tensor<?x?x2x4xbf16>,
    %k_token_cache: tensor<?x?x2x16xi8>, %v_head_cache: tensor<?x?x2x4xbf16>, %key_positions_cache: tensor<?x?xi32>,
    %out: tensor<?x4x12xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x12xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.attention #all q(%q_head, %q_token : tensor<?x4x4xbf16>, tensor<?x4x16xbf16>)
      positions(%positions : tensor<?xi32>) token_start(%token_start : tensor<?xi32>) lengths(%lengths
      : tensor<?xi32>) k(%k_head_cache, %k_token_cache : tensor<?x?x2x4xbf16>, tensor<?x?x2x16xi8>) v(%v_head_cache
      : tensor<?x?x2x4xbf16>) key_positions(%key_positions_cache : tensor<?x?xi32>) outs(%out, %lse
      : tensor<?x4x12xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x12xbf16>, tensor<?x4xf32>
}

func.func private @merge(%out0: tensor<?x4x12xbf16>, %lse0: tensor<?x4xf32>, %out1: tensor<?x4x12xbf16>,
    %lse1: tensor<?x4xf32>, %out: tensor<?x4x12xbf16>, %lse: tensor<?x4xf32>)
    -> (tensor<?x4x12xbf16>, tensor<?x4xf32>) {
  %out_0, %lse_1 = tpa.merge parts(%out0, %out1 : tensor<?x4x12xbf16>, tensor<?x4x12xbf16>) lse(%lse0, %lse1
      : tensor<?x4xf32>, tensor<?x4xf32>) outs(%out, %lse : tensor<?x4x12xbf16>, tensor<?x4xf32>)
  return %out_0, %lse_1 : tensor<?x4x12xbf16>, tensor<?x4xf32>
}
