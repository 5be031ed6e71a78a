// SPDX-License-Identifier: Apache-2.0
//
// Whether a candidate computes what it should: what is fast and wrong must never win.

#ifndef TPAC_AUTOTUNE_MEASURE_GATE_H
#define TPAC_AUTOTUNE_MEASURE_GATE_H

#include "bench/phases/KernelPasses.h"

#include <memory>
#include <string>
#include <vector>

namespace tpac::autotune {

/// Small calls of one phase, whose results are known from the reference path. One has a ragged tail and more than a
/// block of tokens, one several query tokens.
class Gate {
public:
  /// Computes the expected results. `row` gives phase and variant; `signature` how candidates store their caches.
  /// Throws std::exception.
  Gate(const bench::Row &row, const PhaseSignature &signature);
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
