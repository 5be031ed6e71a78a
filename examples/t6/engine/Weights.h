// SPDX-License-Identifier: Apache-2.0
//
// A model's configuration and weights, out of NAME.json and NAME.safetensors, in the order in which the engine
// multiplies.

#ifndef TPAC_EXAMPLES_T6_WEIGHTS_H
#define TPAC_EXAMPLES_T6_WEIGHTS_H

#include "examples/t6/engine/Kernels.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace t6 {

/// A linear layer without bias: `weight` [outputs, inputs], row-major.
struct Linear {
  int64_t outputs = 0, inputs = 0;
  std::vector<float> weight;

  /// y [rows, outputs] = x [rows, inputs] times the transposed weight, plus y times `beta`.
  void apply(const float *x, int64_t rows, float *y, float beta = 0) const;
};

struct Layer {
  /// By the tensor of the pack that each makes: "q_head", "q_token", "k_head", ...
  std::map<std::string, Linear> factors;
  Linear attentionOutput, gate, up, down;
};

struct Weights {
  int64_t vocabulary = 0, width = 0, heads = 0, headSize = 0;
  std::vector<Layer> layers;
  /// [vocabulary, width]; also the embedding.
  Linear head;
};

/// Reads `model`.json and `model`.safetensors. Throws std::runtime_error: file and field, what was found, what the pack
/// of `kernels` or the architecture takes.
Weights loadWeights(const std::string &model, const Kernels &kernels);

} // namespace t6

#endif // TPAC_EXAMPLES_T6_WEIGHTS_H
