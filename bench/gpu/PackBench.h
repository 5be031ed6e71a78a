// SPDX-License-Identifier: Apache-2.0
//
// Times the phases of a kernel pack on this machine's first GPU, launched by the runtime as an engine does it. Launches
// rotate over memory that no cache holds; a time is the median over replays of a CUDA graph of them.

#ifndef TPAC_BENCH_GPU_PACKBENCH_H
#define TPAC_BENCH_GPU_PACKBENCH_H

#include "bench/gpu/PackCall.h"

#include <string>
#include <vector>

namespace tpac::device {

struct BenchSettings {
  /// Replays of each graph.
  int repetitions = 9;
  /// Memory that launches rotate over, unless half of what the device has free is less.
  size_t poolBytes = size_t(4) << 30;
};

struct BenchResult {
  /// Of one call, all of its kernels: median, least and most of the replays.
  double seconds, secondsMin, secondsMax;
  /// What a call reads and writes at least: cached tokens that some query sees, or that are new; all other tensors.
  double bytes;
  /// Touched by launches before any memory is used again.
  double poolBytes;
};

class PackBench {
public:
  /// The pack in `folder`, whose phases are `signatures`. Throws NoDevice where there is no GPU, std::runtime_error
  /// where the pack has no kernels for it.
  PackBench(const std::string &folder, std::vector<PhaseSignature> signatures, const BenchSettings &settings);

  const std::string &deviceName() const { return driver.deviceName(); }
  /// Whose code runs: "sm_90a".
  std::string target() const { return tpac_kernels_target(kernels.get()); }
  /// Bytes per second, read and written, of a copy between halves of the pool.
  double copyRate();
  /// Throws std::runtime_error with the reason why `row` cannot be measured, Failure where the device fails.
  BenchResult measure(const bench::Row &row);

private:
  Driver driver;
  PackKernels kernels;
  tpac_cache_layout layout = {};
  std::vector<PhaseSignature> signatures;
  BenchSettings settings;
  size_t poolBytes;
  DeviceBuffer pool;
};

} // namespace tpac::device

#endif // TPAC_BENCH_GPU_PACKBENCH_H
