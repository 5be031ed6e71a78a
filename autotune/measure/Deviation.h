// SPDX-License-Identifier: Apache-2.0
//
// How far results are from what is expected.

#ifndef TPAC_AUTOTUNE_MEASURE_DEVIATION_H
#define TPAC_AUTOTUNE_MEASURE_DEVIATION_H

#include "lowering/phases/PhaseSignature.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tpac::autotune {

/// All elements of a tensor of `type`, as they lie.
std::vector<double> valuesOf(ElementType type, std::span<const std::byte> bytes);

/// Root of the sum of squared differences by that of the squares of what is expected, over the elements of a tensor.
class Deviation {
public:
  explicit Deviation(ElementType type) : type(type) {}

  /// What the reference path leaves as NaN, or makes infinite, a candidate must, too.
  void add(double found, double expected);
  /// Why that is too far; "" where it is near enough: much of what a rounding to the type allows, and far below what a
  /// wrong mask, rank or head makes of it.
  std::string problem() const;

private:
  ElementType type;
  double error = 0, size = 0;
  bool isFinite = true;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_DEVIATION_H
