// SPDX-License-Identifier: Apache-2.0
//
// The oracle's reading of docs/variant.md.

#include "tests/oracle/Variant.h"

#include <stdexcept>

namespace oracle {
namespace {

template <typename Value>
Value oneOf(const std::string &text, std::initializer_list<std::pair<const char *, Value>> choices) {
  for (const auto &[name, value] : choices)
    if (text == name)
      return value;
  throw std::invalid_argument("unexpected '" + text + "' in a variant");
}

Source parseSource(const std::string &text) {
  return oneOf<Source>(text, {{"contextual", Source::contextual},
                              {"learned", Source::learned},
                              {"fixed", Source::fixed},
                              {"shared", Source::shared}});
}

Factorization parseFactorization(const nlohmann::json &json, int64_t heads) {
  Factorization result;
  if (json.contains("dense")) {
    result.rank = heads;
    result.headSource = Source::fixed;
    result.headMap = HeadMap::oneHot;
    result.token.push_back({Source::contextual, json.at("dense").get<int64_t>()});
    return result;
  }
  result.rank = json.at("rank").get<int64_t>();
  result.normalized = json.value("normalized", true);
  const nlohmann::json &head = json.at("head");
  result.headSource = parseSource(head.at("source").get<std::string>());
  if (result.headSource == Source::fixed)
    result.headMap =
        oneOf<HeadMap>(head.at("map").get<std::string>(),
                       {{"one_hot", HeadMap::oneHot}, {"groups", HeadMap::groups}, {"ones", HeadMap::ones}});
  result.headFunction = oneOf<HeadFunction>(
      head.value("function", "identity"),
      {{"identity", HeadFunction::identity}, {"sigmoid", HeadFunction::sigmoid}, {"softmax", HeadFunction::softmax}});
  for (const nlohmann::json &factor : json.at("token"))
    result.token.push_back({parseSource(factor.at("source").get<std::string>()), factor.at("size").get<int64_t>()});
  return result;
}

Rope parseRope(const nlohmann::json &json) {
  Rope rope;
  rope.interleaved = oneOf<bool>(json.value("layout", "half"), {{"half", false}, {"interleaved", true}});
  rope.direction = json.value("direction", -1);
  rope.base = json.value("base", 10000.0);
  rope.rotated = json.at("d_rot").get<int64_t>();
  rope.offset = json.value("offset", int64_t{0});
  if (json.contains("inv_freq"))
    rope.inverseFrequencies = json.at("inv_freq").get<std::vector<double>>();
  rope.amplitude = json.value("amplitude", 1.0);
  return rope;
}

template <typename Value> std::optional<Value> optionalField(const nlohmann::json &json, const char *name) {
  if (!json.contains(name))
    return std::nullopt;
  return json.at(name).get<Value>();
}

/// Lists the tensors of one phase in calling order.
class TensorList {
public:
  explicit TensorList(const Variant &variant) : variant(variant) {}

  std::vector<TensorSpec> append() {
    for (char side : {'k', 'v'})
      projected(side);
    if (variant.rope)
      integers("positions", {{"tokens"}}, "in");
    requests();
    caches("inout", /*learned=*/false);
    return std::move(tensors);
  }

  std::vector<TensorSpec> attention() {
    const Factorization &q = variant.q;
    int64_t rank = variant.localRank(q);
    if (q.headSource != Source::fixed)
      factor("q_head", q.headSource, {{"tokens"}, {"", rank}, {"", variant.localHeads()}});
    for (size_t i = 0; i < q.token.size(); ++i)
      factor(tokenName('q', q, i), q.token[i].source, {{"tokens"}, {"", rank}, {"", q.token[i].size}});
    if (variant.rope)
      integers("positions", {{"tokens"}}, "in");
    requests();
    caches("in", /*learned=*/true);
    add("out", variant.output, {{"tokens"}, {"", variant.localHeads()}, {"", variant.v.features()}}, "out");
    add("lse", variant.compute, {{"tokens"}, {"", variant.localHeads()}}, "out");
    return std::move(tensors);
  }

  std::vector<TensorSpec> merge() {
    for (const char *part : {"0", "1", ""}) {
      std::string access = *part ? "in" : "out";
      add(std::string("out") + part, variant.output,
          {{"tokens"}, {"", variant.localHeads()}, {"", variant.v.features()}}, access);
      add(std::string("lse") + part, variant.compute, {{"tokens"}, {"", variant.localHeads()}}, access);
    }
    return std::move(tensors);
  }

private:
  void add(const std::string &name, Type type, std::vector<Dimension> shape, const std::string &access) {
    tensors.push_back({name, type, std::move(shape), access});
  }

  void integers(const std::string &name, std::vector<Dimension> shape, const std::string &access) {
    add(name, Type::i32, std::move(shape), access);
  }

  /// An input in the activation type; a learned one has no leading dimension of tokens.
  void factor(const std::string &name, Source source, std::vector<Dimension> shape) {
    if (source == Source::learned)
      shape.erase(shape.begin());
    add(name, variant.activation, std::move(shape), "in");
  }

  const Factorization &sideOf(char side) const { return side == 'k' ? variant.k : variant.v; }

  void projected(char side) {
    const Factorization &f = sideOf(side);
    int64_t rank = variant.localRank(f);
    std::string prefix(1, side);
    if (f.headSource == Source::contextual)
      factor(prefix + "_head", f.headSource, {{"tokens"}, {"", rank}, {"", variant.localHeads()}});
    for (size_t i = 0; i < f.token.size(); ++i)
      if (f.token[i].source == Source::contextual)
        factor(tokenName(side, f, i), f.token[i].source, {{"tokens"}, {"", rank}, {"", f.token[i].size}});
  }

  void requests() {
    integers("token_start", {{"batch", 1}}, "in");
    integers("lengths", {{"batch"}}, "in");
  }

  void cachedFactor(const std::string &name, Source source, Type type, int64_t rank, int64_t size, bool learned,
                    const std::string &access) {
    if (source == Source::contextual)
      add(name + "_cache", type, {{"batch"}, {"capacity"}, {"", rank}, {"", size}}, access);
    else if (source == Source::learned && learned)
      add(name, variant.activation, {{"", rank}, {"", size}}, access);
  }

  /// K's and V's factors as they are cached; where `learned`, learned ones in their places.
  void caches(const std::string &access, bool learned) {
    for (char side : {'k', 'v'}) {
      const Factorization &f = sideOf(side);
      int64_t rank = variant.localRank(f);
      std::string prefix(1, side);
      cachedFactor(prefix + "_head", f.headSource, variant.head, rank, variant.localHeads(), learned, access);
      for (size_t i = 0; i < f.token.size(); ++i)
        cachedFactor(tokenName(side, f, i), f.token[i].source, variant.token, rank, f.token[i].size, learned, access);
      if (variant.hasScaleCache(f))
        add(prefix + "_scale_cache", variant.compute, {{"batch"}, {"capacity"}, {"", rank}}, access);
    }
    if (variant.rotatesOnRead())
      integers("key_positions_cache", {{"batch"}, {"capacity"}}, access);
  }

  const Variant &variant;
  std::vector<TensorSpec> tensors;
};

bool hasContextualToken(const Factorization &side) {
  for (const TokenFactor &factor : side.token)
    if (factor.source == Source::contextual)
      return true;
  return false;
}

} // namespace

int64_t Factorization::features() const {
  int64_t product = 1;
  for (const TokenFactor &factor : token)
    product *= factor.size;
  return product;
}

double Factorization::rankScale() const {
  return normalized && headSource != Source::fixed ? 1.0 / static_cast<double>(rank) : 1.0;
}

int64_t Variant::localRank(const Factorization &side) const {
  return side.headMap == HeadMap::oneHot ? localHeads() : side.rank;
}

int64_t Variant::ropeBlock() const {
  if (k.token.size() > 1)
    return k.token.front().size;
  if (q.token.size() > 1)
    return q.token.front().size;
  return k.features();
}

bool Variant::rotatesOnRead() const {
  return rope && (vSees == "unrotated" || k.token.front().source == Source::learned);
}

double Variant::fixedHeadFactor(const Factorization &side, int64_t rank, int64_t head) const {
  switch (side.headMap) {
  case HeadMap::oneHot:
    return rank == head ? 1.0 : 0.0;
  case HeadMap::groups:
    return rank == (headBegin + head) * side.rank / heads ? 1.0 : 0.0;
  case HeadMap::ones:
    return 1.0;
  case HeadMap::none:
    break;
  }
  throw std::logic_error("the head factor is not fixed");
}

bool Variant::hasScaleCache(const Factorization &side) const {
  const Factorization &stored = side.isShared() ? k : side;
  if (!isQuantised(token) || side.headSource == Source::contextual || !hasContextualToken(stored))
    return false;
  // A shared V reads K's scales where K has them.
  return !side.isShared() || k.headSource == Source::contextual;
}

Variant parseVariant(const nlohmann::json &json) {
  Variant variant;
  variant.heads = json.at("heads").get<int64_t>();
  auto range = json.value("head_range", std::vector<int64_t>{0, variant.heads});
  variant.headBegin = range.at(0);
  variant.headEnd = range.at(1);
  variant.q = parseFactorization(json.at("q"), variant.heads);
  variant.k = parseFactorization(json.at("k"), variant.heads);
  variant.v = parseFactorization(json.at("v"), variant.heads);
  if (json.contains("rope"))
    variant.rope = parseRope(json.at("rope"));
  variant.vSees = json.value("v_sees", "");
  variant.scale = optionalField<double>(json, "scale");
  variant.softcap = optionalField<double>(json, "softcap");
  variant.causal = json.value("causal", true);
  variant.window = optionalField<int64_t>(json, "window");
  variant.queryRounded = oneOf<bool>(json.value("query_precision", "full"), {{"full", false}, {"storage", true}});
  if (json.contains("types")) {
    const nlohmann::json &types = json.at("types");
    variant.activation = parseType(types.value("activation", "bf16"));
    variant.head = parseType(types.value("head", "bf16"));
    variant.token = parseType(types.value("token", "bf16"));
    variant.output = parseType(types.value("output", "bf16"));
    variant.compute = parseType(types.value("compute", "f32"));
  }
  return variant;
}

std::string tokenName(char side, const Factorization &factorization, size_t index) {
  std::string name = std::string(1, side) + "_token";
  return factorization.token.size() == 1 ? name : name + std::to_string(index);
}

int64_t Sizes::of(const Dimension &dimension) const {
  if (dimension.symbol.empty())
    return dimension.size;
  if (dimension.symbol == "tokens")
    return tokens + dimension.size;
  if (dimension.symbol == "batch")
    return batch + dimension.size;
  if (dimension.symbol == "capacity")
    return capacity + dimension.size;
  throw std::invalid_argument("unknown size '" + dimension.symbol + "'");
}

std::vector<int64_t> Sizes::of(const std::vector<Dimension> &shape) const {
  std::vector<int64_t> result;
  for (const Dimension &dimension : shape)
    result.push_back(of(dimension));
  return result;
}

std::vector<std::string> phaseSizes(std::string_view phase) {
  if (phase == "merge")
    return {"tokens"};
  return {"tokens", "batch", "capacity"};
}

std::vector<TensorSpec> phaseTensors(const Variant &variant, std::string_view phase) {
  TensorList list(variant);
  if (phase == "append")
    return list.append();
  if (phase == "decode" || phase == "prefill")
    return list.attention();
  if (phase == "merge")
    return list.merge();
  throw std::invalid_argument("unknown phase '" + std::string(phase) + "'");
}

} // namespace oracle
