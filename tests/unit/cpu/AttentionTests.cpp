// SPDX-License-Identifier: Apache-2.0
//
// Whole programs: factored attention over blocks of a cache with ragged ends, against plain loops.

#include "tests/unit/cpu/TestKernel.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tpac;
using namespace tpac::test;

namespace {

struct Shape {
  int64_t heads, features, values, queryRank, rank, block;
  ElementType storage;
  /// Strides of the caches are known only when the kernel runs.
  bool strided;
};

std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// Decode of one query: merged Q, K and V of `rank` ranks. Blocks that are full have no limits.
std::string decode(const Shape &shape) {
  std::string text = R"(
    !state = !tile.tile<n 1, h HEADS, f32>
    !acc = !tile.tile<n 1, h HEADS, e VALUES, f32>
    !s = !tile.tile<n 1, h HEADS, m BLOCK, f32>
    !q = !tile.tile<n 1, h HEADS, d FEATURES, f32>
    !a = !tile.tile<m BLOCK, h HEADS, STORED>
    !bk = !tile.tile<m BLOCK, d FEATURES, STORED>
    !bv = !tile.tile<m BLOCK, e VALUES, STORED>
    func.func @main(%qh: memref<QRANKxHEADSxf32>, %qt: memref<QRANKxFEATURESxf32>, %ak: memref<?xRANKxHEADSxSTOREDAYOUT3>,
        %bk: memref<?xRANKxFEATURESxSTOREDAYOUT3>, %av: memref<?xRANKxHEADSxSTOREDAYOUT3>, %bv: memref<?xRANKxVALUESxSTOREDAYOUT3>,
        %out: memref<HEADSxVALUESxf32>, %lse: memref<HEADSxf32>, %begin: index, %length: index) {
      %c0 = arith.constant 0 : index
      %block = arith.constant BLOCK : index
      %query_heads = tile.load %qh[%c0, %c0] axes ["r", "h"] : memref<QRANKxHEADSxf32> -> !tile.tile<r QRANK, h HEADS, f32>
      %query_token = tile.load %qt[%c0, %c0] axes ["r", "d"] : memref<QRANKxFEATURESxf32> -> !tile.tile<r QRANK, d FEATURES, f32>
      %merged = tile.dot %query_heads, %query_token : !tile.tile<r QRANK, h HEADS, f32>, !tile.tile<r QRANK, d FEATURES, f32> -> !tile.tile<h HEADS, d FEATURES, f32>
      %unit = tile.fill 1.4426950408889634 : !tile.tile<n 1, f32>
      %q = tile.mul %unit, %merged : !tile.tile<n 1, f32>, !tile.tile<h HEADS, d FEATURES, f32> -> !q
      %max0 = tile.fill 0xFFF0000000000000 : !state
      %sum0 = tile.fill 0.0 : !state
      %acc0 = tile.fill 0.0 : !acc
      %size = arith.subi %length, %begin : index
      %blocks = arith.divsi %size, %block : index
      %whole = arith.muli %blocks, %block : index
      %ragged = arith.addi %begin, %whole : index
      %r:3 = scf.for %m = %begin to %ragged step %block iter_args(%max = %max0, %sum = %sum0, %acc = %acc0) -> (!state, !state, !acc) {
BODY()
      }
      %t:3 = scf.for %m = %ragged to %length step %block iter_args(%max = %r#0, %sum = %r#1, %acc = %r#2) -> (!state, !state, !acc) {
        %rest = arith.subi %length, %m : index
BODY( limits ["m"] (%rest))
      }
      %o, %logsum = tile.finish %t#2, %t#0, %t#1 : !acc, !state
      tile.store %o, %out[%c0, %c0] axes ["h", "e"] : !acc -> memref<HEADSxVALUESxf32>
      tile.store %logsum, %lse[%c0] axes ["h"] : !state -> memref<HEADSxf32>
      return
    })";
  // A tile's axis needs a dimension: out and lse have one for n.
  text = replaceAll(text, "memref<HEADSxVALUESxf32>", "memref<1xHEADSxVALUESxf32>");
  text = replaceAll(text, "memref<HEADSxf32>", "memref<1xHEADSxf32>");
  text = replaceAll(text, "%out[%c0, %c0] axes [", "%out[%c0, %c0, %c0] axes [\"n\", ");
  text = replaceAll(text, "%lse[%c0] axes [", "%lse[%c0, %c0] axes [\"n\", ");
  auto body = [&](const std::string &limits) {
    std::string lines, scores, sum = "%scaled";
    for (int64_t r = 0; r < shape.rank; ++r) {
      std::string part = R"(
        %r# = arith.constant # : index
        %bk# = tile.load %bk[%m, %r#, %c0] axes ["m", "", "d"]LIMITS : memref<?xRANKxFEATURESxSTOREDAYOUT3> -> !bk
        %ak# = tile.load %ak[%m, %r#, %c0] axes ["m", "", "h"]LIMITS : memref<?xRANKxHEADSxSTOREDAYOUT3> -> !a
        %dot# = tile.dot %q, %bk# : !q, !bk -> !s
        %mul# = tile.mul %dot#, %ak# : !s, !a -> !s)";
      lines += replaceAll(part, "#", std::to_string(r));
      std::string own = "%mul" + std::to_string(r);
      if (r == 0) {
        scores = own;
      } else {
        std::string next = "%score" + std::to_string(r);
        lines += "\n        " + next + " = tile.add " + scores + ", " + own + " : !s, !s -> !s";
        scores = next;
      }
    }
    if (!limits.empty())
      lines += "\n        %masked = tile.mask " + scores + " at %m, %length, %length : !s -> !s";
    lines += "\n        %p, %max1, %sum1, %c = tile.softmax_step " + (limits.empty() ? scores : "%masked") +
             ", %max, %sum : !s, !state -> !s\n        %o = tile.mul %acc, %c : !acc, !state -> !acc";
    std::string accumulator = "%o";
    for (int64_t r = 0; r < shape.rank; ++r) {
      std::string part = R"(
        %bv# = tile.load %bv[%m, %r#, %c0] axes ["m", "", "e"]LIMITS : memref<?xRANKxVALUESxSTOREDAYOUT3> -> !bv
        %av# = tile.load %av[%m, %r#, %c0] axes ["m", "", "h"]LIMITS : memref<?xRANKxHEADSxSTOREDAYOUT3> -> !a
        %w# = tile.mul %p, %av# : !s, !a -> !s
        %o# = tile.dot %w#, %bv# acc ACC : !acc, !s, !bv -> !acc)";
      lines += replaceAll(replaceAll(part, "#", std::to_string(r)), "ACC", accumulator);
      accumulator = "%o" + std::to_string(r);
    }
    lines += "\n        scf.yield %max1, %sum1, " + accumulator + " : !state, !state, !acc";
    return replaceAll(lines, "LIMITS", limits);
  };
  text = replaceAll(text, "BODY()", body(""));
  text = replaceAll(text, "BODY( limits [\"m\"] (%rest))", body(" limits [\"m\"] (%rest)"));
  text =
      replaceAll(text, "STOREDAYOUT3", "STORED" + std::string(shape.strided ? ", strided<[?, ?, ?], offset: ?>" : ""));
  text = replaceAll(text, "STORED", std::string(elementTypeName(shape.storage)));
  for (auto [name, value] : std::initializer_list<std::pair<const char *, int64_t>>{{"HEADS", shape.heads},
                                                                                    {"FEATURES", shape.features},
                                                                                    {"VALUES", shape.values},
                                                                                    {"QRANK", shape.queryRank},
                                                                                    {"RANK", shape.rank},
                                                                                    {"BLOCK", shape.block}})
    text = replaceAll(text, name, std::to_string(value));
  return text;
}

void check(const Shape &shape, const tpac::CpuTraits &options, const std::vector<int64_t> &lengths) {
  TestKernel kernel(decode(shape), options);
  for (int64_t length : lengths) {
    SCOPED_TRACE("length " + std::to_string(length) + ", lanes " + std::to_string(options.lanes) + ", heads " +
                 std::to_string(shape.heads));
    int64_t begin = length > 3 ? 3 : 0;
    auto [H, D, E, RQ, R] = std::tuple(shape.heads, shape.features, shape.values, shape.queryRank, shape.rank);
    TestTensor qh = TestTensor::random(ElementType::f32, {RQ, H}, 1.0, 1);
    TestTensor qt = TestTensor::random(ElementType::f32, {RQ, D}, 1.0, 2);
    TestTensor ak = TestTensor::random(shape.storage, {length, R, H}, 1.0, 3);
    TestTensor bk = TestTensor::random(shape.storage, {length, R, D}, 2.0, 4);
    TestTensor av = TestTensor::random(shape.storage, {length, R, H}, 1.0, 5);
    TestTensor bv = TestTensor::random(shape.storage, {length, R, E}, 1.0, 6);
    TestTensor out(ElementType::f32, {1, H, E}), lse(ElementType::f32, {1, H});
    kernel.run({qh.view(), qt.view(), ak.view(), bk.view(), av.view(), bv.view(), out.view(), lse.view()},
               {begin, length});
    ASSERT_TRUE(out.isIntact() && lse.isIntact());
    for (int64_t h = 0; h < H; ++h) {
      std::vector<double> logits;
      double max = -INFINITY;
      for (int64_t m = begin; m < length; ++m) {
        double logit = 0;
        for (int64_t r = 0; r < R; ++r)
          for (int64_t d = 0; d < D; ++d) {
            double q = 0;
            for (int64_t s = 0; s < RQ; ++s)
              q += qh.at(s * H + h) * qt.at(s * D + d);
            logit += q * ak.at((m * R + r) * H + h) * bk.at((m * R + r) * D + d);
          }
        logits.push_back(logit);
        max = std::max(max, logit);
      }
      double total = 0;
      std::vector<double> sum(E, 0.0);
      for (int64_t m = begin; m < length; ++m) {
        double p = std::exp(logits[m - begin] - max);
        total += p;
        for (int64_t r = 0; r < R; ++r)
          for (int64_t e = 0; e < E; ++e)
            sum[e] += p * av.at((m * R + r) * H + h) * bv.at((m * R + r) * E + e);
      }
      ASSERT_NEAR(lse.at(h), max + std::log(total), 2e-5 + 1e-6 * std::abs(max)) << "head " << h;
      for (int64_t e = 0; e < E; ++e)
        ASSERT_NEAR(out.at(h * E + e), sum[e] / total, 3e-5) << "head " << h << " feature " << e;
    }
  }
}

} // namespace

TEST(CpuAttention, OddShapes) {
  for (const tpac::CpuTraits &options : testedOptions())
    for (const Shape &shape : sampled<Shape>({{47, 64, 64, 6, 2, 32, ElementType::bf16, false},
                                              {11, 33, 20, 3, 1, 16, ElementType::f16, true},
                                              {7, 8, 8, 2, 3, 8, ElementType::f32, true},
                                              {1, 40, 17, 1, 1, 24, ElementType::f32, false},
                                              {64, 16, 16, 6, 1, 8, ElementType::bf16, true}}))
      check(shape, options, {1, 2, 40, 75, 96});
}
