// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/ModelConfiguration.h"

#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <stdexcept>

using namespace mlir::tpa;

namespace tpac {

namespace {

using Json = nlohmann::json;

struct NamedSide {
  std::string name;
  FactorizationAttr factors;
};

std::array<NamedSide, 3> sidesOf(VariantAttr variant) {
  return {{{"q", variant.getQ()}, {"k", variant.getK()}, {"v", variant.getV()}}};
}

/// A fault of the variant alone.
[[noreturn]] void failVariant(VariantAttr variant, const std::string &message) {
  throw std::runtime_error("variant " + variant.getName().str() + ": " + message);
}

std::string sourceText(Source source) { return "\"" + stringifySource(source).str() + "\""; }

void requirePublishedFactors(VariantAttr variant) {
  const std::string noOthers = ": the published checkpoints hold no others";
  for (const auto &[name, factors] : sidesOf(variant)) {
    if (factors.getToken().size() != 1)
      failVariant(variant, "/" + name + "/token: found " + std::to_string(factors.getToken().size()) +
                               " small factors, accepted with --model is 1: the published checkpoints are of order 2");
    TokenFactorAttr token = factors.getToken().front();
    if (!token.isContextual())
      failVariant(variant, "/" + name + "/token/0/source: found " + sourceText(token.getSource()) +
                               ", accepted with --model is \"contextual\"" + noOthers);
    if (factors.getHead().isLearned())
      failVariant(variant, "/" + name + "/head/source: found " + sourceText(factors.getHead().getSource()) +
                               ", accepted with --model are \"contextual\" and \"fixed\"" + noOthers);
  }
}

/// The model family whose head factors are of the variant's kinds.
std::string architectureOf(VariantAttr variant) {
  HeadFactorAttr q = variant.getQ().getHead(), k = variant.getK().getHead(), v = variant.getV().getHead();
  bool denseQueries = q.getMap() == HeadMap::one_hot;
  if (q.isContextual() && k.isContextual() && v.isContextual())
    return "T6";
  if (denseQueries && k.isContextual() && v.isContextual())
    return "T6_kvonly";
  if (denseQueries && k.isFixed() && v.isFixed())
    return "llama_gqa";
  failVariant(variant, "/q/head, /k/head, /v/head: found kinds that no known architecture has, accepted with --model "
                       "are all contextual (T6), dense q with contextual k and v (T6_kvonly), dense q with fixed k and "
                       "v (llama_gqa)");
}

class Configuration {
public:
  Configuration(const std::filesystem::path &path, VariantAttr variant) : path(path), variant(variant) {
    std::ifstream stream(path);
    if (!stream)
      throw std::runtime_error(path.string() + ": cannot be opened");
    try {
      json = Json::parse(stream);
    } catch (const Json::exception &error) {
      throw std::runtime_error(path.string() + ": found no valid JSON: " + error.what());
    }
    if (!json.is_object())
      throw std::runtime_error(path.string() + ": found " + json.dump() + ", accepted is a JSON object");
  }

  void check() const {
    std::string architecture = architectureOf(variant);
    expect("/architecture", architecture, "kind of factors");
    expect("/n_head", variant.getHeads().getTotal(), "heads");
    for (const auto &[name, factors] : sidesOf(variant))
      expect("/head_dim", factors.getFeatures(), "features of " + name);
    if (architecture == "llama_gqa") {
      checkGroups("k", variant.getK().getRank());
      checkGroups("v", variant.getV().getRank());
    } else {
      expect("/rank", variant.getK().getRank(), "rank of k");
      expect("/rank", variant.getV().getRank(), "rank of v");
    }
    if (architecture == "T6")
      expect("/q_rank", variant.getQ().getRank(), "rank of q");
    checkRope();
  }

private:
  [[noreturn]] void fail(const std::string &field, const std::string &accepted) const {
    Json::json_pointer pointer(field);
    std::string found = json.contains(pointer) ? json.at(pointer).dump() : "nothing";
    throw std::runtime_error(path.string() + ": " + field + ": found " + found + ", accepted is " + accepted);
  }

  std::string ofVariant(const std::string &what) const {
    return ", the " + what + " of variant " + variant.getName().str();
  }

  /// `field` must hold `expected`, which is the variant's `what`.
  void expect(const std::string &field, const Json &expected, const std::string &what) const {
    Json::json_pointer pointer(field);
    bool right = json.contains(pointer) && json.at(pointer) == expected;
    if (!right)
      fail(field, expected.dump() + ofVariant(what));
  }

  void checkGroups(const std::string &side, int64_t groups) const {
    int64_t heads = variant.getHeads().getTotal();
    if (heads % groups != 0)
      fail("/group_size", "none: " + std::to_string(groups) + " groups of " + side + " do not divide " +
                              std::to_string(heads) + " heads" + ofVariant("groups"));
    expect("/group_size", heads / groups, "heads per group of " + side);
  }

  void checkRope() const {
    RopeAttr rope = variant.getRope();
    if (!rope) {
      if (json.contains("rope"))
        fail("/rope", "nothing: variant " + variant.getName().str() + " has no rope");
      return;
    }
    if (rope.getInvFreq())
      failVariant(variant,
                  "/rope/inv_freq: found a table, accepted with --model is base: " + path.string() + " states theta");
    if (rope.getAmplitudeValue() != 1.0)
      failVariant(variant,
                  "/rope/amplitude: found " + Json(rope.getAmplitudeValue()).dump() + ", accepted with --model is 1");
    expect("/rope/theta", rope.getBase().getValueAsDouble(), "base");
    expect("/rope/layout", stringifyRopeLayout(rope.getLayout()).str(), "layout");
    expect("/rope/sign",
           rope.getDirection() == 1 ? "x1*cos - x2*sin, x1*sin + x2*cos" : "x1*cos + x2*sin, x2*cos - x1*sin",
           "direction");
    expect("/head_dim", rope.getDRot(), "rotated features (rope.d_rot)");
  }

  const std::filesystem::path &path;
  VariantAttr variant;
  Json json;
};

} // namespace

void checkConfiguration(const std::filesystem::path &path, VariantAttr variant) {
  requirePublishedFactors(variant);
  Configuration(path, variant).check();
}

} // namespace tpac
