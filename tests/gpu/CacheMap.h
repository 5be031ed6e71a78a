// SPDX-License-Identifier: Apache-2.0
//
// Where kernels keep what is cached: GpuCacheLayout as GpuCases wrote it.

#ifndef TPAC_TESTS_GPU_CACHEMAP_H
#define TPAC_TESTS_GPU_CACHEMAP_H

#include "tests/oracle/Oracle.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace tpac::gputest {

class CacheMap {
public:
  explicit CacheMap(const nlohmann::json &layout);

  struct Segment {
    std::string tensor;
    oracle::Type type;
    int64_t offset, ranks, size, pitch;
  };
  const std::vector<Segment> &segments() const { return parts; }
  int64_t rowBytes() const { return row; }
  /// Of `batch` requests of `capacity` tokens.
  size_t bytes(int64_t batch, int64_t capacity) const;

  /// Calls `visit(number, place)` for every element of a token: its number in the plain tensor's [rank, size], and its
  /// first byte in the cache.
  void forEach(const Segment &segment, int64_t capacity, int64_t request, int64_t token,
               const std::function<void(int64_t, size_t)> &visit) const;
  int64_t elementsOfToken(const Segment &segment) const { return planes * segment.ranks * segment.size; }

  /// The cache of plain tensors [batch, capacity, ...]; what no token below `lengths` owns is NaN.
  std::vector<uint8_t> layOut(const std::vector<int64_t> &lengths, int64_t capacity,
                              const oracle::Tensors &tensors) const;

private:
  std::vector<Segment> parts;
  int64_t planes, row, swizzleMask, swizzleShift;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_CACHEMAP_H
