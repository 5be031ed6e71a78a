// SPDX-License-Identifier: Apache-2.0
//
// A tensor in host memory, as tile programs see it when they are interpreted. No MLIR in this header.

#ifndef TPAC_LOWERING_TILE_MEMORYVIEW_H
#define TPAC_LOWERING_TILE_MEMORYVIEW_H

#include "lowering/phases/PhaseSignature.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tpac {

/// Element (i, j, ..) stands at data + (i * strides[0] + j * strides[1] + ..) * elementSize(elementType).
struct MemoryView {
  ElementType elementType = ElementType::f64;
  void *data = nullptr;
  /// Elements per dimension.
  std::vector<int64_t> shape;
  /// In elements, one per dimension.
  std::vector<int64_t> strides;

  /// A view with the last dimension fastest and no gaps.
  static MemoryView contiguous(ElementType type, void *data, std::vector<int64_t> shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;)
      strides[i - 1] = strides[i] * shape[i];
    return {type, data, std::move(shape), std::move(strides)};
  }

  /// Address of the element `offset` elements from the first.
  void *at(int64_t offset) const { return static_cast<std::byte *>(data) + offset * elementSize(elementType); }
};

} // namespace tpac

#endif // TPAC_LOWERING_TILE_MEMORYVIEW_H
