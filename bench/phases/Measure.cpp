// SPDX-License-Identifier: Apache-2.0
//
// Measures one row.

#include "bench/phases/Measure.h"

#include "bench/ceiling/Peaks.h"
#include "bench/ceiling/StreamBench.h"
#include "bench/measure/Statistics.h"
#include "bench/phases/KernelPasses.h"
#include "bench/phases/Workload.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

namespace tpac::bench {

namespace {

class Measurement {
public:
  Measurement(const Row &row, const Settings &settings, const Kernel &kernel, Arena &arena)
      : row(row), settings(settings), kernel(kernel), team(row.threads),
        workload(row, kernel.signature, arena, team, settings.poolBytes,
                 std::min(settings.memoryLimit, availableMemory() * 9 / 10)),
        passes(workload, team) {}

  Result run() {
    chooseLengths();
    StreamWalk walk = fastestWalk(
        team, [this](int thread) { return groups(thread); }, isa, 2, [this] { passes.advance(ceilingUnits); });
    std::vector<double> seconds, speeds, ceilings, fmaPeaks, amxPeaks;
    ceilings.push_back(ceilingPass(walk));
    for (int repetition = 0; repetition < settings.repetitions; ++repetition) {
      seconds.push_back(passes.run(kernel, kernelUnits) / static_cast<double>(kernelUnits));
      ceilings.push_back(ceilingPass(walk));
      if (workload.unitMultiplyAdds()) {
        fmaPeaks.push_back(fmaPeak(team, isa, settings.peakSeconds));
        if (amxObstacle().empty())
          amxPeaks.push_back(amxPeak(team, settings.peakSeconds));
      }
    }
    return evaluate(walk, seconds, ceilings, fmaPeaks, amxPeaks);
  }

private:
  double ceilingPass(const StreamWalk &walk) {
    passes.advance(ceilingUnits);
    return streamPass(team, [this](int thread) { return groups(thread); }, walk, isa);
  }

  std::vector<StreamGroup> groups(int thread) const {
    std::vector<StreamGroup> result;
    passes.ofThread(thread, [&](int64_t unit) {
      for (StreamGroup &group : workload.streams(unit))
        result.push_back(std::move(group));
    });
    return result;
  }

  /// A multiple of the threads, at most all units.
  int64_t wholeCalls(double units) const {
    double calls = std::ceil(units / row.threads);
    return static_cast<int64_t>(std::clamp(calls, 1.0, static_cast<double>(workload.units() / row.threads))) *
           row.threads;
  }

  /// How many units a pass of the kernel and of the ceiling takes; runs the kernel, which thereby is warm.
  void chooseLengths() {
    kernelUnits = row.threads;
    for (int attempt = 0; attempt < 3; ++attempt) {
      double seconds = std::max(passes.run(kernel, kernelUnits), 1e-7);
      if (seconds >= settings.seconds)
        break;
      kernelUnits = wholeCalls(static_cast<double>(kernelUnits) * settings.seconds / seconds);
    }
    ceilingUnits = wholeCalls(static_cast<double>(settings.ceilingBytes) / static_cast<double>(workload.unitBytes()));
  }

  Result evaluate(const StreamWalk &walk, const std::vector<double> &unitSeconds, const std::vector<double> &ceilings,
                  const std::vector<double> &fmaPeaks, const std::vector<double> &amxPeaks) const {
    auto bytes = static_cast<double>(workload.unitBytes());
    auto tokens = static_cast<double>(workload.unitTokens());
    auto flop = 2 * static_cast<double>(workload.unitMultiplyAdds());
    std::vector<double> ofCeiling, ofFma, ofAmx;
    for (size_t index = 0; index < unitSeconds.size(); ++index) {
      ofCeiling.push_back(bytes / unitSeconds[index] / ((ceilings[index] + ceilings[index + 1]) / 2));
      if (!fmaPeaks.empty())
        ofFma.push_back(flop / unitSeconds[index] / fmaPeaks[index]);
      if (!amxPeaks.empty())
        ofAmx.push_back(flop / unitSeconds[index] / amxPeaks[index]);
    }
    // `unitSeconds` is of all threads together: a call takes that of as many units as there are threads.
    double typical = median(unitSeconds), threads = row.threads;
    auto [least, most] = std::minmax_element(unitSeconds.begin(), unitSeconds.end());
    Result result{};
    result.callSeconds = typical * threads;
    result.callSecondsMin = *least * threads;
    result.callSecondsMax = *most * threads;
    result.nsPerToken = typical / tokens * 1e9;
    result.bytesPerToken = bytes / tokens;
    result.callBytes = bytes * threads;
    result.bytesPerSecond = bytes / typical;
    result.ceiling = median(ceilings);
    result.ceilingFraction = median(ofCeiling);
    if (flop != 0) {
      result.callMultiplyAdds = flop / 2 * threads;
      result.flops = flop / typical;
    }
    if (!ofFma.empty()) {
      result.fmaPeak = median(fmaPeaks);
      result.fmaFraction = median(ofFma);
    }
    if (!ofAmx.empty()) {
      result.amxPeak = median(amxPeaks);
      result.amxFraction = median(ofAmx);
    }
    if (result.fmaPeak && result.amxPeak)
      if (double bound = workload.unitBound(*result.fmaPeak, *result.amxPeak))
        result.boundSeconds = bound * threads;
    result.poolBytes = bytes * static_cast<double>(workload.units());
    result.walk = walkName(walk);
    return result;
  }

  const Row &row;
  const Settings &settings;
  const Kernel &kernel;
  Isa isa = bestIsa();
  ThreadTeam team;
  Workload workload;
  KernelPasses passes;
  int64_t kernelUnits = 0, ceilingUnits = 0;
};

} // namespace

const Executable &Kernels::of(const Row &row) {
  std::string variant = row.variant.dump();
  std::string wanted = std::string(phaseName(row.phase)) + variant;
  if (wanted != key) {
    executable.reset();
    key.clear();
    auto begin = std::chrono::steady_clock::now();
    executable = Executable::compile(variant, std::span(&row.phase, 1), settings.path, settings.target,
                                     settings.valueBlock, settings.pageSize);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    key = wanted;
  }
  return *executable;
}

Result measure(const Row &row, const Settings &settings, const Kernel &kernel, Arena &arena) {
  return Measurement(row, settings, kernel, arena).run();
}

Result measure(const Row &row, const Settings &settings, Kernels &kernels, Arena &arena) {
  const Executable &executable = kernels.of(row);
  const Kernel kernel = {executable.signature(row.phase), executable.function(row.phase),
                         [&](int32_t status) { return executable.statusMessage(row.phase, status); }};
  Result result = measure(row, settings, kernel, arena);
  result.compileSeconds = kernels.compileSeconds();
  return result;
}

} // namespace tpac::bench
