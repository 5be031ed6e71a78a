// SPDX-License-Identifier: Apache-2.0
//
// Variants to JSON text.

#include "dialect/json/VariantJson.h"

#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::tpa;

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t maxColumns = 110;

std::string typeName(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

std::string text(StringRef value) { return value.str(); }

Json toJson(HeadFactorAttr head) {
  Json json = {{"source", text(stringifySource(head.getSource()))}};
  if (head.getMap())
    json["map"] = text(stringifyHeadMap(*head.getMap()));
  else
    json["function"] = text(stringifyHeadFunction(head.getFunction()));
  return json;
}

Json toJson(FactorizationAttr factorization) {
  if (factorization.isDense() && factorization.getNormalized())
    return {{"dense", factorization.getFeatures()}};
  Json tokens = Json::array();
  for (TokenFactorAttr token : factorization.getToken())
    tokens.push_back(Json{{"source", text(stringifySource(token.getSource()))}, {"size", token.getSize()}});
  Json json;
  json["rank"] = factorization.getRank();
  json["normalized"] = factorization.getNormalized();
  json["head"] = toJson(factorization.getHead());
  json["token"] = std::move(tokens);
  return json;
}

Json toJson(RopeAttr rope) {
  Json json;
  json["layout"] = text(stringifyRopeLayout(rope.getLayout()));
  json["direction"] = rope.getDirection();
  if (rope.getBase())
    json["base"] = rope.getBase().getValueAsDouble();
  json["d_rot"] = rope.getDRot();
  json["offset"] = rope.getOffset();
  if (rope.getInvFreq())
    json["inv_freq"] = std::vector<double>(rope.getInvFreq().asArrayRef());
  if (rope.getAmplitude())
    json["amplitude"] = rope.getAmplitude().getValueAsDouble();
  return json;
}

/// `json` on one line, with a space after every comma and colon.
std::string onOneLine(const Json &json) {
  if (!json.is_structured())
    return json.dump();
  std::string result(1, json.is_array() ? '[' : '{');
  for (const auto &item : json.items()) {
    if (result.size() > 1)
      result += ", ";
    if (json.is_object())
      result += Json(item.key()).dump() + ": ";
    result += onOneLine(item.value());
  }
  return result + (json.is_array() ? ']' : '}');
}

/// Appends `json`, which begins at column `column` of a line indented by `indent`, on one line where it fits.
void print(const Json &json, size_t indent, size_t column, std::string &out) {
  std::string line = onOneLine(json);
  if (indent + column > 0 && column + line.size() < maxColumns) {
    out += line;
    return;
  }
  std::string inner(indent + 2, ' ');
  out += json.is_array() ? "[" : "{";
  bool first = true;
  for (const auto &item : json.items()) {
    out += (first ? "\n" : ",\n") + inner;
    first = false;
    std::string key = json.is_object() ? Json(item.key()).dump() + ": " : "";
    out += key;
    print(item.value(), indent + 2, indent + 2 + key.size(), out);
  }
  out += "\n" + std::string(indent, ' ') + (json.is_array() ? "]" : "}");
}

} // namespace

std::string tpa::writeVariant(VariantAttr variant) {
  Json json;
  json["tpac_variant"] = 1;
  json["name"] = text(variant.getName().getValue());
  HeadsAttr heads = variant.getHeads();
  json["heads"] = heads.getTotal();
  if (!heads.isWhole())
    json["head_range"] = {heads.getBegin(), heads.getEnd()};
  json["q"] = toJson(variant.getQ());
  json["k"] = toJson(variant.getK());
  json["v"] = toJson(variant.getV());
  if (variant.getRope())
    json["rope"] = toJson(variant.getRope());
  if (variant.getVSees())
    json["v_sees"] = text(stringifyValueSees(*variant.getVSees()));
  if (variant.getScale())
    json["scale"] = variant.getScale().getValueAsDouble();
  if (variant.getSoftcap())
    json["softcap"] = variant.getSoftcap().getValueAsDouble();
  json["causal"] = variant.getCausal();
  if (variant.getWindow())
    json["window"] = *variant.getWindow();
  json["query_precision"] = text(stringifyQueryPrecision(variant.getQueryPrecision()));
  TypesAttr types = variant.getTypes();
  json["types"] = {{"activation", typeName(types.getActivation())},
                   {"head", typeName(types.getHead())},
                   {"token", typeName(types.getToken())},
                   {"output", typeName(types.getOutput())},
                   {"compute", typeName(types.getCompute())}};
  json["weights"] = {{"head_factor_rows", text(stringifyWeightRows(variant.getHeadFactorRows()))}};

  std::string out;
  print(json, 0, 0, out);
  return out + "\n";
}
