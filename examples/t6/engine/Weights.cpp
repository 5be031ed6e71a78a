// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Weights.h"

#include "safetensors/Convert.h"
#include "safetensors/File.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace t6 {

namespace {

using nlohmann::json;

json readConfiguration(const std::string &path) {
  std::ifstream stream(path);
  if (!stream)
    throw std::runtime_error(path + ": cannot be opened");
  json configuration = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!configuration.is_object())
    throw std::runtime_error(path + ": found no JSON object");
  return configuration;
}

int64_t number(const json &configuration, const char *field, const std::string &path) {
  if (!configuration.contains(field) || !configuration.at(field).is_number_integer())
    throw std::runtime_error(path + ": " + field + ": found " +
                             (configuration.contains(field) ? configuration.at(field).dump() : "nothing") +
                             ", expected a number");
  return configuration.at(field);
}

class Loader {
public:
  Loader(const std::string &model, const Kernels &kernels)
      : path(model + ".json"), configuration(readConfiguration(path)),
        file(tpac::safetensors::File::open(model + ".safetensors")), kernels(kernels) {}

  Weights load() {
    Weights weights;
    weights.vocabulary = number(configuration, "vocab_size", path);
    weights.width = number(configuration, "n_embd", path);
    weights.heads = number(configuration, "n_head", path);
    weights.headSize = number(configuration, "head_dim", path);
    if (const int64_t packed = kernels.variant().at("heads").is_object()
                                   ? kernels.variant().at("heads").at("total").get<int64_t>()
                                   : kernels.variant().at("heads").get<int64_t>();
        packed != weights.heads)
      throw std::runtime_error(path + ": n_head: found " + std::to_string(weights.heads) + ", expected " +
                               std::to_string(packed) + ", the heads of pack " + kernels.name());
    const Matrix head = matrix("lm_head.weight", weights.vocabulary, weights.width);
    weights.embedding = kernels.machine().tensor(head.values, head.rows, head.columns, Type::f32);
    weights.head = operand(head);
    const int64_t hidden = 8 * weights.width / 3;
    for (int64_t i = 0; i < number(configuration, "n_layer", path); ++i) {
      const std::string prefix = "transformer.h." + std::to_string(i) + ".";
      Layer layer;
      for (const char *side : {"q", "k", "v"})
        loadFactors(layer, prefix + "attn.", side, weights.width);
      layer.attentionOutput = linear(prefix + "attn.c_proj.weight", weights.width, weights.heads * weights.headSize);
      layer.gate = linear(prefix + "mlp.c_fc1.weight", hidden, weights.width);
      layer.up = linear(prefix + "mlp.c_fc2.weight", hidden, weights.width);
      layer.down = linear(prefix + "mlp.c_proj.weight", weights.width, hidden);
      weights.layers.push_back(std::move(layer));
    }
    return weights;
  }

private:
  struct Matrix {
    int64_t rows, columns;
    std::vector<float> values;
  };

  Matrix matrix(const std::string &name, int64_t outputs, int64_t inputs) const {
    const auto &view = file.tensor(name);
    if (view.shape != std::vector<int64_t>{outputs, inputs})
      throw std::runtime_error(file.path().string() + ": " + name + ": found shape " +
                               tpac::safetensors::shapeText(view.shape) + ", expected [" + std::to_string(outputs) +
                               ", " + std::to_string(inputs) + "]");
    return {outputs, inputs, tpac::safetensors::toFloat(view)};
  }

  Tensor operand(const Matrix &matrix) const {
    Machine &machine = kernels.machine();
    return machine.tensor(matrix.values, matrix.rows, matrix.columns, machine.operandType());
  }

  Tensor linear(const std::string &name, int64_t outputs, int64_t inputs) const {
    return operand(matrix(name, outputs, inputs));
  }

  /// The layers that make Q, K or V: two factors, or the tensor itself where its head factor is fixed.
  void loadFactors(Layer &layer, const std::string &prefix, const std::string &side, int64_t width) const {
    const std::string phase = side == "q" ? "decode" : "append";
    const TensorInfo &token = kernels.tensor(phase, side + "_token");
    const std::string dense = prefix + (file.contains(prefix + "c_" + side + ".weight") ? "" : "c_qkv.") + "c_" + side;
    const bool hasHead = file.contains(prefix + "c_qkv.W_A_" + side + ".weight");
    layer.factors[token.name] =
        linear(hasHead ? prefix + "c_qkv.W_B_" + side + ".weight" : dense + ".weight", token.elementsPerToken(), width);
    if (!hasHead)
      return;
    const TensorInfo &head = kernels.tensor(phase, side + "_head");
    const Matrix stored = matrix(prefix + "c_qkv.W_A_" + side + ".weight", head.elementsPerToken(), width);
    // Checkpoints have the rows of a head together, packs take [rank, heads].
    const int64_t heads = std::stoll(head.shape.back()), rank = stored.rows / heads;
    Matrix ours = stored;
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t r = 0; r < rank; ++r)
        std::copy_n(stored.values.begin() + (h * rank + r) * width, width,
                    ours.values.begin() + (r * heads + h) * width);
    layer.factors[head.name] = operand(ours);
  }

  std::string path;
  json configuration;
  tpac::safetensors::File file;
  const Kernels &kernels;
};

} // namespace

Weights loadWeights(const std::string &model, const Kernels &kernels) { return Loader(model, kernels).load(); }

} // namespace t6
