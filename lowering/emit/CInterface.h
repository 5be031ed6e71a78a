// SPDX-License-Identifier: Apache-2.0
//
// Adds the C functions of docs/variant.md, "Calling a phase", to a module of the LLVM dialect. Nothing here depends on
// how the phases compute.

#ifndef TPAC_LOWERING_EMIT_CINTERFACE_H
#define TPAC_LOWERING_EMIT_CINTERFACE_H

#include "lowering/phases/PhaseSignature.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

namespace tpac {

/// Expects `llvm.func @PHASE` for each signature, taking one expanded memref descriptor (allocated pointer, aligned
/// pointer, offset, sizes, strides) per tensor in the signature's order and returning nothing. Adds
///   llvm.func @PREFIX_PHASE(!llvm.ptr) -> i32            checks its arguments, calls the phase, returns a status
///   llvm.func @PREFIX_status_message(i32) -> !llvm.ptr   NUL-terminated text of a status
/// and makes every other definition in the module internal, so that these are all that it exports. The statuses are
/// those of statusTable (StatusChecks.h). Reports to the module's diagnostics and fails where a phase is missing, has
/// other arguments, or a name is taken.
mlir::LogicalResult addCInterface(mlir::ModuleOp llvmDialectModule, llvm::StringRef symbolPrefix,
                                  llvm::ArrayRef<PhaseSignature> signatures);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_CINTERFACE_H
