// SPDX-License-Identifier: Apache-2.0
//
// The C functions of tpac/page_pool.h: check arguments, turn exceptions into statuses. The work is PagePool's.

#include "tpac/page_pool.h"

#include "runtime/Failure.h"
#include "runtime/SizedStruct.h"
#include "runtime/pages/PagePool.h"

#include <algorithm>

using namespace tpac::runtime;

struct tpac_page_pool {
  PagePool pages;
};

namespace {

using Integer = long long;

/// Finds request `number` of `pool`, which is the argument `name`.
template <typename Pool, typename Request>
int32_t find(const char *function, Pool *pool, const char *name, int64_t number, Request *&request) {
  if (pool == nullptr)
    return refuseNull(function, "pool");
  request = pool->pages.find(number);
  if (request == nullptr)
    return fail(TPAC_INVALID_ARGUMENT, "%s: %s is %lld; expected the number of a request that was not removed",
                function, name, Integer{number});
  return TPAC_SUCCESS;
}

int32_t checkTokens(const char *function, int64_t tokens, int64_t length) {
  if (tokens < 0 || tokens > length)
    return fail(TPAC_INVALID_ARGUMENT, "%s: tokens is %lld; expected 0 to %lld, the request's length", function,
                Integer{tokens}, Integer{length});
  return TPAC_SUCCESS;
}

/// Checks what functions that list several requests have in common: `each`(request) sees them in order.
template <typename Each>
int32_t forEach(const char *function, const tpac_page_pool *pool, const int64_t *requests, int64_t count, Each each) {
  if (pool == nullptr)
    return refuseNull(function, "pool");
  if (count < 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: count is %lld; expected 0 or more", function, Integer{count});
  if (requests == nullptr && count > 0)
    return refuseNull(function, "requests");
  for (int64_t i = 0; i < count; ++i) {
    const PagePool::Request *request = pool->pages.find(requests[i]);
    if (request == nullptr)
      return fail(TPAC_INVALID_ARGUMENT,
                  "%s: requests[%lld] is %lld; expected the number of a request that was not removed", function,
                  Integer{i}, Integer{requests[i]});
    if (const int32_t status = each(i, *request))
      return status;
  }
  return TPAC_SUCCESS;
}

} // namespace

extern "C" {

int32_t tpac_page_pool_create(const tpac_page_pool_config *config, tpac_page_pool **pool) {
  constexpr const char *function = "tpac_page_pool_create";
  constexpr int64_t mostPages = INT32_MAX, mostTokens = 1 << 20;
  if (pool == nullptr)
    return refuseNull(function, "pool");
  tpac_page_pool_config checked = {};
  if (const int32_t status = readSized(function, "config", "tpac_page_pool_config", config, checked))
    return status;
  if (checked.pages < 1 || checked.pages > mostPages)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.pages is %lld; expected 1 to %lld", function, Integer{checked.pages},
                Integer{mostPages});
  if (checked.page_size < 1 || checked.page_size > mostTokens)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.page_size is %lld; expected 1 to %lld tokens", function,
                Integer{checked.page_size}, Integer{mostTokens});
  // All statistics fit into 63 bits.
  if (const int64_t most = INT64_MAX / mostPages / 2; checked.page_bytes < 0 || checked.page_bytes > most)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.page_bytes is %lld; expected 0 to %lld", function,
                Integer{checked.page_bytes}, Integer{most});
  return guarded(function,
                 [&] { *pool = new tpac_page_pool{PagePool(checked.pages, checked.page_size, checked.page_bytes)}; });
}

void tpac_page_pool_destroy(tpac_page_pool *pool) { delete pool; }

int32_t tpac_page_pool_add(tpac_page_pool *pool, int64_t *request) {
  constexpr const char *function = "tpac_page_pool_add";
  if (pool == nullptr || request == nullptr)
    return refuseNull(function, pool == nullptr ? "pool" : "request");
  return guarded(function, [&] { *request = pool->pages.add(); });
}

int32_t tpac_page_pool_fork(tpac_page_pool *pool, int64_t request, int64_t tokens, int64_t *child) {
  constexpr const char *function = "tpac_page_pool_fork";
  PagePool::Request *parent = nullptr;
  if (const int32_t status = find(function, pool, "request", request, parent))
    return status;
  if (const int32_t status = checkTokens(function, tokens, parent->length))
    return status;
  if (child == nullptr)
    return refuseNull(function, "child");
  return guarded(function, [&] { *child = pool->pages.fork(*parent, tokens); });
}

int32_t tpac_page_pool_append(tpac_page_pool *pool, int64_t request, int64_t tokens, tpac_page_copy *copy) {
  constexpr const char *function = "tpac_page_pool_append";
  PagePool::Request *grown = nullptr;
  if (const int32_t status = find(function, pool, "request", request, grown))
    return status;
  if (copy == nullptr)
    return refuseNull(function, "copy");
  // Lengths are int32 in the tables.
  if (const int64_t most = INT32_MAX - grown->length; tokens < 0 || tokens > most)
    return fail(TPAC_INVALID_ARGUMENT, "%s: tokens is %lld; expected 0 to %lld", function, Integer{tokens},
                Integer{most});
  const int64_t needed = pool->pages.pagesToAppend(*grown, tokens);
  if (needed > pool->pages.freePages())
    return fail(TPAC_OUT_OF_PAGES, "%s: %lld tokens of request %lld need %lld pages; %lld are free", function,
                Integer{tokens}, Integer{request}, Integer{needed}, Integer{pool->pages.freePages()});
  return guarded(function, [&] { *copy = pool->pages.append(*grown, tokens); });
}

int32_t tpac_page_pool_truncate(tpac_page_pool *pool, int64_t request, int64_t tokens) {
  constexpr const char *function = "tpac_page_pool_truncate";
  PagePool::Request *cut = nullptr;
  if (const int32_t status = find(function, pool, "request", request, cut))
    return status;
  if (const int32_t status = checkTokens(function, tokens, cut->length))
    return status;
  pool->pages.truncate(*cut, tokens);
  return TPAC_SUCCESS;
}

int32_t tpac_page_pool_remove(tpac_page_pool *pool, int64_t request) {
  PagePool::Request *removed = nullptr;
  if (const int32_t status = find("tpac_page_pool_remove", pool, "request", request, removed))
    return status;
  pool->pages.remove(request);
  return TPAC_SUCCESS;
}

int32_t tpac_page_pool_length(const tpac_page_pool *pool, int64_t request, int64_t *tokens) {
  constexpr const char *function = "tpac_page_pool_length";
  const PagePool::Request *found = nullptr;
  if (const int32_t status = find(function, pool, "request", request, found))
    return status;
  if (tokens == nullptr)
    return refuseNull(function, "tokens");
  *tokens = found->length;
  return TPAC_SUCCESS;
}

int32_t tpac_page_pool_block_table(const tpac_page_pool *pool, const int64_t *requests, int64_t count, int32_t *table,
                                   int64_t columns, int32_t *lengths) {
  constexpr const char *function = "tpac_page_pool_block_table";
  if (columns < 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: columns is %lld; expected 0 or more", function, Integer{columns});
  if (count > 0 && ((table == nullptr && columns > 0) || lengths == nullptr))
    return refuseNull(function, lengths == nullptr ? "lengths" : "table");
  const int32_t status = forEach(function, pool, requests, count, [&](int64_t i, const PagePool::Request &request) {
    if (const auto pages = static_cast<int64_t>(request.pages.size()); pages > columns)
      return fail(TPAC_INVALID_ARGUMENT, "%s: columns is %lld; expected %lld or more, the pages of requests[%lld]",
                  function, Integer{columns}, Integer{pages}, Integer{i});
    return int32_t{TPAC_SUCCESS};
  });
  if (status != TPAC_SUCCESS)
    return status;
  return forEach(function, pool, requests, count, [&](int64_t i, const PagePool::Request &request) {
    int32_t *row = table + i * columns;
    std::fill(std::copy(request.pages.begin(), request.pages.end(), row), row + columns, -1);
    lengths[i] = static_cast<int32_t>(request.length);
    return int32_t{TPAC_SUCCESS};
  });
}

int32_t tpac_page_pool_page_list(const tpac_page_pool *pool, const int64_t *requests, int64_t count, int32_t *indptr,
                                 int32_t *indices, int64_t size, int32_t *last_page_tokens) {
  constexpr const char *function = "tpac_page_pool_page_list";
  if (indptr == nullptr)
    return refuseNull(function, "indptr");
  int64_t pages = 0;
  int32_t status = forEach(function, pool, requests, count, [&](int64_t, const PagePool::Request &request) {
    pages += static_cast<int64_t>(request.pages.size());
    return int32_t{TPAC_SUCCESS};
  });
  if (status != TPAC_SUCCESS)
    return status;
  if (pages > size || pages > INT32_MAX)
    return fail(TPAC_INVALID_ARGUMENT, "%s: size is %lld; expected %lld or more, the pages of all requests", function,
                Integer{size}, Integer{pages});
  if ((indices == nullptr && pages > 0) || (last_page_tokens == nullptr && count > 0))
    return refuseNull(function, last_page_tokens == nullptr ? "last_page_tokens" : "indices");
  indptr[0] = 0;
  return forEach(function, pool, requests, count, [&](int64_t i, const PagePool::Request &request) {
    std::copy(request.pages.begin(), request.pages.end(), indices + indptr[i]);
    indptr[i + 1] = indptr[i] + static_cast<int32_t>(request.pages.size());
    const int64_t pageSize = pool->pages.pageSize();
    last_page_tokens[i] = static_cast<int32_t>(request.length == 0 ? 0 : (request.length - 1) % pageSize + 1);
    return int32_t{TPAC_SUCCESS};
  });
}

int32_t tpac_page_pool_get_statistics(const tpac_page_pool *pool, tpac_page_pool_statistics *statistics) {
  constexpr const char *function = "tpac_page_pool_get_statistics";
  if (pool == nullptr)
    return refuseNull(function, "pool");
  if (statistics == nullptr)
    return refuseNull(function, "statistics");
  if (statistics->struct_size < static_cast<int64_t>(sizeof(tpac_page_pool_statistics)))
    return fail(TPAC_INVALID_ARGUMENT,
                "%s: statistics.struct_size is %lld; expected sizeof(tpac_page_pool_statistics), which is %lld",
                function, Integer{statistics->struct_size}, Integer{sizeof(tpac_page_pool_statistics)});
  return guarded(function, [&] {
    const int64_t size = statistics->struct_size;
    *statistics = pool->pages.statistics();
    statistics->struct_size = size;
  });
}
}
