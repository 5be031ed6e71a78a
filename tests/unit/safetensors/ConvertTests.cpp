// SPDX-License-Identifier: Apache-2.0
//
// Conversions of elements: known bit patterns, rounding, errors.

#include "safetensors/Convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace tpac::safetensors {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <typename Bits> View viewOf(const std::vector<Bits> &bits, Dtype dtype) {
  return {dtype, {static_cast<int64_t>(bits.size())}, std::as_bytes(std::span(bits))};
}

uint16_t narrow(double value, Dtype dtype) {
  std::vector<std::byte> bytes = fromDouble(std::span(&value, 1), dtype);
  uint16_t bits;
  EXPECT_EQ(bytes.size(), sizeof(bits));
  std::memcpy(&bits, bytes.data(), sizeof(bits));
  return bits;
}

TEST(Convert, KnownBf16Values) {
  std::vector<uint16_t> bits = {0x3f80, 0xc000, 0x0000, 0x7f80, 0xff80, 0x0001, 0x0080, 0x7f7f};
  std::vector<double> expected = {
      1, -2, 0, infinity, -infinity, std::ldexp(1, -133), std::ldexp(1, -126), std::ldexp(255, 120)};
  EXPECT_EQ(toDouble(viewOf(bits, Dtype::BF16)), expected);
}

TEST(Convert, KnownF16Values) {
  std::vector<uint16_t> bits = {0x3c00, 0xc000, 0x8000, 0x7c00, 0x0001, 0x0400, 0x7bff, 0x3555};
  std::vector<double> expected = {1, -2, 0, infinity, std::ldexp(1, -24), std::ldexp(1, -14), 65504, 1365.0 / 4096};
  std::vector<double> found = toDouble(viewOf(bits, Dtype::F16));
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(std::signbit(found[2]));
}

TEST(Convert, EveryNarrowPatternSurvivesTheRoundTrip) {
  std::vector<uint16_t> all(0x10000);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<uint16_t>(i);
  for (Dtype dtype : {Dtype::BF16, Dtype::F16}) {
    std::vector<double> values = toDouble(viewOf(all, dtype));
    std::vector<float> floats = toFloat(viewOf(all, dtype));
    for (size_t i = 0; i < all.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(floats[i]));
        EXPECT_TRUE(std::isnan(toDouble({dtype, {1}, fromDouble(std::span(&values[i], 1), dtype)})[0]));
        continue;
      }
      ASSERT_EQ(static_cast<double>(floats[i]), values[i]) << dtypeName(dtype) << " " << i;
      ASSERT_EQ(narrow(values[i], dtype), all[i]) << dtypeName(dtype) << " " << i;
    }
  }
}

TEST(Convert, RoundsOnceToNearestEven) {
  // Halfway between 1 and the next bf16, 1 + 2^-7: to even.
  EXPECT_EQ(narrow(1 + std::ldexp(1, -8), Dtype::BF16), 0x3f80);
  EXPECT_EQ(narrow(1 + 3 * std::ldexp(1, -8), Dtype::BF16), 0x3f82);
  // Just above halfway by less than float can tell: rounding by way of float would go down.
  EXPECT_EQ(narrow(1 + std::ldexp(1, -8) + std::ldexp(1, -40), Dtype::BF16), 0x3f81);
  EXPECT_EQ(narrow(-(1 + std::ldexp(1, -11) + std::ldexp(1, -40)), Dtype::F16), 0xbc01);
  // Carries into the exponent, overflows, underflows.
  EXPECT_EQ(narrow(1.9999, Dtype::BF16), 0x4000);
  EXPECT_EQ(narrow(65519.9, Dtype::F16), 0x7bff);
  EXPECT_EQ(narrow(65520, Dtype::F16), 0x7c00);
  EXPECT_EQ(narrow(-1e300, Dtype::BF16), 0xff80);
  EXPECT_EQ(narrow(std::ldexp(1, -25), Dtype::F16), 0x0000);
  EXPECT_EQ(narrow(std::ldexp(1.5, -25), Dtype::F16), 0x0001);
  EXPECT_EQ(narrow(-1e-300, Dtype::BF16), 0x8000);
}

TEST(Convert, Bf16AgreesWithRoundingFloatBits) {
  // Values that are floats: there the well-known integer formula is right.
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    uint32_t bits = random();
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isnan(value))
      continue;
    auto expected = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    ASSERT_EQ(narrow(value, Dtype::BF16), expected) << std::hexfloat << value;
  }
}

TEST(Convert, FloatAndDoubleRoundTrip) {
  std::vector<double> values = {1.0 / 3, -0.0, 1e-310, infinity};
  EXPECT_EQ(toDouble({Dtype::F64, {2, 2}, fromDouble(values, Dtype::F64)}), values);
  std::vector<float> floats = toFloat({Dtype::F64, {4}, fromDouble(values, Dtype::F64)});
  EXPECT_EQ(floats, (std::vector<float>{1.0f / 3, -0.0f, 0.0f, std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(toFloat({Dtype::F32, {4}, fromDouble(values, Dtype::F32)}), floats);
}

TEST(Convert, ReadsUnalignedBytes) {
  std::vector<std::byte> bytes = {std::byte{0}};
  for (std::byte byte : fromDouble(std::vector<double>{2.5, -3}, Dtype::F32))
    bytes.push_back(byte);
  EXPECT_EQ(toFloat({Dtype::F32, {2}, std::span(bytes).subspan(1)}), (std::vector<float>{2.5f, -3}));
}

TEST(Convert, OtherDtypesAreErrors) {
  std::vector<int32_t> integers = {1};
  try {
    toDouble(viewOf(integers, Dtype::I32));
    ADD_FAILURE() << "no error";
  } catch (const std::invalid_argument &error) {
    EXPECT_STREQ(error.what(), "dtype: found I32, accepted for this conversion: BF16, F16, F32, F64");
  }
  EXPECT_THROW(toFloat({Dtype::F8E4M3, {0}, {}}), std::invalid_argument);
  EXPECT_THROW(fromDouble({}, Dtype::U8), std::invalid_argument);
}

TEST(Convert, BytesThatDoNotFitTheShapeAreErrors) {
  std::vector<float> values = {1, 2};
  EXPECT_THROW(toFloat({Dtype::F32, {3}, std::as_bytes(std::span(values))}), std::invalid_argument);
  EXPECT_THROW(toFloat({Dtype::F32, {1}, std::as_bytes(std::span(values))}), std::invalid_argument);
  EXPECT_THROW(toFloat({Dtype::F32, {-1}, std::as_bytes(std::span(values))}), std::invalid_argument);
  EXPECT_THROW(toFloat({Dtype::F32, {2}, std::as_bytes(std::span(values)).first(7)}), std::invalid_argument);
}

} // namespace
} // namespace tpac::safetensors
