// SPDX-License-Identifier: Apache-2.0
//
// A variant's phases at each stage of lowering: the one place that says which pipelines follow each other.

#ifndef TPAC_LOWERING_COMPILER_H
#define TPAC_LOWERING_COMPILER_H

#include "dialect/TPADialect.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/phases/CodePath.h"
#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/BuildPrograms.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace tpac {

/// Stages of the IR, in the order in which they follow each other.
enum class Stage {
  variant,   ///< tpa dialect on tensors
  schedule,  ///< fused path: the same with the target's schedules
  tiles,     ///< fused path: tile programs
  reference, ///< reference path: linalg and scf on tensors
  target,    ///< LLVM dialect
};

/// Registers every dialect and interface that `lowerPhases` needs.
void registerCompilerDialects(mlir::DialectRegistry &registry);

/// The schedule whose text is `text` ("#tpa.schedule<tokens = 32, ...>"); an error where it is none.
llvm::Expected<mlir::tpa::ScheduleAttr> parseSchedule(const std::string &text, mlir::MLIRContext &context);

/// Tokens per block of V's token caches (value_block of #tpa.schedule) that kernels of `path` for `target` read
/// fastest from a cache with pages of `pageSize` tokens (0: none); 0: token by token, always so on the reference path.
int64_t defaultValueBlock(mlir::tpa::VariantAttr variant, CodePath path, const CodeTarget &target,
                          int64_t pageSize = 0);

/// The phases of `variant` lowered to `stage` along `path`, for `target`, with caches stored as `storage` says. The
/// variant's context must hold registerCompilerDialects. An error carries the diagnostics; `stage` must be one of
/// `path`, and the fused path has no phase `project`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> lowerPhases(mlir::tpa::VariantAttr variant,
                                                              llvm::ArrayRef<Phase> phases, Stage stage, CodePath path,
                                                              const CodeTarget &target, CacheStorage storage = {});

/// Phases under schedules of the caller's, along the fused path to `stage`. An error where one is not legal for
/// `target`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> lowerScheduled(mlir::tpa::VariantAttr variant,
                                                                 llvm::ArrayRef<ScheduledPhase> phases,
                                                                 const CodeTarget &target, Stage stage = Stage::target);

} // namespace tpac

#endif // TPAC_LOWERING_COMPILER_H
