// SPDX-License-Identifier: Apache-2.0
//
// Ops of the arith dialect on single integers. An integer is kept sign-extended: `true` is -1.

#ifndef TPAC_LOWERING_TILE_SCALARARITHMETIC_H
#define TPAC_LOWERING_TILE_SCALARARITHMETIC_H

#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"

#include <optional>

namespace tpac {

/// Bits of `type`, 64 for index; 0 where it is no integer.
unsigned integerWidth(mlir::Type type);

/// The result of `op` on integers, wrapped to its type. Nothing where `op` is none of the supported ones; an error
/// (a sentence without the op) for divisions that have no result.
llvm::Expected<std::optional<int64_t>> evaluateInteger(mlir::Operation *op, llvm::ArrayRef<int64_t> operands);

} // namespace tpac

#endif // TPAC_LOWERING_TILE_SCALARARITHMETIC_H
