// SPDX-License-Identifier: Apache-2.0
//
// What the check must find: wrong weights, wrong recordings, a variant that reads the weights wrongly.

#include "TestModel.h"

#include "tools/tpac/ModelCheck.h"

#include <cmath>
#include <limits>
#include <map>

namespace tpac::test {

namespace {

class Failures : public ModelCopy {
protected:
  /// One letter per row (layer 0 prefill, decode, layer 3 prefill, decode): "p"ass or "F"ail.
  std::string verdicts(const nlohmann::json &variant = withStorage(config("t6-mini"), "f32")) {
    rows = checkModel({variant.dump(), directory, std::nullopt, CodePath::reference});
    std::string text;
    for (const ModelCheckRow &row : rows)
      text += row.pass ? "p" : "F";
    return text;
  }

  std::vector<ModelCheckRow> rows;
};

const char *weight = "transformer.h.0.attn.c_qkv.W_B_v.weight";

} // namespace

TEST_F(Failures, AnUnchangedCopyPasses) {
  rewrite(".safetensors", weight, [](auto &, auto &) {});
  rewrite(".reference.safetensors", "layer0.attention_output", [](auto &, auto &) {});
  EXPECT_EQ(verdicts(), "pppp");
}

TEST_F(Failures, EachWeightMatters) {
  // One weight of tens of thousands, another one in each of the two layers.
  for (std::pair<std::string, std::string> factors :
       {std::pair("W_A_q", "W_B_q"), {"W_A_k", "W_B_k"}, {"W_A_v", "W_B_v"}}) {
    std::string first = "transformer.h.0.attn.c_qkv." + factors.first + ".weight";
    std::string last = "transformer.h.3.attn.c_qkv." + factors.second + ".weight";
    std::map<std::string, double> old;
    for (const std::string &name : {first, last})
      rewrite(".safetensors", name, [&](auto &, auto &values) {
        old[name] = values[1000];
        values[1000] += 0.25;
      });
    EXPECT_EQ(verdicts(), "FFFF") << factors.first << ", " << factors.second;
    for (const std::string &name : {first, last})
      rewrite(".safetensors", name, [&](auto &, auto &values) { values[1000] = old[name]; });
  }
}

TEST_F(Failures, ADamagedTokenOfTheRecordingIsFound) {
  // The last token of the first head: far too little for the error of the whole to show it.
  rewrite(".reference.safetensors", "layer0.attention_output", [](auto &shape, auto &values) {
    for (int64_t e = 0; e < 64; ++e)
      values[(shape[1] - 1) * shape[2] + e] *= 1.5;
  });
  nlohmann::json variant = withStorage(config("t6-mini"), "bf16");
  EXPECT_EQ(verdicts(variant), "FFpp");
  EXPECT_GT(rows[0].worstRowError, rows[0].rowTolerance);
}

TEST_F(Failures, NotANumberFails) {
  rewrite(".safetensors", weight, [](auto &, auto &values) { values[0] = std::numeric_limits<double>::quiet_NaN(); });
  EXPECT_EQ(verdicts(), "FFpp");
  EXPECT_TRUE(std::isnan(rows[0].relativeError));
  EXPECT_TRUE(std::isnan(rows[1].worstRowError));
}

TEST_F(Failures, InfinityFails) {
  rewrite(".reference.safetensors", "layer0.attention_output",
          [](auto &, auto &values) { values[0] = std::numeric_limits<double>::infinity(); });
  EXPECT_EQ(verdicts(), "FFpp");
}

TEST_F(Failures, WrongOrderOfRowsFails) {
  nlohmann::json variant = withStorage(config("t6-mini"), "f32");
  variant["weights"]["head_factor_rows"] = "rank_major";
  EXPECT_EQ(verdicts(variant), "FFFF");
  for (const ModelCheckRow &row : rows)
    EXPECT_GT(row.relativeError, 0.5) << row.layer;
}

TEST_F(Failures, RankMajorRowsPassAsRankMajor) {
  // The same model with its head factors' rows written rank by rank.
  for (const char *layer : {"0", "3"})
    for (auto [side, rank] : {std::pair<const char *, int64_t>{"q", 6}, {"k", 2}, {"v", 2}})
      rewrite(".safetensors", std::string("transformer.h.") + layer + ".attn.c_qkv.W_A_" + side + ".weight",
              [rank = rank](auto &shape, auto &values) {
                const std::vector<double> old = values;
                const int64_t heads = 11, channels = shape[1];
                for (int64_t h = 0; h < heads; ++h)
                  for (int64_t r = 0; r < rank; ++r)
                    for (int64_t c = 0; c < channels; ++c)
                      values[(r * heads + h) * channels + c] = old[(h * rank + r) * channels + c];
              });
  EXPECT_EQ(verdicts(), "FFFF");
  nlohmann::json variant = withStorage(config("t6-mini"), "f32");
  variant["weights"]["head_factor_rows"] = "rank_major";
  EXPECT_EQ(verdicts(variant), "pppp");
  variant["head_range"] = {4, 9};
  EXPECT_EQ(verdicts(variant), "pppp");
}

TEST_F(Failures, OtherMathematicsFails) {
  for (auto [field, value] :
       {std::pair<const char *, nlohmann::json>{"scale", 0.125}, {"window", 200}, {"softcap", 10}}) {
    nlohmann::json variant = withStorage(config("t6-mini"), "f32");
    variant[field] = value;
    EXPECT_EQ(verdicts(variant), "FFFF") << field;
  }
}

} // namespace tpac::test
