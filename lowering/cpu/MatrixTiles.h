// SPDX-License-Identifier: Apache-2.0
//
// Tiles of a matrix unit, and work that is emitted in pieces.

#ifndef TPAC_LOWERING_CPU_MATRIXTILES_H
#define TPAC_LOWERING_CPU_MATRIXTILES_H

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <functional>
#include <vector>

namespace mlir::tpa::cpu {

/// 16 x 32 bf16 operands.
amx::TileType operandTile(MLIRContext *context);
/// 16 x 16 f32 sums.
amx::TileType sumTile(MLIRContext *context);

/// A tile of operands from rows `stride` elements apart, from `indices` of `memory` on; null: those of its second last
/// dimension. What else is in the L1 cache shall stay there: the lines are not read again soon.
Value loadOnce(ImplicitLocOpBuilder &b, Value memory, ValueRange indices, Value stride);

/// The dwords whose halves are two vectors of f32, rounded to bf16: `low` comes first in memory.
Value pairOf(ImplicitLocOpBuilder &b, Value low, Value high);

/// Two vectors of 16 f32, rounded to nearest even, as bits of 32 bf16; and the inverse.
Value narrowed(ImplicitLocOpBuilder &b, Value low, Value high);
std::pair<Value, Value> widened(ImplicitLocOpBuilder &b, Value bits);

/// Pieces of code, a few instructions each.
using Work = std::vector<std::function<void()>>;

/// Emits several sequences of work at once, each at an even pace.
void interleave(const std::vector<Work> &works);

/// Emits pieces of work one after the other.
void runAll(const Work &work);

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_MATRIXTILES_H
