// SPDX-License-Identifier: Apache-2.0
//
// What readVariant refuses, and the messages: file, JSON path, what was found, what is accepted.

#include "TestVariants.h"

#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::tpa;
using Json = nlohmann::ordered_json;

namespace {

/// smallVariant with the value at `path` (a JSON pointer) replaced by `text`, which need not be JSON; the part is taken
/// out where `text` is empty.
std::string changed(const std::string &path, const std::string &text) {
  Json json = Json::parse(tests::smallVariant);
  Json::json_pointer pointer(path);
  if (text.empty()) {
    json.at(pointer.parent_pointer()).erase(pointer.back());
    return json.dump();
  }
  json[pointer] = "@";
  std::string result = json.dump();
  return result.replace(result.find("\"@\""), 3, text);
}

std::string errorOf(StringRef text) {
  MLIRContext context;
  std::string error;
  EXPECT_FALSE(tests::read(text, context, error)) << text.str();
  return error;
}

struct Broken {
  const char *path;
  const char *value;
  /// The whole message but for "test.json: ".
  const char *error;
};

const Broken brokenValues[] = {
    // Kinds and values.
    {"/k/token/0/size", "\"64\"",
     "$.k.token[0].size: found \"64\" (string), accepted: an integer between 1 and 1048576"},
    {"/k/token/0/size", "64.0", "$.k.token[0].size: found 64.0 (number), accepted: an integer between 1 and 1048576"},
    {"/heads", "1e1", "$.heads: found 1e1 (number), accepted: an integer between 1 and 1048576"},
    {"/heads", "null", "$.heads: found null, accepted: an integer between 1 and 1048576"},
    {"/heads", "9223372036854775808",
     "$.heads: found 9223372036854775808 (beyond 64 bits), accepted: an integer between 1 and 1048576"},
    {"/heads", "-123456789012345678901234567890",
     "$.heads: found -123456789012345678901234567890 (beyond 64 bits), accepted: an integer between 1 and 1048576"},
    {"/window", "true", "$.window: found true (boolean), accepted: an integer >= 1"},
    {"/name", "7", "$.name: found 7 (integer), accepted: a letter, then letters, digits, '_', '.' or '-'"},
    {"/causal", "1", "$.causal: found 1 (integer), accepted: true, false"},
    {"/causal", "\"true\"", "$.causal: found \"true\" (string), accepted: true, false"},
    {"/scale", "\"0.1\"", "$.scale: found \"0.1\" (string), accepted: a finite number > 0"},
    {"/softcap", "null", "$.softcap: found null, accepted: a finite number > 0"},
    {"/q", "[]", "$.q: found an array of 0, accepted: an object with rank, head and token, or with dense alone"},
    {"/q/head", "\"contextual\"",
     "$.q.head: found \"contextual\" (string), accepted: an object with source and, where they apply, map or function"},
    {"/q/token", "{}", "$.q.token: found an object, accepted: a list of objects with source and size"},
    {"/q/token/0", "32", "$.q.token[0]: found 32 (integer), accepted: an object with source and size"},
    {"/q/normalized", "0", "$.q.normalized: found 0 (integer), accepted: true, false"},
    {"/rope", "null", "$.rope: found null, accepted: an object with d_rot (leave rope out for none)"},
    {"/rope/inv_freq", "1", "$.rope.inv_freq: found 1 (integer), accepted: a list of d_rot/2 finite numbers"},
    {"/rope/inv_freq", "[1, \"x\"]", "$.rope.inv_freq[1]: found \"x\" (string), accepted: a finite number"},
    {"/head_range", "3",
     "$.head_range: found 3 (integer), accepted: [begin, end], two integers with 0 <= begin < end <= heads"},
    {"/head_range", "[0, 1, 2]",
     "$.head_range: found an array of 3, accepted: [begin, end], two integers with 0 <= begin < end <= heads"},
    {"/head_range", "[0, 1.5]",
     "$.head_range[1]: found 1.5 (number), accepted: an integer, one past the last head computed here"},
    {"/types", "\"f32\"",
     "$.types: found \"f32\" (string), accepted: an object with activation, head, token, output or compute"},
    {"/weights", "[]", "$.weights: found an array of 0, accepted: an object with head_factor_rows"},
    {"/tpac_variant", "2", "$.tpac_variant: found 2 (integer), accepted: 1, the version of the format"},
    {"/tpac_variant", "1.0", "$.tpac_variant: found 1.0 (number), accepted: 1, the version of the format"},
    {"/tpac_variant", "\"1\"", "$.tpac_variant: found \"1\" (string), accepted: 1, the version of the format"},
    // Names.
    {"/q/head/source", "\"contextul\"",
     "$.q.head.source: found \"contextul\" (string), accepted: contextual, learned, fixed; did you mean contextual?"},
    {"/q/head/function", "\"relu\"",
     "$.q.head.function: found \"relu\" (string), accepted: identity, sigmoid, softmax"},
    {"/q/head/map", "\"onehot\"",
     "$.q.head.map: found \"onehot\" (string), accepted: one_hot, groups, ones; did you mean one_hot?"},
    {"/rope/layout", "\"Half\"",
     "$.rope.layout: found \"Half\" (string), accepted: half, interleaved; did you mean half?"},
    {"/v_sees", "true", "$.v_sees: found true (boolean), accepted: rotated, unrotated"},
    {"/query_precision", "\"double\"", "$.query_precision: found \"double\" (string), accepted: full, storage"},
    {"/types/activation", "\"float32\"",
     "$.types.activation: found \"float32\" (string), accepted: f64, f32, bf16, f16"},
    {"/types/token", "\"f8e4m3fn\"",
     "$.types.token: found \"f8e4m3fn\" (string), accepted: f64, f32, bf16, f16, f8E4M3FN, i8; did you mean f8E4M3FN?"},
    {"/weights/head_factor_rows", "\"heads_major\"",
     "$.weights.head_factor_rows: found \"heads_major\" (string), accepted: head_major, rank_major; did you mean "
     "head_major?"},
    // Missing and unknown fields.
    {"/name", "",
     "$.name: found nothing (the field is required), accepted: a letter, then letters, digits, '_', '.' or "
     "'-'"},
    {"/heads", "", "$.heads: found nothing (the field is required), accepted: an integer between 1 and 1048576"},
    {"/tpac_variant", "",
     "$.tpac_variant: found nothing (the field is required), accepted: 1, the version of the format"},
    {"/v", "",
     "$.v: found nothing (the field is required), accepted: an object with rank, head and token, or with dense "
     "alone"},
    {"/q/rank", "", "$.q.rank: found nothing (the field is required), accepted: an integer between 1 and 1048576"},
    {"/q/head", "", "$.q.head: found nothing (the field is required), accepted: an object with source"},
    {"/q/head/source", "",
     "$.q.head.source: found nothing (the field is required), accepted: contextual, learned, fixed"},
    {"/q/token", "",
     "$.q.token: found nothing (the field is required), accepted: a list of objects with source and size"},
    {"/rope/d_rot", "",
     "$.rope.d_rot: found nothing (the field is required), accepted: an even integer between 2 and 1048576"},
    {"/q/ranks", "4",
     "$.q.ranks: found an unknown field, accepted: rank, normalized, head, token, dense; did you mean rank?"},
    {"/q/a b", "4", "$.q[\"a b\"]: found an unknown field, accepted: rank, normalized, head, token, dense"},
    {"/q/token/0/sise", "4", "$.q.token[0].sise: found an unknown field, accepted: source, size; did you mean size?"},
    {"/heads_range", "[0, 1]",
     "$.heads_range: found an unknown field, accepted: tpac_variant, name, heads, head_range, q, k, v, rope, v_sees, "
     "scale, softcap, causal, window, query_precision, types, weights; did you mean head_range?"},
    {"/v/rank", "6", "$.v.rank: found a field beside dense, accepted: dense alone"},
    {"/types/values", "\"f32\"",
     "$.types.values: found an unknown field, accepted: activation, head, token, output, compute"},
    // Rules of the attributes' verifiers, at the right path.
    {"/heads", "0", "$.heads: expected an integer between 1 and 1048576, got 0 [H1]"},
    {"/head_range", "[4, 4]", "$.head_range: expected 0 <= begin < end <= 6, got [4, 4] [H2]"},
    {"/q/rank", "0", "$.q.rank: expected an integer between 1 and 1048576, got 0 [F1]"},
    {"/k/token/0/size", "0", "$.k.token[0].size: expected an integer between 1 and 1048576, got 0 [B2]"},
    {"/k/token/0/size", "1048577", "$.k.token[0].size: expected an integer between 1 and 1048576, got 1048577 [B2]"},
    {"/v/dense", "-1", "$.v.dense: expected an integer between 1 and 1048576, got -1 [B2]"},
    {"/q/token", "[]", "$.q.token: expected at least one small factor, got none [F3]"},
    {"/k", "{\"dense\": 16}", "$.k.dense: expected sizes whose product is q's, 32, got 16 [V10]"},
    {"/rope/d_rot", "31", "$.rope.d_rot: expected an even integer between 2 and 1048576, got 31 [R2]"},
    {"/rope/direction", "0", "$.rope.direction: expected 1 or -1, got 0 [R1]"},
    {"/rope/d_rot", "34",
     "$.rope.d_rot: expected offset + d_rot at most 32, the features of the factor rotated, got 0 + 34 [V12]"},
    {"/rope/inv_freq", "[1.0]", "$.rope.inv_freq: expected d_rot/2 = 16 frequencies, got 1 [R6]"},
    {"/name", "\"9\"", "$.name: expected a letter, then letters, digits, '_', '.' or '-', got \"9\" [V1]"},
    {"/window", "0", "$.window: expected an integer >= 1, got 0 [V16]"},
    {"/types/compute", "\"bf16\"", "$.types.compute: expected f32 or f64, got 'bf16' [T3]"},
    {"/types/head", "\"f64\"", "$.types.compute: expected f64 where another type is f64, got 'f32' [T4]"},
};

} // namespace

TEST(ReadVariant, SaysWhatIsWrong) {
  for (const Broken &broken : brokenValues) {
    SCOPED_TRACE(std::string(broken.path) + " = " + broken.value);
    EXPECT_EQ(errorOf(changed(broken.path, broken.value)), std::string("test.json: ") + broken.error);
  }
}

TEST(ReadVariant, SaysWhichRuleOfTheVerifierIsBroken) {
  const Broken rules[] = {
      {"/q/head/source", "\"shared\"", "$.q.head.source: "},
      {"/q/head/source", "\"fixed\"", "$.q.head.map: "},
      {"/q/head/map", "\"ones\"", "$.q.head.map: "},
      {"/q/token/0/source", "\"fixed\"", "$.q.token[0].source: "},
      {"/q/token/0/source", "\"shared\"", "$.q.token[0].source: "},
      {"/k/head", "{\"source\": \"fixed\", \"map\": \"ones\"}", "$.k.rank: "},
      {"/k/head", "{\"source\": \"fixed\", \"map\": \"one_hot\"}", "$.k.rank: "},
      {"/rope", "{\"d_rot\": 2, \"base\": 1, \"inv_freq\": [1]}", "$.rope.base: "},
      {"/rope/base", "-1", "$.rope.base: "},
      {"/rope/amplitude", "0.0", "$.rope.amplitude: "},
      {"/types/activation", "\"i8\"", "$.types.activation: "},
      {"/v_sees", "\"rotated\"", "$.v_sees: "},
      {"/scale", "0", "$.scale: "},
      {"/scale", "1e-400", "$.scale: "},
      {"/softcap", "-0.0", "$.softcap: "},
  };
  for (const Broken &broken : rules) {
    SCOPED_TRACE(std::string(broken.path) + " = " + broken.value);
    std::string error = errorOf(changed(broken.path, broken.value));
    EXPECT_TRUE(StringRef(error).starts_with(std::string("test.json: ") + broken.error)) << error;
    EXPECT_TRUE(StringRef(error).contains(": expected ")) << error;
    EXPECT_TRUE(StringRef(error).ends_with("]")) << error;
  }
}

TEST(ReadVariant, ReportsAllFaultsOfAText) {
  Json json = Json::parse(tests::smallVariant);
  json["q"]["rank"] = "4";
  json["k"]["token"][0]["size"] = 0;
  json["rope"].erase("d_rot");
  json["windwo"] = 3;
  EXPECT_EQ(errorOf(json.dump()),
            "test.json: $.windwo: found an unknown field, accepted: tpac_variant, name, heads, head_range, q, k, v, "
            "rope, v_sees, scale, softcap, causal, window, query_precision, types, weights; did you mean window?\n"
            "test.json: $.q.rank: found \"4\" (string), accepted: an integer between 1 and 1048576\n"
            "test.json: $.k.token[0].size: expected an integer between 1 and 1048576, got 0 [B2]\n"
            "test.json: $.rope.d_rot: found nothing (the field is required), accepted: an even integer between 2 and "
            "1048576");
  // Fields of another version mean nothing here.
  json["tpac_variant"] = 2;
  EXPECT_EQ(errorOf(json.dump()),
            "test.json: $.tpac_variant: found 2 (integer), accepted: 1, the version of the format");
}

TEST(ReadVariant, RefusesRepeatedKeys) {
  std::string text = tests::smallVariant;
  std::string twice = text;
  twice.insert(twice.find("\"heads\""), "\"name\": \"small\", ");
  EXPECT_EQ(errorOf(twice), "test.json: $.name: found the field twice, accepted: once");
  twice = text;
  twice.insert(twice.find("\"rank\": 2"), "\"rank\": 2, \"rank\": 2, ");
  EXPECT_EQ(errorOf(twice), "test.json: $.k.rank: found the field twice, accepted: once");
  EXPECT_EQ(errorOf(changed("/v", "{\"dense\": 16, \"dense\": 16}")),
            "test.json: $.v.dense: found the field twice, accepted: once");
  // Keys are compared as decoded.
  EXPECT_EQ(errorOf(changed("/v", "{\"dense\": 16, \"\\u0064ense\": 16}")),
            "test.json: $.v.dense: found the field twice, accepted: once");
}

TEST(ReadVariant, PlacesSyntaxErrors) {
  const std::pair<const char *, const char *> texts[] = {
      {"", "test.json:1:1: "},
      {" \n\n ", "test.json:3:2: "},
      {"{", "test.json:1:2: "},
      {"{\n  \"a\": 1,\n}", "test.json:3:1: "},
      {"{\n  \"a\": 1\n  \"b\": 2}", "test.json:3:5: "},
      {"{} x", "test.json:1:4: "},
      {"{}{}", "test.json:1:3: "},
      {"{\"a\": NaN}", "test.json:1:7: "},
      {"{\"a\": -Infinity}", "test.json:1:8: "},
      {"{\"a\": 01}", "test.json:1:8: "},
      {"{'a': 1}", "test.json:1:2: "},
      {"// comment\n{}", "test.json:1:1: "},
      {"{\"a\": \"\n\"}", "test.json:"},
      {"{\"a\": \"\xff\"}", "test.json:1:8: "},
  };
  for (const auto &[text, start] : texts) {
    std::string error = errorOf(text);
    EXPECT_TRUE(StringRef(error).starts_with(start)) << text << ": " << error;
    EXPECT_FALSE(StringRef(error).contains("json.exception")) << error;
    EXPECT_FALSE(StringRef(error).contains("parse error at")) << error;
  }
  EXPECT_NE(errorOf(changed("/scale", "1e400")).find("1e400"), std::string::npos);
}

TEST(ReadVariant, RefusesOddTexts) {
  EXPECT_EQ(errorOf("null"), "test.json: $: found null, accepted: an object");
  EXPECT_EQ(errorOf("[]"), "test.json: $: found an array of 0, accepted: an object");
  EXPECT_EQ(errorOf("[{}, {}]"), "test.json: $: found an array of 2, accepted: an object");
  EXPECT_EQ(errorOf("\"variant\""), "test.json: $: found \"variant\" (string), accepted: an object");
  EXPECT_EQ(errorOf("1"), "test.json: $: found 1 (integer), accepted: an object");
  EXPECT_EQ(errorOf("{}"), "test.json: $.tpac_variant: found nothing (the field is required), accepted: 1, the version "
                           "of the format");
  EXPECT_FALSE(errorOf(StringRef("\0\0\0", 3)).empty());
  // A long string is cut, and what is not printable is escaped.
  std::string error = errorOf(changed("/q/head/source", "\"\\u0007" + std::string(1000, 'x') + "\""));
  EXPECT_NE(error.find("\"\\u0007xxx"), std::string::npos) << error;
  EXPECT_LT(error.size(), 200u);
}

TEST(ReadVariant, SurvivesDeepNesting) {
  for (size_t depth : {size_t(65), size_t(10000), size_t(1000000)}) {
    std::string objects;
    for (size_t i = 0; i < depth; ++i)
      objects += "{\"a\":";
    EXPECT_EQ(errorOf(std::string(depth, '[')),
              "test.json: found values nested deeper than 64 levels, accepted: at most 64");
    EXPECT_EQ(errorOf(objects), "test.json: found values nested deeper than 64 levels, accepted: at most 64");
    EXPECT_EQ(errorOf(changed("/rope", std::string(depth, '[') + std::string(depth, ']'))),
              "test.json: found values nested deeper than 64 levels, accepted: at most 64");
  }
  EXPECT_EQ(errorOf(std::string(64, '[') + std::string(64, ']')),
            "test.json: $: found an array of 1, accepted: an object");
}

TEST(ReadVariant, FillsDefaultsIn) {
  MLIRContext context;
  VariantAttr variant = tests::read(tests::smallVariant, context);
  ASSERT_TRUE(variant);
  EXPECT_TRUE(variant.getHeads().isWhole());
  EXPECT_TRUE(variant.getQ().getNormalized());
  EXPECT_EQ(variant.getQ().getHead().getFunction(), HeadFunction::identity);
  EXPECT_EQ(variant.getV(), FactorizationAttr::get(&context, 6, 16));
  EXPECT_EQ(variant.getRope().getLayout(), RopeLayout::half);
  EXPECT_EQ(variant.getRope().getDirection(), -1);
  EXPECT_EQ(variant.getRope().getOffset(), 0);
  EXPECT_EQ(variant.getRope().getBase().getValueAsDouble(), 10000.0);
  EXPECT_FALSE(variant.getRope().getInvFreq());
  EXPECT_FALSE(variant.getRope().getAmplitude());
  EXPECT_FALSE(variant.getVSees());
  EXPECT_FALSE(variant.getScale());
  EXPECT_FALSE(variant.getSoftcap());
  EXPECT_TRUE(variant.getCausal());
  EXPECT_FALSE(variant.getWindow());
  EXPECT_EQ(variant.getQueryPrecision(), QueryPrecision::full);
  EXPECT_EQ(variant.getHeadFactorRows(), WeightRows::head_major);
  Type bf16 = BFloat16Type::get(&context);
  EXPECT_EQ(variant.getTypes(), TypesAttr::get(&context, bf16, bf16, bf16, bf16, Float32Type::get(&context)));
  EXPECT_FALSE(tests::read(changed("/rope", ""), context).getRope());
  EXPECT_EQ(tests::read(changed("/types", "{}"), context), variant);
  EXPECT_EQ(tests::read(changed("/weights", "{}"), context), variant);
}

TEST(ReadVariant, AcceptsTheLargestSizes) {
  MLIRContext context;
  // The bound that messages about kinds state is the verifier's.
  EXPECT_TRUE(tests::read(changed("/v/dense", "1048576"), context));
  EXPECT_NE(errorOf(changed("/v/dense", "1048577")).find("an integer between 1 and 1048576"), std::string::npos);
}

TEST(ReadVariant, LeavesOtherDiagnosticsAlone) {
  MLIRContext context;
  int seen = 0;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &) { ++seen; });
  std::string error;
  EXPECT_FALSE(tests::read(changed("/heads", "0"), context, error));
  EXPECT_EQ(seen, 0);
  emitError(UnknownLoc::get(&context)) << "another";
  EXPECT_EQ(seen, 1);
}
