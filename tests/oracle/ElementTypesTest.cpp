// SPDX-License-Identifier: Apache-2.0
//
// Spot values of the element types, written from their formats, and sweeps over every pattern of the small ones.

#include "tests/oracle/ElementTypes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

using namespace oracle;

namespace {

uint32_t patternOf(Type type, double value) {
  uint32_t pattern = 0;
  unsigned char bytes[8] = {};
  encode(type, value, bytes);
  std::memcpy(&pattern, bytes, typeSize(type));
  return pattern;
}

double valueOf(Type type, uint32_t pattern) { return decode(type, &pattern); }

struct Spot {
  double value;
  uint32_t pattern;
};

TEST(ElementTypes, Bf16) {
  for (Spot spot : {Spot{1.0, 0x3f80},
                    {-2.0, 0xc000},
                    {std::ldexp(255.0, 120), 0x7f7f},
                    {std::ldexp(1.0, -133), 0x0001},
                    {1.0 + std::ldexp(1.0, -8), 0x3f80},         // tie: down to even
                    {1.0 + 3 * std::ldexp(1.0, -8), 0x3f82},     // tie: up to even
                    {1.0 + std::ldexp(1.0, -8) + 1e-12, 0x3f81}, // above the tie
                    {std::ldexp(1.0, -134), 0x0000},             // half the smallest: to even
                    {std::ldexp(1.5, -133), 0x0002},
                    {3.4e38, 0x7f80},
                    {-1e300, 0xff80}})
    EXPECT_EQ(patternOf(Type::bf16, spot.value), spot.pattern) << spot.value;
}

TEST(ElementTypes, F16) {
  for (Spot spot : {Spot{1.0, 0x3c00},
                    {65504.0, 0x7bff},
                    {65519.9, 0x7bff},
                    {65520.0, 0x7c00},
                    {std::ldexp(1.0, -24), 1},
                    {std::ldexp(1.0, -25), 0},
                    {std::ldexp(1.5, -24), 2},
                    {std::ldexp(1.0, -14), 0x0400},
                    {-0.5, 0xb800},
                    {1.0 + std::ldexp(1.0, -11), 0x3c00},
                    {1.0 + 3 * std::ldexp(1.0, -11), 0x3c02}})
    EXPECT_EQ(patternOf(Type::f16, spot.value), spot.pattern) << spot.value;
}

TEST(ElementTypes, F8E4M3FN) {
  for (Spot spot : {Spot{1.0, 0x38},
                    {448.0, 0x7e},
                    {-448.0, 0xfe},
                    {464.0, 0x7e},
                    {464.1, 0x7f},
                    {1e9, 0x7f},
                    {std::ldexp(1.0, -9), 0x01},
                    {std::ldexp(1.0, -10), 0x00},
                    {std::ldexp(1.0, -6), 0x08},
                    {1.0625, 0x38},
                    {1.1875, 0x3a},
                    {416.0, 0x7d},
                    {-0.0, 0x80}})
    EXPECT_EQ(patternOf(Type::f8E4M3FN, spot.value), spot.pattern) << spot.value;
  EXPECT_TRUE(std::isnan(valueOf(Type::f8E4M3FN, 0x7f)));
  EXPECT_TRUE(std::isnan(valueOf(Type::f8E4M3FN, 0xff)));
  EXPECT_EQ(valueOf(Type::f8E4M3FN, 0x7e), 448.0);
}

TEST(ElementTypes, IntegersRoundToEvenAndSaturate) {
  EXPECT_EQ(roundTo(Type::i8, 2.5), 2.0);
  EXPECT_EQ(roundTo(Type::i8, 3.5), 4.0);
  EXPECT_EQ(roundTo(Type::i8, -2.5), -2.0);
  EXPECT_EQ(roundTo(Type::i8, -0.6), -1.0);
  EXPECT_EQ(roundTo(Type::i8, 200.0), 127.0);
  EXPECT_EQ(roundTo(Type::i8, -200.0), -128.0);
  EXPECT_EQ(roundTo(Type::i32, 123456789.0), 123456789.0);
}

TEST(ElementTypes, Bf16IsTheUpperHalfOfF32) {
  for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    uint32_t bits = pattern << 16;
    float expected;
    std::memcpy(&expected, &bits, sizeof(expected));
    double found = valueOf(Type::bf16, pattern);
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(found)) << pattern;
    else
      EXPECT_EQ(found, static_cast<double>(expected)) << pattern;
  }
}

/// Every number survives a round trip, and a point a little off the middle of two neighbours goes to the nearer one.
void sweep(Type type) {
  uint32_t count = 1u << (8 * typeSize(type));
  for (uint32_t pattern = 0; pattern < count; ++pattern) {
    double value = valueOf(type, pattern);
    if (std::isnan(value))
      continue;
    ASSERT_EQ(patternOf(type, value), pattern);
    double above = valueOf(type, pattern + 1);
    if (!std::isfinite(value) || !std::isfinite(above) || pattern + 1 == count / 2 || pattern + 1 == count)
      continue;
    ASSERT_EQ(patternOf(type, value + (above - value) * 0.499), pattern);
    ASSERT_EQ(patternOf(type, value + (above - value) * 0.501), pattern + 1);
    ASSERT_EQ(patternOf(type, value + (above - value) * 0.5), pattern % 2 ? pattern + 1 : pattern);
    ASSERT_EQ(std::fabs(above - value), spacing(type, std::fabs(value)));
  }
}

TEST(ElementTypes, EveryF8E4M3FN) { sweep(Type::f8E4M3FN); }
TEST(ElementTypes, EveryF16) { sweep(Type::f16); }
TEST(ElementTypes, EveryBf16) { sweep(Type::bf16); }

TEST(ElementTypes, NotANumber) {
  for (Type type : {Type::f64, Type::f32, Type::bf16, Type::f16, Type::f8E4M3FN}) {
    EXPECT_TRUE(std::isnan(roundTo(type, std::nan("")))) << typeName(type);
    uint64_t ones = ~uint64_t{0};
    EXPECT_TRUE(std::isnan(decode(type, &ones))) << typeName(type);
  }
}

TEST(ElementTypes, Names) {
  for (Type type : {Type::f64, Type::f32, Type::bf16, Type::f16, Type::f8E4M3FN, Type::i8, Type::i32})
    EXPECT_EQ(parseType(typeName(type)), type);
  EXPECT_THROW(parseType("f8"), std::invalid_argument);
  EXPECT_EQ(unitRoundoff(Type::bf16), std::ldexp(1.0, -8));
  EXPECT_EQ(unitRoundoff(Type::f32), std::ldexp(1.0, -24));
}

} // namespace
