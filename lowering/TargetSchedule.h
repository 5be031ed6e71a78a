// SPDX-License-Identifier: Apache-2.0
//
// Schedules of any target: the one place that knows which kind of machine a target is.

#ifndef TPAC_LOWERING_TARGETSCHEDULE_H
#define TPAC_LOWERING_TARGETSCHEDULE_H

#include "lowering/cpu/CpuTraits.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/ScheduleSpace.h"

namespace tpac {

/// What the CPU target must know of `target`.
CpuTraits cpuTraitsOf(const CodeTarget &target);

/// Why caches cannot be stored as `storage` says, by the variant or on `target`.
llvm::Error checkStorage(mlir::tpa::VariantAttr variant, CacheStorage storage, const CodeTarget &target);

/// The knobs of a phase's schedule and the values that `target` takes, for caches stored as `storage` says. An error
/// where it does not compute the phase, or caches cannot be stored so.
llvm::Expected<ScheduleSpace> scheduleSpace(mlir::tpa::VariantAttr variant, Phase phase, const CodeTarget &target,
                                            CacheStorage storage = {});

/// Why `target` cannot compute a phase by `schedule`, naming the field, what was found and what is accepted.
llvm::Error checkSchedule(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                          const CodeTarget &target);

/// The schedule that is used where nobody gives another: legal for `target`. `tokens`: query tokens per request of the
/// calls, where they are known, so that it is the one that packs have for them on GPUs; 0: they are not known.
llvm::Expected<mlir::tpa::ScheduleAttr> defaultSchedule(mlir::tpa::VariantAttr variant, Phase phase,
                                                        const CodeTarget &target, CacheStorage storage = {},
                                                        int64_t tokens = 0);

/// Query tokens of a request that packs for GPUs have kernels of decode for: a call takes those for the next larger
/// number, and more tokens than the last one takes those.
inline constexpr int64_t gpuDecodeQueries[] = {1, 2, 4, 8};
/// As many as a schedule of prefill likes.
inline constexpr int64_t gpuPrefillQueries = 4096;
/// Which of them calls with `tokens` query tokens per request take.
int64_t gpuQueriesFor(Phase phase, int64_t tokens);

/// The cache layout (value_block of #tpa.schedule) that the fused kernels for `target` read fastest from a cache with
/// pages of `pageSize` tokens (0: none).
int64_t defaultValueBlock(mlir::tpa::VariantAttr variant, const CodeTarget &target, int64_t pageSize = 0);

} // namespace tpac

#endif // TPAC_LOWERING_TARGETSCHEDULE_H
