// SPDX-License-Identifier: Apache-2.0
//
// Timed calls of kernels on the units of a workload, in rounds: what one call touched comes again only after all the
// rest.

#ifndef TPAC_BENCH_PHASES_KERNELPASSES_H
#define TPAC_BENCH_PHASES_KERNELPASSES_H

#include "bench/measure/Arena.h"
#include "bench/phases/Workload.h"

#include <functional>

namespace tpac::bench {

/// A phase that can be called.
struct Kernel {
  PhaseSignature signature;
  PhaseFunction function;
  std::function<std::string(int32_t)> statusMessage;
};

class KernelPasses {
public:
  /// Both must outlive the passes.
  KernelPasses(Workload &workload, ThreadTeam &team) : workload(workload), team(team), scratch(team.size()) {}

  /// Calls `kernel`, whose tensors are the workload's, on the next `units` units, each thread on its share and with
  /// scratch of its own, as engines do; returns the seconds that all of them take. Throws std::runtime_error with the
  /// message of a status.
  double run(const Kernel &kernel, int64_t units);

  /// Moves on to the next `count` units.
  void advance(int64_t count);
  /// Calls `function` with the units of thread `thread`, of those last advanced to.
  template <typename Function> void ofThread(int thread, Function function) const {
    for (int64_t index = thread * length / team.size(); index < (thread + 1) * length / team.size(); ++index)
      function((begin + index) % workload.units());
  }

private:
  void provideScratch(int64_t perThread);

  Workload &workload;
  ThreadTeam &team;
  /// Of each thread, in one piece of memory.
  Arena scratchMemory;
  std::vector<std::span<std::byte>> scratch;
  int64_t begin = 0, length = 0;
};

} // namespace tpac::bench

#endif // TPAC_BENCH_PHASES_KERNELPASSES_H
