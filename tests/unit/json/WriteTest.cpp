// SPDX-License-Identifier: Apache-2.0
//
// The text that writeVariant makes, and that reading it gives the same variant in every field.

#include "TestVariants.h"

#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::tpa;
using Json = nlohmann::ordered_json;

TEST(WriteVariant, SpellsDefaultsOut) {
  MLIRContext context;
  VariantAttr variant = tests::read(tests::smallVariant, context);
  ASSERT_TRUE(variant);
  EXPECT_EQ(writeVariant(variant), R"({
  "tpac_variant": 1,
  "name": "small",
  "heads": 6,
  "q": {
    "rank": 4,
    "normalized": true,
    "head": {"source": "contextual", "function": "identity"},
    "token": [{"source": "contextual", "size": 32}]
  },
  "k": {
    "rank": 2,
    "normalized": true,
    "head": {"source": "learned", "function": "identity"},
    "token": [{"source": "contextual", "size": 32}]
  },
  "v": {"dense": 16},
  "rope": {"layout": "half", "direction": -1, "base": 10000.0, "d_rot": 32, "offset": 0},
  "causal": true,
  "query_precision": "full",
  "types": {"activation": "bf16", "head": "bf16", "token": "bf16", "output": "bf16", "compute": "f32"},
  "weights": {"head_factor_rows": "head_major"}
}
)");
}

TEST(WriteVariant, ReadsBackWithEveryFieldChanged) {
  MLIRContext context;
  const std::pair<const char *, Json> changes[] = {
      {"/name", "a_b.c-9"},
      {"/head_range", {1, 5}},
      {"/head_range", {0, 6}},
      {"/q/normalized", false},
      {"/q/head/function", "softmax"},
      {"/k/head", {{"source", "fixed"}, {"map", "groups"}}},
      {"/v",
       {{"rank", 6},
        {"normalized", false},
        {"head", {{"source", "fixed"}, {"map", "one_hot"}}},
        {"token", {{{"source", "contextual"}, {"size", 16}}}}}},
      {"/v/dense", 7},
      {"/rope/layout", "interleaved"},
      {"/rope/direction", 1},
      {"/rope/base", 500000},
      {"/rope/base", 1e-300},
      {"/rope", {{"d_rot", 8}, {"offset", 24}}},
      {"/rope", {{"d_rot", 4}, {"inv_freq", {1, 0.1}}}},
      {"/rope", {{"d_rot", 4}, {"inv_freq", {-1.5, 1.0 / 3.0}}, {"amplitude", 1.1386294361119891}}},
      {"/rope/amplitude", 1},
      {"/scale", 0.1},
      {"/scale", 0.07216878364870322},
      {"/softcap", 30},
      {"/causal", false},
      {"/window", 1},
      {"/window", int64_t(9223372036854775807)},
      {"/query_precision", "storage"},
      {"/types", {{"activation", "f64"}, {"compute", "f64"}}},
      {"/types", {{"activation", "f16"}, {"head", "f32"}, {"token", "i8"}, {"output", "f32"}}},
      {"/types/token", "f8E4M3FN"},
      {"/weights/head_factor_rows", "rank_major"},
  };
  VariantAttr whole = tests::read(tests::smallVariant, context);
  for (const auto &[path, value] : changes) {
    SCOPED_TRACE(std::string(path) + " = " + value.dump());
    Json json = Json::parse(tests::smallVariant);
    json[Json::json_pointer(path)] = value;
    VariantAttr variant = tests::read(json.dump(), context);
    ASSERT_TRUE(variant);
    std::string text = writeVariant(variant);
    EXPECT_EQ(tests::read(text, context), variant) << text;
    EXPECT_EQ(variant == whole, value == Json({0, 6}));
  }
}

TEST(WriteVariant, LeavesOutWhatIsAbsent) {
  MLIRContext context;
  Json json = Json::parse(tests::smallVariant);
  json.erase("rope");
  Json written = Json::parse(writeVariant(tests::read(json.dump(), context)));
  for (const char *key : {"head_range", "rope", "v_sees", "scale", "softcap", "window"})
    EXPECT_FALSE(written.contains(key)) << key;
  json["head_range"] = {0, 6};
  EXPECT_FALSE(Json::parse(writeVariant(tests::read(json.dump(), context))).contains("head_range"));
  json["head_range"] = {0, 5};
  EXPECT_EQ(Json::parse(writeVariant(tests::read(json.dump(), context))).at("head_range"), Json({0, 5}));
}

TEST(WriteVariant, WritesDenseOnlyWhereNormalized) {
  MLIRContext context;
  Json json = Json::parse(tests::smallVariant);
  json["v"] = {{"rank", 6},
               {"head", {{"source", "fixed"}, {"map", "one_hot"}}},
               {"token", {{{"source", "contextual"}, {"size", 16}}}}};
  EXPECT_EQ(tests::read(json.dump(), context), tests::read(tests::smallVariant, context));
  EXPECT_EQ(Json::parse(writeVariant(tests::read(json.dump(), context))).at("v"), Json({{"dense", 16}}));
  json["v"]["normalized"] = false;
  Json written = Json::parse(writeVariant(tests::read(json.dump(), context))).at("v");
  EXPECT_EQ(written.at("normalized"), false);
  EXPECT_EQ(written.at("head"), Json({{"source", "fixed"}, {"map", "one_hot"}}));
}
