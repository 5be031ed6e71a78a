// SPDX-License-Identifier: Apache-2.0
//
// Floating-point elements to and from float and double. Integers and fp8 are not converted.

#ifndef TPAC_SAFETENSORS_CONVERT_H
#define TPAC_SAFETENSORS_CONVERT_H

#include "safetensors/Dtype.h"

#include <vector>

namespace tpac::safetensors {

/// The elements of a BF16, F16, F32 or F64 tensor in row-major order; exact.
/// Throws std::invalid_argument for another dtype, or where the bytes do not fit the shape.
std::vector<double> toDouble(const View &view);
/// The same as float: exact but for F64, which is rounded to nearest.
std::vector<float> toFloat(const View &view);

/// The bytes of `values` as BF16, F16, F32 or F64: each rounded once to nearest, ties to even; too large a value
/// becomes infinity. Throws std::invalid_argument for another dtype.
std::vector<std::byte> fromDouble(std::span<const double> values, Dtype dtype);

} // namespace tpac::safetensors

#endif // TPAC_SAFETENSORS_CONVERT_H
