// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on single elements, or vectors of them: conversions between storage and arithmetic types. Where a value is
// a vector, so is the type given with it.

#ifndef TPAC_LOWERING_REFERENCE_ELEMENTS_H
#define TPAC_LOWERING_REFERENCE_ELEMENTS_H

#include "mlir/IR/Builders.h"

namespace mlir::tpa {

/// The type in which elements stored as `type` are computed with: f64 for f64, else f32.
Type arithmeticType(Type type);

/// `value` (f64, f32, bf16, f16, f8E4M3FN or i8) as float `type` (f64, f32, bf16, f16), rounded to nearest even.
/// Between f64 and a 16-bit type the value goes through f32.
Value convertElement(OpBuilder &builder, Location loc, Value value, Type type);

/// The quantised value of `value` (f32 or f64, within the range of `type`, which is f8E4M3FN or i8): nearest, ties to
/// even.
Value quantizeElement(OpBuilder &builder, Location loc, Value value, Type type);

/// The largest value of a quantised type: 448 or 127.
double largestQuantized(Type type);

Value constantFloat(OpBuilder &builder, Location loc, Type type, double value);
Value constantIndex(OpBuilder &builder, Location loc, int64_t value);

} // namespace mlir::tpa

#endif // TPAC_LOWERING_REFERENCE_ELEMENTS_H
