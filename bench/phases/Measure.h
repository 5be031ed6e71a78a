// SPDX-License-Identifier: Apache-2.0
//
// Measures one row: kernel, memory ceiling and arithmetic peaks in turn, so that a machine that changes its speed
// changes it for all of them.

#ifndef TPAC_BENCH_PHASES_MEASURE_H
#define TPAC_BENCH_PHASES_MEASURE_H

#include "bench/measure/Arena.h"
#include "bench/phases/KernelPasses.h"
#include "bench/phases/Rows.h"

#include "lowering/execute/Executable.h"

#include <memory>
#include <optional>

namespace tpac::bench {

struct Settings {
  /// Which kernels: Executable::compile.
  CodePath path = CodePath::fused;
  std::string target = "host";
  std::optional<int64_t> valueBlock;
  int64_t pageSize = 0;
  /// Memory that calls rotate through.
  int64_t poolBytes = int64_t(2) << 30;
  /// Kernel measurements per row.
  int repetitions = 9;
  /// What one of them takes at least, unless the pool ends before.
  double seconds = 0.2;
  double peakSeconds = 0.01;
  /// What one pass of the ceiling reads at least, unless the pool ends before.
  int64_t ceilingBytes = int64_t(256) << 20;
  int64_t memoryLimit = int64_t(4) << 30;
};

struct Result {
  double compileSeconds = 0;
  double callSeconds, callSecondsMin, callSecondsMax; ///< median, least, most, of one call on all threads
  double nsPerToken;
  double bytesPerToken, callBytes;
  double bytesPerSecond;
  double ceiling;         ///< bytes per second, median
  double ceilingFraction; ///< median of the kernel's speed over that of the ceilings right before and after
  std::optional<double> callMultiplyAdds; ///< absent where a phase only moves data
  std::optional<double> flops;            ///< per second, 2 per multiply-add
  std::optional<double> fmaPeak, fmaFraction;
  std::optional<double> amxPeak, amxFraction;
  std::optional<double> boundSeconds; ///< of one call of prefill: Workload::unitBound
  double poolBytes;                   ///< touched by calls before any memory is used again
  std::string walk;                   ///< of the ceiling
};

/// Pools of this size are cold: larger than any cache in sight.
inline constexpr int64_t coldBytes = int64_t(2) << 30;

/// Compiles phases, and keeps the last one: neighbouring rows mostly share it.
class Kernels {
public:
  explicit Kernels(const Settings &settings) : settings(settings) {}
  const Executable &of(const Row &row);
  double compileSeconds() const { return seconds; }

private:
  const Settings &settings;
  std::string key;
  std::unique_ptr<Executable> executable;
  double seconds = 0;
};

/// Throws std::exception with the reason why `row` cannot be measured. The result has no compileSeconds.
Result measure(const Row &row, const Settings &settings, const Kernel &kernel, Arena &arena);
/// The same with the kernel of `kernels`.
Result measure(const Row &row, const Settings &settings, Kernels &kernels, Arena &arena);

} // namespace tpac::bench

#endif // TPAC_BENCH_PHASES_MEASURE_H
