// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Trial.h"

#include "autotune/measure/Faults.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace tpac::autotune {

namespace {

cpu_set_t allowed() {
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof(cpus), &cpus);
  return cpus;
}

} // namespace

Trial::Trial(Question itsQuestion) : question(std::move(itsQuestion)), cpus(allowed()), team(question.row.threads) {}
Trial::~Trial() = default;

std::unique_ptr<Executable> Trial::compiled(const std::string &schedule, std::string &problem) const {
  try {
    return Executable::compileScheduled(question.row.variant.dump(), question.row.phase, schedule, question.target);
  } catch (const std::exception &error) {
    problem = error.what();
    return nullptr;
  }
}

std::vector<Trial::Compiled> Trial::compile(const std::vector<std::string> &schedules,
                                            const std::map<std::string, std::string> &faults) {
  std::vector<Compiled> result(schedules.size());
  std::vector<std::unique_ptr<Executable>> executables(schedules.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < schedules.size(); i = next++)
      if (!candidates.contains(schedules[i]))
        executables[i] = compiled(schedules[i], result[i].problem);
  };
  std::vector<std::thread> threads;
  const size_t most = std::min(schedules.size(), static_cast<size_t>(CPU_COUNT(&cpus)));
  for (size_t i = 0; i < most; ++i)
    threads.emplace_back([&] {
      // The caller is pinned, and threads begin as their makers are.
      sched_setaffinity(0, sizeof(cpus), &cpus);
      work();
    });
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 0; i < schedules.size(); ++i) {
    if (executables[i]) {
      auto fault = faults.find(schedules[i]);
      admit(schedules[i], std::move(executables[i]), fault == faults.end() ? "" : fault->second);
    }
    if (result[i].problem.empty())
      result[i].code = candidates.at(schedules[i]).code;
  }
  return result;
}

void Trial::admit(const std::string &schedule, std::unique_ptr<Executable> executable, const std::string &fault) {
  const bench::Row &row = question.row;
  Candidate candidate;
  candidate.executable = std::move(executable);
  const Executable &code = *candidate.executable;
  candidate.code = code.codeHash() + fault;
  candidate.kernel = {code.signature(row.phase), code.function(row.phase),
                      [&code, &row](int32_t status) { return code.statusMessage(row.phase, status); }};
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
