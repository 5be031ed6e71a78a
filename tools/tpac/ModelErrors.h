// SPDX-License-Identifier: Apache-2.0
//
// How far a computed attention is from the recorded one, and how far it may be. Sources: the project's definition of
// precision, summed up at each function.

#ifndef TPAC_TOOLS_TPAC_MODELERRORS_H
#define TPAC_TOOLS_TPAC_MODELERRORS_H

#include "dialect/TPADialect.h"

#include <span>

namespace tpac {

struct ModelErrors {
  /// Relative Frobenius error over everything.
  double whole;
  /// The largest relative error of a row.
  double worstRow;
};

/// found, expected: [rows, features]. Both errors are NaN where an element is NaN. Throws std::runtime_error where the
/// numbers of elements differ.
ModelErrors compareRows(std::span<const double> found, std::span<const double> expected, int64_t features);

/// Accepted whole error by the widest rounding among the variant's types: f64 and f32 2e-6 (recordings are stored as
/// f32), f16 3e-3, bf16 1e-2. Throws std::runtime_error for fp8 and int8, which have none here: 1e-2 holds against the
/// quantised values, while a recording knows the unquantised ones.
double defaultTolerance(mlir::tpa::VariantAttr variant);

/// Accepted error of a row beside `tolerance` of the whole: 20 times as much; where every type is f32 or f64, also
/// times max(1, max|L|/10). `lse` stands for the logits L: it is at most log(tokens) above the largest, and needs no
/// second implementation of attention.
double rowTolerance(mlir::tpa::VariantAttr variant, double tolerance, std::span<const double> lse);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_MODELERRORS_H
