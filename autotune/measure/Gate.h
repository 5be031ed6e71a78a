// SPDX-License-Identifier: Apache-2.0
//
// Whether a candidate computes what it should: what is fast and wrong must never win.

#ifndef TPAC_AUTOTUNE_MEASURE_GATE_H
#define TPAC_AUTOTUNE_MEASURE_GATE_H

#include "autotune/measure/ReferenceCalls.h"
#include "bench/phases/KernelPasses.h"

#include <memory>
#include <string>
#include <vector>

namespace tpac::autotune {

/// The calls of `references`, by candidates for this machine's CPU.
class Gate {
public:
  /// `references` must be computed and outlive the gate; `signature` says how candidates store their caches.
  Gate(const ReferenceCalls &references, const PhaseSignature &signature);
  ~Gate();

  /// Why `kernel` must not win, "" where nothing speaks against it: a status, a result that is not the expected one
  /// (outputs hold NaN before the call), a byte changed that is no output's, other bits when called again.
  std::string problemWith(const bench::Kernel &kernel) const;

private:
  struct Probe;
  std::vector<std::unique_ptr<Probe>> probes;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_GATE_H
