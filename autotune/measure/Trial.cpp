// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Trial.h"

#include "autotune/measure/CpuTrial.h"
#include "autotune/measure/GpuTrial.h"
#include "autotune/records/Machine.h"

namespace tpac::autotune {

namespace {

cpu_set_t allowed() {
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof(cpus), &cpus);
  return cpus;
}

} // namespace

std::unique_ptr<Trial> Trial::make(Question question) {
  if (isGpuTarget(question.target))
    return std::make_unique<GpuTrial>(std::move(question));
  return std::make_unique<CpuTrial>(std::move(question));
}

Trial::Trial(Question itsQuestion) : question(std::move(itsQuestion)), cpus(allowed()) {
  if (!question.bundle.empty())
    bundle = Bundle::open(question.bundle);
}

Trial::~Trial() = default;

nlohmann::json Trial::machine() {
  nlohmann::json silicon = records::cpuSilicon(question.target);
  // This thread may be pinned.
  silicon["cpus"] = CPU_COUNT(&cpus);
  return {{"silicon", std::move(silicon)}, {"device", nlohmann::json::object()}};
}

const ReferenceCalls &Trial::references(int64_t pageSize) {
  if (!expected) {
    auto calls = std::make_unique<ReferenceCalls>(question.row, pageSize);
    if (bundle)
      bundle->fill(question.number, *calls);
    else
      calls->compute();
    expected = std::move(calls);
  }
  return *expected;
}

std::vector<Trial::Compiled> Trial::compile(const std::vector<std::string> &schedules,
                                            const std::map<std::string, std::string> &faults) {
  std::vector<std::string> missing;
  for (const std::string &schedule : schedules)
    if (!codes.contains(schedule))
      missing.push_back(schedule);
  const std::vector<Compilation> made =
      compileAll(missing, static_cast<size_t>(CPU_COUNT(&cpus)), &cpus, [&](const std::string &schedule) {
        return bundle ? bundle->artifact(question.number, schedule)
                      : compileArtifact(question.row, schedule, question.target);
      });
  std::map<std::string, std::string> problems;
  for (size_t i = 0; i < missing.size(); ++i)
    try {
      auto fault = faults.find(missing[i]);
      const std::string kind = fault == faults.end() ? "" : fault->second;
      if (problems[missing[i]] = made[i].problem; made[i].problem.empty()) {
        admit(missing[i], made[i].artifact, kind);
        codes[missing[i]] = made[i].artifact.code + kind;
      }
    } catch (const TrialLost &) {
      throw;
    } catch (const std::exception &error) {
      problems[missing[i]] = error.what();
    }
  std::vector<Compiled> result;
  for (const std::string &schedule : schedules)
    if (auto code = codes.find(schedule); code != codes.end())
      result.push_back({"", code->second});
    else
      result.push_back({problems.at(schedule), ""});
  return result;
}

} // namespace tpac::autotune
