// SPDX-License-Identifier: Apache-2.0
//
// bf16 and f16 as the device rounds them: to nearest, ties to even. Not those of the oracle, which must not agree with
// anything by being the same code.

#ifndef TPAC_TESTS_CUDA_PTX_SMALLFLOATS_H
#define TPAC_TESTS_CUDA_PTX_SMALLFLOATS_H

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace tpac::ptx {

inline float bf16ToFloat(uint16_t x) { return std::bit_cast<float>(uint32_t(x) << 16); }

inline float halfToFloat(uint16_t x) {
  const uint32_t sign = uint32_t(x & 0x8000) << 16, exponent = x >> 10 & 31, mantissa = x & 0x3ff;
  if (exponent == 0)
    return std::copysign(std::ldexp(static_cast<float>(mantissa), -24), std::bit_cast<float>(sign | 0x3f800000));
  return std::bit_cast<float>(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13);
}

/// To a binary format of `mantissaBits` and of exponents from `leastExponent` to `mostExponent`.
template <int mantissaBits, int leastExponent, int mostExponent> uint16_t roundedTo(double x) {
  constexpr int exponentBias = 1 - leastExponent;
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  constexpr uint16_t infinity = (mostExponent + exponentBias + 1) << mantissaBits;
  if (std::isnan(x))
    return sign | infinity | 1 << (mantissaBits - 1);
  if (x == 0)
    return sign;
  if (std::isinf(x))
    return sign | infinity;
  const int exponent = std::max(std::ilogb(x), leastExponent);
  // Rounds as the host does by default, to even.
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(std::abs(x), mantissaBits - exponent)));
  // A mantissa that has overflowed carries into the exponent; the hidden bit is one step of it.
  const uint32_t bits = units + (static_cast<uint32_t>(exponent + exponentBias - 1) << mantissaBits);
  return bits >= infinity ? sign | infinity : static_cast<uint16_t>(sign | bits);
}

inline uint16_t halfFromDouble(double x) { return roundedTo<10, -14, 15>(x); }

inline uint16_t bf16FromDouble(double x) {
  const auto single = static_cast<float>(x);
  // The usual case, fast: what f32 holds exactly.
  if (static_cast<double>(single) == x && std::abs(single) < 3e38f) {
    const auto bits = std::bit_cast<uint32_t>(single);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  return roundedTo<7, -126, 127>(x);
}

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_SMALLFLOATS_H
