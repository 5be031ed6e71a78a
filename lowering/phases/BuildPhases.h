// SPDX-License-Identifier: Apache-2.0
//
// The phases of a variant as functions of the tpa dialect.

#ifndef TPAC_LOWERING_PHASES_BUILDPHASES_H
#define TPAC_LOWERING_PHASES_BUILDPHASES_H

#include "dialect/TPADialect.h"
#include "lowering/phases/PhaseSignature.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace tpac {

/// The tensors of a phase, by docs/variant.md. V's token caches are in blocks of `valueBlock` tokens where that is not
/// 0 (see #tpa.schedule).
PhaseSignature getPhaseSignature(mlir::tpa::VariantAttr variant, Phase phase, int64_t valueBlock = 0);

/// A module of `variant` (attribute tpa.variant) with one private `func.func @append`, `@decode`, `@prefill`, `@merge`
/// per phase asked for. Arguments are the tensors of the signature, in its order and (as locations) with its names;
/// results are the new values of those that are written.
mlir::OwningOpRef<mlir::ModuleOp> buildPhases(mlir::tpa::VariantAttr variant, llvm::ArrayRef<Phase> phases);

} // namespace tpac

#endif // TPAC_LOWERING_PHASES_BUILDPHASES_H
