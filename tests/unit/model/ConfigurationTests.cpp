// SPDX-License-Identifier: Apache-2.0
//
// Variants and configurations that do not belong together: the error names the field, what was found, what is accepted.

#include "TestModel.h"

#include "tools/tpac/ModelCheck.h"

#include <fstream>

namespace tpac::test {

namespace {

using Json = nlohmann::json;

/// Changes to t6-mini's variant and configuration, as JSON merge patches (null removes a field).
struct Mismatch {
  const char *name;
  Json variant;
  Json configuration;
  /// How the message goes on after "FILE: " or "variant t6-mini: ".
  bool inFile;
  std::string message;
};

void PrintTo(const Mismatch &mismatch, std::ostream *os) { *os << mismatch.name; }

Json side(const char *headSource, const char *tokenSource) {
  return {{"rank", 2},
          {"head", {{"source", headSource}}},
          {"token", Json::array({{{"source", tokenSource}, {"size", 64}}})}};
}

Json groups(int64_t rank) {
  Json json = side("fixed", "contextual");
  json["rank"] = rank;
  json["head"]["map"] = "groups";
  return json;
}

/// q, k, v of a llama with `groupsOfV` groups of values.
Json llama(int64_t groupsOfV) {
  return {{"q", {{"rank", nullptr}, {"head", nullptr}, {"token", nullptr}, {"dense", 64}}},
          {"k", groups(1)},
          {"v", groups(groupsOfV)}};
}

Json rope(const char *field, Json value) { return {{"rope", {{field, std::move(value)}}}}; }

std::vector<Mismatch> mismatches() {
  const Json none = Json::object();
  const std::string noOthers = ": the published checkpoints hold no others";
  Json order3 = side("contextual", "contextual");
  order3["token"] = {{{"source", "contextual"}, {"size", 64}}, {{"source", "contextual"}, {"size", 1}}};
  return {
      {"heads", {{"heads", 12}}, none, true, "/n_head: found 11, accepted is 12, the heads of variant t6-mini"},
      {"headsMissing",
       none,
       {{"n_head", nullptr}},
       true,
       "/n_head: found nothing, accepted is 11, the heads of variant t6-mini"},
      {"headsText",
       none,
       {{"n_head", "11"}},
       true,
       "/n_head: found \"11\", accepted is 11, the heads of variant t6-mini"},
      {"architecture",
       none,
       {{"architecture", "T5"}},
       true,
       "/architecture: found \"T5\", accepted is \"T6\", the kind of factors of variant t6-mini"},
      {"denseQueries",
       {{"q", llama(1)["q"]}},
       none,
       true,
       "/architecture: found \"T6\", accepted is \"T6_kvonly\", the kind of factors of variant t6-mini"},
      {"llama", llama(1), none, true,
       "/architecture: found \"T6\", accepted is \"llama_gqa\", the kind of factors of variant t6-mini"},
      {"mixedKinds",
       {{"v", groups(2)}},
       none,
       false,
       "/q/head, /k/head, /v/head: found kinds that no known architecture"},
      {"groupSize",
       llama(1),
       {{"architecture", "llama_gqa"}, {"group_size", 4}},
       true,
       "/group_size: found 4, accepted is 11, the heads per group of k of variant t6-mini"},
      {"unequalGroups",
       llama(2),
       {{"architecture", "llama_gqa"}, {"group_size", 11}},
       true,
       "/group_size: found 11, accepted is none: 2 groups of v do not divide 11 heads, the groups of variant t6-mini"},
      {"rankOfK",
       {{"k", {{"rank", 3}}}},
       none,
       true,
       "/rank: found 2, accepted is 3, the rank of k of variant t6-mini"},
      {"rankOfV",
       {{"v", {{"rank", 1}}}},
       none,
       true,
       "/rank: found 2, accepted is 1, the rank of v of variant t6-mini"},
      {"rankOfQ",
       {{"q", {{"rank", 2}}}},
       none,
       true,
       "/q_rank: found 6, accepted is 2, the rank of q of variant t6-mini"},
      {"features",
       none,
       {{"head_dim", 32}},
       true,
       "/head_dim: found 32, accepted is 64, the features of q of variant t6-mini"},
      {"featuresOfV",
       {{"v", {{"token", Json::array({{{"source", "contextual"}, {"size", 48}}})}}}},
       none,
       true,
       "/head_dim: found 64, accepted is 48, the features of v of variant t6-mini"},
      {"order3",
       {{"k", order3}},
       none,
       false,
       "/k/token: found 2 small factors, accepted with --model is 1: the published checkpoints are of order 2"},
      {"learnedHead",
       {{"k", side("learned", "contextual")}},
       none,
       false,
       "/k/head/source: found \"learned\", accepted with --model are \"contextual\" and \"fixed\"" + noOthers},
      {"learnedToken",
       {{"q", side("contextual", "learned")}},
       none,
       false,
       "/q/token/0/source: found \"learned\", accepted with --model is \"contextual\"" + noOthers},
      {"sharedToken",
       {{"v", side("contextual", "shared")}, {"v_sees", "rotated"}},
       none,
       false,
       "/v/token/0/source: found \"shared\", accepted with --model is \"contextual\"" + noOthers},
      {"noRope", {{"rope", nullptr}}, none, true, "/rope: found {\"layout\":"},
      {"ropeMissing",
       none,
       {{"rope", nullptr}},
       true,
       "/rope/theta: found nothing, accepted is 10000.0, the base of variant t6-mini"},
      {"base", rope("base", 500000.0), none, true,
       "/rope/theta: found 10000.0, accepted is 500000.0, the base of variant t6-mini"},
      {"layout", rope("layout", "interleaved"), none, true,
       "/rope/layout: found \"half\", accepted is \"interleaved\", the layout of variant t6-mini"},
      {"direction", rope("direction", 1), none, true,
       "/rope/sign: found \"x1*cos + x2*sin, x2*cos - x1*sin\", accepted is \"x1*cos - x2*sin, x1*sin + x2*cos\", the "
       "direction of variant t6-mini"},
      {"partialRope", rope("d_rot", 32), none, true,
       "/head_dim: found 64, accepted is 32, the rotated features (rope.d_rot) of variant t6-mini"},
      {"frequencies",
       {{"rope", {{"base", nullptr}, {"inv_freq", std::vector<double>(32, 0.5)}}}},
       none,
       false,
       "/rope/inv_freq: found a table, accepted with --model is base"},
      {"amplitude", rope("amplitude", 1.5), none, false, "/rope/amplitude: found 1.5, accepted with --model is 1"},
      {"quantised",
       {{"types", {{"token", "f8E4M3FN"}}}},
       none,
       false,
       "/types/token: found \"f8E4M3FN\", accepted with --model and no tolerance of its own are f64, f32, f16, bf16"},
  };
}

class Mismatches : public ModelCopy, public testing::WithParamInterface<Mismatch> {};

} // namespace

TEST_P(Mismatches, NameTheField) {
  Json variant = config("t6-mini");
  variant.merge_patch(GetParam().variant);
  Json json = configuration();
  json.merge_patch(GetParam().configuration);
  writeConfiguration(json);
  std::string message = thrownBy([&] { checkModel({variant.dump(), directory, std::nullopt}); });
  std::string expected = (GetParam().inFile ? file(".json").string() : "variant t6-mini") + ": " + GetParam().message;
  EXPECT_TRUE(message.starts_with(expected)) << "found:    " << message << "\nexpected: " << expected;
}

INSTANTIATE_TEST_SUITE_P(All, Mismatches, testing::ValuesIn(mismatches()),
                         [](const auto &info) { return std::string(info.param.name); });

using ConfigurationFile = ModelCopy;

TEST_F(ConfigurationFile, MustBeAnObjectInAFile) {
  auto message = [&] { return thrownBy([&] { checkModel({config("t6-mini").dump(), directory, std::nullopt}); }); };
  std::string path = file(".json").string();
  writeConfiguration(Json::array({1}));
  EXPECT_EQ(message(), path + ": found [1], accepted is a JSON object");
  std::ofstream(file(".json")) << "{\"n_head\": ";
  EXPECT_TRUE(message().starts_with(path + ": found no valid JSON: ")) << message();
  std::filesystem::remove(file(".json"));
  EXPECT_EQ(message(), path + ": cannot be opened");
}

TEST_F(ConfigurationFile, InvalidVariantsAreRefused) {
  Json variant = config("t6-mini");
  variant["heads"] = 0;
  std::string message = thrownBy([&] { checkModel({variant.dump(), directory, std::nullopt}); });
  EXPECT_TRUE(message.starts_with("variant: ")) << message;
  EXPECT_NE(message.find("heads"), std::string::npos) << message;
}

} // namespace tpac::test
