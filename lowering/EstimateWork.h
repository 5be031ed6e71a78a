// SPDX-License-Identifier: Apache-2.0
//
// An order to try schedules in, for any target. Estimates decide no code: the hash of the compiler's sources that
// records are told apart by leaves out files of this name.

#ifndef TPAC_LOWERING_ESTIMATEWORK_H
#define TPAC_LOWERING_ESTIMATEWORK_H

#include "lowering/TargetSchedule.h"
#include "lowering/tile/CallSizes.h"

#include <optional>

namespace tpac {

/// By the bytes and operations of a call, the less the better. Nothing where there is no such estimate: for phases that
/// are no attention.
std::optional<double> estimateWork(mlir::tpa::VariantAttr variant, Phase phase, mlir::tpa::ScheduleAttr schedule,
                                   const CodeTarget &target, const CallSizes &sizes);

} // namespace tpac

#endif // TPAC_LOWERING_ESTIMATEWORK_H
