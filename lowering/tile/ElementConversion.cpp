// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/ElementConversion.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

using namespace tpac;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double quietNan = std::numeric_limits<double>::quiet_NaN();

/// A binary floating-point type narrower than f32.
struct NarrowFormat {
  int width;
  int mantissaBits;
  int bias;
  /// The largest finite number, and what larger ones round to.
  double largest;
  double overflow;
  /// Without its sign bit.
  uint32_t nanCode;

  int minExponent() const { return 1 - bias; }
  uint32_t signBit() const { return 1u << (width - 1); }
};

constexpr NarrowFormat bf16Format = {16, 7, 127, 0x1.fep127, infinity, 0x7fc0};
constexpr NarrowFormat f16Format = {16, 10, 15, 65504.0, infinity, 0x7e00};
// Without infinity; only the code with all ones is NaN.
constexpr NarrowFormat e4m3Format = {8, 3, 7, 448.0, 448.0, 0x7f};

double roundNarrow(const NarrowFormat &format, double value) {
  double magnitude = std::fabs(value);
  if (std::isnan(value))
    return value;
  if (magnitude < std::ldexp(1.0, format.minExponent())) {
    // Subnormal: multiples of one quantum.
    double quantum = std::ldexp(1.0, format.minExponent() - format.mantissaBits);
    return std::copysign(std::nearbyint(magnitude / quantum) * quantum, value);
  }
  // Normal: the upper bits of the double's mantissa. Adding half less one, and one more where the kept part is odd,
  // carries exactly where the number rounds up.
  if (magnitude != infinity) {
    int dropped = 52 - format.mantissaBits;
    auto bits = std::bit_cast<uint64_t>(magnitude);
    bits += ((uint64_t(1) << (dropped - 1)) - 1) + ((bits >> dropped) & 1);
    magnitude = std::bit_cast<double>(bits & ~((uint64_t(1) << dropped) - 1));
  }
  return std::copysign(magnitude > format.largest ? format.overflow : magnitude, value);
}

/// The code of a number that the format has.
uint32_t encodeNarrow(const NarrowFormat &format, double value) {
  uint32_t sign = std::signbit(value) ? format.signBit() : 0;
  if (std::isnan(value))
    return sign | format.nanCode;
  double magnitude = std::fabs(value);
  double one = std::ldexp(1.0, format.mantissaBits);
  if (magnitude < std::ldexp(1.0, format.minExponent()))
    return sign | static_cast<uint32_t>(std::ldexp(magnitude, -format.minExponent()) * one);
  if (magnitude == infinity)
    return sign | static_cast<uint32_t>((format.signBit() - 1) & ~((1u << format.mantissaBits) - 1));
  int exponent = std::ilogb(magnitude);
  double mantissa = std::ldexp(magnitude, -exponent) * one - one;
  return sign | static_cast<uint32_t>(exponent + format.bias) << format.mantissaBits | static_cast<uint32_t>(mantissa);
}

double decodeNarrow(const NarrowFormat &format, uint32_t code) {
  uint32_t magnitude = code & (format.signBit() - 1);
  double sign = code & format.signBit() ? -1.0 : 1.0;
  auto exponent = static_cast<int>(magnitude >> format.mantissaBits);
  double mantissa = std::ldexp(magnitude & ((1u << format.mantissaBits) - 1), -format.mantissaBits);
  bool allOnes = exponent == (1 << (format.width - 1 - format.mantissaBits)) - 1;
  if (format.overflow == infinity && allOnes)
    return mantissa == 0 ? sign * infinity : quietNan;
  if (magnitude == format.nanCode)
    return quietNan;
  if (exponent == 0)
    return sign * std::ldexp(mantissa, format.minExponent());
  return sign * std::ldexp(1.0 + mantissa, exponent - format.bias);
}

template <typename Integer> double roundInteger(double value) {
  if (std::isnan(value))
    return 0.0;
  return std::clamp(std::nearbyint(value), static_cast<double>(std::numeric_limits<Integer>::min()),
                    static_cast<double>(std::numeric_limits<Integer>::max()));
}

template <typename T> T read(const void *address) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
}

template <typename T> void write(void *address, T value) { std::memcpy(address, &value, sizeof(T)); }

} // namespace

double tpac::roundElement(ElementType type, double value) {
  switch (type) {
  case ElementType::f64:
    return value;
  case ElementType::f32:
    return static_cast<float>(value);
  case ElementType::bf16:
    return roundNarrow(bf16Format, value);
  case ElementType::f16:
    return roundNarrow(f16Format, value);
  case ElementType::f8E4M3FN:
    return roundNarrow(e4m3Format, value);
  case ElementType::i8:
    return roundInteger<int8_t>(value);
  case ElementType::i32:
    return roundInteger<int32_t>(value);
  }
  __builtin_unreachable();
}

double tpac::readElement(ElementType type, const void *address) {
  switch (type) {
  case ElementType::f64:
    return read<double>(address);
  case ElementType::f32:
    return read<float>(address);
  case ElementType::bf16:
    // The upper half of an f32: the type that caches are mostly made of is read without arithmetic.
    return std::bit_cast<float>(static_cast<uint32_t>(read<uint16_t>(address)) << 16);
  case ElementType::f16:
    return decodeNarrow(f16Format, read<uint16_t>(address));
  case ElementType::f8E4M3FN:
    return decodeNarrow(e4m3Format, read<uint8_t>(address));
  case ElementType::i8:
    return read<int8_t>(address);
  case ElementType::i32:
    return read<int32_t>(address);
  }
  __builtin_unreachable();
}

void tpac::writeElement(ElementType type, void *address, double value) {
  double rounded = roundElement(type, value);
  switch (type) {
  case ElementType::f64:
    return write(address, rounded);
  case ElementType::f32:
    return write(address, static_cast<float>(rounded));
  case ElementType::bf16:
    return write(address, static_cast<uint16_t>(encodeNarrow(bf16Format, rounded)));
  case ElementType::f16:
    return write(address, static_cast<uint16_t>(encodeNarrow(f16Format, rounded)));
  case ElementType::f8E4M3FN:
    return write(address, static_cast<uint8_t>(encodeNarrow(e4m3Format, rounded)));
  case ElementType::i8:
    return write(address, static_cast<int8_t>(rounded));
  case ElementType::i32:
    return write(address, static_cast<int32_t>(rounded));
  }
  __builtin_unreachable();
}
