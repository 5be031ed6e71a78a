// SPDX-License-Identifier: Apache-2.0
//
// Which rows and values are taken out of a model's files, and what is said of tensors that are missing or misshapen.

#include "TestModel.h"

#include "dialect/json/VariantJson.h"
#include "safetensors/Convert.h"
#include "safetensors/Write.h"
#include "tools/tpac/ModelCheck.h"
#include "tools/tpac/ModelTensors.h"

#include "mlir/IR/MLIRContext.h"

#include <numeric>

namespace tpac::test {

namespace {

using Json = nlohmann::json;

/// Files of tensors whose element number i has the value i.
class Tensors : public ModelCopy {
protected:
  safetensors::File write(const std::map<std::string, std::vector<int64_t>> &shapes) {
    std::map<std::string, std::vector<std::byte>> bytes;
    std::map<std::string, safetensors::View> views;
    for (const auto &[name, shape] : shapes) {
      std::vector<double> values(*safetensors::elementCount(shape));
      std::iota(values.begin(), values.end(), 0.0);
      bytes[name] = safetensors::fromDouble(values, safetensors::Dtype::F64);
      views[name] = {safetensors::Dtype::F64, shape, bytes[name]};
    }
    safetensors::write(directory / "made.safetensors", views);
    return safetensors::File::open(directory / "made.safetensors");
  }

  mlir::tpa::VariantAttr read(const Json &json) {
    llvm::Expected<mlir::tpa::VariantAttr> variant = mlir::tpa::readVariant(json.dump(), "variant", context);
    if (!variant)
      throw std::runtime_error(llvm::toString(variant.takeError()));
    return *variant;
  }

  mlir::MLIRContext context;
};

/// 4 heads of which 1 and 2 are local; `features` 2 and 2 channels.
Json smallVariant(Json q, Json k) {
  return {{"tpac_variant", 1}, {"name", "small"}, {"heads", 4}, {"head_range", {1, 3}},
          {"q", std::move(q)}, {"k", k},          {"v", k}};
}

Json factors(int64_t rank, Json head) {
  return {{"rank", rank}, {"head", std::move(head)}, {"token", Json::array({{{"source", "contextual"}, {"size", 2}}})}};
}

const Json contextual = {{"source", "contextual"}};
const Json groups = {{"source", "fixed"}, {"map", "groups"}};

/// The values of rows of 2 channels.
std::vector<double> rows(std::initializer_list<int> numbers) {
  std::vector<double> values;
  for (int number : numbers)
    values.insert(values.end(), {2.0 * number, 2.0 * number + 1});
  return values;
}

} // namespace

TEST_F(Tensors, WeightsOfContextualFactors) {
  safetensors::File file = write({{"transformer.h.7.attn.c_qkv.W_A_q.weight", {12, 2}},
                                  {"transformer.h.7.attn.c_qkv.W_B_q.weight", {6, 2}},
                                  {"transformer.h.7.attn.c_qkv.W_A_k.weight", {8, 2}},
                                  {"transformer.h.7.attn.c_qkv.W_B_k.weight", {4, 2}},
                                  {"transformer.h.7.attn.c_qkv.W_A_v.weight", {8, 2}},
                                  {"transformer.h.7.attn.c_qkv.W_B_v.weight", {4, 2}}});
  Json variant = smallVariant(factors(3, contextual), factors(2, contextual));
  std::map<std::string, std::vector<double>> expected = {
      {"q_head_weight", rows({3, 4, 5, 6, 7, 8})}, {"q_token_weight", rows({0, 1, 2, 3, 4, 5})},
      {"k_head_weight", rows({2, 3, 4, 5})},       {"k_token_weight", rows({0, 1, 2, 3})},
      {"v_head_weight", rows({2, 3, 4, 5})},       {"v_token_weight", rows({0, 1, 2, 3})}};
  EXPECT_EQ(loadWeights(file, read(variant), 7, 2), expected);

  variant["weights"]["head_factor_rows"] = "rank_major";
  expected["q_head_weight"] = rows({1, 2, 5, 6, 9, 10});
  expected["k_head_weight"] = expected["v_head_weight"] = rows({1, 2, 5, 6});
  EXPECT_EQ(loadWeights(file, read(variant), 7, 2), expected);
}

TEST_F(Tensors, WeightsOfDenseAndGroupedFactors) {
  safetensors::File file = write({{"transformer.h.0.attn.c_q.weight", {8, 2}},
                                  {"transformer.h.0.attn.c_qkv.c_k.weight", {4, 2}},
                                  {"transformer.h.0.attn.c_v.weight", {4, 2}}});
  std::map<std::string, std::vector<double>> expected = {{"q_token_weight", rows({2, 3, 4, 5})},
                                                         {"k_token_weight", rows({0, 1, 2, 3})},
                                                         {"v_token_weight", rows({0, 1, 2, 3})}};
  EXPECT_EQ(loadWeights(file, read(smallVariant({{"dense", 2}}, factors(2, groups))), 0, 2), expected);
}

TEST_F(Tensors, RecordingsByLayerAndLocalHead) {
  // 3 channels, 4 heads of 2 features.
  safetensors::File file = write({{"layer10.attention_input", {1, 1, 3}},
                                  {"layer10.attention_output", {1, 1, 8}},
                                  {"layer9.attention_input", {1, 2, 3}},
                                  {"layer9.attention_output", {1, 2, 8}},
                                  {"layer.attention_input", {5}},
                                  {"layerX.attention_input", {5}},
                                  {"logits", {5}}});
  std::vector<Recording> recordings = loadRecordings(file, read(smallVariant({{"dense", 2}}, factors(2, contextual))));
  ASSERT_EQ(recordings.size(), 2u);
  EXPECT_EQ(recordings[0].layer, 9);
  EXPECT_EQ(recordings[0].tokens, 2);
  EXPECT_EQ(recordings[0].channels, 3);
  EXPECT_EQ(recordings[0].input, (std::vector<double>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(recordings[0].output, (std::vector<double>{2, 3, 4, 5, 10, 11, 12, 13}));
  EXPECT_EQ(recordings[1].layer, 10);
  EXPECT_EQ(recordings[1].output, (std::vector<double>{2, 3, 4, 5}));
}

namespace {

class DamagedFiles : public ModelCopy {
protected:
  std::string message() const {
    return thrownBy([&] { checkModel({config("t6-mini").dump(), directory, std::nullopt, CodePath::reference}); });
  }
  std::string weights() const { return file(".safetensors").string() + ": "; }
  std::string recording() const { return file(".reference.safetensors").string() + ": "; }
};

} // namespace

TEST_F(DamagedFiles, MissingWeight) {
  std::string prefix = "transformer.h.3.attn.";
  rewrite(".safetensors", prefix + "c_qkv.W_B_k.weight", nullptr);
  EXPECT_EQ(message(), weights() + "looked for tensor " + prefix + "c_qkv.W_B_k.weight, found " + prefix +
                           "c_proj.weight, " + prefix + "c_qkv.W_A_k.weight, " + prefix + "c_qkv.W_A_q.weight, " +
                           prefix + "c_qkv.W_A_v.weight, " + prefix + "c_qkv.W_B_q.weight, " + prefix +
                           "c_qkv.W_B_v.weight");
}

TEST_F(DamagedFiles, NoWeightOfTheLayer) {
  Json variant = config("t6-mini");
  variant["q"] = {{"dense", 64}};
  Json json = configuration();
  json["architecture"] = "T6_kvonly";
  writeConfiguration(json);
  rewrite(".reference.safetensors", "layer0.attention_input", nullptr);
  std::string found = thrownBy([&] { checkModel({variant.dump(), directory, std::nullopt, CodePath::reference}); });
  std::string prefix = "transformer.h.3.attn.";
  EXPECT_TRUE(found.starts_with(weights() + "looked for tensor " + prefix + "c_qkv.c_q.weight or " + prefix +
                                "c_q.weight, found "))
      << found;
}

TEST_F(DamagedFiles, WeightOfAnotherShape) {
  rewrite(".safetensors", "transformer.h.0.attn.c_qkv.W_A_q.weight", [](auto &shape, auto &) { shape = {33, 512}; });
  EXPECT_EQ(message(), weights() + "tensor transformer.h.0.attn.c_qkv.W_A_q.weight: shape: found [33, 512], accepted "
                                   "is [66, 256] by the variant and the recorded input");
}

TEST_F(DamagedFiles, RecordingOfAnotherShape) {
  std::string input = "layer3.attention_input", output = "layer3.attention_output";
  rewrite(".reference.safetensors", output, [](auto &shape, auto &) { shape = {1, 704, 320}; });
  EXPECT_EQ(message(), recording() + "tensor " + output + ": shape: found [1, 704, 320], accepted is [1, 320, 704]");
  rewrite(".reference.safetensors", input, [](auto &shape, auto &) { shape = {2, 160, 256}; });
  EXPECT_EQ(message(),
            recording() + "tensor " + input + ": shape: found [2, 160, 256], accepted is [1, tokens, channels]");
  rewrite(".reference.safetensors", input, [](auto &shape, auto &values) {
    shape = {1, 0, 256};
    values.clear();
  });
  EXPECT_EQ(message(),
            recording() + "tensor " + input + ": shape: found [1, 0, 256], accepted is [1, tokens, channels]");
}

TEST_F(DamagedFiles, MissingOutput) {
  rewrite(".reference.safetensors", "layer3.attention_output", nullptr);
  std::string found = message();
  EXPECT_TRUE(found.starts_with(recording())) << found;
  EXPECT_NE(found.find("layer3.attention_output"), std::string::npos) << found;
}

TEST_F(DamagedFiles, NoRecording) {
  for (const char *layer : {"layer0", "layer3"})
    rewrite(".reference.safetensors", std::string(layer) + ".attention_input", nullptr);
  EXPECT_EQ(message(), recording() + "looked for tensors layerL.attention_input and layerL.attention_output of layers "
                                     "L, found none");
}

TEST_F(DamagedFiles, IntegersForNumbers) {
  std::filesystem::remove(file(".reference.safetensors"));
  std::vector<std::byte> zeros(8);
  safetensors::write(file(".reference.safetensors"),
                     {{"layer0.attention_input", {safetensors::Dtype::I32, {1, 1, 2}, zeros}}});
  std::string found = message();
  EXPECT_TRUE(found.starts_with(recording() + "tensor layer0.attention_input: ")) << found;
  EXPECT_NE(found.find("I32"), std::string::npos) << found;
}

TEST_F(DamagedFiles, MissingFiles) {
  std::filesystem::remove(file(".reference.safetensors"));
  EXPECT_TRUE(message().starts_with(file(".reference.safetensors").string())) << message();
  std::filesystem::remove(file(".safetensors"));
  EXPECT_TRUE(message().starts_with(file(".safetensors").string())) << message();
}

} // namespace tpac::test
