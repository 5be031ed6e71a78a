// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace t6 {

int32_t Sampler::pick(std::span<const float> logits) {
  if (options.temperature == 0)
    return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, [&](int32_t a, int32_t b) {
    const float one = logits[static_cast<size_t>(a)], other = logits[static_cast<size_t>(b)];
    return one > other || (one == other && a < b);
  });
  const double top = logits[static_cast<size_t>(order.front())];
  std::vector<double> weights;
  for (int32_t token : order)
    weights.push_back(std::exp((logits[static_cast<size_t>(token)] - top) / options.temperature));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0;
  size_t count = 0;
  while (count < weights.size() && (count == 0 || kept < options.topP * total))
    kept += weights[count++];
  // Not std::discrete_distribution: what it draws differs between libraries.
  double rest = kept * (static_cast<double>(random() >> 11) * 0x1p-53);
  for (size_t i = 0; i + 1 < count; ++i)
    if ((rest -= weights[i]) < 0)
      return order[i];
  return order[count - 1];
}

} // namespace t6
