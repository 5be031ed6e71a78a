// RUN: tpa-opt %s --tpa-to-linalg --canonicalize --cse | FileCheck %s
//
// Dense tpa.attention as loops over requests, their query tokens and the heads; for each, one row of logits.

// Query n of N sees m <= length - N + n: up to length - (end - token) + 1, not below 0.
#causal = #tpa.variant<name = "causal", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @causal(
// CHECK-SAME: %[[Q:arg0]]:{{.*}} %[[TOKEN_START:arg1]]:{{.*}} %[[LENGTHS:arg2]]:{{.*}} %[[K:arg3]]:{{.*}} %[[V:arg4]]:
// CHECK-SAME: %[[OUT:arg5]]:{{.*}} %[[LSE:arg6]]:
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : index
// CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index
// CHECK-DAG: %[[C16:.*]] = arith.constant 16 : index
// CHECK-DAG: %[[SCALE:.*]] = arith.constant 2.500000e-01 : f32
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[MINUS_INFINITY:.*]] = arith.constant 0xFF800000 : f32
// CHECK: %[[REQUESTS:.*]] = tensor.dim %[[LENGTHS]], %[[C0]]
// CHECK: %[[R:.*]]:2 = scf.for %[[REQUEST:.*]] = %[[C0]] to %[[REQUESTS]] step %[[C1]] iter_args({{.*}} = %[[OUT]], {{.*}} = %[[LSE]])
// CHECK: tensor.extract %[[TOKEN_START]][%[[REQUEST]]]
// CHECK: %[[BEGIN:.*]] = arith.index_cast
// CHECK: %[[NEXT:.*]] = arith.addi %[[REQUEST]], %[[C1]]
// CHECK: tensor.extract %[[TOKEN_START]][%[[NEXT]]]
// CHECK: %[[END:.*]] = arith.index_cast
// CHECK: tensor.extract %[[LENGTHS]][%[[REQUEST]]]
// CHECK: %[[LENGTH:.*]] = arith.index_cast
// CHECK: scf.for %[[T:[a-z0-9]+]] = %[[BEGIN]] to %[[END]]
// CHECK: %[[AFTER:.*]] = arith.subi %[[END]], %[[T]]
// CHECK: %[[SEEN:.*]] = arith.subi %[[LENGTH]], %[[AFTER]]
// CHECK: %[[SEEN1:.*]] = arith.addi %[[SEEN]], %[[C1]]
// CHECK: %[[LAST:.*]] = arith.maxsi %[[SEEN1]], %[[C0]]
// CHECK: scf.for %[[H:[a-z0-9]+]] = %[[C0]] to %[[C4]]
// The logits and their maximum.
// CHECK: %[[ROW:.*]] = tensor.empty(%[[LAST]])
// CHECK: %[[LOGITS:.*]]:2 = scf.for %[[M:[a-z0-9]+]] = %[[C0]] to %[[LAST]] step %[[C1]] iter_args({{.*}} = %[[ROW]], {{.*}} = %[[MINUS_INFINITY]])
// CHECK: %[[DOT:.*]] = scf.for %[[D:[a-z0-9]+]] = %[[C0]] to %[[C16]]
// CHECK: %[[QX:.*]] = tensor.extract %[[Q]][%[[T]], %[[H]], %[[D]]]
// CHECK: %[[KX:.*]] = tensor.extract %[[K]][%[[REQUEST]], %[[M]], %[[H]], %[[D]]]
// CHECK: arith.mulf %[[QX]], %[[KX]]
// CHECK: %[[LOGIT:.*]] = arith.mulf %[[DOT]], %[[SCALE]]
// CHECK-NEXT: tensor.insert %[[LOGIT]] into {{.*}}[%[[M]]]
// CHECK: arith.maximumf {{.*}}, %[[LOGIT]]
// exp(L - max) and their sum.
// CHECK: %[[WEIGHTS:.*]]:2 = scf.for %[[M:[a-z0-9]+]] = %[[C0]] to %[[LAST]] step %[[C1]] iter_args({{.*}} = %[[LOGITS]]#0, {{.*}} = %[[ZERO]])
// CHECK: %[[SHIFTED:.*]] = arith.subf {{.*}}, %[[LOGITS]]#1
// CHECK: %[[EXP:.*]] = math.exp %[[SHIFTED]]
// CHECK: arith.addf {{.*}}, %[[EXP]]
// The weighted mean of V; 0 and -inf for a row that sees nothing.
// CHECK: %[[EMPTY:.*]] = arith.cmpi sle, %[[LAST]], %[[C0]]
// CHECK: scf.for %[[E:[a-z0-9]+]] = %[[C0]] to %[[C8]]
// CHECK: %[[TOTAL:.*]] = scf.for %[[M:[a-z0-9]+]] = %[[C0]] to %[[LAST]]
// CHECK: %[[WX:.*]] = tensor.extract %[[WEIGHTS]]#0[%[[M]]]
// CHECK: %[[VX:.*]] = tensor.extract %[[V]][%[[REQUEST]], %[[M]], %[[H]], %[[E]]]
// CHECK: arith.mulf %[[WX]], %[[VX]]
// CHECK: %[[MEAN:.*]] = arith.divf %[[TOTAL]], %[[WEIGHTS]]#1
// CHECK: %[[O32:.*]] = arith.select %[[EMPTY]], %[[ZERO]], %[[MEAN]]
// CHECK: %[[O:.*]] = arith.truncf %[[O32]] : f32 to bf16
// CHECK: tensor.insert %[[O]] into {{.*}}[%[[T]], %[[H]], %[[E]]]
// CHECK: %[[LOG:.*]] = math.log %[[WEIGHTS]]#1
// CHECK: %[[L0:.*]] = arith.addf %[[LOGITS]]#1, %[[LOG]]
// CHECK: %[[L:.*]] = arith.select %[[EMPTY]], %[[MINUS_INFINITY]], %[[L0]]
// CHECK: tensor.insert %[[L]] into {{.*}}[%[[T]], %[[H]]]
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @causal(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x4x16xf32>,
    %v: tensor<?x?x4x8xf32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %o, %l = tpa.attention #causal q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
    k(%k : tensor<?x?x4x16xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// Of the tokens seen, the last five; softcap: c tanh(L / c), after the scale.
#window = #tpa.variant<name = "window", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  softcap = 30.0, window = 5, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @window(
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C5:.*]] = arith.constant 5 : index
// CHECK-DAG: %[[CAP:.*]] = arith.constant 3.000000e+01 : f32
// CHECK-DAG: %[[SCALE:.*]] = arith.constant 2.500000e-01 : f32
// CHECK: %[[LAST:.*]] = arith.maxsi
// CHECK: %[[FROM:.*]] = arith.subi %[[LAST]], %[[C5]]
// CHECK: %[[FIRST:.*]] = arith.maxsi %[[FROM]], %[[C0]]
// CHECK: scf.for %[[M:[a-z0-9]+]] = %[[FIRST]] to %[[LAST]]
// CHECK: %[[SCALED:.*]] = arith.mulf {{.*}}, %[[SCALE]]
// CHECK: %[[RATIO:.*]] = arith.divf %[[SCALED]], %[[CAP]]
// CHECK: %[[TANH:.*]] = math.tanh %[[RATIO]]
// CHECK: %[[LOGIT:.*]] = arith.mulf %[[TANH]], %[[CAP]]
// CHECK: tensor.insert %[[LOGIT]]
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[LAST]]
// CHECK: arith.cmpi sge, %[[FIRST]], %[[LAST]]
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[LAST]]
func.func @window(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x4x16xf32>,
    %v: tensor<?x?x4x8xf32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %o, %l = tpa.attention #window q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
    k(%k : tensor<?x?x4x16xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// Not causal: every query sees all of its request. The scale is given; K is learned, so it has
// neither request nor token.
#all_tokens = #tpa.variant<name = "all_tokens", heads = <4>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = learned, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  scale = 3.0, causal = false, types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @all_tokens(
// CHECK-DAG: %[[SCALE:.*]] = arith.constant 3.000000e+00 : f32
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : index
// CHECK: %[[LENGTH0:.*]] = tensor.extract %arg2[%{{.*}}]
// CHECK: %[[LENGTH:.*]] = arith.index_cast %[[LENGTH0]]
// CHECK: scf.for
// CHECK-NOT: arith.subi
// CHECK: scf.for %[[H:[a-z0-9]+]] = %{{.*}} to %[[C4]]
// CHECK: scf.for %{{.*}} to %[[LENGTH]]
// CHECK: %[[D:.*]] = scf.for %[[I:[a-z0-9]+]] =
// CHECK: tensor.extract %arg3[%[[H]], %[[I]]]
// CHECK: arith.mulf %[[D]], %[[SCALE]]
func.func @all_tokens(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<4x16xf32>,
    %v: tensor<?x?x4x8xf32>, %out: tensor<?x4x8xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x8xbf16>, tensor<?x4xf32>) {
  %o, %l = tpa.attention #all_tokens q(%q : tensor<?x4x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
    k(%k : tensor<4x16xf32>) v(%v : tensor<?x?x4x8xf32>) outs(%out, %lse : tensor<?x4x8xbf16>, tensor<?x4xf32>)
  return %o, %l : tensor<?x4x8xbf16>, tensor<?x4xf32>
}

// Two of four heads: the loop is over local heads.
#head_range = #tpa.variant<name = "head_range", heads = <4, 1 to 3>,
  q = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  k = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 16>]>,
  v = <rank = 4, head = <source = fixed, map = one_hot>, token = [<source = contextual, size = 8>]>,
  types = <activation = f32, head = f32, token = f32, output = bf16, compute = f32>>

// CHECK-LABEL: func.func @head_range(
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[C2]] step
func.func @head_range(%q: tensor<?x2x16xf32>, %s: tensor<?xi32>, %n: tensor<?xi32>, %k: tensor<?x?x2x16xf32>,
    %v: tensor<?x?x2x8xf32>, %out: tensor<?x2x8xbf16>, %lse: tensor<?x2xf32>) -> (tensor<?x2x8xbf16>, tensor<?x2xf32>) {
  %o, %l = tpa.attention #head_range q(%q : tensor<?x2x16xf32>) token_start(%s : tensor<?xi32>) lengths(%n : tensor<?xi32>)
    k(%k : tensor<?x?x2x16xf32>) v(%v : tensor<?x?x2x8xf32>) outs(%out, %lse : tensor<?x2x8xbf16>, tensor<?x2xf32>)
  return %o, %l : tensor<?x2x8xbf16>, tensor<?x2xf32>
}
