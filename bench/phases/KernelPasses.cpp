// SPDX-License-Identifier: Apache-2.0

#include "bench/phases/KernelPasses.h"

#include <stdexcept>

namespace tpac::bench {

void KernelPasses::advance(int64_t count) {
  begin = (begin + length) % workload.units();
  length = count;
}

double KernelPasses::run(const Kernel &kernel, int64_t units) {
  advance(units);
  std::vector<int32_t> statuses(static_cast<size_t>(team.size()), 0);
  double seconds = team.run([&](int thread) {
    ofThread(thread, [&](int64_t unit) {
      if (int32_t status = workload.call(kernel.function, unit))
        statuses[static_cast<size_t>(thread)] = status;
    });
  });
  for (int32_t status : statuses)
    if (status)
      throw std::runtime_error("status " + std::to_string(status) + ": " + kernel.statusMessage(status));
  return seconds;
}

} // namespace tpac::bench
