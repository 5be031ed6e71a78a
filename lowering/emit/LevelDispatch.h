// SPDX-License-Identifier: Apache-2.0
//
// The functions that a pack exports: each calls that of the level which this machine runs best.

#ifndef TPAC_LOWERING_EMIT_LEVELDISPATCH_H
#define TPAC_LOWERING_EMIT_LEVELDISPATCH_H

#include "lowering/emit/ObjectFile.h"
#include "lowering/phases/PhaseSignature.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace tpac {

/// A module of the LLVM dialect with the exported functions of a pack:
///   llvm.func @PREFIX_PHASE(!llvm.ptr) -> i32
///   llvm.func @PREFIX_PHASE_workspace_size(i64, i64, i64) -> i64   of phases whose signature has a split
///   llvm.func @PREFIX_status_message(i32) -> !llvm.ptr
///   llvm.func @PREFIX_cpu_level() -> !llvm.ptr
/// The first two call what addLevelInterface (CInterface.h) made for the level that tpac_pack_cpu_level
/// (levels/CpuLevel.h) chooses; where there is none they return noLevelText's status, and 0. The one target that has no
/// level is called as it is. `levels` are findPackTargets' (ObjectFile.h).
mlir::OwningOpRef<mlir::ModuleOp> buildLevelDispatch(mlir::MLIRContext &context, llvm::StringRef symbolPrefix,
                                                     llvm::ArrayRef<PhaseSignature> signatures,
                                                     llvm::ArrayRef<CodeTarget> levels);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_LEVELDISPATCH_H
