// SPDX-License-Identifier: Apache-2.0
//
// How long a call takes by a schedule on a GPU, by bytes, products and what threads wait for: an order to try schedules
// in, no time to promise.

#ifndef TPAC_LOWERING_GPU_GPUESTIMATE_H
#define TPAC_LOWERING_GPU_GPUESTIMATE_H

#include "lowering/gpu/GpuSchedule.h"
#include "lowering/tile/CallSizes.h"

namespace tpac {

/// Microseconds of a call of decode or prefill by a legal schedule.
double estimateGpuTime(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                       const CallSizes &sizes);

} // namespace tpac

#endif // TPAC_LOWERING_GPU_GPUESTIMATE_H
