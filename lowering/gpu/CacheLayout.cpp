// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/CacheLayout.h"

#include "dialect/PhaseOperands.h"
#include "lowering/gpu/Machine.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/tile/BuildPrograms.h"

using namespace mlir::tpa;

const tpac::GpuCacheLayout::Segment *tpac::GpuCacheLayout::find(std::string_view tensor) const {
  auto found = std::ranges::find(segments, tensor, &Segment::tensor);
  return found == segments.end() ? nullptr : &*found;
}

/// The ranks of cached token factors, one per tile of heads, or 1.
static int64_t planesOf(VariantAttr variant) {
  int64_t tiles = 1;
  for (Side side : {Side::k, Side::v}) {
    FactorizationAttr factorization = getFactorization(variant, side);
    bool isOneHot = factorization.hasMap(HeadMap::one_hot), isGroups = factorization.hasMap(HeadMap::groups);
    int64_t heads = variant.getHeads().getLocal();
    int64_t tile = isOneHot ? 1 : tpac::largestHeadTile(variant);
    int64_t ranks = factorization.getLocalRank(variant.getHeads());
    if (!(isOneHot || isGroups) || heads != tile * ranks || (tiles != 1 && tiles != ranks))
      return 1;
    tiles = ranks;
  }
  return tiles;
}

tpac::GpuCacheLayout tpac::gpuCacheLayout(VariantAttr variant) {
  GpuCacheLayout layout;
  layout.planes = planesOf(variant);
  int64_t offset = 0;
  for (const PhaseTensor &tensor : getPhaseSignature(variant, Phase::decode).tensors) {
    if (tensor.shape.size() < 2 || tensor.shape[1].symbol != "capacity")
      continue;
    int64_t bytes = elementSize(tensor.elementType);
    int64_t ranks = tensor.shape.size() > 2 ? tensor.shape[2].size / layout.planes : 1;
    int64_t size = tensor.shape.size() > 3 ? tensor.shape[3].size : 1;
    int64_t pitch = size * bytes;
    if (pitch >= gpu::chunkBytes)
      pitch = llvm::alignTo(pitch, gpu::chunkBytes);
    layout.segments.push_back({tensor.name, tensor.elementType, offset, ranks, size, pitch});
    offset += llvm::alignTo(ranks * pitch, gpu::chunkBytes);
  }
  layout.rowBytes = std::max(offset, gpu::chunkBytes);
  auto swizzle = gpu::Swizzle::of(layout.rowBytes / gpu::chunkBytes);
  layout.swizzleMask = swizzle.mask;
  layout.swizzleShift = swizzle.shift;
  return layout;
}
