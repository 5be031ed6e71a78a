// SPDX-License-Identifier: Apache-2.0
//
// Runs tile programs on host memory: the meaning of the tile level, against which builders are tested and to which
// targets are compared. Clear rather than fast. Knows no variant and no phase.

#ifndef TPAC_LOWERING_TILE_INTERPRETER_H
#define TPAC_LOWERING_TILE_INTERPRETER_H

#include "lowering/tile/MemoryView.h"
#include "lowering/tile/TileArithmetic.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <variant>

namespace tpac {

/// An index or integer, or a tensor for a memref.
using InterpreterArgument = std::variant<int64_t, MemoryView>;

/// Runs function `name` of the verified `module`; what it gives is in the memory of its arguments.
///
/// Besides the tile ops: func.call and func.return; scf.for and scf.if with results; arith on integers and indices,
/// constants of floating point, select of anything; memref.alloc, alloca (filled with NaN), dealloc, dim, load, cast
/// and subview.
///
/// Fails, naming the op, for any other op; for arguments that are not of the function's types; for accesses outside
/// memory; for divisions without result and steps below 1. Memory then holds what was stored before.
llvm::Error interpret(mlir::ModuleOp module, llvm::StringRef name, llvm::ArrayRef<InterpreterArgument> arguments,
                      Arithmetic arithmetic);

} // namespace tpac

#endif // TPAC_LOWERING_TILE_INTERPRETER_H
