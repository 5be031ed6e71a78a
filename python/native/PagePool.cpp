// SPDX-License-Identifier: Apache-2.0

#include "PagePool.h"

#include "Errors.h"
#include "Kernels.h"
#include "tpac/page_pool.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace tpac::python {

namespace nb = nanobind;

namespace {

using Requests = std::vector<int64_t>;
using NumpyVector = nb::ndarray<nb::numpy, int32_t, nb::ndim<1>>;
using NumpyMatrix = nb::ndarray<nb::numpy, int32_t, nb::ndim<2>>;
using Vector = nb::ndarray<int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

/// A new NumPy array that owns `values`.
template <typename Array> Array toNumpy(std::vector<int32_t> values, std::initializer_list<size_t> shape) {
  auto *kept = new std::vector<int32_t>(std::move(values));
  const nb::capsule owner(kept, [](void *pointer) noexcept { delete static_cast<std::vector<int32_t> *>(pointer); });
  return Array(kept->data(), shape, owner);
}

class PagePool {
public:
  PagePool(int64_t pages, int64_t pageSize, int64_t pageBytes) : size(pageSize) {
    const tpac_page_pool_config config = {sizeof(config), pages, pageSize, pageBytes};
    tpac_page_pool *created = nullptr;
    check(tpac_page_pool_create(&config, &created));
    pool.reset(created);
  }

  int64_t pageSize() const { return size; }

  int64_t add() {
    int64_t request = 0;
    check(tpac_page_pool_add(pool.get(), &request));
    return request;
  }

  int64_t length(int64_t request) const {
    int64_t tokens = 0;
    check(tpac_page_pool_length(pool.get(), request, &tokens));
    return tokens;
  }

  int64_t fork(int64_t request, std::optional<int64_t> tokens) {
    int64_t child = 0;
    check(tpac_page_pool_fork(pool.get(), request, tokens ? *tokens : length(request), &child));
    return child;
  }

  std::optional<tpac_page_copy> append(int64_t request, int64_t tokens) {
    tpac_page_copy copy;
    check(tpac_page_pool_append(pool.get(), request, tokens, &copy));
    return copy.tokens > 0 ? std::optional(copy) : std::nullopt;
  }

  void truncate(int64_t request, int64_t tokens) { check(tpac_page_pool_truncate(pool.get(), request, tokens)); }
  void remove(int64_t request) { check(tpac_page_pool_remove(pool.get(), request)); }

  std::tuple<NumpyMatrix, NumpyVector> blockTable(const Requests &requests, std::optional<int64_t> columns) const {
    const int64_t width = columns ? *columns : widest(requests);
    if (width < 0)
      refuse("block_table: columns is " + std::to_string(width) + "; expected 0 or more");
    std::vector<int32_t> table(requests.size() * static_cast<size_t>(width)), lengths(requests.size());
    write(requests, table.data(), width, lengths.data());
    return {toNumpy<NumpyMatrix>(std::move(table), {requests.size(), static_cast<size_t>(width)}),
            toNumpy<NumpyVector>(std::move(lengths), {requests.size()})};
  }

  void writeBlockTable(const Requests &requests, Matrix table, Vector lengths) const {
    if (table.shape(0) != requests.size() || lengths.shape(0) != requests.size())
      refuse("write_block_table: table has " + std::to_string(table.shape(0)) + " rows and lengths " +
             std::to_string(lengths.shape(0)) + "; expected " + std::to_string(requests.size()) +
             " of both, one for each request");
    write(requests, table.data(), static_cast<int64_t>(table.shape(1)), lengths.data());
  }

  std::tuple<NumpyVector, NumpyVector, NumpyVector> pageList(const Requests &requests) const {
    int64_t pages = 0;
    for (int64_t request : requests)
      pages += pagesOf(request);
    std::vector<int32_t> start(requests.size() + 1), indices(static_cast<size_t>(pages)), last(requests.size());
    check(tpac_page_pool_page_list(pool.get(), requests.data(), static_cast<int64_t>(requests.size()), start.data(),
                                   indices.data(), pages, last.data()));
    return {toNumpy<NumpyVector>(std::move(start), {requests.size() + 1}),
            toNumpy<NumpyVector>(std::move(indices), {static_cast<size_t>(pages)}),
            toNumpy<NumpyVector>(std::move(last), {requests.size()})};
  }

  tpac_page_pool_statistics statistics() const {
    tpac_page_pool_statistics result = {};
    result.struct_size = sizeof(result);
    check(tpac_page_pool_get_statistics(pool.get(), &result));
    return result;
  }

private:
  int64_t pagesOf(int64_t request) const { return (length(request) + size - 1) / size; }

  int64_t widest(const Requests &requests) const {
    int64_t pages = 0;
    for (int64_t request : requests)
      pages = std::max(pages, pagesOf(request));
    return pages;
  }

  void write(const Requests &requests, int32_t *table, int64_t columns, int32_t *lengths) const {
    check(tpac_page_pool_block_table(pool.get(), requests.data(), static_cast<int64_t>(requests.size()), table, columns,
                                     lengths));
  }

  Handle<tpac_page_pool> pool{nullptr, tpac_page_pool_destroy};
  int64_t size;
};

} // namespace

void bindPagePool(nb::module_ &module) {
  nb::class_<tpac_page_copy>(module, "PageCopy",
                             "The first `tokens` slots of page `source` must be copied to page `destination`, in every "
                             "layer, before anything is written there.")
      .def_ro("source", &tpac_page_copy::from)
      .def_ro("destination", &tpac_page_copy::to)
      .def_ro("tokens", &tpac_page_copy::tokens);

  nb::class_<tpac_page_pool_statistics>(module, "PagePoolStatistics")
      .def_ro("requests", &tpac_page_pool_statistics::requests)
      .def_ro("pages", &tpac_page_pool_statistics::pages)
      .def_ro("free_pages", &tpac_page_pool_statistics::free_pages)
      .def_ro("shared_pages", &tpac_page_pool_statistics::shared_pages, "used by two requests or more")
      .def_ro("request_tokens", &tpac_page_pool_statistics::request_tokens,
              "of all requests: a shared token counts for each")
      .def_ro("used_bytes", &tpac_page_pool_statistics::used_bytes, "of pages that are not free")
      .def_ro("shared_bytes", &tpac_page_pool_statistics::shared_bytes, "that sharing saves")
      .def_ro("slack_bytes", &tpac_page_pool_statistics::slack_bytes,
              "of slots that no request has filled, in pages that are not free");

  nb::class_<PagePool>(
      module, "PagePool",
      "Which pages of a paged cache belong to which request; the memory is the caller's. For one thread "
      "at a time.")
      .def(nb::init<int64_t, int64_t, int64_t>(), nb::arg("pages"), nb::arg("page_size"), nb::kw_only(),
           nb::arg("page_bytes") = 0,
           "pages: 1 .. 2**31 - 1. page_size: tokens of a page, as the pack's. page_bytes: bytes of a page in all "
           "layers "
           "together, for statistics; 0: not known.")
      .def_prop_ro("page_size", &PagePool::pageSize)
      .def("add", &PagePool::add, "A new request of no tokens; its number is never given again.")
      .def("fork", &PagePool::fork, nb::arg("request"), nb::arg("tokens") = nb::none(),
           "A new request whose cache is the first `tokens` tokens of `request` (None: all), on the same pages.")
      .def("append", &PagePool::append, nb::arg("request"), nb::arg("tokens"),
           "Room for `tokens` more tokens. Returns the copy to make first, or None. Raises OutOfPages, and changes "
           "nothing, where too few pages are free.")
      .def("truncate", &PagePool::truncate, nb::arg("request"), nb::arg("tokens"))
      .def("remove", &PagePool::remove, nb::arg("request"))
      .def("length", &PagePool::length, nb::arg("request"), "Tokens of a request.")
      .def("block_table", &PagePool::blockTable, nb::arg("requests"), nb::arg("columns") = nb::none(),
           "(table [requests, columns], lengths [requests]) as in vLLM, -1 behind a request's last page. columns None: "
           "as many as the longest request needs.")
      .def("write_block_table", &PagePool::writeBlockTable, nb::arg("requests"), nb::arg("table").noconvert(),
           nb::arg("lengths").noconvert(), "The same into int32 arrays of the caller.")
      .def("page_list", &PagePool::pageList, nb::arg("requests"),
           "(indptr, indices, last_page_tokens) as in FlashInfer.")
      .def_prop_ro("statistics", &PagePool::statistics);
}

} // namespace tpac::python
