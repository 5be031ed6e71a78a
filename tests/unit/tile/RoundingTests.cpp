// SPDX-License-Identifier: Apache-2.0
//
// What the rounded mode rounds, and the exact mode does not.

#include "tests/unit/tile/TestProgram.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tpac;

namespace {

/// Runs `body` on %x, the elements of `input` (f64, axis d), which defines %y with the same axis; gives %y stored as
/// f64.
std::vector<double> run(const std::string &body, const std::vector<double> &input, Arithmetic mode) {
  std::string size = std::to_string(input.size());
  std::string program = "!in = memref<" + size + "xf64>\n!x = !tile.tile<d " + size + ", f64>\n!y = !tile.tile<d " +
                        size +
                        R"(, f64>
    func.func @main(%in: !in, %out: !in) {
      %c0 = arith.constant 0 : index
      %x = tile.load %in[%c0] axes ["d"] : !in -> !x
      )" + body + R"(
      tile.store %y, %out[%c0] axes ["d"] : !y -> !in
      return
    })";
  auto size64 = static_cast<int64_t>(input.size());
  TestMemory in(ElementType::f64, {size64}, input);
  TestMemory out(ElementType::f64, {size64});
  EXPECT_EQ(runProgram(program, {in.view(), out.view()}, mode), "");
  return out.values();
}

using Values = std::vector<double>;

} // namespace

TEST(Rounding, ConvertRoundsToNearestEven) {
  std::string body = R"(%b = tile.convert %x : !x -> !tile.tile<d 3, bf16>
      %y = tile.convert %b : !tile.tile<d 3, bf16> -> !y)";
  // bf16 has steps of 2^-7 at 1: ties go to the even side.
  Values input = {1.0 + 0x1p-8, 1.0 + 0x3p-8, 1.0 + 0x1.1p-8};
  EXPECT_EQ(run(body, input, Arithmetic::rounded), (Values{1.0, 1.0 + 0x1p-6, 1.0 + 0x1p-7}));
  EXPECT_EQ(run(body, input, Arithmetic::exact), input);
}

TEST(Rounding, SplitKeepsTheRest) {
  auto body = [](const std::string &part) {
    return R"(%hi, %lo = tile.split %x : !x -> !tile.tile<d 1, bf16>
      %y = tile.convert %)" +
           part + " : !tile.tile<d 1, bf16> -> !y";
  };
  Values input = {1.0 + 0x1p-9 + 0x1p-17};
  EXPECT_EQ(run(body("hi"), input, Arithmetic::rounded), Values{1.0});
  // 2^-9 + 2^-17 is a tie in bf16 and goes to the even 2^-9.
  EXPECT_EQ(run(body("lo"), input, Arithmetic::rounded), Values{0x1p-9});
  EXPECT_EQ(run(body("lo"), input, Arithmetic::exact), Values{0.0});
}

TEST(Rounding, ElementwiseOpsRoundTheirResult) {
  std::string body = R"(%p = tile.mul %x, %x : !x, !x -> !tile.tile<d 1, f32>
      %q = tile.add %p, %x : !tile.tile<d 1, f32>, !x -> !tile.tile<d 1, f32>
      %r = tile.constant_mul %q, 1.1 : !tile.tile<d 1, f32> -> !tile.tile<d 1, f32>
      %y = tile.convert %r : !tile.tile<d 1, f32> -> !y)";
  double x = 0.3;
  // In steps, so that the compiler fuses none.
  double square = x * x;
  double sum = square + x;
  EXPECT_EQ(run(body, {x}, Arithmetic::exact), Values{sum * 1.1});
  float p = static_cast<float>(square);
  float q = static_cast<float>(p + x);
  EXPECT_EQ(run(body, {x}, Arithmetic::rounded), Values{static_cast<float>(q * 1.1)});
}

TEST(Rounding, DotRoundsEverySumButNoProduct) {
  auto body = [](const std::string &type) {
    return "%s = tile.dot %x, %x : !x, !x -> !tile.tile<" + type + R"(>
      %one = tile.fill 1.0 : !x
      %y = tile.mul %one, %s : !x, !tile.tile<)" +
           type + "> -> !y";
  };
  // 1 + 2^-24 is a tie and falls back to 1, twice; summed the other way around, the two would be seen.
  Values input = {1.0, 0x1p-12, 0x1p-12};
  EXPECT_EQ(run(body("f32"), input, Arithmetic::rounded), Values(3, 1.0));
  EXPECT_EQ(run(body("f32"), {0x1p-12, 0x1p-12, 1.0}, Arithmetic::rounded), Values(3, 1.0 + 0x1p-23));
  EXPECT_EQ(run(body("f32"), input, Arithmetic::exact), Values(3, 1.0 + 0x1p-23));
  EXPECT_EQ(run(body("f64"), input, Arithmetic::rounded), Values(3, 1.0 + 0x1p-23));
  // A sum kept in bf16; (1 + 2^-20)^2 is not rounded before it is added to -1.
  EXPECT_EQ(run(body("bf16"), {1.0, 0x1p-4, 0x1p-4}, Arithmetic::rounded), Values(3, 1.0));
  std::string cancelling = R"(%minus = tile.fill -1.0 : !tile.tile<f32>
      %s = tile.dot %x, %x acc %minus : !tile.tile<f32>, !x, !x -> !tile.tile<f32>
      %one = tile.fill 1.0 : !x
      %y = tile.mul %one, %s : !x, !tile.tile<f32> -> !y)";
  EXPECT_EQ(run(cancelling, {1.0 + 0x1p-20}, Arithmetic::rounded), Values{0x1p-19 + 0x1p-40});
}

TEST(Rounding, SoftmaxStepRoundsProbabilitiesAndSums) {
  std::string body = R"(%l = tile.slice %x "d" as "m" : !x -> !tile.tile<m 3, f64>
      %max = tile.fill 0.0 : !tile.tile<f32>
      %p, %max1, %sum1, %c = tile.softmax_step %l, %max, %max
        : !tile.tile<m 3, f64>, !tile.tile<f32> -> !tile.tile<m 3, f32>
      %one = tile.fill 1.0 : !x
      %y = tile.mul %one, %sum1 : !x, !tile.tile<f32> -> !y)";
  EXPECT_EQ(run(body, {0.0, -24.0, -24.0}, Arithmetic::rounded), Values(3, 1.0));
  EXPECT_EQ(run(body, {0.0, -24.0, -24.0}, Arithmetic::exact), Values(3, 1.0 + 0x1p-23));
  float p = static_cast<float>(std::exp2(-0.3));
  EXPECT_EQ(run(body, {-0.3, -200.0, -200.0}, Arithmetic::rounded), Values(3, p));
}

TEST(Rounding, QuantizeRoundsScaleAndValues) {
  std::string body = R"(%q, %s = tile.quantize %x along "d" : !x -> !tile.tile<d 2, i8>, !tile.tile<f32>
      %y = tile.mul %q, %s : !tile.tile<d 2, i8>, !tile.tile<f32> -> !y)";
  double scale = static_cast<float>(1.0 / 127.0);
  EXPECT_EQ(run(body, {1.0, 0.3}, Arithmetic::rounded), (Values{127 * scale, 38 * scale}));
  Values exact = run(body, {1.0, 0.3}, Arithmetic::exact);
  EXPECT_NEAR(exact[1], 0.3, 1e-15);
}

TEST(Rounding, StoresRoundInBothModes) {
  std::string program = R"(
    func.func @main(%in: memref<2xf64>, %out: memref<2xbf16>) {
      %c0 = arith.constant 0 : index
      %x = tile.load %in[%c0] axes ["d"] : memref<2xf64> -> !tile.tile<d 2, f64>
      %b = tile.convert %x : !tile.tile<d 2, f64> -> !tile.tile<d 2, bf16>
      tile.store %b, %out[%c0] axes ["d"] : !tile.tile<d 2, bf16> -> memref<2xbf16>
      return
    })";
  for (Arithmetic mode : {Arithmetic::exact, Arithmetic::rounded}) {
    TestMemory in(ElementType::f64, {2}, {1.003, 3.1415926});
    TestMemory out(ElementType::bf16, {2});
    ASSERT_EQ(runProgram(program, {in.view(), out.view()}, mode), "");
    EXPECT_EQ(out.values(), (Values{1.0, 3.140625}));
  }
}
