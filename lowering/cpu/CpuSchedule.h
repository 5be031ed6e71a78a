// SPDX-License-Identifier: Apache-2.0
//
// Schedules of CPU targets: which are legal, and which one is used where no tuning record says otherwise.

#ifndef TPAC_LOWERING_CPU_CPUSCHEDULE_H
#define TPAC_LOWERING_CPU_CPUSCHEDULE_H

#include "dialect/TPADialect.h"
#include "lowering/cpu/CpuTraits.h"
#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/ScheduleSpace.h"

#include "llvm/Support/Error.h"

namespace tpac {

/// The most bytes that the tiles of one block may take: they should live in the L2 cache.
inline constexpr int64_t largestCpuBlock = 1 << 20;

/// The most bytes that the token factors of a tile of queries may take. Each head reads them once.
inline constexpr int64_t largestCpuQueries = 2 << 20;

/// The knobs of a phase's schedule on a CPU and their values, for caches stored as `storage` says.
ScheduleSpace cpuScheduleSpace(mlir::tpa::VariantAttr variant, Phase phase, CacheStorage storage);

/// Why a CPU cannot compute a phase by `schedule` - not legal for the variant, not in cpuScheduleSpace, too large -
/// naming the field, what was found and what is accepted.
llvm::Error checkCpuSchedule(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule);

/// The cache layout (value_block of #tpa.schedule) that kernels for `traits` read fastest from a cache with pages of
/// `pageSize` tokens (0: none).
int64_t defaultCpuValueBlock(mlir::tpa::VariantAttr variant, const CpuTraits &traits, int64_t pageSize = 0);

/// A legal schedule for a CPU with `traits` and a cache stored as `storage` says, chosen by operation counts: the order
/// of contraction with the fewest multiply-adds per block, bf16 operands where matrix tiles take them as they are
/// cached. Blocks of cached tokens lie in one page each where a page holds whole blocks. An error where the variant's
/// cache cannot be stored so, or even the smallest tiles are too large.
llvm::Expected<mlir::tpa::ScheduleAttr> defaultCpuSchedule(mlir::tpa::VariantAttr variant, Phase phase,
                                                           const CpuTraits &traits, CacheStorage storage = {});

} // namespace tpac

#endif // TPAC_LOWERING_CPU_CPUSCHEDULE_H
