// SPDX-License-Identifier: Apache-2.0
//
// Candidates on this machine's first GPU, launched by the runtime as engines launch packs.

#ifndef TPAC_AUTOTUNE_MEASURE_GPUTRIAL_H
#define TPAC_AUTOTUNE_MEASURE_GPUTRIAL_H

#include "autotune/measure/DeviceCall.h"
#include "autotune/measure/Trial.h"

namespace tpac::autotune {

class GpuTrial : public Trial {
public:
  /// Throws std::exception where there is no GPU, or the phase is none of attention.
  explicit GpuTrial(Question question);
  ~GpuTrial() override;

  nlohmann::json machine() override;
  std::string check(const std::string &schedule) override;
  double run(const std::string &schedule) override;

protected:
  void admit(const std::string &schedule, const Artifact &artifact, const std::string &fault) override;

private:
  struct Candidate {
    PackKernels kernels;
    std::string fault;
  };

  device::Driver driver;
  std::map<std::string, Candidate> candidates;
  std::vector<std::unique_ptr<DeviceProbe>> probes;
  std::unique_ptr<DeviceWorkload> workload;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_GPUTRIAL_H
