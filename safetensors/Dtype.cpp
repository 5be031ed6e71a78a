// SPDX-License-Identifier: Apache-2.0
//
// The table of element types.

#include "safetensors/Dtype.h"

#include <array>

namespace tpac::safetensors {

namespace {

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  size_t size;
};

constexpr std::array<DtypeRow, 15> table = {{{Dtype::Bool, "BOOL", 1},
                                             {Dtype::U8, "U8", 1},
                                             {Dtype::I8, "I8", 1},
                                             {Dtype::F8E5M2, "F8_E5M2", 1},
                                             {Dtype::F8E4M3, "F8_E4M3", 1},
                                             {Dtype::U16, "U16", 2},
                                             {Dtype::I16, "I16", 2},
                                             {Dtype::F16, "F16", 2},
                                             {Dtype::BF16, "BF16", 2},
                                             {Dtype::U32, "U32", 4},
                                             {Dtype::I32, "I32", 4},
                                             {Dtype::F32, "F32", 4},
                                             {Dtype::U64, "U64", 8},
                                             {Dtype::I64, "I64", 8},
                                             {Dtype::F64, "F64", 8}}};

constexpr bool tableFollowsEnum() {
  for (size_t i = 0; i < table.size(); ++i)
    if (static_cast<size_t>(table[i].dtype) != i)
      return false;
  return true;
}
static_assert(tableFollowsEnum());

} // namespace

std::string_view dtypeName(Dtype dtype) { return table[static_cast<size_t>(dtype)].name; }

std::optional<Dtype> parseDtype(std::string_view name) {
  for (const DtypeRow &row : table)
    if (row.name == name)
      return row.dtype;
  return std::nullopt;
}

std::string acceptedDtypes() {
  std::string text;
  for (const DtypeRow &row : table) {
    text += text.empty() ? "" : ", ";
    text += row.name;
  }
  return text;
}

size_t dtypeSize(Dtype dtype) { return table[static_cast<size_t>(dtype)].size; }

std::optional<int64_t> elementCount(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      return std::nullopt;
  return count;
}

std::string shapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

} // namespace tpac::safetensors
