// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Trial.h"

#include "autotune/measure/Faults.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace tpac::autotune {

Trial::Trial(Question itsQuestion) : question(std::move(itsQuestion)), team(question.row.threads) {}
Trial::~Trial() = default;

std::string Trial::compile(const std::string &schedule, const std::string &fault) {
  const bench::Row &row = question.row;
  if (candidates.contains(schedule))
    return "";
  Candidate candidate;
  try {
    candidate.executable = Executable::compileScheduled(row.variant.dump(), row.phase, schedule, question.target);
  } catch (const std::exception &error) {
    return error.what();
  }
  const Executable &executable = *candidate.executable;
  candidate.kernel = {executable.signature(row.phase), executable.function(row.phase),
                      [&](int32_t status) { return executable.statusMessage(row.phase, status); }};
  if (!fault.empty())
    candidate.kernel.function = withFault(fault, candidate.kernel.function, candidate.kernel.signature);
  // All candidates of a question store their caches alike, so the first one's signature is everybody's.
  if (!gate) {
    gate = std::make_unique<Gate>(row, candidate.kernel.signature);
    workload = std::make_unique<bench::Workload>(row, candidate.kernel.signature, arena, team, question.poolBytes,
                                                 bench::availableMemory() / 2);
    passes = std::make_unique<bench::KernelPasses>(*workload, team);
  }
  candidates.emplace(schedule, std::move(candidate));
  return "";
}

std::string Trial::check(const std::string &schedule) const {
  return gate->problemWith(candidates.at(schedule).kernel);
}

double Trial::run(const std::string &schedule) {
  Candidate &candidate = candidates.at(schedule);
  const int threads = question.row.threads;
  if (candidate.units == 0) {
    // The first call, which meets cold code and pages, says how many make a run; the second is thrown away.
    double seconds = std::max(passes->run(candidate.kernel, threads), 1e-7);
    double calls =
        std::clamp(std::ceil(question.runSeconds / seconds), 1.0, static_cast<double>(workload->units() / threads));
    candidate.units = static_cast<int64_t>(calls) * threads;
    passes->run(candidate.kernel, candidate.units);
  }
  return passes->run(candidate.kernel, candidate.units) * threads / static_cast<double>(candidate.units);
}

} // namespace tpac::autotune
