// SPDX-License-Identifier: Apache-2.0
//
// Stored numbers: between a double and the bytes of an element type. Knows nothing of variants, and nothing of the
// compiler that it helps to check.

#ifndef TPAC_TESTS_ORACLE_ELEMENTTYPES_H
#define TPAC_TESTS_ORACLE_ELEMENTTYPES_H

#include <cstddef>
#include <string>
#include <string_view>

namespace oracle {

enum class Type { f64, f32, bf16, f16, f8E4M3FN, i8, i32 };

/// From "f64", "bf16", "f8E4M3FN", ... Throws std::invalid_argument for any other text.
Type parseType(std::string_view name);
std::string typeName(Type type);
/// Bytes of one element.
size_t typeSize(Type type);
bool isFloat(Type type);
/// The types whose rows carry a scale.
bool isQuantised(Type type);

/// Writes `value` as one element, rounded to the nearest, ties to even. Floating-point types overflow to infinity
/// (f8E4M3FN, which has none, to NaN); integers saturate.
void encode(Type type, double value, void *bytes);
/// Reads one element.
double decode(Type type, const void *bytes);
/// `value` after one rounding to `type`.
double roundTo(Type type, double value);

/// Distance between neighbouring numbers of `type` around `value` (1 for integers).
double spacing(Type type, double value);
/// Largest relative error of one rounding: 2^-p for p bits of significand; 0 for integers.
double unitRoundoff(Type type);
/// Largest finite number.
double largest(Type type);

} // namespace oracle

#endif // TPAC_TESTS_ORACLE_ELEMENTTYPES_H
