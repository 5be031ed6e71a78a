// SPDX-License-Identifier: Apache-2.0
//
// Context and progress of benchmark programs.

#include "bench/measure/Report.h"

#include "bench/measure/Arena.h"
#include "bench/measure/ThreadTeam.h"

#include <cstdio>
#include <fstream>
#include <string>

namespace tpac::bench {

namespace {

std::string cpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      size_t colon = line.find(": ");
      if (colon != std::string::npos)
        return line.substr(colon + 2);
    }
  return "unknown";
}

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("gcc ") + __VERSION__;
#endif
}

} // namespace

void addMachineContext() {
  benchmark::AddCustomContext("cpu_model", cpuModel());
  benchmark::AddCustomContext("cpus", std::to_string(allowedCpus().size()));
  benchmark::AddCustomContext("memory_available_bytes", std::to_string(availableMemory()));
  benchmark::AddCustomContext("compiler", compiler());
}

bool ProgressReporter::ReportContext(const Context &) { return true; }

void ProgressReporter::ReportRuns(const std::vector<Run> &runs) {
  for (const Run &run : runs) {
    // Without the suffixes that Google Benchmark appends for iterations and manual time.
    std::fprintf(stderr, "%s:", run.run_name.function_name.c_str());
    if (run.error_occurred)
      std::fprintf(stderr, " skipped: %s", run.error_message.c_str());
    for (const auto &[name, counter] : run.counters)
      std::fprintf(stderr, " %s=%.4g", name.c_str(), counter.value);
    std::fprintf(stderr, "\n");
  }
}

} // namespace tpac::bench
