// SPDX-License-Identifier: Apache-2.0
//
// Texts in a module of the LLVM dialect, and functions that return them.

#ifndef TPAC_LOWERING_EMIT_TEXTTABLE_H
#define TPAC_LOWERING_EMIT_TEXTTABLE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace tpac {

/// Adds `texts` to `module` as globals that begin with `name`, and returns, at the builder's insertion point, a pointer
/// to the NUL-terminated text of number `index` (i32), which must be less than their number.
mlir::Value textAt(mlir::OpBuilder &builder, mlir::ModuleOp module, llvm::StringRef name,
                   const std::vector<std::string> &texts, mlir::Value index);

/// Adds `llvm.func @PREFIX_status_message(i32) -> !llvm.ptr`: the text of each status in `table`
/// (StatusChecks.h), and another one for all other numbers.
void addStatusMessage(mlir::ModuleOp module, llvm::StringRef symbolPrefix, const std::vector<std::string> &table);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_TEXTTABLE_H
