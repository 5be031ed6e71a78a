// SPDX-License-Identifier: Apache-2.0
//
// Whether a model's NAME.json describes the variant that is to be checked against it. Reads no tensors.

#ifndef TPAC_TOOLS_TPAC_MODELCONFIGURATION_H
#define TPAC_TOOLS_TPAC_MODELCONFIGURATION_H

#include "dialect/TPADialect.h"

#include <filesystem>

namespace tpac {

/// Throws std::runtime_error where the file at `path` is no JSON object, where it contradicts `variant`, or where
/// `variant` has factors that no published checkpoint holds (learned, shared, order 3 and up): each error names the
/// field, what was found and what is accepted.
void checkConfiguration(const std::filesystem::path &path, mlir::tpa::VariantAttr variant);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_MODELCONFIGURATION_H
