// SPDX-License-Identifier: Apache-2.0
//
// What entries measured on this machine's CPU are told apart by.

#ifndef TPAC_AUTOTUNE_RECORDS_MACHINE_H
#define TPAC_AUTOTUNE_RECORDS_MACHINE_H

#include "autotune/records/Record.h"

namespace tpac::records {

/// Vendor, family and model of the CPU, `isa` (the target), the number of CPUs that this process may use, bytes of the
/// caches of one of them. What Linux does not say is left out.
nlohmann::json cpuSilicon(const std::string &isa);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_RECORDS_MACHINE_H
