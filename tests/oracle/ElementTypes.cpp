// SPDX-License-Identifier: Apache-2.0
//
// Stored numbers: every small float is handled by one routine from its exponent and significand widths, so that no
// table and no compiler built-in is trusted.

#include "tests/oracle/ElementTypes.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace oracle {
namespace {

/// A binary float of at most 16 bits.
struct SmallFloat {
  int exponentBits;
  int fractionBits;
  /// False for e4m3fn: the all-ones exponent holds numbers, and only the all-ones pattern is NaN.
  bool hasInfinity;

  int bits() const { return 1 + exponentBits + fractionBits; }
  int bias() const { return (1 << (exponentBits - 1)) - 1; }
  int smallestExponent() const { return 1 - bias(); }
  uint32_t infinityOrNan() const { return ((1u << exponentBits) - 1) << fractionBits; }
};

struct TypeRow {
  Type type;
  const char *name;
  size_t size;
};

constexpr std::array<TypeRow, 7> typeRows = {{{Type::f64, "f64", 8},
                                              {Type::f32, "f32", 4},
                                              {Type::bf16, "bf16", 2},
                                              {Type::f16, "f16", 2},
                                              {Type::f8E4M3FN, "f8E4M3FN", 1},
                                              {Type::i8, "i8", 1},
                                              {Type::i32, "i32", 4}}};

const TypeRow &rowOf(Type type) {
  for (const TypeRow &row : typeRows)
    if (row.type == type)
      return row;
  throw std::invalid_argument("unknown element type");
}

bool smallFormat(Type type, SmallFloat &format) {
  if (type == Type::bf16)
    format = {8, 7, true};
  else if (type == Type::f16)
    format = {5, 10, true};
  else if (type == Type::f8E4M3FN)
    format = {4, 3, false};
  else
    return false;
  return true;
}

/// Rounds to the nearest integer, ties to even, whatever the rounding mode of the machine.
double roundEven(double value) {
  double down = std::floor(value);
  double rest = value - down;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(down, 2.0) != 0.0))
    return down + 1.0;
  return down;
}

uint32_t encodeSmall(const SmallFloat &format, double value) {
  uint32_t sign = std::signbit(value) ? 1u << (format.bits() - 1) : 0;
  uint32_t nan = sign | ((1u << (format.bits() - 1)) - 1);
  if (std::isnan(value))
    return nan;
  uint32_t overflow = format.hasInfinity ? sign | format.infinityOrNan() : nan;
  double magnitude = std::fabs(value);
  if (std::isinf(magnitude))
    return overflow;
  if (magnitude == 0.0)
    return sign;
  // The pattern is linear in the units of the last place from zero through the subnormals into every binade.
  uint64_t pattern = 0;
  auto bits = std::bit_cast<uint64_t>(magnitude);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  if (exponent >= format.smallestExponent()) {
    // A shorter pattern of the same kind: the tail is rounded to even, and may carry into the exponent.
    int tail = 52 - format.fractionBits;
    bits += (uint64_t(1) << (tail - 1)) - 1 + ((bits >> tail) & 1);
    pattern = (bits >> tail) - (static_cast<uint64_t>(format.smallestExponent() - 1 + 1023) << format.fractionBits);
  } else {
    pattern = static_cast<uint64_t>(roundEven(std::ldexp(magnitude, format.fractionBits - format.smallestExponent())));
  }
  uint64_t limit = format.hasInfinity ? format.infinityOrNan() : (1u << (format.bits() - 1)) - 1;
  return pattern >= limit ? overflow : sign | static_cast<uint32_t>(pattern);
}

double decodeSmall(const SmallFloat &format, uint32_t pattern) {
  double sign = (pattern >> (format.bits() - 1)) & 1 ? -1.0 : 1.0;
  uint32_t magnitude = pattern & ((1u << (format.bits() - 1)) - 1);
  if (format.hasInfinity && magnitude >= format.infinityOrNan())
    return magnitude == format.infinityOrNan() ? sign * std::numeric_limits<double>::infinity()
                                               : std::numeric_limits<double>::quiet_NaN();
  if (!format.hasInfinity && magnitude == (1u << (format.bits() - 1)) - 1)
    return std::numeric_limits<double>::quiet_NaN();
  uint32_t fraction = magnitude & ((1u << format.fractionBits) - 1);
  uint32_t exponent = magnitude >> format.fractionBits;
  if (exponent == 0)
    return sign * std::ldexp(fraction, format.smallestExponent() - format.fractionBits);
  return sign * std::bit_cast<double>((uint64_t(exponent) + 1023 - static_cast<uint64_t>(format.bias())) << 52 |
                                      uint64_t(fraction) << (52 - format.fractionBits));
}

template <typename Integer> void encodeInteger(double value, void *bytes) {
  double low = std::numeric_limits<Integer>::min();
  double high = std::numeric_limits<Integer>::max();
  auto integer = static_cast<Integer>(std::fmin(std::fmax(roundEven(value), low), high));
  std::memcpy(bytes, &integer, sizeof(integer));
}

template <typename Number> double decodeNumber(const void *bytes) {
  Number number;
  std::memcpy(&number, bytes, sizeof(number));
  return static_cast<double>(number);
}

} // namespace

Type parseType(std::string_view name) {
  for (const TypeRow &row : typeRows)
    if (name == row.name)
      return row.type;
  throw std::invalid_argument("unknown element type '" + std::string(name) + "'");
}

std::string typeName(Type type) { return rowOf(type).name; }

size_t typeSize(Type type) { return rowOf(type).size; }

bool isFloat(Type type) { return type != Type::i8 && type != Type::i32; }

bool isQuantised(Type type) { return type == Type::f8E4M3FN || type == Type::i8; }

void encode(Type type, double value, void *bytes) {
  SmallFloat format;
  if (smallFormat(type, format)) {
    uint32_t pattern = encodeSmall(format, value);
    if (format.bits() == 8) {
      auto narrow = static_cast<uint8_t>(pattern);
      std::memcpy(bytes, &narrow, sizeof(narrow));
    } else {
      auto narrow = static_cast<uint16_t>(pattern);
      std::memcpy(bytes, &narrow, sizeof(narrow));
    }
  } else if (type == Type::f64) {
    std::memcpy(bytes, &value, sizeof(value));
  } else if (type == Type::f32) {
    auto narrow = static_cast<float>(value);
    std::memcpy(bytes, &narrow, sizeof(narrow));
  } else if (type == Type::i8) {
    encodeInteger<int8_t>(value, bytes);
  } else {
    encodeInteger<int32_t>(value, bytes);
  }
}

double decode(Type type, const void *bytes) {
  SmallFloat format;
  if (smallFormat(type, format)) {
    if (format.bits() == 8)
      return decodeSmall(format, *static_cast<const uint8_t *>(bytes));
    uint16_t pattern;
    std::memcpy(&pattern, bytes, sizeof(pattern));
    return decodeSmall(format, pattern);
  }
  if (type == Type::f64)
    return decodeNumber<double>(bytes);
  if (type == Type::f32)
    return decodeNumber<float>(bytes);
  if (type == Type::i8)
    return decodeNumber<int8_t>(bytes);
  return decodeNumber<int32_t>(bytes);
}

double roundTo(Type type, double value) {
  unsigned char bytes[8];
  encode(type, value, bytes);
  return decode(type, bytes);
}

double spacing(Type type, double value) {
  int fractionBits = 0;
  int smallestExponent = 0;
  SmallFloat format;
  if (smallFormat(type, format)) {
    fractionBits = format.fractionBits;
    smallestExponent = format.smallestExponent();
  } else if (type == Type::f32) {
    fractionBits = 23;
    smallestExponent = -126;
  } else if (type == Type::f64) {
    fractionBits = 52;
    smallestExponent = -1022;
  } else {
    return 1.0;
  }
  int exponent = value == 0.0 ? smallestExponent : std::max(std::ilogb(value), smallestExponent);
  return std::ldexp(1.0, exponent - fractionBits);
}

double unitRoundoff(Type type) { return isFloat(type) ? spacing(type, 1.0) / 2 : 0.0; }

double largest(Type type) {
  switch (type) {
  case Type::f64:
    return std::numeric_limits<double>::max();
  case Type::f32:
    return std::numeric_limits<float>::max();
  case Type::bf16:
    return std::ldexp(255.0, 120);
  case Type::f16:
    return 65504.0;
  case Type::f8E4M3FN:
    return 448.0;
  case Type::i8:
    return 127.0;
  case Type::i32:
    return std::numeric_limits<int32_t>::max();
  }
  throw std::invalid_argument("unknown element type");
}

} // namespace oracle
