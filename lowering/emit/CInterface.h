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

/// `signatures` with what follows from the module: the split of each phase that it can compute in parts, one that has
/// `@PHASE_split_run`, whose attribute `tpac.split` says how many cached tokens a part has; and the scratch of each
/// phase whose functions have the attribute `tpac.scratch`, the bytes of tiles in memory that is their last argument.
std::vector<PhaseSignature> getCompiledSignatures(mlir::ModuleOp llvmDialectModule,
                                                  llvm::ArrayRef<PhaseSignature> signatures);

/// Expects `llvm.func @PHASE` for each signature, taking one expanded memref descriptor (allocated pointer, aligned
/// pointer, offset, sizes, strides) per tensor in the signature's order and returning nothing. Where there are
/// `@PHASE_items` and `@PHASE_run` too, and those of split caches (lowering/tile/BuildPrograms.h), an executor runs
/// them; else it is accepted and does nothing. Adds
///   llvm.func @PREFIX_PHASE(!llvm.ptr) -> i32            checks its arguments, calls the phase, returns a status
///   llvm.func @PREFIX_PHASE_workspace_size(i64, i64, i64) -> i64   bytes, of phases that can split their cache
///   llvm.func @PREFIX_status_message(i32) -> !llvm.ptr   NUL-terminated text of a status
/// and makes every other definition in the module internal, so that these are all that it exports. The statuses are
/// those of statusTable (StatusChecks.h) of getCompiledSignatures. Reports to the module's diagnostics and fails where
/// a phase is missing, a function has other arguments, or a name is taken.
mlir::LogicalResult addCInterface(mlir::ModuleOp llvmDialectModule, llvm::StringRef symbolPrefix,
                                  llvm::ArrayRef<PhaseSignature> signatures);

/// The same for one level of a pack: `levelSuffix` stands behind every name, and PREFIX_status_message is left to
/// buildLevelDispatch (LevelDispatch.h). `signatures` are those of the pack: statuses follow their splits, and a phase
/// that does not split its cache here though the signature does takes a workspace without using it.
mlir::LogicalResult addLevelInterface(mlir::ModuleOp llvmDialectModule, llvm::StringRef symbolPrefix,
                                      llvm::StringRef levelSuffix, llvm::ArrayRef<PhaseSignature> signatures);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_CINTERFACE_H
