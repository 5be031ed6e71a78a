// SPDX-License-Identifier: Apache-2.0
//
// A model's weights and recordings out of their safetensors files, cut to the variant's heads. Computes nothing.

#ifndef TPAC_TOOLS_TPAC_MODELTENSORS_H
#define TPAC_TOOLS_TPAC_MODELTENSORS_H

#include "dialect/TPADialect.h"
#include "safetensors/File.h"

#include <map>
#include <string>
#include <vector>

namespace tpac {

/// What a layer's attention was given and what it computed, for one sequence.
struct Recording {
  int64_t layer, tokens, channels;
  /// [tokens, channels]
  std::vector<double> input;
  /// [tokens, local heads, E]
  std::vector<double> output;
};

/// Every pair layerL.attention_input [1, tokens, channels] and layerL.attention_output [1, tokens, H*E] in `file`, by
/// layer. Throws std::runtime_error where there is none, or one is missing or of another shape or type.
std::vector<Recording> loadRecordings(const safetensors::File &file, mlir::tpa::VariantAttr variant);

/// Weights of layer `layer` by the names of the project phase's tensors ("q_head_weight", "k_token_weight", ...), each
/// [rows, channels] with the rows of the variant's own heads only. Names in the file are those of the published
/// checkpoints; the variant must be one that checkConfiguration accepts. Throws std::runtime_error where a weight is
/// missing or of another shape or type.
std::map<std::string, std::vector<double>> loadWeights(const safetensors::File &file, mlir::tpa::VariantAttr variant,
                                                       int64_t layer, int64_t channels);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_MODELTENSORS_H
