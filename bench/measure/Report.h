// SPDX-License-Identifier: Apache-2.0
//
// What all benchmark programs put into their JSON, and what they print while they run. Tables and plots are made from
// the JSON by bench/report.py.

#ifndef TPAC_BENCH_MEASURE_REPORT_H
#define TPAC_BENCH_MEASURE_REPORT_H

#include <benchmark/benchmark.h>

namespace tpac::bench {

/// Adds CPU model, number of CPUs, memory and compiler to the JSON's context; Google Benchmark adds date, caches and
/// load itself.
void addMachineContext();

/// One line per benchmark on the error stream: its name and counters, or why it was skipped.
class ProgressReporter : public benchmark::BenchmarkReporter {
public:
  bool ReportContext(const Context &context) override;
  void ReportRuns(const std::vector<Run> &runs) override;
};

} // namespace tpac::bench

#endif // TPAC_BENCH_MEASURE_REPORT_H
