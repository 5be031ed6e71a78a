// SPDX-License-Identifier: Apache-2.0
//
// Judges computed outputs against the oracle's: the tolerances, and a message that names the worst place.

#ifndef TPAC_TESTS_ORACLE_COMPARE_H
#define TPAC_TESTS_ORACLE_COMPARE_H

#include "tests/oracle/Oracle.h"

namespace oracle {

/// Relative error allowed in a request's [N, H, E] output, from the coarsest of the variant's element types and the
/// number of cached tokens: f64 1e-11; f32 2e-6 (2e-5 beyond 4096 tokens); f16 3e-3; bf16, fp8, int8 1e-2.
double requestTolerance(const Variant &variant, int64_t longest);

/// What is allowed beside the relative tolerances, as absolute errors: [T, H', E] and [T, H'].
struct Allowance {
  Tensor out;
  Tensor lse;
  /// [T, H', E]: in the check of rows alone. Rows of which nearly nothing is left consist of roundings of the weights;
  /// requests do not.
  Tensor weights;
};

/// Roundoffs of the compute type that sums may lose; their condition is multiplied in.
constexpr double roundingUnits = 8.0;
/// Roundoffs of weights that a row may lose, of the root of the sum of squares of its terms. One rounding is in the
/// root mean square 0.4 roundoffs, and they are independent: five standard deviations (docs/tolerances.md).
constexpr double weightUnits = 2.0;

/// Weights (probabilities, of the largest) below this may be zero.
constexpr double lostWeight = 0x1p-100;

/// Rounding errors of the variant's types where sums cancel: `units` roundoffs of the compute type of the expected
/// result's condition, plus `angleError` (radians) of the rotations; and of rows, those of weights (probability times
/// head factor) that are rounded to the values' type, an operand of the second product.
Allowance roundingAllowance(const Variant &variant, const Attention &expected, double units, double angleError);

struct Comparison {
  bool ok = true;
  /// Worst relative Frobenius errors of a request and of a row, and worst |LSE - expected| / max(1, max|L|).
  double worstRequest = 0.0;
  double worstRow = 0.0;
  double worstLse = 0.0;
  /// Worst part of its limit that any figure used: above 1 exactly where a figure failed.
  double worstShare = 0.0;
  /// The first failure: request, token, head, found and expected.
  std::string message;
};

/// Compares `out` [T, H', E] and `lse` [T, H'] with `expected`. Requests are those of `tokenStart` [B+1]; other rows
/// are not read. Per request: ||error|| <= tolerance * ||expected||; per row 20 times that (for f32 also times max(1,
/// max|L| / 10)); |LSE error| <= tolerance * max(1, max|L|); all finite but LSE = -inf, which must match and stands
/// with an output of exactly 0. `allowance` adds to these limits (docs/tolerances.md).
Comparison compare(const Variant &variant, const Tensor &tokenStart, double tolerance, const Tensor &out,
                   const Tensor &lse, const Attention &expected, const Allowance *allowance = nullptr);

} // namespace oracle

#endif // TPAC_TESTS_ORACLE_COMPARE_H
