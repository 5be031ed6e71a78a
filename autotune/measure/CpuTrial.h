// SPDX-License-Identifier: Apache-2.0
//
// Candidates on this machine's CPU, called in this process.

#ifndef TPAC_AUTOTUNE_MEASURE_CPUTRIAL_H
#define TPAC_AUTOTUNE_MEASURE_CPUTRIAL_H

#include "autotune/measure/Gate.h"
#include "autotune/measure/Trial.h"
#include "lowering/execute/Executable.h"

namespace tpac::autotune {

class CpuTrial : public Trial {
public:
  explicit CpuTrial(Question question);
  ~CpuTrial() override;

  std::string check(const std::string &schedule) override;
  double run(const std::string &schedule) override;

protected:
  void admit(const std::string &schedule, const Artifact &artifact, const std::string &fault) override;

private:
  struct Candidate {
    std::unique_ptr<Executable> executable;
    bench::Kernel kernel;
    /// Units of a timed run; 0: not known yet.
    int64_t units = 0;
  };

  std::map<std::string, Candidate> candidates;
  std::unique_ptr<Gate> gate;
  bench::Arena arena;
  bench::ThreadTeam team;
  std::unique_ptr<bench::Workload> workload;
  std::unique_ptr<bench::KernelPasses> passes;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_CPUTRIAL_H
