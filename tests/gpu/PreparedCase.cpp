// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/PreparedCase.h"

#include <algorithm>
#include <cstring>

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

double bytesOf(const nlohmann::json &layout, const Case &item) {
  // The cache, and its factors in f64, of four times (8-bit tokens: eight times) the size.
  constexpr double copies = 6;
  return copies * static_cast<double>(CacheMap(layout).bytes(static_cast<int64_t>(item.lengths.size()), item.capacity));
}

Preparation::Preparation(std::vector<Work> given)
    : work(std::move(given)), hasBegun(work.size()), results(work.size()) {
  const size_t processors = std::max(1U, std::thread::hardware_concurrency());
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

/// The longest case that nobody has begun, of those that there is room for.
std::optional<size_t> Preparation::next() const {
  constexpr double room = 12e9;
  std::optional<size_t> longest;
  double bytes = 0;
  for (size_t i = taken; i < work.size(); ++i) {
    bytes += work[i].bytes;
    if (bytes > room && i > taken)
      break;
    if (!hasBegun[i] && (!longest || work[i].cost > work[*longest].cost))
      longest = i;
  }
  return longest;
}

void Preparation::run() {
  std::unique_lock lock(mutex);
  while (true) {
    std::optional<size_t> number;
    changed.wait(lock, [&] { return isOver || (number = next()); });
    if (isOver)
      return;
    hasBegun[*number] = true;
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
  std::unique_lock lock(mutex);
  const size_t number = taken++;
  // Whoever waits for it may as well prepare it.
  const bool isMine = !hasBegun.at(number);
  hasBegun[number] = true;
  lock.unlock();
  changed.notify_all();
  if (isMine)
    prepare(number);
  return results[number].get_future().get();
}

} // namespace tpac::gputest
