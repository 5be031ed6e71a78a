// SPDX-License-Identifier: Apache-2.0
//
// The project phase of random variants against a plain loop over doubles. The loop knows the order of a weight's rows
// from docs/variant.md ("weights.head_factor_rows") and nothing of the compiler.

#include "TestModel.h"

#include "lowering/execute/Executable.h"
#include "safetensors/Convert.h"
#include "tests/property/Random.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>

namespace tpac::test {

namespace {

using Json = nlohmann::json;
using property::Random;
using safetensors::Dtype;

struct StorageType {
  const char *name;
  Dtype dtype;
  /// Half the distance from 1 to the next number; half the smallest positive number.
  double roundoff, underflow;
};

const StorageType storageTypes[] = {{"f64", Dtype::F64, 0x1p-53, 0},
                                    {"f32", Dtype::F32, 0x1p-24, 0x1p-150},
                                    {"bf16", Dtype::BF16, 0x1p-8, 0x1p-134},
                                    {"f16", Dtype::F16, 0x1p-11, 0x1p-25}};

/// A factor that depends on the token: [tokens, ranks, size].
struct Factor {
  std::string name;
  int64_t ranks, size;
  /// Its weight's row of (rank r, element s) is s*ranks + r instead of r*size + s.
  bool headMajor;
};

struct Case {
  Json variant;
  std::vector<Factor> factors;
  StorageType type;
  int64_t tokens, channels;
};

/// A random Q, K or V over `sizes`; adds the factors that project must make.
Json drawSide(Random &random, const std::string &side, const std::vector<int64_t> &sizes, int64_t localHeads,
              const Json &variant, std::vector<Factor> &factors) {
  bool headMajor = variant.at("weights").at("head_factor_rows") == "head_major";
  if (sizes.size() == 1 && random.chance(30)) {
    factors.push_back({side + "_token", localHeads, sizes[0], false});
    return {{"dense", sizes[0]}};
  }
  int64_t rank = random.range(1, 5), localRank = rank;
  Json head = {{"source", random.pick({"contextual", "contextual", "contextual", "learned", "fixed"})}};
  if (head["source"] == "fixed") {
    head["map"] = random.pick({"one_hot", "ones"});
    rank = head["map"] == "ones" ? 1 : variant.at("heads").get<int64_t>();
    localRank = head["map"] == "ones" ? 1 : localHeads;
  }
  if (head["source"] == "contextual")
    factors.push_back({side + "_head", localRank, localHeads, headMajor});
  Json token = Json::array();
  for (size_t i = 0; i < sizes.size(); ++i) {
    // The first one stays contextual: K and V must have something to cache.
    bool learned = i > 0 && random.chance(20);
    token.push_back({{"source", learned ? "learned" : "contextual"}, {"size", sizes[i]}});
    if (!learned)
      factors.push_back({side + "_token" + (sizes.size() == 1 ? "" : std::to_string(i)), localRank, sizes[i], false});
  }
  return {{"rank", rank}, {"head", head}, {"token", token}};
}

Case drawCase(uint64_t seed) {
  Random random(seed);
  Case drawn;
  drawn.type = storageTypes[seed % std::size(storageTypes)];
  drawn.tokens = random.range(0, 6);
  drawn.channels = random.range(0, 40);
  int64_t heads = random.range(1, 13), begin = 0, end = heads;
  if (random.chance(40)) {
    begin = random.range(0, heads - 1);
    end = random.range(begin + 1, heads);
  }
  Json &variant = drawn.variant;
  variant = {{"tpac_variant", 1},
             {"name", "project" + std::to_string(seed)},
             {"heads", heads},
             {"head_range", {begin, end}},
             {"weights", {{"head_factor_rows", seed / 4 % 2 ? "rank_major" : "head_major"}}},
             {"types", {{"activation", drawn.type.name}, {"compute", drawn.type.dtype == Dtype::F64 ? "f64" : "f32"}}}};
  // Q and K have equally many features.
  std::vector<int64_t> sizes = {random.range(1, 9), random.range(1, 5)};
  auto drawSizes = [&] { return random.chance(50) ? sizes : std::vector<int64_t>{sizes[0] * sizes[1]}; };
  variant["q"] = drawSide(random, "q", drawSizes(), end - begin, variant, drawn.factors);
  variant["k"] = drawSide(random, "k", drawSizes(), end - begin, variant, drawn.factors);
  const Json &key = variant["k"];
  if (random.chance(30) && key.contains("token") && key["head"].value("map", "") != "one_hot") {
    // V on K's token factors has a head factor of its own only.
    variant["v"] = {{"rank", key["rank"]}, {"head", {{"source", "contextual"}}}, {"token", key["token"]}};
    for (Json &factor : variant["v"]["token"])
      factor["source"] = "shared";
    drawn.factors.push_back(
        {"v_head", key["rank"].get<int64_t>(), end - begin, variant["weights"]["head_factor_rows"] == "head_major"});
  } else {
    std::vector<int64_t> valueSizes = {random.range(1, 9)};
    while (random.chance(35))
      valueSizes.push_back(random.range(1, 4));
    variant["v"] = drawSide(random, "v", valueSizes, end - begin, variant, drawn.factors);
  }
  return drawn;
}

/// A matrix as a caller may hold it: rows of any distance, NaN between them.
struct Matrix {
  int64_t distance;
  std::vector<std::byte> bytes;
  std::vector<double> values;

  Matrix(Random &random, const StorageType &type, int64_t rows, int64_t columns)
      : distance(columns + random.range(0, 3)) {
    std::vector<double> padded(rows * distance, std::nan(""));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        padded[r * distance + c] = random.signedUnit();
    bytes = safetensors::fromDouble(padded, type.dtype);
    std::vector<double> rounded = safetensors::toDouble({type.dtype, {rows * distance}, bytes});
    for (int64_t r = 0; r < rows; ++r)
      values.insert(values.end(), rounded.begin() + r * distance, rounded.begin() + r * distance + columns);
  }

  std::vector<int64_t> strides() const { return {distance, 1}; }
};

void check(const Case &drawn, Random &random) {
  std::vector<Phase> phases = {Phase::project};
  std::unique_ptr<Executable> executable = Executable::compile(drawn.variant.dump(), phases);
  const PhaseSignature &signature = executable->signature(Phase::project);
  ASSERT_EQ(signature.sizes, (std::vector<std::string>{"tokens", "channels"}));
  ASSERT_EQ(signature.tensors.size(), 1 + 2 * drawn.factors.size());

  PhaseCall call(signature);
  call.setSize("tokens", drawn.tokens);
  call.setSize("channels", drawn.channels);
  Matrix hidden(random, drawn.type, drawn.tokens, drawn.channels);
  call.setTensor("hidden", hidden.bytes.data(), hidden.strides());
  std::vector<Matrix> weights;
  std::vector<std::vector<std::byte>> outputs;
  for (size_t i = 0; i < drawn.factors.size(); ++i) {
    const Factor &factor = drawn.factors[i];
    EXPECT_EQ(signature.tensors[1 + i].name, factor.name + "_weight");
    EXPECT_EQ(signature.tensors[1 + drawn.factors.size() + i].name, factor.name);
    std::vector<int64_t> weightShape = {factor.ranks * factor.size, drawn.channels};
    ASSERT_EQ(call.shapeOf(factor.name + "_weight"), weightShape);
    ASSERT_EQ(call.shapeOf(factor.name), (std::vector<int64_t>{drawn.tokens, factor.ranks, factor.size}));
    weights.emplace_back(random, drawn.type, weightShape[0], weightShape[1]);
    call.setTensor(factor.name + "_weight", weights.back().bytes.data(), weights.back().strides());
    int64_t elements = drawn.tokens * factor.ranks * factor.size;
    outputs.emplace_back(elements * safetensors::dtypeSize(drawn.type.dtype), std::byte{0xff});
    call.setTensor(factor.name, outputs.back().data());
  }
  int32_t status = call.run(executable->function(Phase::project));
  ASSERT_EQ(status, 0) << executable->statusMessage(Phase::project, status);

  for (size_t i = 0; i < drawn.factors.size(); ++i) {
    const Factor &factor = drawn.factors[i];
    std::vector<double> found =
        safetensors::toDouble({drawn.type.dtype, {drawn.tokens, factor.ranks, factor.size}, outputs[i]});
    for (int64_t t = 0; t < drawn.tokens; ++t)
      for (int64_t r = 0; r < factor.ranks; ++r)
        for (int64_t s = 0; s < factor.size; ++s) {
          int64_t row = factor.headMajor ? s * factor.ranks + r : r * factor.size + s;
          double sum = 0, magnitude = 0;
          for (int64_t c = 0; c < drawn.channels; ++c) {
            double term = hidden.values[t * drawn.channels + c] * weights[i].values[row * drawn.channels + c];
            sum += term;
            magnitude += std::fabs(term);
          }
          // Two sums of doubles in any order, then one rounding.
          double bound = drawn.type.roundoff * std::fabs(sum) + drawn.type.underflow +
                         2 * static_cast<double>(drawn.channels) * 0x1p-53 * magnitude;
          // Written so that NaN fails.
          double error = std::fabs(found[(t * factor.ranks + r) * factor.size + s] - sum);
          ASSERT_TRUE(error <= bound) << factor.name << "[" << t << ", " << r << ", " << s << "] is off by " << error
                                      << ", accepted is " << bound;
        }
  }
}

} // namespace

TEST(Project, IsTheMatrixProduct) {
  const int64_t seeds = isQuick() ? 8 : 64;
  int64_t sliced = 0, shared = 0, orderThree = 0, dense = 0, headMajor = 0, rankMajor = 0;
  for (int64_t seed = 0; seed < seeds; ++seed) {
    Case drawn = drawCase(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + drawn.variant.dump() + ", tokens " +
                 std::to_string(drawn.tokens) + ", channels " + std::to_string(drawn.channels));
    Random random(~static_cast<uint64_t>(seed));
    ASSERT_NO_FATAL_FAILURE(check(drawn, random));
    sliced += drawn.variant["head_range"] != Json({0, drawn.variant["heads"]});
    for (const Factor &factor : drawn.factors) {
      orderThree += factor.name.ends_with("_token1");
      (factor.headMajor ? headMajor : rankMajor) +=
          factor.name.ends_with("_head") && factor.ranks > 1 && factor.size > 1;
    }
    const Json &value = drawn.variant["v"];
    shared += value.contains("token") && value["token"][0]["source"] == "shared";
    for (const char *side : {"q", "k", "v"})
      dense += drawn.variant[side].contains("dense");
  }
  // The draws must reach what this test is for.
  EXPECT_GE(shared, seeds / 16);
  for (int64_t count : {sliced, orderThree, dense, headMajor, rankMajor})
    EXPECT_GE(count, seeds / 8);
}

TEST(Project, RowsOfHeadFactorsAsDocumented) {
  // 2 ranks of 3 heads from one channel: weight row i holds i.
  for (auto [order, expected] : {std::pair<const char *, std::vector<double>>{"head_major", {0, 2, 4, 1, 3, 5}},
                                 {"rank_major", {0, 1, 2, 3, 4, 5}}}) {
    Json side = {{"rank", 2},
                 {"head", {{"source", "contextual"}}},
                 {"token", Json::array({{{"source", "contextual"}, {"size", 1}}})}};
    Json variant = {{"tpac_variant", 1},
                    {"name", "rows"},
                    {"heads", 3},
                    {"q", side},
                    {"k", side},
                    {"v", side},
                    {"types", {{"activation", "f64"}, {"compute", "f64"}}},
                    {"weights", {{"head_factor_rows", order}}}};
    std::vector<Phase> phases = {Phase::project};
    std::unique_ptr<Executable> executable = Executable::compile(variant.dump(), phases);
    PhaseCall call(executable->signature(Phase::project));
    call.setSize("tokens", 1);
    call.setSize("channels", 1);
    double one = 1;
    std::vector<double> weight = {0, 1, 2, 3, 4, 5}, head(6), token(2);
    call.setTensor("hidden", &one);
    for (const char *name : {"q", "k", "v"}) {
      call.setTensor(std::string(name) + "_head_weight", weight.data());
      call.setTensor(std::string(name) + "_token_weight", weight.data());
      call.setTensor(std::string(name) + "_token", token.data());
      call.setTensor(std::string(name) + "_head", head.data());
    }
    EXPECT_EQ(call.run(executable->function(Phase::project)), 0);
    EXPECT_EQ(head, expected) << order;
    EXPECT_EQ(token, (std::vector<double>{0, 1})) << order;
  }
}

} // namespace tpac::test
