// SPDX-License-Identifier: Apache-2.0
//
// Which tensors a phase of a variant takes: their names, element types and shapes (docs/variant.md, "Phases"). The op
// verifiers, the builders of phases and the C interface all read them here.

#ifndef TPAC_DIALECT_PHASEOPERANDS_H
#define TPAC_DIALECT_PHASEOPERANDS_H

#include "dialect/TPADialect.h"

namespace mlir::tpa {

/// Leading dimensions of a tensor of a phase.
enum class Leading {
  none,    ///< learned factors
  tokens,  ///< [tokens]: new tokens of all requests together
  cache,   ///< [batch, capacity]
  batch,   ///< [batch]
  offsets, ///< [batch + 1]
};

struct PhaseOperand {
  std::string name;
  Type elementType;
  Leading leading;
  SmallVector<int64_t> trailing;

  /// Sizes, with ShapedType::kDynamic for the leading dimensions.
  SmallVector<int64_t> getShape() const;
  RankedTensorType getType() const { return RankedTensorType::get(getShape(), elementType); }
};

using PhaseOperands = SmallVector<PhaseOperand>;

/// Q, K or V.
enum class Side { q, k, v };

FactorizationAttr getFactorization(VariantAttr variant, Side side);

/// `q_head`, `q_token*` as attention takes them.
PhaseOperands getQueryOperands(VariantAttr variant);
/// Projected factors of tokens for Q, K or V: what append (K, V) and attention (Q) take per token.
PhaseOperands getProjectedOperands(VariantAttr variant, Side side);
/// What append caches for K or V.
PhaseOperands getCacheOperands(VariantAttr variant, Side side);
/// What attention reads of K or V: cached, or learned in its place.
PhaseOperands getKeyValueOperands(VariantAttr variant, Side side);

/// `positions` of new tokens or queries.
PhaseOperand getPositionsOperand(VariantAttr variant);
PhaseOperand getTokenStartOperand(VariantAttr variant);
PhaseOperand getLengthsOperand(VariantAttr variant);
/// `key_positions_cache`.
PhaseOperand getKeyPositionsOperand(VariantAttr variant);
/// `name`: [tokens, heads, value features]; `name`: [tokens, heads].
PhaseOperand getOutOperand(VariantAttr variant, StringRef name);
PhaseOperand getLseOperand(VariantAttr variant, StringRef name);

/// The scales of K's or V's quantised rows are stored beside them, because no cached head factor can carry them, under
/// this side.
bool storesScale(VariantAttr variant, Side side);
/// The side whose stored scales apply to `side`'s rows (V may use K's); none where the head factor carries them.
std::optional<Side> getScaleSource(VariantAttr variant, Side side);

} // namespace mlir::tpa

#endif // TPAC_DIALECT_PHASEOPERANDS_H
