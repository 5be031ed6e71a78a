// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/Case.h"

#include "tests/property/Random.h"

#include <algorithm>
#include <numeric>

namespace tpac::gputest {

oracle::Sizes Case::sizes() const {
  oracle::Sizes sizes;
  sizes.batch = static_cast<int64_t>(lengths.size());
  sizes.capacity = capacity;
  sizes.tokens = std::accumulate(queries.begin(), queries.end(), int64_t(0));
  return sizes;
}

oracle::Tensors makeInputs(const oracle::Variant &variant, const Case &item) {
  oracle::Sizes sizes = item.sizes();
  oracle::Tensors tensors;
  uint64_t number = 0;
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, "decode")) {
    ++number;
    if (spec.access == "out")
      continue;
    oracle::Tensor tensor(sizes.of(spec.shape));
    if (spec.name == "token_start") {
      for (size_t b = 0; b < item.queries.size(); ++b)
        tensor.data[b + 1] = tensor.data[b] + static_cast<double>(item.queries[b]);
    } else if (spec.name == "lengths") {
      for (size_t b = 0; b < item.lengths.size(); ++b)
        tensor.data[b] = static_cast<double>(item.lengths[b]);
    } else if (spec.name == "positions") {
      size_t t = 0;
      for (size_t b = 0; b < item.queries.size(); ++b)
        for (int64_t n = 0; n < item.queries[b]; ++n)
          tensor.data[t++] = static_cast<double>(item.lengths[b] - item.queries[b] + n);
    } else if (spec.name == "key_positions_cache") {
      for (size_t i = 0; i < tensor.data.size(); ++i)
        tensor.data[i] = static_cast<double>(i % static_cast<size_t>(item.capacity));
    } else {
      property::Random random(item.seed * 1000 + number);
      double gain = spec.name.starts_with("q_token") ? item.gain : 1.0;
      auto draw = [&](size_t first, size_t last) {
        for (size_t i = first; i < last; ++i)
          tensor.data[i] = oracle::roundTo(spec.type, gain * random.signedUnit());
      };
      if (!spec.name.ends_with("_cache")) {
        draw(0, tensor.data.size());
        tensors[spec.name] = std::move(tensor);
        continue;
      }
      // What lies beyond the lengths is nobody's.
      const size_t perRequest = tensor.data.size() / std::max<size_t>(item.lengths.size(), 1);
      const size_t perToken = perRequest / static_cast<size_t>(std::max<int64_t>(item.capacity, 1));
      for (size_t b = 0; b < item.lengths.size(); ++b)
        draw(b * perRequest, b * perRequest + static_cast<size_t>(item.lengths[b]) * perToken);
      if (item.sharedTokens > 0)
        std::copy_n(tensor.data.begin(), perToken * static_cast<size_t>(item.sharedTokens),
                    tensor.data.begin() + static_cast<std::ptrdiff_t>(perRequest));
    }
    tensors[spec.name] = std::move(tensor);
  }
  return tensors;
}

} // namespace tpac::gputest
