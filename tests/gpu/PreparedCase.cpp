// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/PreparedCase.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>

namespace tpac::gputest {

oracle::Comparison PreparedCase::judge(const oracle::Variant &variant, const oracle::Tensor &out,
                                       const oracle::Tensor &lse) const {
  const int64_t longest = *std::ranges::max_element(item.lengths);
  return oracle::compare(variant, inputs.at("token_start"), oracle::requestTolerance(variant, longest), out, lse,
                         expected, &allowance);
}

PreparedCase prepare(const oracle::Variant &variant, const nlohmann::json &layout, const Case &item) {
  PreparedCase result{item, makeInputs(variant, item), CacheMap(layout), {}, {}, {}};
  result.map.drawPages(item.lengths, item.capacity, item.seed, item.sharedTokens);
  result.expected = oracle::attention(variant, item.sizes(), result.inputs, oracle::Parts::withoutConditions);
  result.allowance = oracle::roundingAllowance(variant, result.expected, oracle::roundingUnits, /*angleError=*/0.0);
  result.cache = result.map.layOut(item.lengths, item.capacity, result.inputs);
  std::erase_if(result.inputs, [](const auto &entry) { return entry.first.ends_with("_cache"); });
  return result;
}

bool hasSameRows(const oracle::Tensor &x, const oracle::Tensor &y, int64_t begin, int64_t end) {
  const auto row = static_cast<int64_t>(x.data.size()) / std::max<int64_t>(x.shape[0], 1);
  return std::memcmp(x.data.data() + begin * row, y.data.data() + begin * row,
                     static_cast<size_t>((end - begin) * row) * sizeof(double)) == 0;
}

double costOf(const oracle::Variant &variant, const Case &item) {
  double tokens = 0;
  for (size_t b = 0; b < item.lengths.size(); ++b)
    tokens += static_cast<double>(item.lengths[b] * (2 + item.queries[b]));
  return tokens * static_cast<double>(variant.localHeads() * (variant.k.features() + variant.v.features()));
}

Preparation::Preparation(std::vector<Work> given)
    : work(std::move(given)), hasBegun(work.size()), results(work.size()) {
  const size_t processors = std::max(1U, std::thread::hardware_concurrency());
  // The longest first: they may take a minute each.
  order.resize(work.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::ranges::sort(order, std::ranges::greater(), [&](size_t i) { return work[i].cost; });
  for (size_t i = 0; i < processors; ++i)
    threads.emplace_back([this] { run(); });
}

Preparation::~Preparation() {
  {
    const std::lock_guard lock(mutex);
    isOver = true;
  }
  changed.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

/// The longest case that nobody has begun and that there is room for.
std::optional<size_t> Preparation::next() const {
  // Some gigabytes: a device takes cases faster than they are prepared, but an emulated one does not.
  constexpr double largestCost = 1.6e10;
  for (size_t number : order)
    if (!hasBegun[number] && costInMemory + work[number].cost <= largestCost)
      return number;
  return std::nullopt;
}

void Preparation::begin(size_t number) {
  hasBegun[number] = true;
  costInMemory += work[number].cost;
}

void Preparation::run() {
  std::unique_lock lock(mutex);
  while (true) {
    std::optional<size_t> number;
    changed.wait(lock, [&] { return isOver || (number = next()); });
    if (isOver)
      return;
    begin(*number);
    lock.unlock();
    prepare(*number);
    lock.lock();
  }
}

void Preparation::prepare(size_t number) {
  try {
    results[number].set_value(work[number].prepare());
  } catch (...) {
    results[number].set_exception(std::current_exception());
  }
}

PreparedCase Preparation::take() {
  const size_t number = taken++;
  std::unique_lock lock(mutex);
  // Whoever waits for it may as well prepare it.
  const bool isMine = !hasBegun.at(number);
  if (isMine)
    begin(number);
  lock.unlock();
  if (isMine)
    prepare(number);
  std::future<PreparedCase> result = results[number].get_future();
  result.wait();
  lock.lock();
  costInMemory -= work[number].cost;
  changed.notify_all();
  return result.get();
}

} // namespace tpac::gputest
