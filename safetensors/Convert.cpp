// SPDX-License-Identifier: Apache-2.0
//
// Conversions between stored floating-point elements and the machine's types.

#include "safetensors/Convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace tpac::safetensors {

static_assert(std::endian::native == std::endian::little, "elements are copied as they are stored: little-endian");

namespace {

/// A 16-bit IEEE-like format: one sign bit, then exponent, then `mantissaBits` bits of mantissa.
struct NarrowFormat {
  int mantissaBits;
  /// Exponent of the smallest normal number.
  int minExponent;
};
constexpr NarrowFormat bf16Format = {7, -126};
constexpr NarrowFormat f16Format = {10, -14};

double decodeNarrow(uint16_t bits, NarrowFormat format) {
  int exponentField = (bits & 0x7fff) >> format.mantissaBits;
  int mantissa = bits & ((1 << format.mantissaBits) - 1);
  double magnitude;
  if (exponentField == (0x7fff >> format.mantissaBits))
    magnitude = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else if (exponentField == 0)
    magnitude = std::ldexp(mantissa, format.minExponent - format.mantissaBits);
  else
    magnitude =
        std::ldexp(mantissa + (1 << format.mantissaBits), format.minExponent + exponentField - 1 - format.mantissaBits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/// Straight from double: by way of float the value would be rounded twice.
uint16_t encodeNarrow(double value, NarrowFormat format) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  uint16_t infinity = 0x7fff >> format.mantissaBits << format.mantissaBits;
  if (std::isnan(value))
    return sign | infinity | 1 << (format.mantissaBits - 1);
  if (std::isinf(value))
    return sign | infinity;
  if (value == 0)
    return sign;
  int exponent = std::max(std::ilogb(value), format.minExponent);
  // In units of the last place. A mantissa that rounds up to the next power of two carries into the exponent field.
  double scaled = std::nearbyint(std::ldexp(std::fabs(value), format.mantissaBits - exponent));
  int64_t bits =
      static_cast<int64_t>(scaled) + (static_cast<int64_t>(exponent - format.minExponent) << format.mantissaBits);
  return sign | static_cast<uint16_t>(std::min<int64_t>(bits, infinity));
}

template <typename Element> Element load(std::span<const std::byte> bytes, size_t index) {
  Element element;
  std::memcpy(&element, bytes.data() + index * sizeof(Element), sizeof(Element));
  return element;
}

template <typename Element> void store(std::vector<std::byte> &bytes, size_t index, Element element) {
  std::memcpy(bytes.data() + index * sizeof(Element), &element, sizeof(Element));
}

[[noreturn]] void throwDtype(Dtype dtype) {
  throw std::invalid_argument("dtype: found " + std::string(dtypeName(dtype)) +
                              ", accepted for this conversion: BF16, F16, F32, F64");
}

template <typename Number> std::vector<Number> decode(const View &view) {
  std::optional<int64_t> count = elementCount(view.shape);
  size_t available = view.bytes.size() / dtypeSize(view.dtype);
  if (!count || static_cast<uint64_t>(*count) != available || view.bytes.size() % dtypeSize(view.dtype) != 0)
    throw std::invalid_argument("shape " + shapeText(view.shape) + " of " + std::string(dtypeName(view.dtype)) +
                                " does not fit " + std::to_string(view.bytes.size()) + " bytes");
  std::vector<Number> values(available);
  for (size_t i = 0; i < values.size(); ++i) {
    switch (view.dtype) {
    case Dtype::BF16:
      values[i] = static_cast<Number>(decodeNarrow(load<uint16_t>(view.bytes, i), bf16Format));
      break;
    case Dtype::F16:
      values[i] = static_cast<Number>(decodeNarrow(load<uint16_t>(view.bytes, i), f16Format));
      break;
    case Dtype::F32:
      values[i] = load<float>(view.bytes, i);
      break;
    case Dtype::F64:
      values[i] = static_cast<Number>(load<double>(view.bytes, i));
      break;
    default:
      throwDtype(view.dtype);
    }
  }
  return values;
}

bool isConverted(Dtype dtype) {
  return dtype == Dtype::BF16 || dtype == Dtype::F16 || dtype == Dtype::F32 || dtype == Dtype::F64;
}

} // namespace

std::vector<double> toDouble(const View &view) {
  if (!isConverted(view.dtype))
    throwDtype(view.dtype);
  return decode<double>(view);
}

std::vector<float> toFloat(const View &view) {
  if (!isConverted(view.dtype))
    throwDtype(view.dtype);
  return decode<float>(view);
}

std::vector<std::byte> fromDouble(std::span<const double> values, Dtype dtype) {
  if (!isConverted(dtype))
    throwDtype(dtype);
  std::vector<std::byte> bytes(values.size() * dtypeSize(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == Dtype::BF16)
      store(bytes, i, encodeNarrow(values[i], bf16Format));
    else if (dtype == Dtype::F16)
      store(bytes, i, encodeNarrow(values[i], f16Format));
    else if (dtype == Dtype::F32)
      store(bytes, i, static_cast<float>(values[i]));
    else
      store(bytes, i, values[i]);
  }
  return bytes;
}

} // namespace tpac::safetensors
