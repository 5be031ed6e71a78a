// SPDX-License-Identifier: Apache-2.0
//
// Pages, who uses them, and which are free. Internal; what callers see, and what each function does, is
// tpac/page_pool.h.

#ifndef TPAC_RUNTIME_PAGES_PAGEPOOL_H
#define TPAC_RUNTIME_PAGES_PAGEPOOL_H

#include "tpac/page_pool.h"

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace tpac::runtime {

class PagePool {
public:
  struct Request {
    int64_t length = 0;
    std::vector<int32_t> pages;
  };

  PagePool(int64_t pages, int64_t pageSize, int64_t pageBytes);

  /// The request of that number, or null. Only the pool changes what it holds.
  const Request *find(int64_t request) const;
  Request *find(int64_t request);

  int64_t add();
  /// 0 <= tokens <= length of `request`.
  int64_t fork(const Request &request, int64_t tokens);
  /// Pages that append would take.
  int64_t pagesToAppend(const Request &request, int64_t tokens) const;
  /// At least pagesToAppend pages must be free.
  tpac_page_copy append(Request &request, int64_t tokens);
  void truncate(Request &request, int64_t tokens);
  void remove(int64_t request);

  int64_t freePages() const { return static_cast<int64_t>(free.size()); }
  int64_t pageSize() const { return tokensPerPage; }
  tpac_page_pool_statistics statistics() const;

private:
  int64_t pagesFor(int64_t tokens) const { return (tokens + tokensPerPage - 1) / tokensPerPage; }
  /// Whether the next token of `request` goes to a page that it shares.
  bool writesToSharedPage(const Request &request) const;
  int32_t take();
  void drop(int32_t page);

  int64_t tokensPerPage, bytesPerPage;
  /// Requests per page.
  std::vector<int32_t> users;
  /// The page that is taken next is the last one.
  std::vector<int32_t> free;
  std::unordered_map<int64_t, Request> requests;
  int64_t latest = 0;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PAGES_PAGEPOOL_H
