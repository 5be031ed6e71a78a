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
  /// Tokens per page; 0: no pages.
  int64_t pageSize() const { return tokensOfPage; }
  /// The smallest capacity for `tokens` tokens.
  int64_t capacityFor(int64_t tokens) const;

  /// Where there are pages: gives every request those that its `lengths` take, in any order and with others between
  /// them; entries of the table that nobody needs name no page. Requests 0 and 1 share the pages of their first
  /// `sharedTokens` tokens.
  void drawPages(const std::vector<int64_t> &lengths, int64_t capacity, uint64_t seed, int64_t sharedTokens = 0);
  /// [batch, capacity / pageSize()].
  const oracle::Tensor &table() const { return pages; }
  /// The same pages as a list of all requests' one after another, and where in it those of each begin: [batch + 1].
  /// Before, between and behind them are numbers of no page.
  struct List {
    oracle::Tensor pages, starts;
  };
  List list() const;

  /// Of `batch` requests of `capacity` tokens, or of the pages that were drawn.
  size_t bytes(int64_t batch, int64_t capacity) const;

  /// Calls `visit(number, place)` for every element of a token: its number in the plain tensor's [rank, size], and its
  /// first byte in the cache. Not at all where the token has no page.
  void forEach(const Segment &segment, int64_t capacity, int64_t request, int64_t token,
               const std::function<void(int64_t, size_t)> &visit) const;
  int64_t elementsOfToken(const Segment &segment) const { return planes * segment.ranks * segment.size; }

  /// The cache of plain tensors [batch, capacity, ...]; what no token below `lengths` owns is NaN.
  std::vector<uint8_t> layOut(const std::vector<int64_t> &lengths, int64_t capacity,
                              const oracle::Tensors &tensors) const;

private:
  std::vector<Segment> parts;
  int64_t planes, row, swizzleMask, swizzleShift, tokensOfPage;
  int64_t pageCount = 0;
  oracle::Tensor pages;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_CACHEMAP_H
