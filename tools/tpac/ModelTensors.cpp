// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/ModelTensors.h"

#include "safetensors/Convert.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

using namespace mlir::tpa;

namespace tpac {

namespace {

[[noreturn]] void fail(const safetensors::File &file, const std::string &message) {
  throw std::runtime_error(file.path().string() + ": " + message);
}

std::vector<double> toDouble(const safetensors::File &file, const std::string &name) {
  try {
    return safetensors::toDouble(file.tensor(name));
  } catch (const std::invalid_argument &error) {
    fail(file, "tensor " + name + ": " + error.what());
  }
}

/// [outer, heads, inner] to [outer, local heads, inner].
std::vector<double> sliceHeads(std::span<const double> values, HeadsAttr heads, int64_t outer, int64_t inner) {
  std::vector<double> slice;
  slice.reserve(outer * heads.getLocal() * inner);
  for (int64_t o = 0; o < outer; ++o) {
    auto first = values.begin() + (o * heads.getTotal() + heads.getBegin()) * inner;
    slice.insert(slice.end(), first, first + heads.getLocal() * inner);
  }
  return slice;
}

/// The first tensor of `candidates` under `prefix`, of shape [rows, channels].
std::vector<double> loadWeight(const safetensors::File &file, const std::string &prefix,
                               const std::vector<std::string> &candidates, int64_t rows, int64_t channels) {
  std::string lookedFor;
  for (const std::string &candidate : candidates) {
    std::string name = prefix + candidate;
    lookedFor += (lookedFor.empty() ? "" : " or ") + name;
    if (!file.contains(name))
      continue;
    std::vector<int64_t> shape = {rows, channels};
    if (file.tensor(name).shape != shape)
      fail(file, "tensor " + name + ": shape: found " + safetensors::shapeText(file.tensor(name).shape) +
                     ", accepted is " + safetensors::shapeText(shape) + " by the variant and the recorded input");
    return toDouble(file, name);
  }
  std::string present;
  for (const std::string &name : file.names())
    if (name.starts_with(prefix))
      present += (present.empty() ? "" : ", ") + name;
  fail(file, "looked for tensor " + lookedFor + ", found " +
                 (present.empty() ? "no tensor that begins with " + prefix : present));
}

/// A tensor [1, tokens, last size], checked against those of `tokens` and `lastSize` that are known (not 0).
std::vector<double> loadRecorded(const safetensors::File &file, const std::string &name, int64_t &tokens,
                                 int64_t &lastSize) {
  const std::vector<int64_t> &shape = file.tensor(name).shape;
  auto fits = [](int64_t found, int64_t known) { return known == 0 ? found >= 1 : found == known; };
  if (shape.size() != 3 || shape[0] != 1 || !fits(shape[1], tokens) || !fits(shape[2], lastSize))
    fail(file, "tensor " + name + ": shape: found " + safetensors::shapeText(shape) + ", accepted is [1, " +
                   (tokens == 0 ? "tokens" : std::to_string(tokens)) + ", " +
                   (lastSize == 0 ? "channels" : std::to_string(lastSize)) + "]");
  tokens = shape[1];
  lastSize = shape[2];
  return toDouble(file, name);
}

} // namespace

std::vector<Recording> loadRecordings(const safetensors::File &file, VariantAttr variant) {
  HeadsAttr heads = variant.getHeads();
  std::vector<Recording> recordings;
  const std::string prefix = "layer", suffix = ".attention_input";
  for (const std::string &name : file.names()) {
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size())
      continue;
    std::string number = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
    if (number.size() > 6 || !std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    Recording recording = {std::stoll(number), 0, 0, {}, {}};
    recording.input = loadRecorded(file, name, recording.tokens, recording.channels);
    int64_t outputSize = heads.getTotal() * variant.getValueFeatures();
    std::vector<double> output =
        loadRecorded(file, prefix + number + ".attention_output", recording.tokens, outputSize);
    recording.output = sliceHeads(output, heads, recording.tokens, variant.getValueFeatures());
    recordings.push_back(std::move(recording));
  }
  if (recordings.empty())
    fail(file, "looked for tensors layerL.attention_input and layerL.attention_output of layers L, found none");
  std::ranges::sort(recordings, {}, &Recording::layer);
  return recordings;
}

std::map<std::string, std::vector<double>> loadWeights(const safetensors::File &file, VariantAttr variant,
                                                       int64_t layer, int64_t channels) {
  HeadsAttr heads = variant.getHeads();
  bool headMajor = variant.getHeadFactorRows() == WeightRows::head_major;
  std::string prefix = "transformer.h." + std::to_string(layer) + ".attn.";
  std::map<std::string, std::vector<double>> weights;
  for (auto [side, factors] :
       {std::pair{"q", variant.getQ()}, std::pair{"k", variant.getK()}, std::pair{"v", variant.getV()}}) {
    std::string name = side;
    int64_t rank = factors.getRank(), features = factors.getFeatures();
    bool contextual = factors.getHead().isContextual();
    if (contextual) {
      std::vector<double> rows =
          loadWeight(file, prefix, {"c_qkv.W_A_" + name + ".weight"}, rank * heads.getTotal(), channels);
      // Rows are [heads, rank] or [rank, heads].
      weights[name + "_head_weight"] = sliceHeads(rows, heads, headMajor ? 1 : rank, (headMajor ? rank : 1) * channels);
    }
    std::vector<std::string> candidates = {"c_qkv.W_B_" + name + ".weight"};
    if (!contextual)
      candidates = {"c_qkv.c_" + name + ".weight", "c_" + name + ".weight"};
    std::vector<double> rows = loadWeight(file, prefix, candidates, rank * features, channels);
    weights[name + "_token_weight"] =
        factors.hasMap(HeadMap::one_hot) ? sliceHeads(rows, heads, 1, features * channels) : rows;
  }
  return weights;
}

} // namespace tpac
