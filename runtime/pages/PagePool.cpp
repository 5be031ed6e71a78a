// SPDX-License-Identifier: Apache-2.0
//
// Every operation allocates before it changes anything, so that one that throws has changed nothing.

#include "runtime/pages/PagePool.h"

#include <algorithm>
#include <numeric>

namespace tpac::runtime {

PagePool::PagePool(int64_t pages, int64_t pageSize, int64_t pageBytes)
    : tokensPerPage(pageSize), bytesPerPage(pageBytes), users(static_cast<size_t>(pages)),
      free(static_cast<size_t>(pages)) {
  // Low numbers first, so that short tests and small loads stay in few pages of memory.
  std::iota(free.rbegin(), free.rend(), 0);
}

const PagePool::Request *PagePool::find(int64_t request) const {
  auto found = requests.find(request);
  return found == requests.end() ? nullptr : &found->second;
}

PagePool::Request *PagePool::find(int64_t request) {
  auto found = requests.find(request);
  return found == requests.end() ? nullptr : &found->second;
}

int64_t PagePool::add() {
  requests.emplace(latest + 1, Request());
  return ++latest;
}

int64_t PagePool::fork(const Request &request, int64_t tokens) {
  Request child;
  child.length = tokens;
  child.pages.assign(request.pages.begin(), request.pages.begin() + pagesFor(tokens));
  const Request &added = requests.emplace(latest + 1, std::move(child)).first->second;
  for (int32_t page : added.pages)
    ++users[static_cast<size_t>(page)];
  return ++latest;
}

bool PagePool::writesToSharedPage(const Request &request) const {
  return request.length % tokensPerPage != 0 && users[static_cast<size_t>(request.pages.back())] > 1;
}

int64_t PagePool::pagesToAppend(const Request &request, int64_t tokens) const {
  if (tokens == 0)
    return 0;
  return pagesFor(request.length + tokens) - static_cast<int64_t>(request.pages.size()) + writesToSharedPage(request);
}

tpac_page_copy PagePool::append(Request &request, int64_t tokens) {
  tpac_page_copy copy = {-1, -1, 0};
  if (tokens == 0)
    return copy;
  const auto count = static_cast<size_t>(pagesFor(request.length + tokens));
  request.pages.reserve(count);
  if (writesToSharedPage(request)) {
    copy = {request.pages.back(), take(), static_cast<int32_t>(request.length % tokensPerPage)};
    request.pages.back() = copy.to;
    drop(copy.from);
  }
  while (request.pages.size() < count)
    request.pages.push_back(take());
  request.length += tokens;
  return copy;
}

void PagePool::truncate(Request &request, int64_t tokens) {
  const auto count = static_cast<size_t>(pagesFor(tokens));
  while (request.pages.size() > count) {
    drop(request.pages.back());
    request.pages.pop_back();
  }
  request.length = tokens;
}

void PagePool::remove(int64_t request) {
  truncate(requests.at(request), 0);
  requests.erase(request);
}

int32_t PagePool::take() {
  const int32_t page = free.back();
  free.pop_back();
  users[static_cast<size_t>(page)] = 1;
  return page;
}

void PagePool::drop(int32_t page) {
  // The vector once held every page: this never allocates.
  if (--users[static_cast<size_t>(page)] == 0)
    free.push_back(page);
}

tpac_page_pool_statistics PagePool::statistics() const {
  tpac_page_pool_statistics result = {};
  result.struct_size = sizeof(result);
  result.requests = static_cast<int64_t>(requests.size());
  result.pages = static_cast<int64_t>(users.size());
  result.free_pages = freePages();
  result.shared_pages = std::count_if(users.begin(), users.end(), [](int32_t count) { return count > 1; });
  // Of a page that requests fill to different extents, the longest counts.
  std::unordered_map<int32_t, int64_t> partlyFilled;
  int64_t listed = 0;
  for (const auto &[number, request] : requests) {
    result.request_tokens += request.length;
    listed += static_cast<int64_t>(request.pages.size());
    if (const int64_t rest = request.length % tokensPerPage) {
      int64_t &filled = partlyFilled[request.pages.back()];
      filled = std::max(filled, rest);
    }
  }
  // A page that is full for one of its requests is full.
  for (const auto &[number, request] : requests)
    for (int64_t page = 0; page < request.length / tokensPerPage; ++page)
      partlyFilled.erase(request.pages[static_cast<size_t>(page)]);
  int64_t slack = 0;
  for (const auto &[page, filled] : partlyFilled)
    slack += tokensPerPage - filled;
  const int64_t used = result.pages - result.free_pages;
  result.used_bytes = used * bytesPerPage;
  result.shared_bytes = (listed - used) * bytesPerPage;
  result.slack_bytes = slack * bytesPerPage / tokensPerPage;
  return result;
}

} // namespace tpac::runtime
