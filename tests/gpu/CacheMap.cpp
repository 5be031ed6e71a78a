// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/CacheMap.h"

#include "tests/property/Random.h"

namespace tpac::gputest {

/// In a table: no page.
static constexpr double nobodysPage = 2147480000;

CacheMap::CacheMap(const nlohmann::json &layout)
    : planes(layout.at("planes")), row(layout.at("row_bytes")), swizzleMask(layout.at("swizzle_mask")),
      swizzleShift(layout.at("swizzle_shift")), tokensOfPage(layout.at("page_size")) {
  for (const nlohmann::json &segment : layout.at("segments"))
    parts.push_back({segment.at("tensor"), oracle::parseType(segment.at("type").get<std::string>()),
                     segment.at("offset"), segment.at("ranks"), segment.at("size"), segment.at("pitch")});
}

int64_t CacheMap::capacityFor(int64_t tokens) const {
  // Without pages a block's copy may go beyond what a request has.
  const int64_t unit = tokensOfPage != 0 ? tokensOfPage : 128;
  return (tokens + unit - 1) / unit * unit;
}

void CacheMap::drawPages(const std::vector<int64_t> &lengths, int64_t capacity, uint64_t seed, int64_t sharedTokens) {
  if (tokensOfPage == 0)
    return;
  const int64_t entries = capacity / tokensOfPage;
  pages = oracle::Tensor({static_cast<int64_t>(lengths.size()), entries}, nobodysPage);
  pageCount = 3;
  for (int64_t length : lengths)
    pageCount += (length + tokensOfPage - 1) / tokensOfPage;
  std::vector<int64_t> free;
  property::Random random(seed);
  for (int64_t page = 0; page < pageCount; ++page)
    free.insert(free.begin() + random.range(0, page), page);
  for (size_t b = 0; b < lengths.size(); ++b)
    for (int64_t i = 0; i * tokensOfPage < lengths[b]; ++i) {
      double &page = pages.data[b * static_cast<size_t>(entries) + static_cast<size_t>(i)];
      if (b == 1 && (i + 1) * tokensOfPage <= sharedTokens) {
        page = pages.data[static_cast<size_t>(i)];
        continue;
      }
      page = static_cast<double>(free.back());
      free.pop_back();
    }
}

CacheMap::List CacheMap::list() const {
  std::vector<double> numbers = {nobodysPage}, starts = {1};
  const auto entries = static_cast<size_t>(pages.shape[1]);
  for (size_t b = 0; b < static_cast<size_t>(pages.shape[0]); ++b) {
    for (size_t i = 0; i < entries; ++i)
      if (double page = pages.data[b * entries + i]; page != nobodysPage)
        numbers.push_back(page);
    numbers.push_back(nobodysPage);
    starts.push_back(static_cast<double>(numbers.size()));
  }
  List result = {oracle::Tensor({static_cast<int64_t>(numbers.size())}),
                 oracle::Tensor({static_cast<int64_t>(starts.size())})};
  result.pages.data = std::move(numbers);
  result.starts.data = std::move(starts);
  return result;
}

size_t CacheMap::bytes(int64_t batch, int64_t capacity) const {
  return static_cast<size_t>(planes * (pageCount != 0 ? pageCount * tokensOfPage : batch * capacity) * row);
}

void CacheMap::forEach(const Segment &segment, int64_t capacity, int64_t request, int64_t token,
                       const std::function<void(int64_t, size_t)> &visit) const {
  // Without pages a request's tokens are its only one.
  int64_t page = request, size = capacity;
  if (tokensOfPage != 0) {
    size = tokensOfPage;
    double found =
        token < capacity ? pages.data[static_cast<size_t>((request * capacity + token) / size)] : nobodysPage;
    if (found == nobodysPage)
      return;
    page = static_cast<int64_t>(found);
  }
  auto bytesOfElement = static_cast<int64_t>(oracle::typeSize(segment.type));
  int64_t number = 0;
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t rank = 0; rank < segment.ranks; ++rank)
      for (int64_t i = 0; i < segment.size; ++i) {
        int64_t within = segment.offset + rank * segment.pitch + i * bytesOfElement;
        within ^= ((token >> swizzleShift) & swizzleMask) * 16;
        visit(number++, static_cast<size_t>(((page * planes + plane) * size + token % size) * row + within));
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
