// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/CpuTrial.h"

#include "autotune/measure/Faults.h"

#include <algorithm>
#include <cmath>

namespace tpac::autotune {

CpuTrial::CpuTrial(Question question) : Trial(std::move(question)), team(this->question.row.threads) {}
CpuTrial::~CpuTrial() = default;

void CpuTrial::admit(const std::string &schedule, const Artifact &artifact, const std::string &fault) {
  const bench::Row &row = question.row;
  Candidate candidate;
  candidate.executable =
      Executable::load(row.variant.dump(), {row.phase, artifact.memory, artifact.bytes}, question.target);
  const Executable &code = *candidate.executable;
  candidate.kernel = {code.signature(row.phase), code.function(row.phase),
                      [&code, &row](int32_t status) { return code.statusMessage(row.phase, status); }};
  if (!fault.empty())
    candidate.kernel.function = withFault(fault, candidate.kernel.function, candidate.kernel.signature);
  // All candidates of a question store their caches alike, so the first one's signature is everybody's.
  if (!gate) {
    gate = std::make_unique<Gate>(references(artifact.memory.storage.pageSize), candidate.kernel.signature);
    workload = std::make_unique<bench::Workload>(row, candidate.kernel.signature, arena, team, question.poolBytes,
                                                 bench::availableMemory() / 2);
    passes = std::make_unique<bench::KernelPasses>(*workload, team);
  }
  candidates.emplace(schedule, std::move(candidate));
}

std::string CpuTrial::check(const std::string &schedule) { return gate->problemWith(candidates.at(schedule).kernel); }

double CpuTrial::run(const std::string &schedule) {
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
