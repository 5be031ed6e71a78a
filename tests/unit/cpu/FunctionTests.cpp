// SPDX-License-Identifier: Apache-2.0
//
// How exact the functions without calls are, through ops that are little else.

#include "tests/unit/cpu/TestKernel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace tpac;
using namespace tpac::test;

namespace {

constexpr int64_t count = 1 << 12;

/// `y = op(x)` for f32 x.
TestTensor evaluate(const std::string &op, const TestTensor &x, const tpac::CpuTraits &options) {
  std::string program = R"(
    !x = !tile.tile<m 4096, h 1, f32>
    !s = !tile.tile<h 1, f32>
    func.func @main(%in: memref<4096x1xf32>, %out: memref<4096x1xf32>) {
      %c0 = arith.constant 0 : index
      %x = tile.load %in[%c0, %c0] axes ["m", "h"] : memref<4096x1xf32> -> !x
      )" + op + R"(
      tile.store %y, %out[%c0, %c0] axes ["m", "h"] : !x -> memref<4096x1xf32>
      return
    })";
  TestKernel kernel(program, options);
  TestTensor y(ElementType::f32, {count, 1});
  kernel.run({x.view(), y.view()}, {});
  return y;
}

} // namespace

TEST(CpuFunctions, Exp2) {
  // Probabilities against a maximum of 0 are 2^x.
  std::string op = R"(%max = tile.fill 0.0 : !s
      %y, %m, %l, %c = tile.softmax_step %x, %max, %max : !x, !s -> !x)";
  TestTensor x = TestTensor::random(ElementType::f32, {count, 1}, 63.0, 5);
  for (int64_t i = 0; i < count; ++i)
    x.set(i, x.at(i) - 63.0);
  const double special[] = {0.0,    -0.0,   -0.5,   -1.0,  -126.0,
                            -125.5, -126.5, -127.0, -1e30, -std::numeric_limits<double>::infinity(),
                            -1e-30, -1e-7};
  for (size_t i = 0; i < std::size(special); ++i)
    x.set(i, special[i]);
  for (const tpac::CpuTraits &options : testedOptions()) {
    TestTensor y = evaluate(op, x, options);
    for (int64_t i = 0; i < count; ++i) {
      double argument = x.at(i);
      if (argument < -126.0)
        EXPECT_EQ(y.at(i), 0.0) << argument;
      else if (argument == std::nearbyint(argument))
        EXPECT_EQ(y.at(i), std::exp2(argument)) << argument;
      else
        EXPECT_NEAR(y.at(i) / std::exp2(argument), 1.0, 2e-7) << argument;
    }
  }
}

TEST(CpuFunctions, NanStaysNan) {
  TestTensor x = TestTensor::random(ElementType::f32, {count, 1}, 1.0, 5);
  x.set(7, std::nan(""));
  std::string softmax = R"(%max = tile.fill 1.0 : !s
      %y, %m, %l, %c = tile.softmax_step %x, %max, %max : !x, !s -> !x)";
  for (const std::string &op : {softmax, std::string("%y = tile.softcap %x, 5.0 : !x -> !x"),
                                std::string("%y = tile.head_function sigmoid %x : !x -> !x")})
    for (const tpac::CpuTraits &options : testedOptions()) {
      TestTensor y = evaluate(op, x, options);
      for (int64_t i = 0; i < count; ++i)
        EXPECT_EQ(std::isnan(y.at(i)), i == 7) << op;
    }
}

TEST(CpuFunctions, Tanh) {
  for (double scale : {0.01, 1.0, 20.0}) {
    TestTensor x = TestTensor::random(ElementType::f32, {count, 1}, scale, 6);
    for (const tpac::CpuTraits &options : testedOptions()) {
      TestTensor y = evaluate("%y = tile.softcap %x, 1.0 : !x -> !x", x, options);
      for (int64_t i = 0; i < count; ++i)
        EXPECT_NEAR(y.at(i), std::tanh(x.at(i)), std::min(3e-7, 1e-6 * std::abs(std::tanh(x.at(i))))) << x.at(i);
    }
  }
}
