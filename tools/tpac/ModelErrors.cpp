// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/ModelErrors.h"

#include "mlir/Support/DebugStringHelper.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

using namespace mlir;
using namespace mlir::tpa;

namespace tpac {

namespace {

constexpr double rowFactor = 20;

std::array<std::pair<const char *, Type>, 4> storageTypes(TypesAttr types) {
  return {{{"activation", types.getActivation()},
           {"head", types.getHead()},
           {"token", types.getToken()},
           {"output", types.getOutput()}}};
}

} // namespace

ModelErrors compareRows(std::span<const double> found, std::span<const double> expected, int64_t features) {
  if (found.size() != expected.size())
    throw std::runtime_error("tensor out: found " + std::to_string(found.size()) + " elements, accepted are the " +
                             std::to_string(expected.size()) + " recorded ones");
  double difference = 0, norm = 0, worstRow = 0;
  for (size_t row = 0; row < found.size(); row += features) {
    double rowDifference = 0, rowNorm = 0;
    for (int64_t e = 0; e < features; ++e) {
      double delta = found[row + e] - expected[row + e];
      rowDifference += delta * delta;
      rowNorm += expected[row + e] * expected[row + e];
    }
    difference += rowDifference;
    norm += rowNorm;
    double rowError = rowDifference == 0 ? 0 : std::sqrt(rowDifference / rowNorm);
    // std::max could drop a NaN.
    if (std::isnan(rowError))
      return {rowError, rowError};
    worstRow = std::max(worstRow, rowError);
  }
  return {difference == 0 ? 0 : std::sqrt(difference / norm), worstRow};
}

double defaultTolerance(VariantAttr variant) {
  double tolerance = 0;
  for (auto [role, type] : storageTypes(variant.getTypes())) {
    if (!isa<Float64Type, Float32Type, Float16Type, BFloat16Type>(type))
      throw std::runtime_error("variant " + variant.getName().str() + ": /types/" + role + ": found \"" +
                               debugString(type) +
                               "\", accepted with --model and no tolerance of its own are f64, f32, f16, bf16: the "
                               "recorded output was computed without quantisation");
    tolerance = std::max(tolerance, type.isBF16() ? 1e-2 : type.isF16() ? 3e-3 : 2e-6);
  }
  return tolerance;
}

double rowTolerance(VariantAttr variant, double tolerance, std::span<const double> lse) {
  bool isWide = std::ranges::all_of(storageTypes(variant.getTypes()),
                                    [](const auto &entry) { return isa<Float32Type, Float64Type>(entry.second); });
  if (!isWide)
    return rowFactor * tolerance;
  double largest = 0;
  for (double value : lse)
    if (std::isfinite(value))
      largest = std::max(largest, std::fabs(value));
  return rowFactor * tolerance * std::max(1.0, largest / 10);
}

} // namespace tpac
