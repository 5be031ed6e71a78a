// SPDX-License-Identifier: Apache-2.0
//
// Picks the next token from logits.

#ifndef TPAC_EXAMPLES_T6_SAMPLER_H
#define TPAC_EXAMPLES_T6_SAMPLER_H

#include <cstdint>
#include <random>
#include <span>

namespace t6 {

struct SamplerOptions {
  /// 0: the most probable token, always.
  double temperature = 0;
  /// Only the most probable tokens that together have at least this probability are drawn from.
  double topP = 1;
  uint64_t seed = 0;
};

/// The same options give the same tokens.
class Sampler {
public:
  explicit Sampler(const SamplerOptions &options) : options(options), random(options.seed) {}

  /// Of equal logits the lowest token comes first.
  int32_t pick(std::span<const float> logits);

private:
  SamplerOptions options;
  std::mt19937_64 random;
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_SAMPLER_H
