// SPDX-License-Identifier: Apache-2.0
//
// The oracle's reading of variants and its statement of the phases' tensors, against lists written by hand.

#include "tests/oracle/TestSupport.h"

#include <gtest/gtest.h>

using namespace oracle;
using oracle::test::variantOf;

namespace {

std::string describe(const Variant &variant, std::string_view phase) {
  std::string text;
  for (const TensorSpec &spec : phaseTensors(variant, phase)) {
    text += spec.access + " " + spec.name + " " + typeName(spec.type) + "[";
    for (size_t i = 0; i < spec.shape.size(); ++i) {
      const Dimension &dimension = spec.shape[i];
      text += i ? "," : "";
      text += dimension.symbol;
      if (dimension.symbol.empty() || dimension.size)
        text += (dimension.symbol.empty() ? "" : "+") + std::to_string(dimension.size);
    }
    text += "]\n";
  }
  return text;
}

constexpr const char *contextual = R"({"rank": 2, "head": {"source": "contextual"},
                                       "token": [{"source": "contextual", "size": 64}]})";

TEST(Variant, ContextualFactors) {
  Variant variant = variantOf(R"("heads": 47, "q": {"rank": 6, "head": {"source": "contextual"},
      "token": [{"source": "contextual", "size": 64}]}, "rope": {"d_rot": 64}, "types": {}, "k": )" +
                              std::string(contextual) + R"(, "v": )" + contextual);
  EXPECT_EQ(describe(variant, "append"), "in k_head bf16[tokens,2,47]\n"
                                         "in k_token bf16[tokens,2,64]\n"
                                         "in v_head bf16[tokens,2,47]\n"
                                         "in v_token bf16[tokens,2,64]\n"
                                         "in positions i32[tokens]\n"
                                         "in token_start i32[batch+1]\n"
                                         "in lengths i32[batch]\n"
                                         "inout k_head_cache bf16[batch,capacity,2,47]\n"
                                         "inout k_token_cache bf16[batch,capacity,2,64]\n"
                                         "inout v_head_cache bf16[batch,capacity,2,47]\n"
                                         "inout v_token_cache bf16[batch,capacity,2,64]\n");
  EXPECT_EQ(describe(variant, "decode"), "in q_head bf16[tokens,6,47]\n"
                                         "in q_token bf16[tokens,6,64]\n"
                                         "in positions i32[tokens]\n"
                                         "in token_start i32[batch+1]\n"
                                         "in lengths i32[batch]\n"
                                         "in k_head_cache bf16[batch,capacity,2,47]\n"
                                         "in k_token_cache bf16[batch,capacity,2,64]\n"
                                         "in v_head_cache bf16[batch,capacity,2,47]\n"
                                         "in v_token_cache bf16[batch,capacity,2,64]\n"
                                         "out out bf16[tokens,47,64]\n"
                                         "out lse f32[tokens,47]\n");
  EXPECT_EQ(describe(variant, "merge"), "in out0 bf16[tokens,47,64]\n"
                                        "in lse0 f32[tokens,47]\n"
                                        "in out1 bf16[tokens,47,64]\n"
                                        "in lse1 f32[tokens,47]\n"
                                        "out out bf16[tokens,47,64]\n"
                                        "out lse f32[tokens,47]\n");
  EXPECT_EQ(variant.q.rankScale(), 1.0 / 6);
}

// Everything that moves a tensor at once: a dense head-sliced query, a learned key factor at third order (rotated when
// read), shared values, int8 with a scale cache.
TEST(Variant, LearnedSharedAndScaled) {
  Variant variant = variantOf(R"("heads": 6, "head_range": [1, 4], "q": {"dense": 8}, "rope": {"d_rot": 2},
      "v_sees": "rotated", "types": {"token": "i8", "activation": "f32", "head": "f16", "output": "f32"},
      "k": {"rank": 2, "head": {"source": "fixed", "map": "groups"},
            "token": [{"source": "learned", "size": 4}, {"source": "contextual", "size": 2}]},
      "v": {"rank": 2, "head": {"source": "contextual"},
            "token": [{"source": "shared", "size": 4}, {"source": "shared", "size": 1}]})");
  EXPECT_EQ(describe(variant, "append"), "in k_token1 f32[tokens,2,2]\n"
                                         "in v_head f32[tokens,2,3]\n"
                                         "in positions i32[tokens]\n"
                                         "in token_start i32[batch+1]\n"
                                         "in lengths i32[batch]\n"
                                         "inout k_token1_cache i8[batch,capacity,2,2]\n"
                                         "inout k_scale_cache f32[batch,capacity,2]\n"
                                         "inout v_head_cache f16[batch,capacity,2,3]\n"
                                         "inout key_positions_cache i32[batch,capacity]\n");
  EXPECT_EQ(describe(variant, "decode"), "in q_token f32[tokens,3,8]\n"
                                         "in positions i32[tokens]\n"
                                         "in token_start i32[batch+1]\n"
                                         "in lengths i32[batch]\n"
                                         "in k_token0 f32[2,4]\n"
                                         "in k_token1_cache i8[batch,capacity,2,2]\n"
                                         "in k_scale_cache f32[batch,capacity,2]\n"
                                         "in v_head_cache f16[batch,capacity,2,3]\n"
                                         "in key_positions_cache i32[batch,capacity]\n"
                                         "out out f32[tokens,3,4]\n"
                                         "out lse f32[tokens,3]\n");
  EXPECT_EQ(variant.ropeBlock(), 4);
  EXPECT_TRUE(variant.rotatesOnRead());
  // Global heads 1, 2 | 3, 4, 5 belong to groups 0 | 1: floor(h * 2 / 6).
  EXPECT_EQ(variant.fixedHeadFactor(variant.k, 0, 0), 1.0);
  EXPECT_EQ(variant.fixedHeadFactor(variant.k, 0, 1), 1.0);
  EXPECT_EQ(variant.fixedHeadFactor(variant.k, 0, 2), 0.0);
  EXPECT_EQ(variant.fixedHeadFactor(variant.k, 1, 2), 1.0);
  EXPECT_EQ(variant.q.rankScale(), 1.0);
}

TEST(Variant, ScaleCachesOfSharedValues) {
  auto scales = [](const char *keyHead, const char *valueHead) {
    Variant variant = variantOf(std::string(R"("heads": 2, "q": {"dense": 4}, "types": {"token": "f8E4M3FN"},
        "k": {"rank": 1, "head": )") +
                                keyHead + R"(, "token": [{"source": "contextual", "size": 4}]},
        "v": {"rank": 1, "head": )" +
                                valueHead + R"(, "token": [{"source": "shared", "size": 4}]})");
    return std::to_string(variant.hasScaleCache(variant.k)) + std::to_string(variant.hasScaleCache(variant.v));
  };
  const char *contextualHead = R"({"source": "contextual"})";
  const char *ones = R"({"source": "fixed", "map": "ones"})";
  EXPECT_EQ(scales(contextualHead, contextualHead), "00");
  EXPECT_EQ(scales(contextualHead, ones), "01");
  EXPECT_EQ(scales(ones, contextualHead), "10");
  EXPECT_EQ(scales(ones, R"({"source": "learned"})"), "10");
}

TEST(Variant, BadFilesThrow) {
  EXPECT_ANY_THROW(variantOf(R"("heads": 2)"));
  EXPECT_ANY_THROW(variantOf(R"("heads": 2, "q": {"dense": 4}, "v": {"dense": 4},
      "k": {"rank": 1, "head": {"source": "frozen"}, "token": []})"));
}

} // namespace
