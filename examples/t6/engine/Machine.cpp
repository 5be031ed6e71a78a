// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Machine.h"

#include <stdexcept>

namespace t6 {

void requireSuccess(int32_t status) {
  if (status != TPAC_SUCCESS)
    throw std::runtime_error(tpac_runtime_status_message(status));
}

Tensor Machine::tensor(int64_t rows, int64_t width, Type type) {
  return {type, rows, width, allocate(rows * width * sizeOf(type))};
}

Tensor Machine::tensor(std::span<const float> values, int64_t rows, int64_t width, Type type) {
  std::vector<std::byte> stored(values.size() * static_cast<size_t>(sizeOf(type)));
  store(values, type, stored.data());
  Tensor result = tensor(rows, width, type);
  upload(stored.data(), static_cast<int64_t>(stored.size()), result.data.get());
  return result;
}

Tensor Machine::project(const Tensor &x, const Tensor &weight, Type type) {
  Tensor y = tensor(x.rows, weight.rows, type);
  project(x, weight, y, /*adds=*/false);
  return y;
}

std::vector<float> Machine::values(const Tensor &x) {
  std::vector<std::byte> stored(static_cast<size_t>(x.elements() * sizeOf(x.type)));
  download(x.data.get(), static_cast<int64_t>(stored.size()), stored.data());
  std::vector<float> result(static_cast<size_t>(x.elements()));
  load(stored.data(), x.type, result);
  return result;
}

} // namespace t6
