// SPDX-License-Identifier: Apache-2.0

#include "TestModel.h"

#include "safetensors/Convert.h"
#include "safetensors/File.h"
#include "safetensors/Write.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <stdlib.h>

namespace tpac::test {

namespace {

const std::filesystem::path root = TPAC_SOURCE_ROOT;

nlohmann::json readJson(const std::filesystem::path &path) {
  std::ifstream stream(path);
  return nlohmann::json::parse(stream);
}

} // namespace

Model committedModel() { return {"t6-mini", std::filesystem::path(TPAC_SOURCE_ROOT) / "examples/t6/model"}; }

std::vector<Model> availableModels() {
  std::vector<Model> models = {committedModel()};
  std::filesystem::path shared = std::filesystem::path(TPAC_SOURCE_ROOT) / "../shared/models";
  for (const char *name : {"t6-mini-kvonly", "llama-mini-gqa"})
    if (std::filesystem::exists(shared / (std::string(name) + ".reference.safetensors")))
      models.push_back({name, shared});
  return models;
}

nlohmann::json config(const std::string &name) { return readJson(root / "configs" / (name + ".json")); }

nlohmann::json withStorage(nlohmann::json variant, const std::string &type) {
  for (const char *role : {"activation", "head", "token", "output"})
    variant["types"][role] = type;
  variant["types"]["compute"] = type == "f64" ? "f64" : "f32";
  return variant;
}

bool isQuick() {
  const char *effort = std::getenv("TPAC_TEST_EFFORT");
  return effort && std::string_view(effort) == "quick";
}

std::string thrownBy(const std::function<void()> &action) {
  try {
    action();
  } catch (const std::runtime_error &error) {
    return error.what();
  }
  return "nothing was thrown";
}

void ModelCopy::SetUp() {
  std::string pattern = (std::filesystem::temp_directory_path() / "model-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  directory = pattern;
  for (const char *ending : {".json", ".safetensors", ".reference.safetensors"})
    std::filesystem::copy_file(committedModel().directory / (std::string("t6-mini") + ending), file(ending));
}

std::filesystem::path ModelCopy::file(const std::string &ending) const { return directory / ("t6-mini" + ending); }

nlohmann::json ModelCopy::configuration() const { return readJson(file(".json")); }

void ModelCopy::writeConfiguration(const nlohmann::json &json) const {
  std::ofstream stream(file(".json"));
  ASSERT_TRUE(stream << json);
}

void ModelCopy::rewrite(const std::string &ending, const std::string &tensor, const Change &change) const {
  // The mapping of the old file stays valid when write replaces it.
  safetensors::File old = safetensors::File::open(file(ending));
  std::map<std::string, safetensors::View> tensors;
  for (const std::string &name : old.names())
    tensors[name] = old.tensor(name);
  std::vector<std::byte> bytes;
  if (change) {
    safetensors::View &view = tensors.at(tensor);
    std::vector<double> values = safetensors::toDouble(view);
    change(view.shape, values);
    bytes = safetensors::fromDouble(values, view.dtype);
    view.bytes = bytes;
  } else {
    ASSERT_EQ(tensors.erase(tensor), 1u);
  }
  safetensors::write(file(ending), tensors, old.metadata());
}

} // namespace tpac::test
