// SPDX-License-Identifier: Apache-2.0
//
// Peaks of arithmetic: how many floating-point operations this machine does per second when nothing else is in the way.

#ifndef TPAC_BENCH_CEILING_PEAKS_H
#define TPAC_BENCH_CEILING_PEAKS_H

#include "bench/ceiling/Isa.h"
#include "bench/measure/ThreadTeam.h"

namespace tpac::bench {

/// FLOP/s of f32 multiply-adds (2 FLOP each) with vectors of `isa`, over all threads of `team`, in about `seconds`.
double fmaPeak(ThreadTeam &team, Isa isa, double seconds);

/// FLOP/s of 16x16x32 bf16 tile products (tdpbf16ps). Only where amxObstacle() is empty.
double amxPeak(ThreadTeam &team, double seconds);

} // namespace tpac::bench

#endif // TPAC_BENCH_CEILING_PEAKS_H
