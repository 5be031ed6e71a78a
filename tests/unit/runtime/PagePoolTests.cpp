// SPDX-License-Identifier: Apache-2.0
//
// A page pool against a model that knows tokens alone: what every request reads through its pages is what was written
// for it, whatever was forked, appended, truncated and removed before.

#include "tpac/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

class Pool {
public:
  Pool(int64_t pages, int64_t pageSize, int64_t pageBytes = 0) : pageSize(pageSize), memory(pages * pageSize, -1) {
    const tpac_page_pool_config config = {sizeof(config), pages, pageSize, pageBytes};
    EXPECT_EQ(tpac_page_pool_create(&config, &pool), TPAC_SUCCESS);
  }
  ~Pool() { tpac_page_pool_destroy(pool); }
  Pool(const Pool &) = delete;
  Pool &operator=(const Pool &) = delete;

  int64_t add() {
    int64_t request = 0;
    EXPECT_EQ(tpac_page_pool_add(pool, &request), TPAC_SUCCESS);
    return request;
  }
  int64_t fork(int64_t request, int64_t tokens) {
    int64_t child = 0;
    EXPECT_EQ(tpac_page_pool_fork(pool, request, tokens, &child), TPAC_SUCCESS);
    return child;
  }
  /// Appends `values` as an engine would: copies, looks the slots up, writes.
  int32_t append(int64_t request, const std::vector<int64_t> &values) {
    const int64_t before = length(request);
    tpac_page_copy copy;
    const int32_t status = tpac_page_pool_append(pool, request, static_cast<int64_t>(values.size()), &copy);
    if (status != TPAC_SUCCESS)
      return status;
    if (copy.tokens > 0)
      std::copy_n(memory.begin() + copy.from * pageSize, copy.tokens, memory.begin() + copy.to * pageSize);
    const std::vector<int32_t> table = pages(request);
    for (size_t i = 0; i < values.size(); ++i)
      memory.at(slot(table, before + static_cast<int64_t>(i))) = values[i];
    return status;
  }
  int64_t length(int64_t request) const {
    int64_t tokens = -1;
    EXPECT_EQ(tpac_page_pool_length(pool, request, &tokens), TPAC_SUCCESS);
    return tokens;
  }
  std::vector<int32_t> pages(int64_t request) const {
    const int64_t columns = (length(request) + pageSize - 1) / pageSize;
    std::vector<int32_t> table(static_cast<size_t>(columns) + 1, -7);
    int32_t tokens = -1;
    EXPECT_EQ(tpac_page_pool_block_table(pool, &request, 1, table.data(), columns, &tokens), TPAC_SUCCESS);
    EXPECT_EQ(tokens, length(request));
    EXPECT_EQ(table.back(), -7) << "written behind the table";
    table.pop_back();
    return table;
  }
  std::vector<int64_t> read(int64_t request) const {
    const std::vector<int32_t> table = pages(request);
    std::vector<int64_t> values;
    for (int64_t i = 0; i < length(request); ++i)
      values.push_back(memory.at(slot(table, i)));
    return values;
  }
  tpac_page_pool_statistics statistics() const {
    tpac_page_pool_statistics result = {};
    result.struct_size = sizeof(result);
    EXPECT_EQ(tpac_page_pool_get_statistics(pool, &result), TPAC_SUCCESS);
    return result;
  }

  tpac_page_pool *pool = nullptr;

private:
  size_t slot(const std::vector<int32_t> &table, int64_t token) const {
    return static_cast<size_t>(table.at(static_cast<size_t>(token / pageSize)) * pageSize + token % pageSize);
  }
  int64_t pageSize;
  std::vector<int64_t> memory;
};

std::string message(int32_t status) { return tpac_runtime_status_message(status); }

} // namespace

TEST(PagePool, requestsReadWhatWasWrittenForThem) {
  for (int64_t pageSize : {1, 3, 7, 16}) {
    constexpr int64_t pages = 40;
    Pool pool(pages, pageSize);
    std::map<int64_t, std::vector<int64_t>> model;
    std::mt19937 random(static_cast<uint32_t>(pageSize));
    auto below = [&](int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random); };
    int64_t value = 0, refused = 0, copies = 0;
    for (int step = 0; step < 4000; ++step) {
      auto any = model.begin();
      if (!model.empty())
        std::advance(any, below(static_cast<int64_t>(model.size())));
      const int64_t action = model.empty() ? 0 : below(10);
      if (action == 0 && model.size() < 12) {
        model[pool.add()];
      } else if (action < 2 && !model.empty() && model.size() < 12) {
        const int64_t tokens = below(static_cast<int64_t>(any->second.size()) + 1);
        model[pool.fork(any->first, tokens)] = {any->second.begin(), any->second.begin() + tokens};
      } else if (action < 7) {
        std::vector<int64_t> values(static_cast<size_t>(below(2 * pageSize + 2)));
        for (int64_t &each : values)
          each = value++;
        const tpac_page_pool_statistics before = pool.statistics();
        if (const int32_t status = pool.append(any->first, values); status == TPAC_SUCCESS) {
          any->second.insert(any->second.end(), values.begin(), values.end());
          copies += before.shared_pages > pool.statistics().shared_pages;
        } else {
          ASSERT_EQ(status, TPAC_OUT_OF_PAGES);
          EXPECT_EQ(pool.statistics().free_pages, before.free_pages);
          ++refused;
        }
      } else if (action < 9) {
        any->second.resize(static_cast<size_t>(below(static_cast<int64_t>(any->second.size()) + 1)));
        ASSERT_EQ(tpac_page_pool_truncate(pool.pool, any->first, static_cast<int64_t>(any->second.size())),
                  TPAC_SUCCESS);
      } else {
        ASSERT_EQ(tpac_page_pool_remove(pool.pool, any->first), TPAC_SUCCESS);
        model.erase(any);
      }
      std::map<int32_t, int> users;
      for (const auto &[request, values] : model) {
        ASSERT_EQ(pool.read(request), values) << "page size " << pageSize << ", step " << step;
        for (int32_t page : pool.pages(request))
          ++users[page];
      }
      const tpac_page_pool_statistics statistics = pool.statistics();
      ASSERT_EQ(statistics.free_pages, pages - static_cast<int64_t>(users.size()));
      ASSERT_EQ(statistics.shared_pages,
                std::count_if(users.begin(), users.end(), [](const auto &entry) { return entry.second > 1; }));
    }
    EXPECT_GT(refused, 0);
    if (pageSize > 1) {
      EXPECT_GT(copies, 0);
    }
  }
}

TEST(PagePool, forkedPagesAreCopiedByWhoWritesFirst) {
  Pool pool(8, 4, 400);
  const int64_t parent = pool.add();
  ASSERT_EQ(pool.append(parent, {1, 2, 3, 4, 5, 6}), TPAC_SUCCESS);
  const int64_t child = pool.fork(parent, 5);
  EXPECT_EQ(pool.pages(child), pool.pages(parent));
  const tpac_page_pool_statistics statistics = pool.statistics();
  EXPECT_EQ(statistics.requests, 2);
  EXPECT_EQ(statistics.free_pages, 6);
  EXPECT_EQ(statistics.shared_pages, 2);
  EXPECT_EQ(statistics.request_tokens, 11);
  EXPECT_EQ(statistics.used_bytes, 800);
  EXPECT_EQ(statistics.shared_bytes, 800);
  EXPECT_EQ(statistics.slack_bytes, 200);

  tpac_page_copy copy;
  ASSERT_EQ(tpac_page_pool_append(pool.pool, child, 1, &copy), TPAC_SUCCESS);
  EXPECT_EQ(copy.from, pool.pages(parent)[1]);
  EXPECT_EQ(copy.to, pool.pages(child)[1]);
  EXPECT_NE(copy.from, copy.to);
  EXPECT_EQ(copy.tokens, 1);
  ASSERT_EQ(tpac_page_pool_append(pool.pool, parent, 1, &copy), TPAC_SUCCESS);
  EXPECT_EQ(copy.tokens, 0) << "the page was the parent's alone by then";
  EXPECT_EQ(copy.from, -1);
}

TEST(PagePool, pageListsSayWhatBlockTablesSay) {
  Pool pool(8, 4);
  const int64_t requests[] = {pool.add(), pool.add(), pool.add()};
  ASSERT_EQ(pool.append(requests[0], {1, 2, 3, 4, 5}), TPAC_SUCCESS);
  ASSERT_EQ(pool.append(requests[2], {6, 7, 8, 9}), TPAC_SUCCESS);
  std::vector<int32_t> indptr(4, -1), indices(3, -1), last(3, -1), table(6, -7), lengths(3, -1);
  ASSERT_EQ(tpac_page_pool_page_list(pool.pool, requests, 3, indptr.data(), indices.data(), 3, last.data()),
            TPAC_SUCCESS);
  EXPECT_EQ(indptr, (std::vector<int32_t>{0, 2, 2, 3}));
  EXPECT_EQ(last, (std::vector<int32_t>{1, 0, 4}));
  ASSERT_EQ(tpac_page_pool_block_table(pool.pool, requests, 3, table.data(), 2, lengths.data()), TPAC_SUCCESS);
  EXPECT_EQ(lengths, (std::vector<int32_t>{5, 0, 4}));
  EXPECT_EQ(table, (std::vector<int32_t>{indices[0], indices[1], -1, -1, indices[2], -1}));
  EXPECT_EQ((std::set<int32_t>(indices.begin(), indices.end()).size()), 3u);

  EXPECT_EQ(tpac_page_pool_page_list(pool.pool, requests, 3, indptr.data(), indices.data(), 2, last.data()),
            TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_page_list: size is 2; expected 3 or more, the pages of all requests");
  std::fill(table.begin(), table.end(), -7);
  EXPECT_EQ(tpac_page_pool_block_table(pool.pool, requests, 3, table.data(), 1, lengths.data()), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_block_table: columns is 1; expected 2 or more, the pages of requests[0]");
  EXPECT_EQ(table, std::vector<int32_t>(6, -7)) << "a refused call wrote";
}

TEST(PagePool, refusesWhatIsWrong) {
  tpac_page_pool *none = nullptr;
  tpac_page_pool_config config = {sizeof(config), 0, 16, 0};
  EXPECT_EQ(tpac_page_pool_create(&config, &none), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT), "tpac_page_pool_create: config.pages is 0; expected 1 to 2147483647");
  config = {sizeof(config), 4, 0, 0};
  EXPECT_EQ(tpac_page_pool_create(&config, &none), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_create: config.page_size is 0; expected 1 to 1048576 tokens");
  config = {8, 4, 4, 0};
  EXPECT_EQ(tpac_page_pool_create(&config, &none), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_create: config.struct_size is 8; expected sizeof(tpac_page_pool_config), which is 32");
  EXPECT_EQ(tpac_page_pool_create(nullptr, &none), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(none, nullptr);

  Pool pool(2, 4);
  const int64_t request = pool.add();
  tpac_page_copy copy;
  EXPECT_EQ(tpac_page_pool_append(pool.pool, request, 9, &copy), TPAC_OUT_OF_PAGES);
  EXPECT_EQ(message(TPAC_OUT_OF_PAGES), "tpac_page_pool_append: 9 tokens of request 1 need 3 pages; 2 are free");
  EXPECT_EQ(pool.length(request), 0);
  EXPECT_EQ(tpac_page_pool_append(pool.pool, request, -1, &copy), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_page_pool_truncate(pool.pool, request, 1), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_truncate: tokens is 1; expected 0 to 0, the request's length");
  ASSERT_EQ(tpac_page_pool_remove(pool.pool, request), TPAC_SUCCESS);
  EXPECT_EQ(tpac_page_pool_remove(pool.pool, request), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_page_pool_remove: request is 1; expected the number of a request that was not removed");
  EXPECT_NE(pool.add(), request) << "numbers are not given again";
}
