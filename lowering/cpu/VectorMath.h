// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on vectors of f32 and f64: conversions between storage and arithmetic types, and functions without calls.

#ifndef TPAC_LOWERING_CPU_VECTORMATH_H
#define TPAC_LOWERING_CPU_VECTORMATH_H

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <utility>

namespace mlir::tpa::cpu {

/// The type in which elements of `type` are kept in tiles: f32 or f64, and integers of more than 8 bits as they are.
Type arithmeticTypeOf(Type type);

/// A vector constant of `value`.
Value splat(ImplicitLocOpBuilder &b, VectorType type, double value);

/// `value` as a vector of `element` (f32, f64 or an integer kept as it is), exactly where the type allows it.
Value convertVector(ImplicitLocOpBuilder &b, Value value, Type element);

/// Elements as they are in memory (bf16, f16, f8E4M3FN, i8, ..) in their arithmetic type.
Value fromStorage(ImplicitLocOpBuilder &b, Value value);

/// The bf16 in the lower or upper halves of 32-bit words, as f32.
Value lowerOfPairs(ImplicitLocOpBuilder &b, Value words);
Value upperOfPairs(ImplicitLocOpBuilder &b, Value words);

/// bf16 memory as 16-bit integers: LLVM would widen and round vectors of bf16 element by element where the CPU lacks
/// them.
Value asBits(ImplicitLocOpBuilder &b, Value memory);

/// A vector of arithmetic type in storage type `element`: rounded to nearest even.
Value toStorage(ImplicitLocOpBuilder &b, Value value, Type element);

/// A vector of arithmetic type, rounded to the values of `element`.
Value roundTo(ImplicitLocOpBuilder &b, Value value, Type element);

/// max(x, y) where a NaN in `y` alone stays: x > y ? x : y, one instruction on x86.
Value maximum(ImplicitLocOpBuilder &b, Value x, Value y);

/// 2^x for x <= 127: relative error below 2e-7 in f32, exactly 1 at 0, and 0 for x < -126 (f32). NaN stays NaN.
Value exp2(ImplicitLocOpBuilder &b, Value x);

/// As exp2, for vectors of 16 f32 on a CPU with AVX-512 F and DQ.
Value exp2Avx512(ImplicitLocOpBuilder &b, Value x);

/// As exp2Avx512 for weights that are rounded to bf16: relative error 8.6e-5, exactly 1 at 0, in fewer instructions.
/// 0 for x < -100; so products with factors of 2^-26 and more are not subnormal either.
Value exp2OfWeights(ImplicitLocOpBuilder &b, Value x);

/// tanh, absolute error below 3e-7 and relative error below 1e-6 in f32.
Value tanh(ImplicitLocOpBuilder &b, Value x);

/// cos and sin of `angle`, a scalar or vector of f64: absolute error below 4e-16 beyond that of the angle, up to 2^27
/// radians, and 2^-52 |angle| from there on.
std::pair<Value, Value> cosSin(ImplicitLocOpBuilder &b, Value angle);

/// value == -infinity ? whenSo : otherwise.
Value selectIfMinusInfinity(ImplicitLocOpBuilder &b, Value value, Value whenSo, Value otherwise);

/// The columns of a square of vectors, as many as each has lanes, a power of two.
SmallVector<Value> transposed(ImplicitLocOpBuilder &b, ArrayRef<Value> rows);

/// A vector of booleans: lane number + `base` < `limit`, both of index type.
Value lanesBelow(ImplicitLocOpBuilder &b, int64_t width, Value base, Value limit);

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_VECTORMATH_H
