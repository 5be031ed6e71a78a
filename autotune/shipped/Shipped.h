// SPDX-License-Identifier: Apache-2.0
//
// Tuning records that come with the compiler: the last layers, after the project's and the user's.

#ifndef TPAC_AUTOTUNE_SHIPPED_SHIPPED_H
#define TPAC_AUTOTUNE_SHIPPED_SHIPPED_H

#include "autotune/records/Lookup.h"

namespace tpac::records {

/// The files autotune/shipped/*.json, which are part of the program; called "shipped/NAME.json".
std::vector<Layer> shippedLayers();

/// All layers: the files that recordFiles(given) finds, then those shipped, unless `given` or TPAC_RECORDS names the
/// one file to be read.
std::vector<Layer> allLayers(const std::string &given);

} // namespace tpac::records

#endif // TPAC_AUTOTUNE_SHIPPED_SHIPPED_H
