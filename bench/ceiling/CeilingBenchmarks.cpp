// SPDX-License-Identifier: Apache-2.0
//
// This machine's limits by themselves: read bandwidth for several shapes of streams, multiply-add and tile peaks, for
// each number of threads. The phases are measured beside limits of their own (bench/phases): use this program to know a
// machine, not to form fractions.

#include "bench/ceiling/Peaks.h"
#include "bench/ceiling/StreamBench.h"
#include "bench/measure/Arena.h"
#include "bench/measure/Report.h"
#include "bench/measure/Statistics.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstring>
#include <iostream>

using namespace tpac::bench;

namespace {

struct Options {
  int64_t bytes = int64_t(2) << 30;
  int repetitions = 7;
  double peakSeconds = 0.05;
  std::string filter = ".";
};

/// Row sizes of arrays that are read together, in bytes.
struct StreamShape {
  const char *name;
  std::vector<int64_t> rowBytes;
};

const StreamShape shapes[] = {
    {"one-array", {128}},
    {"tpa-32x64-rank1", {64, 128, 64, 128}},
    {"tpa-32x64-rank2", {128, 256, 128, 256}},
    {"tpa-47x64-rank2", {188, 256, 188, 256}},
    {"mha-32x64", {4096, 4096}},
};

void measureStreams(benchmark::State &state, const StreamShape &shape, int threads, const Options &options) {
  static Arena arena;
  ThreadTeam team(threads);
  int64_t rowBytes = 0;
  for (int64_t bytes : shape.rowBytes)
    rowBytes += bytes;
  int64_t rows = options.bytes / rowBytes / threads;
  int64_t needed = options.bytes + static_cast<int64_t>(threads * shape.rowBytes.size()) * Arena::slack;
  if (needed > availableMemory()) {
    state.SkipWithError("not enough memory is available");
    return;
  }
  arena.reset(needed);
  std::vector<std::vector<StreamGroup>> groups;
  for (int thread = 0; thread < threads; ++thread) {
    StreamGroup group{{}, rows};
    for (int64_t bytes : shape.rowBytes)
      group.streams.push_back({arena.allocate(bytes * rows), bytes});
    groups.push_back({std::move(group)});
  }
  // Pages that were never written are all the same page of zeros, which lies in the cache.
  team.run([&](int thread) {
    for (const Stream &stream : groups[thread][0].streams)
      std::memset(stream.data, 1 + thread, stream.rowBytes * rows);
  });

  auto ofThread = [&](int thread) { return groups[thread]; };
  StreamWalk walk = fastestWalk(team, ofThread, bestIsa(), 1, [] {});
  std::vector<double> speeds;
  for (int repetition = 0; repetition < options.repetitions; ++repetition)
    speeds.push_back(streamPass(team, ofThread, walk, bestIsa()));
  double bytes = static_cast<double>(rowBytes * rows * threads);
  for (auto _ : state)
    state.SetIterationTime(bytes / median(speeds));
  state.SetLabel(walkName(walk));
  state.counters["threads"] = threads;
  state.counters["bytes"] = bytes;
  state.counters["GBps"] = median(speeds) * 1e-9;
  state.counters["GBps_max"] = *std::max_element(speeds.begin(), speeds.end()) * 1e-9;
}

void measurePeak(benchmark::State &state, int threads, const Options &options,
                 const std::function<double(ThreadTeam &, double)> &peak) {
  ThreadTeam team(threads);
  std::vector<double> peaks;
  for (int repetition = 0; repetition < options.repetitions; ++repetition)
    peaks.push_back(peak(team, options.peakSeconds));
  for (auto _ : state)
    state.SetIterationTime(options.peakSeconds);
  state.counters["threads"] = threads;
  state.counters["GFLOPs"] = median(peaks) * 1e-9;
  state.counters["GFLOPs_max"] = *std::max_element(peaks.begin(), peaks.end()) * 1e-9;
}

void registerAll(const Options &options) {
  auto add = [](const std::string &name, int threads, auto measure) {
    benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(), measure)
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  };
  int cpus = static_cast<int>(allowedCpus().size());
  for (int threads = 1; threads <= cpus; threads = threads < cpus ? std::min(2 * threads, cpus) : cpus + 1) {
    for (const StreamShape &shape : shapes)
      add(std::string("read/") + shape.name, threads,
          [&shape, threads, options](benchmark::State &state) { measureStreams(state, shape, threads, options); });
    std::vector<Isa> isas = {Isa::portable};
    if (bestIsa() != Isa::portable)
      isas.push_back(Isa::avx2);
    if (bestIsa() == Isa::avx512)
      isas.push_back(Isa::avx512);
    for (Isa isa : isas)
      add("fma/" + isaName(isa), threads, [isa, threads, options](benchmark::State &state) {
        measurePeak(state, threads, options,
                    [isa](ThreadTeam &team, double seconds) { return fmaPeak(team, isa, seconds); });
      });
    add("amx/bf16", threads, [threads, options](benchmark::State &state) {
      if (amxObstacle().empty())
        measurePeak(state, threads, options, amxPeak);
      else
        state.SkipWithError(amxObstacle().c_str());
    });
  }
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  Options options;
  bool quick = false;
  CLI::App app("Read bandwidth and arithmetic peaks of this machine. Options of Google Benchmark are accepted, too.");
  app.add_option("--size", options.bytes, "bytes read per pass; suffixes k, m, g (binary)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t(1) << 20, int64_t(1) << 45))
      ->capture_default_str();
  app.add_option("--repetitions", options.repetitions, "passes per figure; the median is reported")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--filter", options.filter, "regular expression on names")->capture_default_str();
  app.add_flag("--quick", quick, "256 MiB, 3 passes: tells whether the program works, not what the machine does");
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    options.bytes = int64_t(256) << 20;
    options.repetitions = 3;
    options.peakSeconds = 0.01;
  }
  addMachineContext();
  registerAll(options);
  ProgressReporter progress;
  benchmark::RunSpecifiedBenchmarks(&progress, options.filter);
  return 0;
}
