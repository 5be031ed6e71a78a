// SPDX-License-Identifier: Apache-2.0
//
// The oracle's append and rotation, against numbers worked out by hand.

#include "tests/oracle/TestSupport.h"

#include <gtest/gtest.h>

using namespace oracle;
using namespace oracle::test;

namespace {

std::string keyVariant(const std::string &key, const std::string &rest) {
  return R"("heads": 2, "q": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 4}]},
      "v": {"rank": 1, "head": {"source": "fixed", "map": "ones"}, "token": [{"source": "learned", "size": 3}]}, "k": )" +
         key + rest;
}

constexpr const char *order2 =
    R"({"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 4}]})";

void expectNear(const std::vector<double> &found, const std::vector<double> &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-15 * (1 + std::fabs(expected[i]))) << "at " << i;
}

TEST(Rotate, LayoutsAndDirections) {
  auto at = [](const std::string &rope, std::vector<double> x, int64_t position) {
    return rotate(variantOf(keyVariant(order2, R"(, "rope": )" + rope)), std::move(x), position);
  };
  double c0 = std::cos(3.0), s0 = std::sin(3.0), c1 = std::cos(0.03), s1 = std::sin(0.03);
  // d_rot = 4, base 10000: angles 3 and 3/100.
  expectNear(at(R"({"d_rot": 4})", {1, 2, 5, 7}, 3), {c0 + 5 * s0, 2 * c1 + 7 * s1, 5 * c0 - s0, 7 * c1 - 2 * s1});
  expectNear(at(R"({"d_rot": 4, "direction": 1})", {1, 2, 5, 7}, 3),
             {c0 - 5 * s0, 2 * c1 - 7 * s1, s0 + 5 * c0, 2 * s1 + 7 * c1});
  expectNear(at(R"({"d_rot": 4, "layout": "interleaved"})", {1, 2, 5, 7}, 3),
             {c0 + 2 * s0, 2 * c0 - s0, 5 * c1 + 7 * s1, 7 * c1 - 5 * s1});
  expectNear(at(R"({"d_rot": 2, "offset": 1})", {1, 2, 5, 7}, 3), {1, 2 * c0 + 5 * s0, 5 * c0 - 2 * s0, 7});
  expectNear(at(R"({"d_rot": 2, "inv_freq": [0.01], "amplitude": 2})", {1, 2, 5, 7}, 3),
             {2 * (c1 + 2 * s1), 2 * (2 * c1 - s1), 5, 7});
  expectNear(at(R"({"d_rot": 4, "base": 100})", {1, 0, 0, 0}, 0), {1, 0, 0, 0});
}

// Theorem C.1: at third order the first small factor is rotated; an order-2 partner in blocks of its size.
TEST(Rotate, BlocksEqualTheRotatedSmallFactor) {
  Variant variant = variantOf(keyVariant(R"({"rank": 1, "head": {"source": "contextual"},
      "token": [{"source": "contextual", "size": 2}, {"source": "contextual", "size": 2}]})",
                                         R"(, "rope": {"d_rot": 2})"));
  EXPECT_EQ(variant.ropeBlock(), 2);
  std::vector<double> small = rotate(variant, {0.3, -0.8}, 11);
  std::vector<double> whole = rotate(variant, {0.3 * 5, -0.8 * 5, 0.3 * -7, -0.8 * -7}, 11);
  expectNear(whole, {small[0] * 5, small[1] * 5, small[0] * -7, small[1] * -7});
}

TEST(Append, PlacesRaggedTokensAndRotates) {
  Variant variant = variantOf(keyVariant(order2, R"(, "rope": {"d_rot": 2})"));
  Sizes sizes{4, 3, 3};
  Tensors tensors = filled(variant, sizes, "append", 1);
  // Row 0 belongs to no request; request 1 is empty.
  tensors["token_start"] = tensorOf({4}, {1, 2, 2, 4});
  tensors["lengths"] = tensorOf({3}, {2, 1, 0});
  tensors["positions"] = tensorOf({4}, {9, 4, 0, 1});
  for (auto &[name, tensor] : tensors)
    if (name.find("_cache") != std::string::npos)
      tensor.data.assign(tensor.data.size(), -9.0);
  append(variant, sizes, tensors);
  const Tensor &head = tensors.at("k_head_cache");
  const Tensor &token = tensors.at("k_token_cache");
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t m = 0; m < 3; ++m) {
      int64_t t = b == 0 && m == 2 ? 1 : b == 2 && m < 2 ? 2 + m : -1;
      if (t < 0) {
        EXPECT_EQ(head.at({b, m, 0, 1}), -9.0);
        EXPECT_EQ(token.at({b, m, 0, 0}), -9.0);
        continue;
      }
      EXPECT_EQ(head.at({b, m, 0, 1}), tensors.at("k_head").at({t, 0, 1}));
      double angle = t == 1 ? 4 : t - 2;
      double x1 = tensors.at("k_token").at({t, 0, 0});
      double x2 = tensors.at("k_token").at({t, 0, 1});
      EXPECT_NEAR(token.at({b, m, 0, 0}), x1 * std::cos(angle) + x2 * std::sin(angle), 1e-15);
      EXPECT_NEAR(token.at({b, m, 0, 1}), x2 * std::cos(angle) - x1 * std::sin(angle), 1e-15);
      EXPECT_EQ(token.at({b, m, 0, 3}), tensors.at("k_token").at({t, 0, 3}));
    }
}

TEST(Append, HeadFunctions) {
  Sizes sizes{1, 1, 1};
  for (std::string function : {"identity", "sigmoid", "softmax"}) {
    Variant variant = variantOf(keyVariant(R"({"rank": 1, "head": {"source": "contextual", "function": ")" + function +
                                               R"("}, "token": [{"source": "contextual", "size": 4}]})",
                                           ""));
    Tensors tensors = filled(variant, sizes, "append", 1);
    tensors["token_start"] = tensorOf({2}, {0, 1});
    tensors["k_head"] = tensorOf({1, 1, 2}, {0.0, std::log(3.0)});
    append(variant, sizes, tensors);
    std::vector<double> expected = function == "identity"  ? std::vector<double>{0.0, std::log(3.0)}
                                   : function == "sigmoid" ? std::vector<double>{0.5, 0.75}
                                                           : std::vector<double>{0.25, 0.75};
    expectNear(tensors.at("k_head_cache").data, expected);
  }
}

TEST(Append, ScalesFoldIntoContextualHeads) {
  Variant variant = variantOf(keyVariant(R"({"rank": 2, "head": {"source": "contextual"},
      "token": [{"source": "contextual", "size": 2}, {"source": "contextual", "size": 2}]})",
                                         R"(, "types": {"token": "i8"})"));
  Sizes sizes{1, 1, 1};
  Tensors tensors = filled(variant, sizes, "append", 1);
  tensors["token_start"] = tensorOf({2}, {0, 1});
  tensors["k_head"] = tensorOf({1, 2, 2}, {1, 2, 3, 4});
  tensors["k_token0"] = tensorOf({1, 2, 2}, {0.5, -2, 0, 0});
  tensors["k_token1"] = tensorOf({1, 2, 2}, {4, 1, -3, 1});
  append(variant, sizes, tensors);
  expectNear(tensors.at("k_token0_cache").data, {0.5 / 2 * 127, -127, 0, 0});
  expectNear(tensors.at("k_token1_cache").data, {127, 127.0 / 4, -127, 127.0 / 3});
  // Rank 0: 2/127 * 4/127; rank 1: a row of zeros has scale 1.
  double scale0 = 8.0 / 127 / 127, scale1 = 3.0 / 127;
  expectNear(tensors.at("k_head_cache").data, {scale0, 2 * scale0, 3 * scale1, 4 * scale1});
  EXPECT_EQ(tensors.count("k_scale_cache"), 0u);
}

TEST(Append, ScalesOfFixedHeadsAreStored) {
  Variant variant = variantOf(keyVariant(R"({"rank": 2, "head": {"source": "fixed", "map": "groups"},
      "token": [{"source": "contextual", "size": 4}]})",
                                         R"(, "types": {"token": "f8E4M3FN"})"));
  Sizes sizes{1, 1, 1};
  Tensors tensors = filled(variant, sizes, "append", 1);
  tensors["token_start"] = tensorOf({2}, {0, 1});
  tensors["k_token"] = tensorOf({1, 2, 4}, {1, -7, 2, 3, 0, 0, 0.5, 0});
  append(variant, sizes, tensors);
  expectNear(tensors.at("k_scale_cache").data, {7.0 / 448, 0.5 / 448});
  expectNear(tensors.at("k_token_cache").data, {64, -448, 128, 192, 0, 0, 448, 0});
}

} // namespace
