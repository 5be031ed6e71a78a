// SPDX-License-Identifier: Apache-2.0
//
// Calls a variant's phases on one layer's tensors: one request of all tokens. Files and judgement are not its business.

#ifndef TPAC_TOOLS_TPAC_MODELLAYER_H
#define TPAC_TOOLS_TPAC_MODELLAYER_H

#include "lowering/execute/Executable.h"

#include <array>
#include <cstddef>
#include <map>
#include <vector>

namespace tpac {

class ModelLayer {
public:
  /// The phases that must have been compiled.
  static constexpr std::array<Phase, 4> phases = {Phase::project, Phase::append, Phase::decode, Phase::prefill};

  /// Projects all `tokens` tokens in one call. `inputs` holds "hidden" [tokens, channels] and every "..._weight" of the
  /// project phase; they are rounded to the activation type. `executable` must outlive this object. Throws
  /// std::runtime_error where an input is missing or of another size, or a phase fails.
  ModelLayer(const Executable &executable, int64_t tokens, int64_t channels,
             const std::map<std::string, std::vector<double>> &inputs);

  /// Empties the cache, then appends and attends (`attention`: decode or prefill) with `tokensPerCall` tokens at a
  /// time, in a cache with room for exactly all tokens; where it has pages, they lie in no order, with others between
  /// them. Throws std::runtime_error where a phase fails.
  void attend(Phase attention, int64_t tokensPerCall);

  /// Of the last attend: "out" [tokens, local heads, E], "lse" [tokens, local heads]; NaN where not written.
  std::vector<double> result(const std::string &name) const;

private:
  PhaseCall sizedCall(Phase phase, int64_t count) const;
  void allocate(Phase phase, const std::map<std::string, std::vector<double>> &inputs);
  void *dataOf(const PhaseTensor &tensor, int64_t first);
  void run(Phase phase, int64_t first, int64_t count);

  const Executable &executable;
  int64_t tokens, channels;
  std::vector<int32_t> positions;
  std::array<int32_t, 2> tokenStart = {};
  int32_t length = 0;
  /// Empty where the cache has no pages.
  std::vector<int32_t> blockTable;
  std::map<std::string, std::vector<std::byte>> memory;
};

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_MODELLAYER_H
