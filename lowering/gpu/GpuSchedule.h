// SPDX-License-Identifier: Apache-2.0
//
// Schedules of NVIDIA GPUs: which are legal, and which one is used where no tuning record says otherwise.

#ifndef TPAC_LOWERING_GPU_GPUSCHEDULE_H
#define TPAC_LOWERING_GPU_GPUSCHEDULE_H

#include "dialect/TPADialect.h"
#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/ScheduleSpace.h"

#include "llvm/Support/Error.h"

namespace mlir::tpa::gpu {
struct RowMap;
}

namespace tpac {

/// What a schedule must fit into.
struct GpuLimits {
  /// Shared memory of one thread block, in bytes.
  int64_t sharedBytes = 227 * 1024;
  /// Has bulk copies and mbarriers with transaction counts (sm_90 and later).
  bool hasBulk = true;

  /// Of "sm_80", "sm_90a", ...
  static GpuLimits of(llvm::StringRef chip);
};

/// Scores that a warp holds per row and cached token: one for each rank of K that has a head factor.
int64_t gpuScores(mlir::tpa::VariantAttr variant);

/// Whether a cached token has head factors.
bool gpuCachesHeads(mlir::tpa::VariantAttr variant);

/// The rows of the kernels of `schedule`.
mlir::tpa::gpu::RowMap gpuRowMap(mlir::tpa::VariantAttr variant, mlir::tpa::ScheduleAttr schedule);

/// Tensor core instructions of a warp for one of its tiles of rows and 16 cached tokens. With heads on rows a tile has
/// 16 and takes two where one of tokens on rows, which has 8, takes one.
int64_t gpuTileProducts(mlir::tpa::VariantAttr variant, mlir::tpa::ScoreOrder score, mlir::tpa::TileRows side,
                        int64_t queryParts);

/// The knobs of a phase's schedule on a GPU and their values, for caches with pages of `pageSize` tokens (0: none); an
/// error where it computes no such phase or variant.
llvm::Expected<ScheduleSpace> gpuScheduleSpace(mlir::tpa::VariantAttr variant, Phase phase, const GpuLimits &limits,
                                               int64_t pageSize = 0);

/// Why a GPU cannot compute a phase by `schedule` - not legal for the variant, not in gpuScheduleSpace, too large -
/// naming the field, what was found and what is accepted.
llvm::Error checkGpuSchedule(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                             const GpuLimits &limits);

/// A legal schedule for calls of up to `queries` query tokens per request, on caches with pages of `pageSize` tokens
/// (0: none); an error that says why there is none.
llvm::Expected<mlir::tpa::ScheduleAttr> defaultGpuSchedule(mlir::tpa::VariantAttr variant, Phase phase,
                                                           const GpuLimits &limits, int64_t queries = 1,
                                                           int64_t pageSize = 0);

} // namespace tpac

#endif // TPAC_LOWERING_GPU_GPUSCHEDULE_H
