// SPDX-License-Identifier: Apache-2.0

#include "bench/phases/KernelPasses.h"

#include <algorithm>
#include <stdexcept>

namespace tpac::bench {

void KernelPasses::advance(int64_t count) {
  begin = (begin + length) % workload.units();
  length = count;
}

void KernelPasses::provideScratch(int64_t perThread) {
  if (static_cast<int64_t>(scratch.front().size()) == perThread)
    return;
  scratchMemory.reset(team.size() * (perThread + Arena::slack));
  for (std::span<std::byte> &ofThread : scratch)
    ofThread = {scratchMemory.allocate(perThread), static_cast<size_t>(perThread)};
  // Touched by the thread that uses it, and before anything is timed.
  team.run([&](int thread) { std::ranges::fill(scratch[static_cast<size_t>(thread)], std::byte{0}); });
}

double KernelPasses::run(const Kernel &kernel, int64_t units) {
  advance(units);
  provideScratch(kernel.signature.scratch);
  std::vector<int32_t> statuses(static_cast<size_t>(team.size()), 0);
  double seconds = team.run([&](int thread) {
    ofThread(thread, [&](int64_t unit) {
      if (int32_t status = workload.call(kernel.function, unit, scratch[static_cast<size_t>(thread)]))
        statuses[static_cast<size_t>(thread)] = status;
    });
  });
  for (int32_t status : statuses)
    if (status)
      throw std::runtime_error("status " + std::to_string(status) + ": " + kernel.statusMessage(status));
  return seconds;
}

} // namespace tpac::bench
