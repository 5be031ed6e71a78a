// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/CacheMap.h"

namespace tpac::gputest {

CacheMap::CacheMap(const nlohmann::json &layout)
    : planes(layout.at("planes")), row(layout.at("row_bytes")), swizzleMask(layout.at("swizzle_mask")),
      swizzleShift(layout.at("swizzle_shift")) {
  for (const nlohmann::json &segment : layout.at("segments"))
    parts.push_back({segment.at("tensor"), oracle::parseType(segment.at("type").get<std::string>()),
                     segment.at("offset"), segment.at("ranks"), segment.at("size"), segment.at("pitch")});
}

size_t CacheMap::bytes(int64_t batch, int64_t capacity) const {
  return static_cast<size_t>(batch * planes * capacity * row);
}

void CacheMap::forEach(const Segment &segment, int64_t capacity, int64_t request, int64_t token,
                       const std::function<void(int64_t, size_t)> &visit) const {
  auto bytesOfElement = static_cast<int64_t>(oracle::typeSize(segment.type));
  int64_t number = 0;
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t rank = 0; rank < segment.ranks; ++rank)
      for (int64_t i = 0; i < segment.size; ++i) {
        int64_t within = segment.offset + rank * segment.pitch + i * bytesOfElement;
        within ^= ((token >> swizzleShift) & swizzleMask) * 16;
        visit(number++, static_cast<size_t>(((request * planes + plane) * capacity + token) * row + within));
      }
}

std::vector<uint8_t> CacheMap::layOut(const std::vector<int64_t> &lengths, int64_t capacity,
                                      const oracle::Tensors &tensors) const {
  auto batch = static_cast<int64_t>(lengths.size());
  std::vector<uint8_t> cache(bytes(batch, capacity), 0xff);
  for (const Segment &segment : parts) {
    const oracle::Tensor &source = tensors.at(segment.tensor);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t m = 0; m < lengths[static_cast<size_t>(b)]; ++m) {
        int64_t first = (b * capacity + m) * elementsOfToken(segment);
        forEach(segment, capacity, b, m, [&](int64_t number, size_t place) {
          oracle::encode(segment.type, source.data[static_cast<size_t>(first + number)], &cache[place]);
        });
      }
  }
  return cache;
}

} // namespace tpac::gputest
