// SPDX-License-Identifier: Apache-2.0
//
// The judge must pass what is right and fail what is wrong, one wrong element among many included.

#include "tests/oracle/Compare.h"
#include "tests/oracle/TestSupport.h"

#include <gtest/gtest.h>

#include <limits>

using namespace oracle;
using namespace oracle::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

class Compare : public testing::Test {
protected:
  /// Two requests of 2 and 1 rows; row 0 belongs to none.
  Compare()
      : variant(variantOf(R"("heads": 2, "types": {"activation": "f32", "head": "f32", "token": "f32", "output": "f32"},
            "q": {"dense": 2}, "k": {"dense": 2}, "v": {"dense": 3})")),
        tokenStart(tensorOf({3}, {1, 3, 4})) {
    expected.out = Tensor({4, 2, 3});
    fill(expected.out, 1);
    expected.lse = tensorOf({4, 2}, {0, 0, 1, 2, 3, 4, 5, -infinity});
    for (int64_t e = 0; e < 3; ++e)
      expected.out.at({3, 1, e}) = 0.0;
    expected.maxLogit = Tensor({4, 2}, 3.0);
    expected.outCondition = Tensor({4, 2, 3}, 1.0);
    expected.lseCondition = Tensor({4, 2}, 1.0);
    expected.valueMagnitude = Tensor({4, 2, 3}, 1.0);
    expected.outDeviation = Tensor({4, 2, 3}, 1.0);
    out = expected.out;
    lse = expected.lse;
    for (int64_t h = 0; h < 2; ++h)
      lse.at({0, h}) = std::nan("");
  }

  Comparison judge(const Allowance *allowance = nullptr) {
    return compare(variant, tokenStart, requestTolerance(variant, 10), out, lse, expected, allowance);
  }

  Variant variant;
  Tensor tokenStart;
  Attention expected;
  Tensor out;
  Tensor lse;
};

TEST_F(Compare, EqualPasses) {
  Comparison result = judge();
  EXPECT_TRUE(result.ok) << result.message;
  EXPECT_EQ(result.worstShare, 0.0);
}

TEST_F(Compare, SmallErrorsPassAndLargerFail) {
  for (double &value : out.data)
    value *= 1 + 1.9e-6;
  Comparison small = judge();
  EXPECT_TRUE(small.ok) << small.message;
  EXPECT_NEAR(small.worstRequest, 1.9e-6, 1e-9);
  EXPECT_NEAR(small.worstShare, 0.95, 1e-3);
  out = expected.out;
  for (double &value : out.data)
    value *= 1 + 2.1e-6;
  EXPECT_FALSE(judge().ok);
}

TEST_F(Compare, AWrongRowOfASmallRequestIsNamed) {
  // Request 1's norm is tiny beside request 0's.
  for (int64_t e = 0; e < 3; ++e)
    expected.out.at({3, 0, e}) *= 1e-9;
  out = expected.out;
  out.at({3, 0, 1}) *= 1.001;
  Comparison result = judge();
  EXPECT_FALSE(result.ok);
  EXPECT_NE(result.message.find("request 1, token 3, head 0, feature 1"), std::string::npos) << result.message;
  EXPECT_NE(result.message.find("expected"), std::string::npos);
}

TEST_F(Compare, RowsHaveTheirOwnLimit) {
  // Within the request's tolerance, far outside the row's.
  for (int64_t e = 0; e < 3; ++e)
    expected.out.at({1, 0, e}) = 1e-9;
  out = expected.out;
  out.at({1, 0, 0}) = 2e-9;
  Comparison result = judge();
  EXPECT_FALSE(result.ok);
  EXPECT_EQ(result.message.find("request 0, token 1, head 0, feature 0: row"), 0u) << result.message;
}

TEST_F(Compare, NotFiniteFails) {
  for (double value : {std::nan(""), infinity}) {
    out = expected.out;
    out.at({2, 1, 2}) = value;
    EXPECT_FALSE(judge().ok);
    out = expected.out;
    lse.at({2, 1}) = value;
    EXPECT_FALSE(judge().ok);
    lse = expected.lse;
  }
}

TEST_F(Compare, RowsThatSeeNothingMustBeExact) {
  out.at({3, 1, 2}) = 1e-30;
  EXPECT_FALSE(judge().ok);
  out = expected.out;
  lse.at({3, 1}) = -1e30;
  EXPECT_FALSE(judge().ok);
  lse = expected.lse;
  lse.at({3, 0}) = -infinity;
  EXPECT_FALSE(judge().ok);
}

TEST_F(Compare, LogSumExp) {
  // max|L| is 3: the limit is 3 * 2e-6.
  lse.at({1, 1}) += 5e-6;
  EXPECT_TRUE(judge().ok);
  lse.at({1, 1}) += 2e-6;
  EXPECT_FALSE(judge().ok);
}

TEST_F(Compare, AllowanceAddsToTheLimits) {
  Allowance allowance = roundingAllowance(variant, expected, 64.0, 0.0);
  EXPECT_NEAR(allowance.out.data[0], std::ldexp(1.0, -18), 1e-20);
  out.at({1, 0, 0}) += 1e-5;
  EXPECT_FALSE(judge().ok);
  EXPECT_TRUE(judge(&allowance).ok);
  out.at({1, 0, 0}) += 1e-4;
  EXPECT_FALSE(judge(&allowance).ok);
}

TEST_F(Compare, WeightsMayVanish) {
  // All that is left of the row are tokens with weights below 2^-100.
  for (int64_t e = 0; e < 3; ++e) {
    expected.out.at({1, 0, e}) = std::ldexp(1.0, -102);
    expected.outCondition.at({1, 0, e}) = 0;
    expected.outDeviation.at({1, 0, e}) = 0;
    expected.valueMagnitude.at({1, 0, e}) = 1;
  }
  Allowance allowance = roundingAllowance(variant, expected, 64.0, 0.0);
  out = expected.out;
  for (int64_t e = 0; e < 3; ++e)
    out.at({1, 0, e}) = 0;
  EXPECT_FALSE(judge().ok);
  EXPECT_TRUE(judge(&allowance).ok);
  out.at({1, 0, 0}) = std::ldexp(1.0, -97);
  EXPECT_FALSE(judge(&allowance).ok);
}

TEST_F(Compare, RoundedWeightsAreAllowedInRowsOnly) {
  for (int64_t e = 0; e < 3; ++e)
    expected.out.at({1, 0, e}) = 1e-9;
  Allowance allowance = roundingAllowance(variant, expected, 0.0, 0.0);
  // Two roundoffs of f32.
  EXPECT_NEAR(allowance.weights.data[0], std::ldexp(1.0, -23), 1e-20);
  for (double &value : allowance.out.data)
    value = 0;
  out = expected.out;
  out.at({1, 0, 0}) += 2e-7;
  EXPECT_FALSE(judge().ok);
  EXPECT_TRUE(judge(&allowance).ok);
  out.at({1, 0, 0}) += 1e-7;
  EXPECT_FALSE(judge(&allowance).ok);
  // The request's limit stays what it is.
  out = expected.out;
  double norm = 0.0;
  for (int64_t t : {1, 2})
    for (int64_t h : {0, 1})
      for (int64_t e = 0; e < 3; ++e)
        norm += expected.out.at({t, h, e}) * expected.out.at({t, h, e});
  out.at({2, 0, 0}) += 2.01e-6 * std::sqrt(norm);
  Comparison result = judge(&allowance);
  EXPECT_FALSE(result.ok);
  EXPECT_EQ(result.message.find("request 0, token 2, head 0, feature 0: request"), 0u) << result.message;
}

TEST_F(Compare, ZeroReference) {
  expected.out = Tensor({4, 2, 3});
  out = expected.out;
  EXPECT_TRUE(judge().ok);
  out.at({1, 0, 0}) = 1e-300;
  EXPECT_FALSE(judge().ok);
}

TEST(Tolerance, CoarsestType) {
  auto of = [](const std::string &types, int64_t longest) {
    return requestTolerance(
        variantOf(R"("heads": 2, "q": {"dense": 2}, "k": {"dense": 2}, "v": {"dense": 3}, "types": )" + types),
        longest);
  };
  EXPECT_EQ(of("{}", 1), 1e-2);
  std::string single = R"("activation": "f32", "head": "f32", "output": "f32")";
  EXPECT_EQ(of("{" + single + R"(, "token": "f32"})", 4096), 2e-6);
  EXPECT_EQ(of("{" + single + R"(, "token": "f32"})", 4097), 2e-5);
  EXPECT_EQ(of("{" + single + R"(, "token": "f16"})", 1), 3e-3);
  EXPECT_EQ(of("{" + single + R"(, "token": "i8"})", 1), 1e-2);
  EXPECT_EQ(of("{" + single + R"(, "token": "f8E4M3FN"})", 1), 1e-2);
  EXPECT_EQ(of(R"({"activation": "f64", "head": "f64", "token": "f64", "output": "f64", "compute": "f64"})", 1), 1e-11);
}

} // namespace
