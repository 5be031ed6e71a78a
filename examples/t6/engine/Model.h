// SPDX-License-Identifier: Apache-2.0
//
// The transformer: embedding, layers of attention and SwiGLU with RMS norms, logits. Attention and its cache are the
// pack's.

#ifndef TPAC_EXAMPLES_T6_MODEL_H
#define TPAC_EXAMPLES_T6_MODEL_H

#include "examples/t6/engine/Cache.h"
#include "examples/t6/engine/Kernels.h"
#include "examples/t6/engine/Weights.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace t6 {

/// Requests that run together, each with a factor cache in every layer.
class Batch {
public:
  Batch(const Weights &weights, const Kernels &kernels, int64_t requests, int64_t capacity);
  ~Batch();

  int64_t requests() const { return static_cast<int64_t>(lengths.size()); }
  int64_t length(int64_t request) const { return lengths[static_cast<size_t>(request)]; }
  int64_t capacity() const { return cache.capacity(); }
  int64_t cacheBytes() const;

  /// Appends new tokens to every request (none for some, if so wished) and computes them: logits [requests, vocabulary]
  /// of each one's last token, or of all new tokens [tokens, vocabulary] where `all`. Rows of requests without new
  /// tokens are zeros. Throws std::runtime_error where a request would outgrow its cache or a token is not of the
  /// vocabulary.
  std::vector<float> run(const std::vector<std::vector<int32_t>> &tokens, bool all = false);

private:
  /// New tokens and their addresses, and the same in the machine's memory.
  struct Plan;
  struct Step;
  Plan planOf(const std::vector<std::vector<int32_t>> &tokens) const;
  Step stepOf(const Plan &plan, bool all);
  void write(const Plan &plan, Step &step);

  Tensor forward(const Step &step);
  void attend(const Step &step, size_t layer, Tensor &x);
  void feedForward(const Layer &layer, Tensor &x);

  const Weights &weights;
  const Kernels &kernels;
  Machine &machine;
  std::vector<int32_t> lengths;
  Cache cache;

  /// A token for every request, again and again: recorded the second time, when all code is loaded.
  struct Decode;
  std::unique_ptr<Decode> decode;
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_MODEL_H
