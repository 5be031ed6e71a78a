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
  result.expected = oracle::attention(variant, item.sizes(), result.inputs);
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

Preparation::Preparation(std::vector<Work> given) : work(std::move(given)), promises(work.size()) {
  const size_t processors = std::max(1U, std::thread::hardware_concurrency());
  // What is ready and not yet taken is in memory; while one long case is awaited, many short ones can be prepared.
  lookAhead = 12 * processors;
  for (size_t i = 0; i < processors; ++i)
    threads.emplace_back([this] { run(); });
}

Preparation::~Preparation() {
  {
    const std::lock_guard lock(mutex);
    ends = true;
  }
  isTaken.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

void Preparation::run() {
  while (true) {
    size_t number;
    {
      std::unique_lock lock(mutex);
      isTaken.wait(lock, [&] { return ends || begun == work.size() || begun < taken + lookAhead; });
      if (ends || begun == work.size())
        return;
      number = begun++;
    }
    try {
      promises[number].set_value(work[number]());
    } catch (...) {
      promises[number].set_exception(std::current_exception());
    }
  }
}

PreparedCase Preparation::take() {
  size_t number;
  {
    const std::lock_guard lock(mutex);
    number = taken++;
  }
  isTaken.notify_all();
  return promises.at(number).get_future().get();
}

} // namespace tpac::gputest
