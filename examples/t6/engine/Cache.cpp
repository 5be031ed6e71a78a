// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Cache.h"

#include <stdexcept>

namespace t6 {

namespace {

int64_t roundedUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/// The piece of memory for all tensors of a cache, where they have one.
constexpr const char *wholeCache = "cache";

} // namespace

Cache::Cache(const Kernels &kernels, size_t layerCount, int64_t requests, int64_t tokens)
    : kernels(kernels), requests(requests),
      slots(roundedUp(tokens, kernels.pageSize() ? kernels.pageSize() : kernels.cacheLayout().capacity_unit)),
      layers(layerCount) {
  if (const int64_t pageSize = kernels.pageSize()) {
    const int64_t columns = slots / pageSize;
    pages = requests * columns;
    const int64_t pageBytes = pageSize * kernels.cacheLayout().token_bytes * static_cast<int64_t>(layerCount);
    const tpac_page_pool_config config = {sizeof(config), pages, pageSize, pageBytes};
    tpac_page_pool *created = nullptr;
    requireSuccess(tpac_page_pool_create(&config, &created));
    pool.reset(created);
    numbers.resize(static_cast<size_t>(requests));
    for (int64_t &number : numbers)
      requireSuccess(tpac_page_pool_add(created, &number));
    table.resize(static_cast<size_t>(requests * columns));
    lengths.resize(static_cast<size_t>(requests));
    tableMemory = kernels.machine().allocate(requests * columns * static_cast<int64_t>(sizeof(int32_t)));
  }
  const Sizes sizes = {{"batch", requests}, {"capacity", slots}, {"pages", pages}, {"tokens", 0}};
  for (auto &layer : layers) {
    if (kernels.cacheLayout().is_one_piece) {
      layer[wholeCache] = kernels.machine().allocate(requests * slots * kernels.cacheLayout().token_bytes);
      continue;
    }
    for (const TensorInfo &tensor : kernels.tensors("append"))
      if (tensor.isCache())
        layer[tensor.name] = kernels.machine().allocate(tensor.elements(sizes) * sizeOf(tensor.elementType()));
  }
}

void Cache::grow(size_t request, int64_t tokens) {
  if (!pool)
    return;
  // Requests here share no pages, so that there is never one to copy.
  tpac_page_copy copy;
  requireSuccess(tpac_page_pool_append(pool.get(), numbers[request], tokens, &copy));
}

void Cache::update() {
  if (!pool)
    return;
  requireSuccess(tpac_page_pool_block_table(pool.get(), numbers.data(), requests, table.data(),
                                            slots / kernels.pageSize(), lengths.data()));
  kernels.machine().upload(table.data(), static_cast<int64_t>(table.size() * sizeof(int32_t)), tableMemory.get());
}

void Cache::addTo(Sizes &sizes, std::map<std::string, void *> &data, size_t layer) {
  sizes["batch"] = requests;
  sizes["capacity"] = slots;
  sizes["pages"] = pages;
  data["block_table"] = tableMemory.get();
  for (const TensorInfo &tensor : kernels.tensors("append"))
    if (tensor.isCache())
      data[tensor.name] = layers[layer].at(kernels.cacheLayout().is_one_piece ? wholeCache : tensor.name).get();
}

int64_t Cache::bytesUsed(int64_t tokens) const {
  if (!pool)
    return tokens * kernels.cacheLayout().token_bytes * static_cast<int64_t>(layers.size());
  tpac_page_pool_statistics statistics = {};
  statistics.struct_size = sizeof(statistics);
  requireSuccess(tpac_page_pool_get_statistics(pool.get(), &statistics));
  return statistics.used_bytes;
}

} // namespace t6
