// SPDX-License-Identifier: Apache-2.0
//
// tpac bench: the phases of a kernel pack beside the limits of this machine, on its CPUs or its GPU. How they are
// measured is bench/'s affair.

#include "bench/ceiling/Isa.h"
#include "bench/gpu/PackBench.h"
#include "bench/measure/ThreadTeam.h"
#include "bench/phases/Measure.h"
#include "lowering/emit/Manifest.h"
#include "lowering/execute/LoadedPack.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Table.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <stdexcept>

namespace tpac {
namespace {

using bench::Result;
using bench::Row;

struct BenchOptions {
  std::string directory;
  std::vector<std::string> shapes;
  /// "cpu", "cuda"; empty: as the pack is.
  std::string device;
  int threads = 0;
  bench::Settings settings;
  bool quick = false;
  bool json = false;
};

/// What is measured of a pack where no shape is given; phases that it lacks are left out.
const std::vector<std::string> defaultShapes = {
    "decode/cached:8192", "decode/cached:131072", "decode/cached:131072/tokens:4",
    "append/tokens:512",  "prefill/tokens:512",   "prefill/tokens:2048",
    "merge/tokens:64",    "merge/tokens:1024"};
const std::vector<std::string> quickShapes = {"decode/cached:1024", "append/tokens:128", "prefill/tokens:128",
                                              "merge/tokens:64"};

const std::vector<std::string> defaultGpuShapes = {"decode/cached:4096",
                                                   "decode/cached:65536",
                                                   "decode/cached:4096/requests:16",
                                                   "decode/cached:65536/requests:16",
                                                   "decode/cached:65536/requests:16/tokens:4",
                                                   "append/cached:4096/requests:64",
                                                   "append/tokens:4096",
                                                   "prefill/tokens:4096",
                                                   "merge/tokens:1024"};

/// The rows of the given shapes, or of the default ones.
std::vector<Row> rowsOf(const BenchOptions &options, const PackContent &pack, const std::vector<std::string> &known,
                        int threads) {
  std::vector<Row> rows;
  for (const std::string &shape : options.shapes.empty() ? (options.quick ? quickShapes : known) : options.shapes) {
    Row row = bench::rowOfShape(shape, pack.name, nlohmann::json::parse(pack.variantJson), threads);
    bool isThere = std::ranges::any_of(pack.signatures,
                                       [&](const PhaseSignature &signature) { return signature.phase == row.phase; });
    if (isThere)
      rows.push_back(std::move(row));
    else if (!options.shapes.empty())
      throw std::runtime_error("--shape " + shape + ": the pack has no phase " + std::string(phaseName(row.phase)));
  }
  return rows;
}

bench::Kernel kernelOf(const LoadedPack &pack, Phase phase) {
  auto signature = std::ranges::find(pack.signatures(), phase, &PhaseSignature::phase);
  return {*signature, pack.function(phase), [&pack](int32_t status) { return pack.statusMessage(status); }};
}

nlohmann::ordered_json jsonOf(const Row &row, const Result &result) {
  nlohmann::ordered_json json = {{"phase", phaseName(row.phase)},
                                 {"cached", row.cached},
                                 {"tokens", row.tokens},
                                 {"requests", row.requests},
                                 {"threads", row.threads},
                                 {"call_ms", result.callSeconds * 1e3},
                                 {"call_ms_min", result.callSecondsMin * 1e3},
                                 {"call_ms_max", result.callSecondsMax * 1e3},
                                 {"ns_per_token", result.nsPerToken},
                                 {"bytes_per_token", result.bytesPerToken},
                                 {"bytes", result.callBytes},
                                 {"GBps", result.bytesPerSecond * 1e-9},
                                 {"ceiling_GBps", result.ceiling * 1e-9},
                                 {"ceiling_fraction", result.ceilingFraction},
                                 {"pool_bytes", result.poolBytes},
                                 {"cold", result.poolBytes >= static_cast<double>(bench::coldBytes)},
                                 {"ceiling", result.walk}};
  auto set = [&](const char *name, std::optional<double> value, double unit) {
    if (value)
      json[name] = *value * unit;
  };
  set("multiply_adds", result.callMultiplyAdds, 1);
  set("GFLOPs", result.flops, 1e-9);
  set("fma_GFLOPs", result.fmaPeak, 1e-9);
  set("fma_fraction", result.fmaFraction, 1);
  set("amx_GFLOPs", result.amxPeak, 1e-9);
  set("amx_fraction", result.amxFraction, 1);
  return json;
}

Table emptyTable() {
  std::vector<Table::Column> columns = {{"phase"}};
  for (const char *title : {"cached", "tokens", "req", "thr", "ms/call", "ns/token", "B/token", "GB/s", "ceiling",
                            "%ceil", "GFLOP/s", "%FMA", "%AMX"})
    columns.push_back({title, Table::Align::right});
  return Table(columns);
}

void addRow(Table &table, const Row &row, const Result &result) {
  auto optional = [](std::optional<double> value, double unit) { return value ? format("%.3g", *value * unit) : "-"; };
  table.addRow({std::string(phaseName(row.phase)), std::to_string(row.cached), std::to_string(row.tokens),
                std::to_string(row.requests), std::to_string(row.threads), format("%.4g", result.callSeconds * 1e3),
                format("%.4g", result.nsPerToken), format("%.4g", result.bytesPerToken),
                format("%.3g", result.bytesPerSecond * 1e-9), format("%.3g", result.ceiling * 1e-9),
                format("%.0f", result.ceilingFraction * 100), optional(result.flops, 1e-9),
                optional(result.fmaFraction, 100), optional(result.amxFraction, 100)});
}

void runOnGpu(const BenchOptions &options, const PackContent &content) {
  if (options.threads != 0)
    throw std::runtime_error("--threads: found " + std::to_string(options.threads) +
                             "; expected none, since kernels run on a GPU");
  device::BenchSettings settings;
  settings.repetitions = options.settings.repetitions;
  if (options.quick) {
    settings.repetitions = std::min(settings.repetitions, 3);
    settings.poolBytes = size_t(64) << 20;
  }
  const std::vector<Row> rows = rowsOf(options, content, defaultGpuShapes, /*threads=*/1);
  device::PackBench bench(options.directory, content.signatures, settings);
  const double copy = bench.copyRate();

  std::vector<Table::Column> columns = {{"phase"}};
  for (const char *title : {"cached", "tokens", "req", "us/call", "min", "max", "MB", "GB/s", "copy", "%copy"})
    columns.push_back({title, Table::Align::right});
  Table table(columns);
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const Row &row : rows) {
    if (!options.json)
      std::cerr << "measuring " << row.name() << "\n";
    const device::BenchResult result = bench.measure(row);
    const double rate = result.bytes / result.seconds;
    table.addRow({std::string(phaseName(row.phase)), std::to_string(row.cached), std::to_string(row.tokens),
                  std::to_string(row.requests), format("%.4g", result.seconds * 1e6),
                  format("%.4g", result.secondsMin * 1e6), format("%.4g", result.secondsMax * 1e6),
                  format("%.4g", result.bytes * 1e-6), format("%.4g", rate * 1e-9), format("%.4g", copy * 1e-9),
                  format("%.0f", rate / copy * 100)});
    results.push_back({{"phase", phaseName(row.phase)},
                       {"cached", row.cached},
                       {"tokens", row.tokens},
                       {"requests", row.requests},
                       {"call_us", result.seconds * 1e6},
                       {"call_us_min", result.secondsMin * 1e6},
                       {"call_us_max", result.secondsMax * 1e6},
                       {"bytes", result.bytes},
                       {"GBps", rate * 1e-9},
                       {"copy_fraction", rate / copy},
                       {"pool_bytes", result.poolBytes}});
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"pack", content.name},     {"device", bench.deviceName()},
                                   {"target", bench.target()}, {"page_size", storageOf(content.signatures).pageSize},
                                   {"copy_GBps", copy * 1e-9}, {"results", results}};
    std::cout << json.dump(2) << '\n';
    return;
  }
  std::cout << "Pack " << content.name << ", " << bench.target() << " on " << bench.deviceName() << ": medians of "
            << settings.repetitions << "\n";
  table.print(std::cout);
}

void runOnCpu(BenchOptions options, const PackContent &content) {
  bench::Settings &settings = options.settings;
  settings.memoryLimit = std::max(settings.memoryLimit, bench::availableMemory() / 2);
  if (options.quick) {
    settings.repetitions = std::min(settings.repetitions, 3);
    settings.seconds = 0.01;
    settings.peakSeconds = 0.003;
    settings.poolBytes = int64_t(32) << 20;
    settings.ceilingBytes = int64_t(16) << 20;
  }
  const int cpus = static_cast<int>(bench::allowedCpus().size());
  const int threads = options.threads == 0 ? cpus : options.threads;
  if (threads < 1 || threads > cpus)
    throw std::runtime_error("--threads: found " + std::to_string(threads) + "; expected 1 to " + std::to_string(cpus) +
                             ", the CPUs of this process");
  const auto pack = LoadedPack::open(options.directory);
  const std::vector<Row> rows = rowsOf(options, content, defaultShapes, threads);

  bench::Arena arena;
  Table table = emptyTable();
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const Row &row : rows) {
    if (!options.json)
      std::cerr << "measuring " << row.name() << "\n";
    const Result result = bench::measure(row, settings, kernelOf(*pack, row.phase), arena);
    addRow(table, row, result);
    results.push_back(jsonOf(row, result));
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"pack", pack->name()},
                                   {"targets", pack->targets()},
                                   {"cpu_level", pack->cpuLevel()},
                                   {"cpus", cpus},
                                   {"vectors_of_ceilings", bench::isaName(bench::bestIsa())},
                                   {"results", results}};
    std::cout << json.dump(2) << '\n';
    return;
  }
  std::cout << "Pack " << pack->name() << ", CPU level " << pack->cpuLevel() << ": medians of " << settings.repetitions
            << "\n";
  table.print(std::cout);
}

void runBench(const BenchOptions &options) {
  const PackContent content = readPack(options.directory);
  const bool isOnGpu = options.device.empty() ? content.library.empty() : options.device == "cuda";
  if (!isOnGpu)
    return runOnCpu(options, content);
  try {
    runOnGpu(options, content);
  } catch (const device::NoDevice &error) {
    throw std::runtime_error(std::string("kernels for GPUs are measured on a machine that has one: ") + error.what());
  }
}

} // namespace

void addBenchCommand(CLI::App &app) {
  CLI::App *command =
      app.add_subcommand("bench", "Measure a kernel pack beside the limits of this machine (docs/benchmarks.md).");
  auto options = std::make_shared<BenchOptions>();
  command->add_option("PACK", options->directory, "directory of the pack")->required()->check(CLI::ExistingDirectory);
  command->add_option("--shape", options->shapes, bench::shapeHelp)->allow_extra_args(false);
  command
      ->add_option("--device", options->device,
                   "cpu or cuda, the first GPU; default: cpu, unless the pack is for GPUs alone")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  command->add_option("--threads", options->threads, "threads, each with requests of its own; default: one per CPU");
  command->add_option("--repetitions", options->settings.repetitions, "measurements per shape")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--quick", options->quick,
                    "small shapes and little memory: tells whether it works, not how fast it is");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { runBench(*options); });
}

} // namespace tpac
