// SPDX-License-Identifier: Apache-2.0
//
// What a case needs before the device: inputs, the cache's bytes, and what the oracle expects. Long ones take seconds,
// so all processors prepare cases while the device checks those before them.

#ifndef TPAC_TESTS_GPU_PREPAREDCASE_H
#define TPAC_TESTS_GPU_PREPAREDCASE_H

#include "tests/gpu/CacheMap.h"
#include "tests/gpu/Case.h"
#include "tests/oracle/Compare.h"

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

namespace tpac::gputest {

struct PreparedCase {
  Case item;
  /// Without the cached ones.
  oracle::Tensors inputs;
  /// With the case's pages.
  CacheMap map;
  std::vector<uint8_t> cache;
  oracle::Attention expected;
  oracle::Allowance allowance;

  /// Within the tolerances of all targets (docs/tolerances.md)?
  oracle::Comparison judge(const oracle::Variant &variant, const oracle::Tensor &out, const oracle::Tensor &lse) const;
};

/// `layout` of the cache, as GpuCases and manifests write it.
PreparedCase prepare(const oracle::Variant &variant, const nlohmann::json &layout, const Case &item);

/// Whether rows [begin, end) of the first dimension are the same, bit for bit.
bool hasSameRows(const oracle::Tensor &x, const oracle::Tensor &y, int64_t begin, int64_t end);

/// How long a case takes to prepare, in no unit.
double costOf(const oracle::Variant &variant, const Case &item);

/// Bytes of memory that a case takes while it is prepared: about as many.
double bytesOf(const nlohmann::json &layout, const Case &item);

/// Cases under preparation, on as many threads as there are processors: of those that will be taken next, as many as
/// there is room for in memory, the longest first.
class Preparation {
public:
  struct Work {
    double cost, bytes;
    std::function<PreparedCase()> prepare;
  };

  explicit Preparation(std::vector<Work> work);
  /// Waits for cases that have been begun.
  ~Preparation();
  Preparation(const Preparation &) = delete;

  /// The cases one after another, by one thread; throws what its preparation has thrown.
  PreparedCase take();

private:
  std::optional<size_t> next() const;
  void prepare(size_t number);
  void run();

  std::vector<Work> work;
  std::vector<bool> hasBegun;
  std::vector<std::promise<PreparedCase>> results;
  std::mutex mutex;
  std::condition_variable changed;
  size_t taken = 0;
  bool isOver = false;
  std::vector<std::thread> threads;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_PREPAREDCASE_H
