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

/// The tensors of a phase, by docs/variant.md, with caches as `storage` says.
PhaseSignature getPhaseSignature(mlir::tpa::VariantAttr variant, Phase phase, CacheStorage storage = {});

/// The plain tensor of the cached tensor `NAME_cache` in import and export: `NAME`.
std::string plainName(llvm::StringRef cached);

/// A module of `variant` (attribute tpa.variant) with one private `func.func @append`, `@decode`, `@prefill`, `@merge`
/// per phase asked for. Arguments are the tensors of the signature, in its order and (as locations) with its names;
/// results are the new values of those that are written. Caches are in pages of `pageSize` tokens (0: none): the
/// phases' ops take caches in one piece, read from the pages and written to them around the op.
mlir::OwningOpRef<mlir::ModuleOp> buildPhases(mlir::tpa::VariantAttr variant, llvm::ArrayRef<Phase> phases,
                                              int64_t pageSize = 0);

} // namespace tpac

#endif // TPAC_LOWERING_PHASES_BUILDPHASES_H
