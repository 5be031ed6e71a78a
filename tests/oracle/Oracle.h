// SPDX-License-Identifier: Apache-2.0
//
// The family's mathematics in float64, by the plainest loops: Q, K and V are materialised and attention is the
// textbook's. Slow on purpose; shares no code with the compiler that it judges. Tensors are named and shaped as in
// docs/variant.md.

#ifndef TPAC_TESTS_ORACLE_ORACLE_H
#define TPAC_TESTS_ORACLE_ORACLE_H

#include "tests/oracle/Tensor.h"
#include "tests/oracle/Variant.h"

namespace oracle {

/// Writes the new tokens of `tensors` (append's inputs) into its caches: exactly, in the stored units but unrounded.
/// For fp8 and int8 a stored row is row / scale, and head factors or scale caches carry the product of the scales.
void append(const Variant &variant, const Sizes &sizes, Tensors &tensors);

struct Attention {
  /// [T, H', E] and [T, H']; NaN in rows of no request.
  Tensor out;
  Tensor lse;
  /// [T, H']: max |L| over the tokens seen, 0 where none is.
  Tensor maxLogit;
  /// How many units of relative rounding error of the logits' and values' sums reach `out` and `lse` (first order: the
  /// same sums over absolute values). Large where terms cancel.
  Tensor outCondition;
  Tensor lseCondition;
  /// [T, H', E]: sum of |V| over the tokens seen: what a lost absolute error of each probability makes.
  Tensor valueMagnitude;
  /// [T, H', E]: root of the sum of (probability times |V|)^2 over the tokens seen: what independent relative errors of
  /// the terms of `out` make, where outCondition is what they make at worst.
  Tensor outDeviation;
};

/// What of Attention is computed.
enum class Parts {
  all,
  /// Not outCondition and lseCondition, which stay 0: more than half of the time. Enough where types
  /// are so coarse that f32 sums are as good as exact.
  withoutConditions
};

/// Attention over what is stored in the caches (decode and prefill alike).
Attention attention(const Variant &variant, const Sizes &sizes, const Tensors &tensors, Parts parts = Parts::all);

struct State {
  Tensor out;
  Tensor lse;
};

/// Merges two states over disjoint tokens: [T, H', E] and [T, H'] each.
State merge(const State &first, const State &second);

/// The rotation of `features` (whole blocks) at `position`.
std::vector<double> rotate(const Variant &variant, std::vector<double> features, int64_t position);

} // namespace oracle

#endif // TPAC_TESTS_ORACLE_ORACLE_H
