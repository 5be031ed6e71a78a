// RUN: tpa-opt %s -tpa-tiles-to-gpu -split-input-file -verify-diagnostics

// expected-error @below {{expected the attributes tpac.schedule and tpac.cache}}
func.func @decode_part_item(%lengths: memref<?xi32>) {
  return
}

// -----

// expected-error @below {{tpac.cache: expected an integer key_features, found none}}
func.func @decode_part_item(%lengths: memref<?xi32>) attributes {
    tpac.cache = {planes = 1 : i64, row_bytes = 640 : i64},
    tpac.schedule = #tpa.schedule<tokens = 32, queries = 1, heads = 11, operands = bf16, stages = 2>} {
  return
}

// -----

// expected-error @below {{expected the tensors part_out and part_lse behind those of the phase}}
func.func @decode_part_item(%lengths: memref<?xi32>) attributes {
    tpac.cache = {head_factors = 1 : i64, key_features = 64 : i64, planes = 1 : i64, row_bytes = 640 : i64, scores = 2 : i64},
    tpac.schedule = #tpa.schedule<tokens = 32, queries = 1, heads = 11, operands = bf16, stages = 2>} {
  return
}

// -----

// expected-error @below {{expected a loop over blocks}}
func.func @decode_part_item(%starts: memref<?xi32> {tpac.name = "token_start"}, %lengths: memref<?xi32> {tpac.name = "lengths"},
                            %part_out: memref<?x?x11x64xf32>, %part_lse: memref<?x?x11xf32>, %request: index, %token: index, %head: index,
                            %begin: index, %end: index, %part: index) attributes {
    tpac.cache = {head_factors = 1 : i64, key_features = 64 : i64, planes = 1 : i64, row_bytes = 640 : i64, scores = 2 : i64},
    tpac.schedule = #tpa.schedule<tokens = 32, queries = 1, heads = 11, operands = bf16, stages = 2>} {
  return
}

// -----

// expected-error @below {{tpac.items: expected new_tokens, cached_tokens or rows, got pages}}
func.func @append_item(%lengths: memref<?xi32>, %request: index, %token: index) attributes {
    tpac.cache = {head_factors = 1 : i64, key_features = 64 : i64, planes = 1 : i64, row_bytes = 640 : i64, scores = 2 : i64}, tpac.items = "pages",
    tpac.schedule = #tpa.schedule<tokens = 16, queries = 1, heads = 11, operands = f32>} {
  return
}
