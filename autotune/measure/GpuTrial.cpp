// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/GpuTrial.h"

namespace tpac::autotune {

GpuTrial::GpuTrial(Question itsQuestion) : Trial(std::move(itsQuestion)) {
  if (!isAttention(question.row.phase))
    throw std::runtime_error("--shape: found " + std::string(phaseName(question.row.phase)) +
                             "; expected decode or prefill: GPUs compute other phases by one schedule");
}

GpuTrial::~GpuTrial() = default;

nlohmann::json GpuTrial::machine() {
  // CUdevice_attribute.
  constexpr int clockKhz = 13, memoryKhz = 36, memoryBits = 37, l2Bytes = 38, sharedBytes = 97;
  return {{"silicon",
           {{"isa", question.target},
            {"gpu", driver.deviceName()},
            {"multiprocessors", driver.multiprocessors()},
            {"mhz", driver.attribute(clockKhz) / 1000},
            {"memory_mhz", driver.attribute(memoryKhz) / 1000},
            {"memory_bits", driver.attribute(memoryBits)},
            {"l2", driver.attribute(l2Bytes)},
            {"shared", driver.attribute(sharedBytes)}}},
          {"device", {{"driver", driver.version()}}}};
}

void GpuTrial::admit(const std::string &schedule, const Artifact &artifact, const std::string &fault) {
  tpac_pack *opened = nullptr;
  device::require(tpac_pack_open_memory(artifact.bytes.data(), static_cast<int64_t>(artifact.bytes.size()), &opened));
  const std::unique_ptr<tpac_pack, decltype(&tpac_pack_close)> pack(opened, tpac_pack_close);
  Candidate candidate = {device::loadKernels(pack.get()), fault};
  // All candidates of a question store their caches alike.
  if (!workload) {
    const int64_t pageSize = artifact.memory.storage.pageSize;
    const ReferenceCalls &calls = references(pageSize);
    const DeviceCache layout(cacheLayoutOf(question.row), pageSize);
    try {
      for (const std::unique_ptr<ReferenceCall> &call : calls.calls)
        probes.push_back(std::make_unique<DeviceProbe>(driver, *call, calls.signature, layout));
      workload =
          std::make_unique<DeviceWorkload>(driver, question.row, calls.signature, layout, pageSize, question.poolBytes);
    } catch (const device::Failure &failure) {
      throw TrialLost(failure.what());
    }
  }
  candidates.emplace(schedule, std::move(candidate));
}

std::string GpuTrial::check(const std::string &schedule) {
  const Candidate &candidate = candidates.at(schedule);
  try {
    for (const std::unique_ptr<DeviceProbe> &probe : probes)
      if (std::string problem = probe->problemWith(candidate.kernels, candidate.fault); !problem.empty())
        return problem;
  } catch (const device::Failure &failure) {
    throw TrialLost(failure.what());
  }
  return "";
}

double GpuTrial::run(const std::string &schedule) {
  try {
    return workload->run(candidates.at(schedule).kernels);
  } catch (const device::Failure &failure) {
    throw TrialLost(failure.what());
  }
}

} // namespace tpac::autotune
