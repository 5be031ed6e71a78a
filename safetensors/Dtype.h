// SPDX-License-Identifier: Apache-2.0
//
// Element types of safetensors files and what a tensor in one is. No reading or writing of files here.

#ifndef TPAC_SAFETENSORS_DTYPE_H
#define TPAC_SAFETENSORS_DTYPE_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::safetensors {

/// The element types that fill whole bytes. Values are little-endian.
enum class Dtype { Bool, U8, I8, F8E5M2, F8E4M3, U16, I16, F16, BF16, U32, I32, F32, U64, I64, F64 };

/// The format's spelling: "BF16", "F32", "F8_E4M3", ...
std::string_view dtypeName(Dtype dtype);
/// The dtype of that spelling, or nothing.
std::optional<Dtype> parseDtype(std::string_view name);
/// Every spelling, separated by ", ": for error messages.
std::string acceptedDtypes();
/// Bytes of one element.
size_t dtypeSize(Dtype dtype);

/// A tensor in memory that it does not own: row-major, not necessarily aligned to its element size.
struct View {
  Dtype dtype = Dtype::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Elements of `shape`; nothing where a dimension is negative or the product does not fit int64.
std::optional<int64_t> elementCount(std::span<const int64_t> shape);
/// "[4, 384, 256]".
std::string shapeText(std::span<const int64_t> shape);

} // namespace tpac::safetensors

#endif // TPAC_SAFETENSORS_DTYPE_H
