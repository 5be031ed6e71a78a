// SPDX-License-Identifier: Apache-2.0

#include "lowering/EstimateWork.h"

#include "lowering/cpu/CpuEstimate.h"
#include "lowering/gpu/GpuEstimate.h"

std::optional<double> tpac::estimateWork(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                                         const CodeTarget &target, const CallSizes &sizes) {
  if (!isAttention(phase))
    return std::nullopt;
  return isGpu(target) ? estimateGpuTime(variant, phase, schedule, sizes)
                       : estimateCpuWork(variant, phase, schedule, cpuTraitsOf(target), sizes.tokens);
}
