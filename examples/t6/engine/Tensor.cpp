// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Tensor.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace t6 {

int64_t sizeOf(Type type) { return type == Type::f32 ? 4 : 2; }

void store(std::span<const float> values, Type type, void *to) {
  if (type == Type::f32) {
    std::memcpy(to, values.data(), values.size_bytes());
    return;
  }
  auto *bits = static_cast<uint16_t *>(to);
  for (float value : values) {
    const auto word = std::bit_cast<uint32_t>(value);
    *bits++ = static_cast<uint16_t>(std::isnan(value) ? 0x7fc0 : (word + 0x7fff + (word >> 16 & 1)) >> 16);
  }
}

void load(const void *from, Type type, std::span<float> values) {
  if (type == Type::f32) {
    std::memcpy(values.data(), from, values.size_bytes());
    return;
  }
  const auto *bits = static_cast<const uint16_t *>(from);
  for (float &value : values)
    value = std::bit_cast<float>(uint32_t{*bits++} << 16);
}

} // namespace t6
