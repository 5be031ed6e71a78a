// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Deviation.h"

#include "safetensors/Convert.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace tpac::autotune {

namespace {

/// E4M3 without infinities.
double valueOfF8(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  double value = (bits & 127) == 127 ? NAN
                 : exponent          ? std::ldexp(8 + mantissa, exponent - 10)
                                     : std::ldexp(mantissa, -9);
  return bits >> 7 ? -value : value;
}

template <typename Element, typename Value>
std::vector<double> valuesOf(std::span<const std::byte> bytes, Value valueOf) {
  std::vector<double> values(bytes.size() / sizeof(Element));
  for (size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, &bytes[i * sizeof(Element)], sizeof(Element));
    values[i] = valueOf(element);
  }
  return values;
}

double limitOf(ElementType type) {
  switch (type) {
  case ElementType::f64:
    return 1e-9;
  case ElementType::f32:
    return 1e-4;
  case ElementType::i8:
  case ElementType::f8E4M3FN:
    return 0.1;
  default:
    return 1e-2;
  }
}

} // namespace

std::vector<double> valuesOf(ElementType type, std::span<const std::byte> bytes) {
  auto floats = [&](safetensors::Dtype dtype) {
    return safetensors::toDouble({dtype, {static_cast<int64_t>(bytes.size() / dtypeSize(dtype))}, bytes});
  };
  auto asIs = [](auto value) { return static_cast<double>(value); };
  switch (type) {
  case ElementType::f64:
    return floats(safetensors::Dtype::F64);
  case ElementType::f32:
    return floats(safetensors::Dtype::F32);
  case ElementType::bf16:
    return floats(safetensors::Dtype::BF16);
  case ElementType::f16:
    return floats(safetensors::Dtype::F16);
  case ElementType::i8:
    return valuesOf<int8_t>(bytes, asIs);
  case ElementType::i32:
    return valuesOf<int32_t>(bytes, asIs);
  case ElementType::f8E4M3FN:
    return valuesOf<uint8_t>(bytes, valueOfF8);
  }
  throw std::invalid_argument("element type without values");
}

void Deviation::add(double found, double expected) {
  isFinite &= std::isfinite(expected) == std::isfinite(found) && std::isnan(expected) == std::isnan(found);
  if (std::isfinite(expected)) {
    error += (found - expected) * (found - expected);
    size += expected * expected;
  }
}

std::string Deviation::problem() const {
  if (!isFinite)
    return "finite where it should not be, or the other way around";
  if (std::sqrt(error) > limitOf(type) * std::sqrt(size))
    return "relative error " + std::to_string(std::sqrt(error / size)) + "; expected at most " +
           std::to_string(limitOf(type));
  return "";
}

} // namespace tpac::autotune
