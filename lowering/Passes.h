// SPDX-License-Identifier: Apache-2.0
//
// Passes between the variant level and the tile level (SchedulePasses.td).

#ifndef TPAC_LOWERING_PASSES_H
#define TPAC_LOWERING_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::tpa {

#define GEN_PASS_DECL
#include "lowering/SchedulePasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "lowering/SchedulePasses.h.inc"

} // namespace mlir::tpa

#endif // TPAC_LOWERING_PASSES_H
