// SPDX-License-Identifier: Apache-2.0
//
// How much work a schedule makes of a call, by bytes and operations: an order to try schedules in, no time.

#ifndef TPAC_LOWERING_CPU_CPUESTIMATE_H
#define TPAC_LOWERING_CPU_CPUESTIMATE_H

#include "lowering/cpu/CpuSchedule.h"

namespace tpac {

/// Work per cached token of a call of `queries` query tokens per request by a legal schedule of decode or prefill, in
/// multiply-adds of a matrix unit.
double estimateCpuWork(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                       const CpuTraits &traits, int64_t queries);

} // namespace tpac

#endif // TPAC_LOWERING_CPU_CPUESTIMATE_H
