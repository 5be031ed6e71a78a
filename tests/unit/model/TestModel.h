// SPDX-License-Identifier: Apache-2.0
//
// Models on disk for the tests of the model check: those that the repository comes with, and changed copies.

#ifndef TPAC_TESTS_UNIT_MODEL_TESTMODEL_H
#define TPAC_TESTS_UNIT_MODEL_TESTMODEL_H

#include "safetensors/Dtype.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tpac::test {

struct Model {
  std::string name;
  /// Holds NAME.json, NAME.safetensors and NAME.reference.safetensors.
  std::filesystem::path directory;
};

/// t6-mini of examples/t6/model.
Model committedModel();
/// committedModel and those of ../shared/models that this machine has.
std::vector<Model> availableModels();

/// configs/NAME.json.
nlohmann::json config(const std::string &name);
/// `variant` with activations, cached factors and output in `type`.
nlohmann::json withStorage(nlohmann::json variant, const std::string &type);

/// TPAC_TEST_EFFORT is quick: tests take fewer samples.
bool isQuick();

/// What `action` throws as std::runtime_error, or "nothing was thrown".
std::string thrownBy(const std::function<void()> &action);

/// A fixture with a copy of committedModel that tests change.
class ModelCopy : public testing::Test {
protected:
  void SetUp() override;
  void TearDown() override { std::filesystem::remove_all(directory); }

  /// directory / "t6-mini" + `ending`
  std::filesystem::path file(const std::string &ending) const;
  nlohmann::json configuration() const;
  void writeConfiguration(const nlohmann::json &json) const;

  /// `shape` and `values` (row-major) are changed by `change`; the tensor is written back in its own type.
  using Change = std::function<void(std::vector<int64_t> &shape, std::vector<double> &values)>;
  /// Rewrites t6-mini + `ending` with `tensor` changed, or dropped where there is no `change`. No other tensor changes.
  void rewrite(const std::string &ending, const std::string &tensor, const Change &change) const;

  std::filesystem::path directory;
};

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_MODEL_TESTMODEL_H
