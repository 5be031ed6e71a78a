// SPDX-License-Identifier: Apache-2.0
//
// The trained models pass the check: every model at hand, every storage type, whole and in shards of the heads.

#include "TestModel.h"

#include "tools/tpac/ModelCheck.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

namespace tpac::test {

void PrintTo(const Model &model, std::ostream *os) { *os << model.name; }

namespace {

std::vector<ModelCheckRow> check(const Model &model, const nlohmann::json &variant) {
  return checkModel({variant.dump(), model.directory, std::nullopt});
}

class Models : public testing::TestWithParam<std::tuple<Model, std::string>> {};

} // namespace

TEST_P(Models, ComputeTheRecording) {
  const std::map<std::string, double> tolerances = {{"f64", 2e-6}, {"f32", 2e-6}, {"f16", 3e-3}, {"bf16", 1e-2}};
  const auto &[model, type] = GetParam();
  std::vector<ModelCheckRow> rows = check(model, withStorage(config(model.name), type));
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < rows.size(); ++i) {
    const ModelCheckRow &row = rows[i];
    SCOPED_TRACE("row " + std::to_string(i));
    EXPECT_EQ(row.layer, i < 2 ? 0 : 3);
    EXPECT_EQ(row.phase, i % 2 == 0 ? "prefill" : "decode");
    EXPECT_EQ(row.storage, type);
    EXPECT_EQ(row.tokens, model.name == "t6-mini" ? 320 : 384);
    EXPECT_EQ(row.tolerance, tolerances.at(type));
    EXPECT_TRUE(row.pass) << row.relativeError << ", worst row " << row.worstRowError << " of " << row.rowTolerance;
    EXPECT_LE(row.relativeError, row.tolerance);
    // Stored in f32, the recording itself is off by some 1e-8: an error of 0 would mean that nothing was compared.
    EXPECT_GT(row.relativeError, 1e-9);
    EXPECT_GE(row.rowTolerance, 20 * row.tolerance);
    EXPECT_GT(row.seconds, 0);
  }
}

using Shards = testing::TestWithParam<Model>;

// Which rows of the weights a shard takes is the same for every type.
TEST_P(Shards, ComputeTheirPartOfTheRecording) {
  const Model &model = GetParam();
  nlohmann::json variant = withStorage(config(model.name), "f32");
  int64_t heads = variant.at("heads");
  std::vector<std::pair<int64_t, int64_t>> ranges = {{3, 6}};
  if (!isQuick())
    ranges.insert(ranges.end(), {{0, 3}, {heads - 1, heads}});
  for (auto [begin, end] : ranges) {
    SCOPED_TRACE("heads " + std::to_string(begin) + " to " + std::to_string(end));
    variant["head_range"] = {begin, end};
    std::vector<ModelCheckRow> rows = check(model, variant);
    EXPECT_EQ(rows.size(), 4u);
    for (const ModelCheckRow &row : rows)
      EXPECT_TRUE(row.pass) << row.phase << " of layer " << row.layer << ": " << row.relativeError;
  }
}

namespace {

std::vector<std::string> types() {
  return isQuick() ? std::vector<std::string>{"bf16"} : std::vector<std::string>{"f64", "f32", "bf16", "f16"};
}

std::string testName(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return text;
}

} // namespace

INSTANTIATE_TEST_SUITE_P(Available, Models,
                         testing::Combine(testing::ValuesIn(availableModels()), testing::ValuesIn(types())),
                         [](const auto &info) {
                           return testName(std::get<0>(info.param).name + "_" + std::get<1>(info.param));
                         });
INSTANTIATE_TEST_SUITE_P(Available, Shards, testing::ValuesIn(availableModels()),
                         [](const auto &info) { return testName(info.param.name); });

TEST(QuantisedModel, PassesWithATolerance) {
  nlohmann::json variant = config("t6-mini");
  variant["types"] = {{"token", "i8"}};
  CodePath path = isQuick() ? CodePath::reference : CodePath::fused;
  std::vector<ModelCheckRow> rows = checkModel({variant.dump(), committedModel().directory, 0.1, path});
  ASSERT_EQ(rows.size(), 4u);
  for (const ModelCheckRow &row : rows) {
    EXPECT_EQ(row.storage, "i8");
    EXPECT_EQ(row.tolerance, 0.1);
    EXPECT_TRUE(row.pass) << row.phase << " of layer " << row.layer << ": " << row.relativeError;
    // int8 costs more than bf16's tolerance would allow, or the quantisation did not happen.
    EXPECT_GT(row.relativeError, 1e-3);
  }
}

} // namespace tpac::test
