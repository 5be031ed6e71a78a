// SPDX-License-Identifier: Apache-2.0
//
// A whole program: attention on a factored cache in blocks, against plain loops.

#include "tests/unit/tile/TestProgram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace tpac;

namespace {

/// Causal attention of a request's `n` queries over `length` cached tokens in blocks of 4, K of rank 1, V of rank 1:
/// L[n,h,m] = (q[n,h,:] . bk[m,:]) ak[m,h], O = P[n,h,m] av[m,h] bv[m,:]. The tail of the last block is no memory.
const char *const program = R"(
  !q = !tile.tile<n 2, h 3, d 5, f32>
  !b = !tile.tile<m 4, d 5, bf16>
  !v = !tile.tile<m 4, e 6, bf16>
  !a = !tile.tile<m 4, h 3, bf16>
  !scores = !tile.tile<n 2, h 3, m 4, f32>
  !state = !tile.tile<n 2, h 3, f32>
  !acc = !tile.tile<n 2, h 3, e 6, f32>
  func.func private @block(%q: !q, %ak: memref<?x3xbf16>, %bk: memref<?x5xbf16>, %av: memref<?x3xbf16>,
      %bv: memref<?x6xbf16>, %m: index,
      %length: index, %max: !state, %sum: !state, %acc: !acc) -> (!state, !state, !acc) {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    %c1 = arith.constant 1 : index
    %rest = arith.subi %length, %m : index
    %b = tile.load %bk[%m, %c0] axes ["m", "d"] limits ["m"] (%rest) : memref<?x5xbf16> -> !b
    %a = tile.load %ak[%m, %c0] axes ["m", "h"] limits ["m"] (%rest) : memref<?x3xbf16> -> !a
    %s = tile.dot %q, %b : !q, !b -> !scores
    %l = tile.mul %s, %a : !scores, !a -> !scores
    %before = arith.subi %length, %c2 : index
    %first = arith.addi %before, %c1 : index
    %k = tile.mask %l at %m, %first, %length causal : !scores -> !scores
    %p, %max1, %sum1, %c = tile.softmax_step %k, %max, %sum : !scores, !state -> !scores
    %u = tile.load %av[%m, %c0] axes ["m", "h"] limits ["m"] (%rest) : memref<?x3xbf16> -> !a
    %v = tile.load %bv[%m, %c0] axes ["m", "e"] limits ["m"] (%rest) : memref<?x6xbf16> -> !v
    %w = tile.mul %p, %u : !scores, !a -> !scores
    %acc1 = tile.mul %acc, %c : !acc, !state -> !acc
    %acc2 = tile.dot %w, %v acc %acc1 : !acc, !scores, !v -> !acc
    return %max1, %sum1, %acc2 : !state, !state, !acc
  }
  func.func @main(%query: memref<2x3x5xf32>, %ak: memref<?x3xbf16>, %bk: memref<?x5xbf16>, %av: memref<?x3xbf16>,
      %bv: memref<?x6xbf16>, %length: index, %out: memref<2x3x6xf32>, %lse: memref<2x3xf32>) {
    %c0 = arith.constant 0 : index
    %c4 = arith.constant 4 : index
    %q0 = tile.load %query[%c0, %c0, %c0] axes ["n", "h", "d"] : memref<2x3x5xf32> -> !q
    %q = tile.constant_mul %q0, 1.4426950408889634 : !q -> !q
    %max0 = tile.fill 0xFFF0000000000000 : !state
    %sum0 = tile.fill 0.0 : !state
    %acc0 = tile.fill 0.0 : !acc
    %r:3 = scf.for %m = %c0 to %length step %c4 iter_args(%max = %max0, %sum = %sum0, %acc = %acc0)
        -> (!state, !state, !acc) {
      %next:3 = func.call @block(%q, %ak, %bk, %av, %bv, %m, %length, %max, %sum, %acc)
        : (!q, memref<?x3xbf16>, memref<?x5xbf16>, memref<?x3xbf16>, memref<?x6xbf16>, index, index,
           !state, !state, !acc)
        -> (!state, !state, !acc)
      scf.yield %next#0, %next#1, %next#2 : !state, !state, !acc
    }
    %o, %logsum = tile.finish %r#2, %r#0, %r#1 : !acc, !state
    tile.store %o, %out[%c0, %c0, %c0] axes ["n", "h", "e"] : !acc -> memref<2x3x6xf32>
    tile.store %logsum, %lse[%c0, %c0] axes ["n", "h"] : !state -> memref<2x3xf32>
    return
  })";

struct Problem {
  explicit Problem(int64_t length)
      : length(length), q(random(ElementType::f32, {2, 3, 5}, 2.0)), ak(random(ElementType::bf16, {length, 3}, 2.0)),
        bk(random(ElementType::bf16, {length, 5}, 2.0)), av(random(ElementType::bf16, {length, 3}, 1.0)),
        bv(random(ElementType::bf16, {length, 6}, 1.0)) {}

  TestMemory random(ElementType type, std::vector<int64_t> shape, double scale) {
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    std::vector<double> values(count);
    for (double &value : values)
      value = scale * distribution(generator);
    return TestMemory(type, shape, values);
  }

  /// out, then lse.
  std::pair<std::vector<double>, std::vector<double>> expected() const {
    std::vector<double> query = q.values(), headK = ak.values(), tokenK = bk.values(), headV = av.values(),
                        tokenV = bv.values(), out, logsum;
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t h = 0; h < 3; ++h) {
        std::vector<double> sum(6, 0.0);
        double total = 0.0;
        for (int64_t m = 0; m <= length - 2 + n; ++m) {
          double logit = 0.0;
          for (int64_t d = 0; d < 5; ++d)
            logit += query[(n * 3 + h) * 5 + d] * tokenK[m * 5 + d] * headK[m * 3 + h];
          total += std::exp(logit);
          for (int64_t e = 0; e < 6; ++e)
            sum[e] += std::exp(logit) * headV[m * 3 + h] * tokenV[m * 6 + e];
        }
        for (double value : sum)
          out.push_back(total == 0.0 ? 0.0 : value / total);
        logsum.push_back(std::log(total));
      }
    return {out, logsum};
  }

  int64_t length;
  std::mt19937_64 generator{7};
  std::normal_distribution<double> distribution;
  TestMemory q, ak, bk, av, bv;
};

} // namespace

TEST(Attention, BlocksWithARaggedTailAgreeWithPlainLoops) {
  for (int64_t length : {1, 2, 4, 5, 10}) {
    Problem problem(length);
    auto [out, lse] = problem.expected();
    for (auto [mode, tolerance] : {std::pair(Arithmetic::exact, 1e-7), {Arithmetic::rounded, 3e-6}}) {
      TestMemory gotOut(ElementType::f32, {2, 3, 6}, 99.0);
      TestMemory gotLse(ElementType::f32, {2, 3}, 99.0);
      ASSERT_EQ(runProgram(program,
                           {problem.q.view(), problem.ak.view(), problem.bk.view(), problem.av.view(),
                            problem.bv.view(), length, gotOut.view(), gotLse.view()},
                           mode),
                "");
      for (size_t i = 0; i < out.size(); ++i)
        EXPECT_NEAR(gotOut.values()[i], out[i], tolerance * 10) << "length " << length << ", element " << i;
      for (size_t i = 0; i < lse.size(); ++i)
        if (std::isinf(lse[i]))
          EXPECT_EQ(gotLse.values()[i], lse[i]) << "length " << length << ", row " << i;
        else
          EXPECT_NEAR(gotLse.values()[i], lse[i], tolerance * std::fmax(1.0, std::fabs(lse[i])))
              << "length " << length << ", row " << i;
    }
  }
}

TEST(Attention, ABadLimitIsFound) {
  Problem problem(10);
  TestMemory out(ElementType::f32, {2, 3, 6});
  TestMemory lse(ElementType::f32, {2, 3});
  // One more token than the cache has.
  std::string error = runProgram(program, {problem.q.view(), problem.ak.view(), problem.bk.view(), problem.av.view(),
                                           problem.bv.view(), 11, out.view(), lse.view()});
  EXPECT_NE(error.find("tile.load: out of bounds: dimension 0 has elements 0 to 9, accessed are 8 to 10"),
            std::string::npos)
      << error;
}
