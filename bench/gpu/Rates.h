// SPDX-License-Identifier: Apache-2.0
//
// What a GPU's memory gives: the limit beside which kernels stand.

#ifndef TPAC_BENCH_GPU_RATES_H
#define TPAC_BENCH_GPU_RATES_H

#include "bench/gpu/Driver.h"

namespace tpac::device {

/// Bytes per second: read and written by a copy, of the copy engine or of a kernel, whichever is faster; read.
struct MoveRates {
  double copy, read;
};

/// Of the first half of the pool and its second. `replays` of each.
MoveRates moveRates(Driver &driver, DevicePointer pool, size_t poolBytes, int replays);

/// Fills memory with `block`, over and over. Waits for it.
void fillWith(Driver &driver, DevicePointer memory, size_t bytes, std::span<const std::byte> block);

} // namespace tpac::device

#endif // TPAC_BENCH_GPU_RATES_H
