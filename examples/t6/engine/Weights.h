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

struct Layer {
  /// Linear layers without biases, [outputs, inputs], as operands of products; those of the factors by the tensor of
  /// the pack that each makes: "q_head", "q_token", "k_head", ...
  std::map<std::string, Tensor> factors;
  Tensor attentionOutput, gate, up, down;
};

struct Weights {
  int64_t vocabulary = 0, width = 0, heads = 0, headSize = 0;
  std::vector<Layer> layers;
  /// [vocabulary, width]: the embedding (f32), and the same as the layer of the logits.
  Tensor embedding, head;
};

/// Reads `model`.json and `model`.safetensors into the memory of the machine of `kernels`. Throws std::runtime_error:
/// file and field, what was found, what the pack of `kernels` or the architecture takes.
Weights loadWeights(const std::string &model, const Kernels &kernels);

} // namespace t6

#endif // TPAC_EXAMPLES_T6_WEIGHTS_H
