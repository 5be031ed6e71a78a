// SPDX-License-Identifier: Apache-2.0
//
// A thread pool of a test, through the C functions alone.

#ifndef TPAC_TESTS_UNIT_RUNTIME_TESTPOOL_H
#define TPAC_TESTS_UNIT_RUNTIME_TESTPOOL_H

#include "tpac/executor.h"

#include <stdexcept>

namespace tpac::test {

inline tpac_thread_pool_config poolConfig(int32_t threads, int64_t spin = 0, int32_t pin = 0) {
  return {static_cast<int64_t>(sizeof(tpac_thread_pool_config)), threads, pin, spin};
}

class TestPool {
public:
  explicit TestPool(const tpac_thread_pool_config &config) {
    if (const int32_t status = tpac_thread_pool_create(&config, &pool))
      throw std::runtime_error(tpac_runtime_status_message(status));
  }
  ~TestPool() { tpac_thread_pool_destroy(pool); }
  TestPool(const TestPool &) = delete;
  TestPool &operator=(const TestPool &) = delete;

  const tpac_executor &executor() const { return *tpac_thread_pool_executor(pool); }

  /// Runs function(index) for each index.
  template <typename Function> void run(int64_t count, Function function) const {
    const auto call = [](void *argument, int64_t index) { (*static_cast<Function *>(argument))(index); };
    executor().run(executor().context, call, &function, count);
  }

private:
  tpac_thread_pool *pool = nullptr;
};

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_RUNTIME_TESTPOOL_H
