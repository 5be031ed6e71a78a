// SPDX-License-Identifier: Apache-2.0
//
// Counts of arithmetic.

#include "bench/phases/Work.h"

#include <algorithm>
#include <stdexcept>

namespace tpac::bench {

namespace {

int64_t features(const nlohmann::json &side) {
  if (side.contains("dense"))
    return side["dense"];
  int64_t product = 1;
  for (const nlohmann::json &factor : side["token"])
    product *= factor["size"].get<int64_t>();
  return product;
}

int64_t rank(const nlohmann::json &side, int64_t heads) {
  return side.contains("dense") ? heads : side["rank"].get<int64_t>();
}

Dimensions::HeadFactor headFactor(const nlohmann::json &side) {
  if (side.contains("dense") || side["head"]["source"] == "fixed")
    return Dimensions::HeadFactor::fixed;
  return side["head"]["source"] == "learned" ? Dimensions::HeadFactor::learned : Dimensions::HeadFactor::contextual;
}

int64_t localHeads(const nlohmann::json &variant) {
  if (!variant.contains("head_range"))
    return variant["heads"];
  return variant["head_range"][1].get<int64_t>() - variant["head_range"][0].get<int64_t>();
}

bool sharesToken(const nlohmann::json &side) {
  return !side.contains("dense") && side["token"][0]["source"] == "shared";
}

} // namespace

Dimensions::Dimensions(const nlohmann::json &variant)
    : heads(localHeads(variant)), d(features(variant["q"])), e(features(variant["v"])),
      rankQ(rank(variant["q"], heads)), rankK(rank(variant["k"], heads)), rankV(rank(variant["v"], heads)),
      headQ(headFactor(variant["q"])), headK(headFactor(variant["k"])), headV(headFactor(variant["v"])),
      causal(variant.value("causal", true)),
      roundsQueries(variant.value("query_precision", std::string("full")) == "storage") {
  if (variant.contains("window"))
    window = variant["window"].get<int64_t>();
}

int64_t decodeMultiplyAdds(const Dimensions &dimensions) {
  using HeadFactor = Dimensions::HeadFactor;
  int64_t H = dimensions.heads, D = dimensions.d, E = dimensions.e;
  int64_t RQ = dimensions.rankQ, RK = dimensions.rankK, RV = dimensions.rankV;
  int64_t score;
  if (dimensions.headK == HeadFactor::fixed)
    score = H * D; // each head reads one row, with its query contracted beforehand
  else if (dimensions.headQ == HeadFactor::fixed)
    score = H * RK * (D + 1);
  else
    score = RQ * RK * D + H * RQ * RK;
  int64_t value = dimensions.headV == HeadFactor::fixed ? H * E : H * RV * E;
  return score + value;
}

int64_t prefillMultiplyAdds(const Dimensions &dimensions) { return dimensions.heads * (dimensions.d + dimensions.e); }

int64_t prefillMatrixMultiplyAdds(const Dimensions &dimensions) {
  bool isRebuilt = dimensions.headK != Dimensions::HeadFactor::fixed && dimensions.rankK > 1;
  int64_t products = dimensions.roundsQueries ? 1 : isRebuilt ? 3 : 2;
  return dimensions.heads * (products * dimensions.d + dimensions.e);
}

int64_t visiblePairs(const Dimensions &dimensions, int64_t queries, int64_t cached) {
  int64_t pairs = 0;
  for (int64_t query = 0; query < queries; ++query) {
    int64_t visible = dimensions.causal ? std::max<int64_t>(0, cached - queries + query + 1) : cached;
    pairs += dimensions.window ? std::min(visible, *dimensions.window) : visible;
  }
  return pairs;
}

int64_t firstVisible(const Dimensions &dimensions, int64_t queries, int64_t cached) {
  if (!dimensions.window)
    return 0;
  // The first query sees the oldest tokens. Without a causal mask all queries see the end of the cache.
  int64_t seenEnd = dimensions.causal ? cached - queries + 1 : cached;
  return std::max<int64_t>(0, seenEnd - *dimensions.window);
}

nlohmann::json materialised(const nlohmann::json &variant) {
  if (sharesToken(variant["v"]) && variant["k"]["head"]["source"] == "fixed")
    throw std::invalid_argument("keys that serve as values for all heads have no materialised form of the same cost");
  Dimensions dimensions(variant);
  nlohmann::json dense = variant;
  dense["name"] = variant["name"].get<std::string>() + "-materialised";
  dense["heads"] = dimensions.heads;
  dense.erase("head_range");
  dense.erase("v_sees");
  dense["q"] = dense["k"] = {{"dense", dimensions.d}};
  dense["v"] = {{"dense", dimensions.e}};
  // Types of head factors are kept, though nothing is stored in them; 8-bit rows keep their scales.
  return dense;
}

} // namespace tpac::bench
