// SPDX-License-Identifier: Apache-2.0
//
// The oracle's attention and merge, against numbers worked out by hand, textbook attention and identities.

#include "tests/oracle/TestSupport.h"

#include <gtest/gtest.h>

#include <limits>

using namespace oracle;
using namespace oracle::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// One head and one feature: K = k_token_cache, V = v_token_cache, L = q k, all head factors 1.
std::string scalar(const std::string &rest) {
  return R"("heads": 1, "q": {"dense": 1}, "k": {"dense": 1}, "v": {"dense": 1})" + rest;
}

Attention scalarAttention(const std::string &rest, std::vector<double> queries, std::vector<double> keys,
                          std::vector<double> values) {
  Variant variant = variantOf(scalar(rest));
  auto tokens = static_cast<int64_t>(queries.size());
  auto length = static_cast<int64_t>(keys.size());
  Sizes sizes{tokens, 1, length};
  Tensors tensors;
  tensors["q_token"] = tensorOf({tokens, 1, 1}, std::move(queries));
  tensors["k_token_cache"] = tensorOf({1, length, 1, 1}, std::move(keys));
  tensors["v_token_cache"] = tensorOf({1, length, 1, 1}, std::move(values));
  tensors["token_start"] = tensorOf({2}, {0, static_cast<double>(tokens)});
  tensors["lengths"] = tensorOf({1}, {static_cast<double>(length)});
  return attention(variant, sizes, tensors);
}

TEST(Attention, ByHand) {
  // exp: 1, 3; probabilities 1/4, 3/4.
  Attention result = scalarAttention("", {1.0}, {0.0, std::log(3.0)}, {4.0, 8.0});
  EXPECT_NEAR(result.out.data[0], 7.0, 1e-14);
  EXPECT_NEAR(result.lse.data[0], std::log(4.0), 1e-15);
  EXPECT_NEAR(result.maxLogit.data[0], std::log(3.0), 1e-15);
}

TEST(Attention, SoftcapThenMask) {
  Attention result = scalarAttention(R"(, "softcap": 2)", {1.0}, {0.0, 3.0}, {4.0, 8.0});
  double logit = 2 * std::tanh(1.5);
  double p = std::exp(logit) / (1 + std::exp(logit));
  EXPECT_NEAR(result.out.data[0], 4 * (1 - p) + 8 * p, 1e-14);
  EXPECT_NEAR(result.lse.data[0], std::log(1 + std::exp(logit)), 1e-15);
}

TEST(Attention, ExtremeLogits) {
  Attention result = scalarAttention("", {1000.0}, {1.0, 0.999, -1.0}, {4.0, 8.0, 100.0});
  double p = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(result.out.data[0], 4 * p + 8 * (1 - p), 1e-11);
  EXPECT_NEAR(result.lse.data[0], 1000 + std::log(1 + std::exp(-1.0)), 1e-10);
}

/// Equal logits: O is the mean of the values seen, so that powers of two tell which ones.
TEST(Attention, CausalStandsAtTheEnd) {
  std::vector<double> values = {1, 2, 4, 8};
  auto means = [&](const std::string &rest, size_t queries, size_t length) {
    Attention result = scalarAttention(rest, std::vector<double>(queries, 0.0), std::vector<double>(length, 1.0),
                                       {values.begin(), values.begin() + static_cast<long>(length)});
    return result.out.data;
  };
  auto expectMeans = [](const std::vector<double> &found, const std::vector<double> &expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], 1e-14) << "row " << i;
  };
  expectMeans(means("", 2, 4), {7.0 / 3, 15.0 / 4});
  expectMeans(means("", 1, 4), {15.0 / 4});
  expectMeans(means("", 3, 1), {0, 0, 1});
  expectMeans(means(R"(, "causal": false)", 3, 2), {1.5, 1.5, 1.5});
  expectMeans(means(R"(, "window": 2)", 2, 4), {3, 6});
  expectMeans(means(R"(, "window": 1)", 4, 4), {1, 2, 4, 8});
  expectMeans(means(R"(, "window": 9)", 2, 4), {7.0 / 3, 15.0 / 4});
  expectMeans(means(R"(, "window": 3, "causal": false)", 2, 4), {14.0 / 3, 14.0 / 3});
}

TEST(Attention, RowsThatSeeNothing) {
  Attention result = scalarAttention("", {1, 1, 1}, {2.0}, {5.0});
  EXPECT_EQ(result.out.data, (std::vector<double>{0, 0, 5}));
  EXPECT_EQ(result.lse.data[0], -infinity);
  EXPECT_EQ(result.lse.data[1], -infinity);
  EXPECT_EQ(result.lse.data[2], 2.0);
  Attention empty = scalarAttention(R"(, "causal": false)", {1}, {}, {});
  EXPECT_EQ(empty.out.data[0], 0.0);
  EXPECT_EQ(empty.lse.data[0], -infinity);
}

// Ranks 2 and 3, by the definition of the factorisation written out in numbers.
TEST(Attention, RankSumsAndTheirScales) {
  std::string fields = R"("heads": 1, "causal": false,
      "q": {"rank": 2, "normalized": true, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 1}]},
      "k": {"rank": 3, "normalized": true, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 1}]},
      "v": {"rank": 2, "normalized": true, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 1}]})";
  Tensors tensors;
  tensors["q_head"] = tensorOf({1, 2, 1}, {1, 2});
  tensors["q_token"] = tensorOf({1, 2, 1}, {3, 5}); // Q = (3 + 10) / 2
  tensors["k_head_cache"] = tensorOf({1, 1, 3, 1}, {1, -1, 2});
  tensors["k_token_cache"] = tensorOf({1, 1, 3, 1}, {2, 4, 5}); // K = (2 - 4 + 10) / 3
  tensors["v_head_cache"] = tensorOf({1, 1, 2, 1}, {3, 1});
  tensors["v_token_cache"] = tensorOf({1, 1, 2, 1}, {7, -1}); // V = (21 - 1) / 2
  tensors["token_start"] = tensorOf({2}, {0, 1});
  tensors["lengths"] = tensorOf({1}, {1});
  auto run = [&](const std::string &text) { return attention(variantOf(text), {1, 1, 1}, tensors); };
  EXPECT_NEAR(run(fields).lse.data[0], 6.5 * 8.0 / 3, 1e-13);
  EXPECT_NEAR(run(fields).out.data[0], 10.0, 1e-14);
  // An explicit scale multiplies the raw sums 13 and 8.
  EXPECT_NEAR(run(fields + R"(, "scale": 0.25)").lse.data[0], 0.25 * 13 * 8, 1e-13);
  EXPECT_NEAR(run(fields + R"(, "scale": 0.25)").out.data[0], 10.0, 1e-14);
  std::string folded = fields;
  for (size_t at; (at = folded.find("true")) != std::string::npos;)
    folded.replace(at, 4, "false");
  EXPECT_NEAR(run(folded).lse.data[0], 13 * 8, 1e-13);
  EXPECT_NEAR(run(folded).out.data[0], 20.0, 1e-14);
  // The rounded query is s_Q times the sum: 6.5 + 2^-9 is no bf16 number.
  tensors["q_token"] = tensorOf({1, 2, 1}, {3 + std::ldexp(1.0, -8), 5});
  std::string rounded = R"(, "query_precision": "storage", "scale": 1, "types": {"activation": "bf16"})";
  EXPECT_EQ(run(fields + rounded).lse.data[0], 6.5 * 2 * 8);
}

TEST(Attention, VecStacksColumns) {
  // Fourth order against the same token factor composed by hand: B[i + 2*(j + 3*k)] = b[i] c[j] e[k].
  std::string small = R"("heads": 1, "scale": 1, "q": {"dense": 12}, "v": {"dense": 1}, "k": {"rank": 1,
      "head": {"source": "fixed", "map": "ones"}, "token": [{"source": "contextual", "size": 2},
      {"source": "contextual", "size": 3}, {"source": "contextual", "size": 2}]})";
  Variant variant = variantOf(small);
  for (int64_t feature = 0; feature < 12; ++feature) {
    Tensors tensors;
    Tensor query({1, 1, 12});
    query.at({0, 0, feature}) = 1.0;
    tensors["q_token"] = query;
    tensors["k_token0_cache"] = tensorOf({1, 1, 1, 2}, {2, 3});
    tensors["k_token1_cache"] = tensorOf({1, 1, 1, 3}, {5, 7, 11});
    tensors["k_token2_cache"] = tensorOf({1, 1, 1, 2}, {13, 17});
    tensors["v_token_cache"] = tensorOf({1, 1, 1, 1}, {1});
    tensors["token_start"] = tensorOf({2}, {0, 1});
    tensors["lengths"] = tensorOf({1}, {1});
    std::vector<double> expected = {2 * 5 * 13, 3 * 5 * 13, 2 * 7 * 13, 3 * 7 * 13, 2 * 11 * 13, 3 * 11 * 13,
                                    2 * 5 * 17, 3 * 5 * 17, 2 * 7 * 17, 3 * 7 * 17, 2 * 11 * 17, 3 * 11 * 17};
    EXPECT_EQ(attention(variant, {1, 1, 1}, tensors).lse.data[0], expected[feature]);
  }
}

/// Textbook causal attention of head h over K and V heads h / groupSize; [N, heads, D] and [M, keyHeads, D].
Tensor textbook(const Tensor &q, const Tensor &k, const Tensor &v, int64_t groupSize) {
  int64_t queries = q.shape[0], heads = q.shape[1], features = q.shape[2], length = k.shape[0];
  Tensor out({queries, heads, v.shape[2]});
  for (int64_t n = 0; n < queries; ++n)
    for (int64_t h = 0; h < heads; ++h) {
      double sum = 0.0;
      for (int64_t m = 0; m <= length - queries + n; ++m) {
        double dot = 0.0;
        for (int64_t d = 0; d < features; ++d)
          dot += q.at({n, h, d}) * k.at({m, h / groupSize, d});
        double weight = std::exp(dot / std::sqrt(features));
        sum += weight;
        for (int64_t e = 0; e < v.shape[2]; ++e)
          out.at({n, h, e}) += weight * v.at({m, h / groupSize, e});
      }
      for (int64_t e = 0; e < v.shape[2]; ++e)
        out.at({n, h, e}) /= sum;
    }
  return out;
}

TEST(Attention, MultiHeadGroupedAndMultiQuery) {
  for (int64_t keyHeads : {6, 3, 1}) {
    std::string map = keyHeads == 6 ? "one_hot" : keyHeads == 3 ? "groups" : "ones";
    auto side = [&](int64_t size) {
      return R"({"rank": )" + std::to_string(keyHeads) +
             R"(, "normalized": true, "head": {"source": "fixed", "map": ")" + map +
             R"("}, "token": [{"source": "contextual", "size": )" + std::to_string(size) + "}]}";
    };
    Variant variant = variantOf(R"("heads": 6, "q": {"dense": 4}, "k": )" + side(4) + R"(, "v": )" + side(5));
    Sizes sizes{3, 1, 7};
    Tensors tensors = filled(variant, sizes, "decode", 3);
    tensors["token_start"] = tensorOf({2}, {0, 3});
    tensors["lengths"] = tensorOf({1}, {7});
    Tensor q = tensors.at("q_token"), k = tensors.at("k_token_cache"), v = tensors.at("v_token_cache");
    k.shape.erase(k.shape.begin());
    v.shape.erase(v.shape.begin());
    Tensor expected = textbook(q, k, v, 6 / keyHeads);
    Attention whole = attention(variant, sizes, tensors);
    for (size_t i = 0; i < expected.data.size(); ++i)
      EXPECT_NEAR(whole.out.data[i], expected.data[i], 1e-14);

    // Heads 2..5 alone: one_hot ranks are sliced with the heads, groups count global heads.
    Variant part =
        variantOf(R"("heads": 6, "head_range": [2, 5], "q": {"dense": 4}, "k": )" + side(4) + R"(, "v": )" + side(5));
    Tensors sliced = filled(part, sizes, "decode", 3);
    sliced["token_start"] = tensors.at("token_start");
    sliced["lengths"] = tensors.at("lengths");
    auto slice = [&](const char *name, int64_t leading, int64_t size) {
      Tensor &to = sliced.at(name);
      for (int64_t row = 0; row < leading; ++row)
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t d = 0; d < size; ++d)
            to.data[(row * 3 + r) * size + d] = tensors.at(name).data[(row * 6 + r + 2) * size + d];
    };
    slice("q_token", 3, 4);
    if (keyHeads == 6) {
      slice("k_token_cache", 7, 4);
      slice("v_token_cache", 7, 5);
    } else {
      sliced["k_token_cache"] = tensors.at("k_token_cache");
      sliced["v_token_cache"] = tensors.at("v_token_cache");
    }
    Attention local = attention(part, sizes, sliced);
    for (int64_t n = 0; n < 3; ++n)
      for (int64_t h = 0; h < 3; ++h)
        for (int64_t e = 0; e < 5; ++e)
          EXPECT_EQ(local.out.at({n, h, e}), whole.out.at({n, h + 2, e}));
  }
}

constexpr const char *rotating = R"("heads": 3, "rope": {"d_rot": 4}, "types": {"activation": "f64", "head": "f64",
    "token": "f64", "output": "f64", "compute": "f64"},
    "q": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 8}]},
    "k": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 4},
          {"source": "contextual", "size": 2}]},
    "v": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 3}]})";

/// Runs append and attention of one request whose queries are the last of its tokens.
Attention appendAndAttend(const Variant &variant, int64_t tokens, int64_t queries, int64_t firstPosition,
                          Tensors *cache = nullptr) {
  Sizes sizes{tokens, 1, tokens};
  Tensors tensors = filled(variant, sizes, "append", 5);
  tensors["token_start"] = tensorOf({2}, {0, static_cast<double>(tokens)});
  Tensor positions({tokens});
  for (int64_t t = 0; t < tokens; ++t)
    positions.data[t] = static_cast<double>(firstPosition + t);
  tensors["positions"] = positions;
  append(variant, sizes, tensors);
  Tensors decode = filled(variant, {queries, 1, tokens}, "decode", 50);
  for (auto &[name, tensor] : tensors)
    if (name.find("_cache") != std::string::npos)
      decode[name] = tensor;
  decode["token_start"] = tensorOf({2}, {0, static_cast<double>(queries)});
  decode["lengths"] = tensorOf({1}, {static_cast<double>(tokens)});
  decode["positions"] = tensorOf({queries}, {positions.data.end() - queries, positions.data.end()});
  if (cache)
    *cache = decode;
  return attention(variant, {queries, 1, tokens}, decode);
}

TEST(Attention, RotationIsRelative) {
  Variant variant = variantOf(rotating);
  Attention near = appendAndAttend(variant, 6, 2, 0);
  Attention far = appendAndAttend(variant, 6, 2, 1000);
  Variant plain = variantOf(rotating);
  plain.rope.reset();
  Attention unrotated = appendAndAttend(plain, 6, 2, 0);
  double distance = 0.0;
  for (size_t i = 0; i < near.lse.data.size(); ++i) {
    EXPECT_NEAR(near.lse.data[i], far.lse.data[i], 1e-13);
    distance += std::fabs(near.lse.data[i] - unrotated.lse.data[i]);
  }
  EXPECT_GT(distance, 1e-3);
}

// rope(contract(f)) = contract(rope(f)): the rotation of dense K and Q gives what rotated factors give.
TEST(Attention, RotationCommutesWithContraction) {
  Variant variant = variantOf(rotating);
  Tensors factors;
  Attention expected = appendAndAttend(variant, 5, 2, 7, &factors);

  // The same Q and K as dense tensors, contracted from unrotated factors and rotated afterwards.
  Variant dense = variantOf(R"("heads": 3, "q": {"dense": 8}, "k": {"dense": 8}, "v": {"dense": 3})");
  Tensors tensors;
  Sizes sizes{5, 1, 5};
  Tensors inputs = filled(variant, sizes, "append", 5);
  Tensor key({1, 5, 3, 8}), value({1, 5, 3, 3}), query({2, 3, 8});
  for (int64_t m = 0; m < 5; ++m)
    for (int64_t h = 0; h < 3; ++h) {
      std::vector<double> row(8);
      for (int64_t r = 0; r < 2; ++r)
        for (int64_t i = 0; i < 4; ++i)
          for (int64_t j = 0; j < 2; ++j)
            row[i + 4 * j] += 0.5 * inputs["k_head"].at({m, r, h}) * inputs["k_token0"].at({m, r, i}) *
                              inputs["k_token1"].at({m, r, j});
      row = rotate(variant, row, 7 + m);
      for (int64_t d = 0; d < 8; ++d)
        key.at({0, m, h, d}) = row[d];
      for (int64_t e = 0; e < 3; ++e)
        for (int64_t r = 0; r < 2; ++r)
          value.at({0, m, h, e}) += 0.5 * inputs["v_head"].at({m, r, h}) * inputs["v_token"].at({m, r, e});
    }
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t h = 0; h < 3; ++h) {
      std::vector<double> row(8);
      for (int64_t r = 0; r < 2; ++r)
        for (int64_t d = 0; d < 8; ++d)
          row[d] += 0.5 * factors["q_head"].at({n, r, h}) * factors["q_token"].at({n, r, d});
      row = rotate(variant, row, 10 + n);
      for (int64_t d = 0; d < 8; ++d)
        query.at({n, h, d}) = row[d];
    }
  tensors["q_token"] = query;
  tensors["k_token_cache"] = key;
  tensors["v_token_cache"] = value;
  tensors["token_start"] = tensorOf({2}, {0, 2});
  tensors["lengths"] = tensorOf({1}, {5});
  Attention found = attention(dense, {2, 1, 5}, tensors);
  for (size_t i = 0; i < found.out.data.size(); ++i)
    EXPECT_NEAR(found.out.data[i], expected.out.data[i], 1e-14);
}

// MLA in small: V is K's first features; what it sees where those are rotated is stated.
TEST(Attention, SharedValues) {
  auto variantSeeing = [](const std::string &rest) {
    return variantOf(R"("heads": 2, "scale": 1, "causal": false, "q": {"dense": 4},
        "k": {"rank": 1, "head": {"source": "fixed", "map": "ones"}, "token": [{"source": "contextual", "size": 4}]},
        "v": {"rank": 1, "head": {"source": "fixed", "map": "ones"}, "token": [{"source": "shared", "size": 3}]})" +
                     rest);
  };
  // One cached token, so that O is V itself.
  Tensors tensors;
  tensors["q_token"] = tensorOf({1, 2, 4}, {1, 0, 0, 0, 0, 0, 0, 1});
  tensors["k_token_cache"] = tensorOf({1, 1, 1, 4}, {2, 3, 5, 7});
  tensors["token_start"] = tensorOf({2}, {0, 1});
  tensors["lengths"] = tensorOf({1}, {1});
  tensors["positions"] = tensorOf({1}, {0});
  Attention plain = attention(variantSeeing(""), {1, 1, 1}, tensors);
  EXPECT_EQ(plain.out.data, (std::vector<double>{2, 3, 5, 2, 3, 5}));
  EXPECT_EQ(plain.lse.data, (std::vector<double>{2, 7}));
  // Stored rotated: as it stands.
  std::string rope = R"(, "rope": {"d_rot": 2}, "v_sees": )";
  Attention rotated = attention(variantSeeing(rope + R"("rotated")"), {1, 1, 1}, tensors);
  EXPECT_EQ(rotated.out.data, plain.out.data);
  EXPECT_EQ(rotated.lse.data, plain.lse.data);
  // Stored unrotated: only K turns, by the stored position (a quarter turn at angle pi/2).
  tensors["key_positions_cache"] = tensorOf({1, 1}, {1});
  std::string quarter = R"(, "rope": {"d_rot": 2, "inv_freq": [1.5707963267948966]}, "v_sees": "unrotated")";
  Attention unrotated = attention(variantSeeing(quarter), {1, 1, 1}, tensors);
  EXPECT_EQ(unrotated.out.data, plain.out.data);
  EXPECT_NEAR(unrotated.lse.data[0], 3.0, 1e-14);
  EXPECT_EQ(unrotated.lse.data[1], 7.0);
}

TEST(Attention, SharedValuesReadKeyScales) {
  Variant variant = variantOf(R"("heads": 1, "scale": 1, "q": {"dense": 2}, "types": {"token": "i8"},
      "k": {"rank": 1, "head": {"source": "fixed", "map": "ones"}, "token": [{"source": "contextual", "size": 2}]},
      "v": {"rank": 1, "head": {"source": "learned"}, "token": [{"source": "shared", "size": 2}]})");
  Tensors tensors;
  tensors["q_token"] = tensorOf({1, 1, 2}, {1, 0});
  tensors["k_token_cache"] = tensorOf({1, 1, 1, 2}, {127, 64});
  tensors["k_scale_cache"] = tensorOf({1, 1, 1}, {0.5});
  tensors["v_head"] = tensorOf({1, 1}, {3});
  tensors["token_start"] = tensorOf({2}, {0, 1});
  tensors["lengths"] = tensorOf({1}, {1});
  Attention result = attention(variant, {1, 1, 1}, tensors);
  EXPECT_EQ(result.lse.data[0], 63.5);
  EXPECT_EQ(result.out.data, (std::vector<double>{190.5, 96}));
}

// Learned factors are one value for all tokens: the same as a cache that repeats it, functions applied.
TEST(Attention, LearnedFactorsRepeat) {
  auto variantWith = [](const std::string &source) {
    return variantOf(R"("heads": 2, "rope": {"d_rot": 2}, "q": {"rank": 2, "head": {"source": ")" + source +
                     R"(", "function": "sigmoid"}, "token": [{"source": ")" + source + R"(", "size": 4}]},
        "k": {"rank": 2, "head": {"source": ")" +
                     source + R"(", "function": "softmax"},
              "token": [{"source": ")" +
                     source + R"(", "size": 2}, {"source": "contextual", "size": 2}]},
        "v": {"rank": 2, "head": {"source": ")" +
                     source + R"("}, "token": [{"source": ")" + source + R"(", "size": 3}]})");
  };
  Variant learned = variantWith("learned"), repeated = variantWith("contextual");
  int64_t length = 4;
  Sizes sizes{length, 1, length};
  Tensors one = filled(learned, sizes, "decode", 9);
  Tensor positions = tensorOf({4}, {3, 5, 6, 9});
  one["token_start"] = tensorOf({2}, {0, 4});
  one["lengths"] = tensorOf({1}, {4});
  one["positions"] = positions;
  one["key_positions_cache"] = positions;
  one["key_positions_cache"].shape = {1, 4};

  Tensors all = filled(repeated, sizes, "append", 1);
  for (const char *name : {"k_head", "k_token0", "v_head", "v_token"})
    for (size_t i = 0; i < all.at(name).data.size(); ++i)
      all.at(name).data[i] = one.at(name).data[i % one.at(name).data.size()];
  all["k_token1"].data = one.at("k_token1_cache").data;
  all["token_start"] = one.at("token_start");
  all["positions"] = positions;
  append(repeated, sizes, all);
  all["lengths"] = one.at("lengths");
  for (const char *name : {"q_head", "q_token"}) {
    Tensor tensor(name == std::string("q_head") ? std::vector<int64_t>{4, 2, 2} : std::vector<int64_t>{4, 2, 4});
    for (size_t i = 0; i < tensor.data.size(); ++i)
      tensor.data[i] = one.at(name).data[i % one.at(name).data.size()];
    all[name] = tensor;
  }
  Attention expected = attention(repeated, sizes, all);
  Attention found = attention(learned, sizes, one);
  for (size_t i = 0; i < found.out.data.size(); ++i)
    EXPECT_NEAR(found.out.data[i], expected.out.data[i], 1e-14);
  for (size_t i = 0; i < found.lse.data.size(); ++i)
    EXPECT_NEAR(found.lse.data[i], expected.lse.data[i], 1e-14);
}

// Unrounded rows and their scales cancel: fp8 and int8 caches hold the same mathematics as f64 ones.
TEST(Attention, ScalesCancel) {
  for (const char *head : {R"({"source": "contextual"})", R"({"source": "fixed", "map": "groups"})"})
    for (const char *token : {"f8E4M3FN", "i8"}) {
      auto variantWith = [&](const std::string &type) {
        return variantOf(R"("heads": 3, "rope": {"d_rot": 2}, "types": {"token": ")" + type +
                         R"("}, "q": {"dense": 6}, "k": {"rank": 2, "head": )" + head +
                         R"(, "token": [{"source": "contextual", "size": 2}, {"source": "contextual", "size": 3}]},
            "v": {"rank": 2, "head": )" +
                         head + R"(, "token": [{"source": "contextual", "size": 5}]})");
      };
      Attention scaled = appendAndAttend(variantWith(token), 5, 2, 3);
      Attention plain = appendAndAttend(variantWith("f64"), 5, 2, 3);
      for (size_t i = 0; i < plain.out.data.size(); ++i)
        EXPECT_NEAR(scaled.out.data[i], plain.out.data[i], 1e-14);
    }
}

TEST(Merge, SplitEqualsWhole) {
  std::vector<double> keys = {0.3, -2, 40, 39.5, 1}, values = {1, -2, 3, 4, 5};
  std::string rest = R"(, "causal": false)";
  Attention whole = scalarAttention(rest, {1, -0.1}, keys, values);
  for (long split = 0; split <= 5; ++split) {
    Attention first = scalarAttention(rest, {1, -0.1}, {keys.begin(), keys.begin() + split},
                                      {values.begin(), values.begin() + split});
    Attention second =
        scalarAttention(rest, {1, -0.1}, {keys.begin() + split, keys.end()}, {values.begin() + split, values.end()});
    State merged = merge({first.out, first.lse}, {second.out, second.lse});
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(merged.out.data[i], whole.out.data[i], 1e-13);
      EXPECT_NEAR(merged.lse.data[i], whole.lse.data[i], 1e-13);
    }
  }
}

TEST(Merge, SidesThatSawNothing) {
  State nothing{tensorOf({1, 1, 2}, {0, 0}), tensorOf({1, 1}, {-infinity})};
  State something{tensorOf({1, 1, 2}, {3, -4}), tensorOf({1, 1}, {-500})};
  for (const State &merged : {merge(nothing, something), merge(something, nothing)}) {
    EXPECT_EQ(merged.out.data, something.out.data);
    EXPECT_EQ(merged.lse.data, something.lse.data);
  }
  State both = merge(nothing, nothing);
  EXPECT_EQ(both.out.data, (std::vector<double>{0, 0}));
  EXPECT_EQ(both.lse.data[0], -infinity);
}

} // namespace
