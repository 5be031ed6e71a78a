// SPDX-License-Identifier: Apache-2.0
//
// Kernels that misbehave on purpose, for tests of the gate: a gate that nothing ever failed at proves nothing.

#ifndef TPAC_AUTOTUNE_MEASURE_FAULTS_H
#define TPAC_AUTOTUNE_MEASURE_FAULTS_H

#include "lowering/phases/PhaseCall.h"

#include <string>

namespace tpac::autotune {

/// `kernel` with a fault: "crash" (a segmentation fault), "hang", "wrong" (an output is off), "outside" (a byte of an
/// input changes), "unrepeatable" (the lowest bit of an output differs from call to call), "refuse" (a status). One
/// faulty kernel per process. Throws std::invalid_argument for another name.
PhaseFunction withFault(const std::string &fault, PhaseFunction kernel, const PhaseSignature &signature);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_FAULTS_H
