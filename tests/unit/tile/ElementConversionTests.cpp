// SPDX-License-Identifier: Apache-2.0
//
// Element conversions against LLVM's APFloat.

#include "lowering/tile/ElementConversion.h"

#include "llvm/ADT/APFloat.h"
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace tpac;
using llvm::APFloat;

namespace {

struct Narrow {
  ElementType type;
  const llvm::fltSemantics &semantics;
  int bits;
};

std::vector<Narrow> narrowTypes() {
  return {{ElementType::bf16, APFloat::BFloat(), 16},
          {ElementType::f16, APFloat::IEEEhalf(), 16},
          {ElementType::f8E4M3FN, APFloat::Float8E4M3FN(), 8}};
}

double convert(APFloat value) {
  bool losesInfo = false;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
  return value.convertToDouble();
}

} // namespace

TEST(ElementConversion, EveryCodeOfNarrowTypesIsReadAndWrittenBack) {
  for (const Narrow &narrow : narrowTypes()) {
    for (uint32_t code = 0; code < (1u << narrow.bits); ++code) {
      double expected = convert(APFloat(narrow.semantics, llvm::APInt(narrow.bits, code)));
      double value = readElement(narrow.type, &code);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(value)) << elementTypeName(narrow.type) << " " << code;
        continue;
      }
      ASSERT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(expected))
          << elementTypeName(narrow.type) << " " << code;
      uint32_t written = 0;
      writeElement(narrow.type, &written, value);
      ASSERT_EQ(written, code) << elementTypeName(narrow.type);
    }
  }
}

TEST(ElementConversion, RoundingToNarrowTypesIsToNearestEven) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-30, 9);
  std::uniform_int_distribution<int> sixteenths(-256, 256);
  for (const Narrow &narrow : narrowTypes()) {
    for (int i = 0; i < 100000; ++i) {
      // Any numbers, and such that are often ties.
      double value = std::exp2(exponent(random)) * (i % 2 ? 1.0 : -1.0);
      if (i % 3 == 0)
        value = std::ldexp(sixteenths(random), static_cast<int>(exponent(random)) - 1);
      if (std::fabs(value) > 448.0)
        continue;
      APFloat rounded(value);
      bool losesInfo = false;
      rounded.convert(narrow.semantics, APFloat::rmNearestTiesToEven, &losesInfo);
      ASSERT_EQ(roundElement(narrow.type, value), convert(rounded)) << elementTypeName(narrow.type) << " " << value;
    }
  }
}

TEST(ElementConversion, BeyondTheLargestNumber) {
  double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(roundElement(ElementType::f32, 1e39), infinity);
  EXPECT_EQ(roundElement(ElementType::bf16, -3.4e38), -infinity);
  EXPECT_EQ(roundElement(ElementType::bf16, 3.39e38), 0x1.fep127);
  EXPECT_EQ(roundElement(ElementType::f16, 65519.0), 65504.0);
  EXPECT_EQ(roundElement(ElementType::f16, 65520.0), infinity);
  EXPECT_EQ(roundElement(ElementType::f8E4M3FN, 1e6), 448.0);
  EXPECT_EQ(roundElement(ElementType::f8E4M3FN, -infinity), -448.0);
  EXPECT_EQ(roundElement(ElementType::i8, 127.6), 127.0);
  EXPECT_EQ(roundElement(ElementType::i8, -1e9), -128.0);
  EXPECT_EQ(roundElement(ElementType::i32, 3e9), 2147483647.0);
  for (ElementType type : {ElementType::f32, ElementType::bf16, ElementType::f16, ElementType::f8E4M3FN}) {
    uint64_t memory = 0;
    writeElement(type, &memory, std::nan(""));
    EXPECT_TRUE(std::isnan(readElement(type, &memory))) << elementTypeName(type);
  }
  for (ElementType type : {ElementType::bf16, ElementType::f16}) {
    uint16_t memory = 0;
    writeElement(type, &memory, -infinity);
    EXPECT_EQ(readElement(type, &memory), -infinity) << elementTypeName(type);
  }
}

TEST(ElementConversion, IntegersRoundToNearestEven) {
  EXPECT_EQ(roundElement(ElementType::i8, 2.5), 2.0);
  EXPECT_EQ(roundElement(ElementType::i8, -3.5), -4.0);
  EXPECT_EQ(roundElement(ElementType::i32, 7.51), 8.0);
  EXPECT_EQ(roundElement(ElementType::i8, std::nan("")), 0.0);
}

TEST(ElementConversion, AddressesNeedNoAlignment) {
  for (ElementType type : {ElementType::f64, ElementType::f32, ElementType::bf16, ElementType::f16,
                           ElementType::f8E4M3FN, ElementType::i8, ElementType::i32}) {
    std::byte memory[16] = {};
    writeElement(type, memory + 1, -3.0);
    EXPECT_EQ(readElement(type, memory + 1), -3.0) << elementTypeName(type);
    EXPECT_EQ(memory[0], std::byte(0));
    EXPECT_EQ(memory[1 + elementSize(type)], std::byte(0)) << elementTypeName(type);
  }
}
