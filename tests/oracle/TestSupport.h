// SPDX-License-Identifier: Apache-2.0
//
// Small functions of the oracle's own tests: variants in few words and reproducible numbers.

#ifndef TPAC_TESTS_ORACLE_TESTSUPPORT_H
#define TPAC_TESTS_ORACLE_TESTSUPPORT_H

#include "tests/oracle/Oracle.h"

#include <cmath>
#include <cstdint>
#include <string>

namespace oracle::test {

/// A variant from JSON fields, with the two that every variant has and f64 throughout (where `fields` says nothing
/// else).
inline Variant variantOf(const std::string &fields) {
  nlohmann::json json = nlohmann::json::parse("{" + fields + "}");
  json["tpac_variant"] = 1;
  json["name"] = "test";
  if (!json.contains("types"))
    json["types"] = {{"activation", "f64"}, {"head", "f64"}, {"token", "f64"}, {"output", "f64"}, {"compute", "f64"}};
  return parseVariant(json);
}

inline Tensor tensorOf(std::vector<int64_t> shape, std::vector<double> data) {
  Tensor tensor(std::move(shape));
  if (tensor.data.size() != data.size())
    throw std::invalid_argument("tensorOf: " + std::to_string(data.size()) + " numbers for " +
                                std::to_string(tensor.data.size()) + " elements");
  tensor.data = std::move(data);
  return tensor;
}

/// Fills with numbers in [-1, 1] that depend on `seed` and the position only.
inline void fill(Tensor &tensor, uint64_t seed) {
  for (size_t i = 0; i < tensor.data.size(); ++i)
    tensor.data[i] = std::sin(12.9898 * static_cast<double>(i + 1) + 78.233 * static_cast<double>(seed) +
                              0.37 * static_cast<double>(i * i % 101));
}

/// Tensors of `phase`, the floating-point ones filled.
inline Tensors filled(const Variant &variant, const Sizes &sizes, std::string_view phase, uint64_t seed) {
  Tensors tensors;
  for (const TensorSpec &spec : phaseTensors(variant, phase)) {
    Tensor tensor(sizes.of(spec.shape));
    if (spec.type != Type::i32)
      fill(tensor, seed++);
    tensors[spec.name] = tensor;
  }
  return tensors;
}

} // namespace oracle::test

#endif // TPAC_TESTS_ORACLE_TESTSUPPORT_H
