// SPDX-License-Identifier: Apache-2.0
//
// The factor caches of a batch of requests in every layer: a piece of memory per request, or, where the pack says so,
// pages that a pool gives to the requests as they grow.

#ifndef TPAC_EXAMPLES_T6_CACHE_H
#define TPAC_EXAMPLES_T6_CACHE_H

#include "examples/t6/engine/Kernels.h"

#include "tpac/page_pool.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace t6 {

class Cache {
public:
  /// Room for `requests` requests of `tokens` tokens each.
  Cache(const Kernels &kernels, size_t layers, int64_t requests, int64_t tokens);

  /// Slots of a request in each layer: `tokens`, rounded up to what the pack takes.
  int64_t capacity() const { return slots; }

  /// Pages for `tokens` more tokens of `request`; throws std::runtime_error where there are none. Without pages there
  /// is nothing to do.
  void grow(size_t request, int64_t tokens);
  /// To be called after all calls of grow of a step: writes the block table.
  void update();

  /// Adds to a call of a phase what it takes of the cache of `layer`.
  void addTo(Sizes &sizes, std::map<std::string, void *> &data, size_t layer);

  /// Bytes of the pages in use, in all layers; without pages, of `tokens` tokens.
  int64_t bytesUsed(int64_t tokens) const;

private:
  const Kernels &kernels;
  int64_t requests, slots, pages = 0;
  std::unique_ptr<tpac_page_pool, void (*)(tpac_page_pool *)> pool{nullptr, tpac_page_pool_destroy};
  /// Numbers of the requests in the pool, and the table of their pages [requests, slots / page size].
  std::vector<int64_t> numbers;
  std::vector<int32_t> table, lengths;
  Memory tableMemory;
  /// Of each layer: a piece of memory for all cache tensors, or one for each.
  std::vector<std::map<std::string, Memory>> layers;
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_CACHE_H
