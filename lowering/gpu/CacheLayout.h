// SPDX-License-Identifier: Apache-2.0
//
// How a GPU pack stores the cache of a variant: tokens as rows that hold every cached tensor, so that a block of tokens
// is one piece of memory.

#ifndef TPAC_LOWERING_GPU_CACHELAYOUT_H
#define TPAC_LOWERING_GPU_CACHELAYOUT_H

#include "dialect/TPADialect.h"
#include "lowering/phases/PhaseSignature.h"

#include <string>
#include <vector>

namespace tpac {

/// The cache is [request][plane][token][row], or [page][plane][token][row] where it has pages. A row holds the token's
/// cached tensors one after another, each from a multiple of 16 bytes on, rank by rank; ranks of 16 bytes and more are
/// padded to multiples of 16. A row is a whole number of 16-byte chunks, and chunk c of token t stands at place c ^ ((t
/// >> swizzleShift) & swizzleMask) of it.
struct GpuCacheLayout {
  struct Segment {
    std::string tensor;
    ElementType elementType;
    int64_t offset;
    /// Ranks of one plane, elements of a rank, bytes from rank to rank.
    int64_t ranks, size, pitch;
  };
  /// Rows that a token has: 1, or one per rank where tiles of heads read one rank each (one_hot, groups).
  int64_t planes = 1;
  int64_t rowBytes = 0;
  int64_t swizzleMask = 0, swizzleShift = 0;
  std::vector<Segment> segments;

  const Segment *find(std::string_view tensor) const;
};

GpuCacheLayout gpuCacheLayout(mlir::tpa::VariantAttr variant);

/// Without pages, the cache's token capacity must be a multiple of this.
inline constexpr int64_t gpuCapacityUnit = 128;

/// The tokens of a page must be a multiple of this.
inline constexpr int64_t gpuPageUnit = 16;

} // namespace tpac

#endif // TPAC_LOWERING_GPU_CACHELAYOUT_H
