// SPDX-License-Identifier: Apache-2.0
//
// The program that measures phases: options, and rows as benchmarks of Google Benchmark. How a row is measured is
// Measure.cpp's affair.

#include "bench/ceiling/Isa.h"
#include "bench/measure/Report.h"
#include "bench/measure/ThreadTeam.h"
#include "bench/phases/Measure.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>

using namespace tpac::bench;

namespace {

struct Options {
  Settings settings;
  std::string shapes = TPAC_SOURCE_ROOT "/bench/shapes.json";
  std::string configs = TPAC_SOURCE_ROOT "/configs";
  std::string list = "full";
  std::string filter = ".";
};

void report(benchmark::State &state, const Result &result) {
  auto set = [&](const char *name, std::optional<double> value, double unit = 1) {
    if (value)
      state.counters[name] = *value * unit;
  };
  set("call_ms", result.callSeconds, 1e3);
  set("call_ms_min", result.callSecondsMin, 1e3);
  set("call_ms_max", result.callSecondsMax, 1e3);
  set("ns_per_token", result.nsPerToken);
  set("bytes_per_token", result.bytesPerToken);
  set("bytes", result.callBytes);
  set("GBps", result.bytesPerSecond, 1e-9);
  set("ceiling_GBps", result.ceiling, 1e-9);
  set("ceiling_fraction", result.ceilingFraction);
  set("multiply_adds", result.callMultiplyAdds);
  set("GFLOPs", result.flops, 1e-9);
  set("fma_GFLOPs", result.fmaPeak, 1e-9);
  set("fma_fraction", result.fmaFraction);
  set("amx_GFLOPs", result.amxPeak, 1e-9);
  set("amx_fraction", result.amxFraction);
  set("bound_ms", result.boundSeconds, 1e3);
  set("pool_bytes", result.poolBytes);
  set("cold", result.poolBytes >= static_cast<double>(coldBytes) ? 1.0 : 0.0);
  set("compile_s", result.compileSeconds);
  state.SetLabel("ceiling: " + result.walk);
}

void registerRow(const Row &row, const Settings &settings, Kernels &kernels, Arena &arena) {
  benchmark::RegisterBenchmark(row.name().c_str(),
                               [&row, &settings, &kernels, &arena](benchmark::State &state) {
                                 try {
                                   Result result = measure(row, settings, kernels, arena);
                                   for (auto _ : state)
                                     state.SetIterationTime(result.callSeconds);
                                   report(state, result);
                                 } catch (const std::exception &error) {
                                   state.SkipWithError(error.what());
                                 }
                               })
      ->Iterations(1) // a benchmark repeats by itself, interleaved with the ceilings, and reports medians
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

void addOptions(CLI::App &app, Options &options, bool &quick) {
  Settings &settings = options.settings;
  auto size = [&](const char *name, int64_t &value, const char *text) {
    app.add_option(name, value, text)
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(int64_t(1) << 20, int64_t(1) << 45))
        ->capture_default_str();
  };
  app.add_flag("--quick", quick, "the list 'quick', a small pool, few repetitions: tells whether the program works");
  app.add_option("--filter", options.filter, "regular expression on the names of rows")->capture_default_str();
  app.add_option("--list", options.list, "list of the shapes file")->capture_default_str();
  app.add_option("--shapes", options.shapes, "what is measured")->check(CLI::ExistingFile);
  app.add_option("--configs", options.configs, "folder of variants")->check(CLI::ExistingDirectory);
  app.add_option("--path", settings.path, "which kernels: fused or reference")
      ->transform(CLI::CheckedTransformer(std::map<std::string, tpac::CodePath>{
          {"fused", tpac::CodePath::fused}, {"reference", tpac::CodePath::reference}}));
  app.add_option("--target", settings.target, "machine to compile for, one that this machine can run")
      ->capture_default_str();
  app.add_option("--page-size", settings.pageSize, "tokens per page of the cache; 0: one piece per request");
  app.add_option("--value-block", settings.valueBlock, "tokens per block of V's token caches; 0: token by token");
  app.add_option("--repetitions", settings.repetitions, "measurements per row; medians are reported")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", settings.seconds, "what one measurement takes at least")->check(CLI::Range(1e-4, 60.0));
  size("--pool", settings.poolBytes, "memory that calls rotate through");
  size("--memory", settings.memoryLimit, "memory that the data of a row may take; rows that need more are skipped");
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  Options options;
  bool quick = false;
  // Memory limit: half of what is there, so that others on the machine are not driven out.
  options.settings.memoryLimit = std::max(options.settings.memoryLimit, availableMemory() / 2);
  CLI::App app("Measures the phases of variants beside the limits of this machine. Options of Google Benchmark are "
               "accepted, too (--benchmark_out=FILE for JSON).");
  addOptions(app, options, quick);
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    auto unlessGiven = [&](const char *name, auto &value, auto ofQuick) {
      if (!app.count(name))
        value = ofQuick;
    };
    unlessGiven("--list", options.list, "quick");
    unlessGiven("--repetitions", options.settings.repetitions, 3);
    unlessGiven("--seconds", options.settings.seconds, 0.02);
    unlessGiven("--pool", options.settings.poolBytes, int64_t(256) << 20);
    options.settings.ceilingBytes = int64_t(64) << 20;
    options.settings.peakSeconds = 0.003;
  }

  std::vector<Row> rows;
  try {
    rows = readRows(options.shapes, options.list, options.configs, static_cast<int>(allowedCpus().size()));
  } catch (const std::exception &error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  addMachineContext();
  benchmark::AddCustomContext("kernels", options.settings.path == tpac::CodePath::fused ? "fused" : "reference");
  benchmark::AddCustomContext("target", options.settings.target);
  if (options.settings.pageSize != 0)
    benchmark::AddCustomContext("page_size", std::to_string(options.settings.pageSize));
  if (options.settings.valueBlock)
    benchmark::AddCustomContext("value_block", std::to_string(*options.settings.valueBlock));
  benchmark::AddCustomContext("vectors_of_ceilings", isaName(bestIsa()));
  benchmark::AddCustomContext("amx", amxObstacle().empty() ? "yes" : "no: " + amxObstacle());
  benchmark::AddCustomContext("list", options.list);

  Kernels kernels(options.settings);
  Arena arena;
  for (const Row &row : rows)
    registerRow(row, options.settings, kernels, arena);
  ProgressReporter progress;
  benchmark::RunSpecifiedBenchmarks(&progress, options.filter);
  return 0;
}
