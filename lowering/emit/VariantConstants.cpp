// SPDX-License-Identifier: Apache-2.0
//
// Reads a variant's numbers out of JSON that the variant reader has accepted. Not a validator.

#include "lowering/emit/VariantConstants.h"

#include "lowering/emit/SignatureText.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tpac {

using nlohmann::json;

namespace {

void addFactorization(std::vector<VariantConstant> &constants, const json &variant, const char *key,
                      const std::string &side, int64_t heads, int64_t localHeads) {
  auto add = [&](const std::string &name, int64_t value, const std::string &description) {
    constants.push_back({side + name, std::to_string(value), description});
  };
  const json &factorization = variant.at(key);
  if (factorization.contains("dense")) {
    const int64_t features = factorization.at("dense").get<int64_t>();
    add("_RANK", localHeads, "dense: one row per head");
    add("_TOKEN_SIZE", features, "features of a row");
    add("_FEATURES", features, "features of " + side);
    return;
  }
  int64_t rank = factorization.at("rank").get<int64_t>();
  const json &head = factorization.at("head");
  const bool oneHot = head.contains("map") && head.at("map") == "one_hot" && rank == heads;
  add("_RANK", oneHot ? localHeads : rank, oneHot ? "rank: one row per head" : "rank");
  const json &factors = factorization.at("token");
  int64_t features = 1;
  for (size_t index = 0; index < factors.size(); ++index) {
    const int64_t size = factors[index].at("size").get<int64_t>();
    const std::string number = factors.size() == 1 ? "" : std::to_string(index);
    add("_TOKEN" + number + "_SIZE", size, "features of token factor" + (number.empty() ? "" : " " + number));
    features *= size;
  }
  add("_FEATURES", features, "features of " + side);
}

void addRope(std::vector<VariantConstant> &constants, const json &rope) {
  constants.push_back({"ROPE_FEATURES", rope.at("d_rot").dump(), "features that RoPE rotates"});
  constants.push_back({"ROPE_OFFSET", rope.value("offset", json(0)).dump(), "the first of them"});
  if (!rope.contains("inv_freq")) {
    const double base = rope.value("base", 10000.0);
    constants.push_back({"ROPE_BASE", json(base).dump(), "theta_j = base^(-2j/d_rot)"});
  }
}

} // namespace

llvm::Expected<std::vector<VariantConstant>> variantConstants(const Pack &pack) {
  std::vector<VariantConstant> constants;
  try {
    const json variant = json::parse(pack.variantJson);
    const int64_t heads = variant.at("heads").get<int64_t>();
    int64_t begin = 0, end = heads;
    if (variant.contains("head_range") && !variant.at("head_range").is_null()) {
      begin = variant.at("head_range").at(0).get<int64_t>();
      end = variant.at("head_range").at(1).get<int64_t>();
    }
    constants.push_back({"LAYER_HEADS", std::to_string(heads), "heads of the layer"});
    constants.push_back({"FIRST_HEAD", std::to_string(begin), "first head that this pack computes"});
    constants.push_back({"HEADS", std::to_string(end - begin), "heads that this pack computes"});
    addFactorization(constants, variant, "q", "Q", heads, end - begin);
    addFactorization(constants, variant, "k", "K", heads, end - begin);
    addFactorization(constants, variant, "v", "V", heads, end - begin);
    if (variant.contains("rope") && !variant.at("rope").is_null())
      addRope(constants, variant.at("rope"));
  } catch (const json::exception &error) {
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "variant '" + pack.name +
                                       "': its JSON cannot be read for the header's constants: " + error.what());
  }
  const CacheStorage storage = storageOf(pack.signatures);
  constants.push_back(
      {"VALUE_BLOCK", std::to_string(storage.valueBlock), "tokens per block of V's token caches; 0: token by token"});
  constants.push_back({"PAGE_SIZE", std::to_string(storage.pageSize), "tokens per page of the cache; 0: no pages"});
  constants.push_back({"CACHE_BYTES_PER_TOKEN", std::to_string(cacheBytesPerToken(pack.signatures).total()),
                       "bytes of all cache tensors per token of capacity"});
  int64_t scratch = 0;
  for (const PhaseSignature &signature : pack.signatures)
    scratch = std::max(scratch, signature.scratch);
  if (!pack.targets.empty())
    constants.push_back({"THREAD_SCRATCH", std::to_string(scratch),
                         "bytes of scratch per thread, enough for every phase; 0: none takes any"});
  return constants;
}

} // namespace tpac
