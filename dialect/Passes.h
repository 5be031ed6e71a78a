// SPDX-License-Identifier: Apache-2.0
//
// Passes of the variant level (TPAPasses.td).

#ifndef TPAC_DIALECT_PASSES_H
#define TPAC_DIALECT_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::tpa {

#define GEN_PASS_DECL
#include "dialect/TPAPasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "dialect/TPAPasses.h.inc"

} // namespace mlir::tpa

#endif // TPAC_DIALECT_PASSES_H
