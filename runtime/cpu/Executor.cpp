// SPDX-License-Identifier: Apache-2.0
//
// The C functions of tpac/executor.h: checks configurations, chooses CPUs, turns exceptions into statuses.

#include "tpac/executor.h"

#include "runtime/SizedStruct.h"
#include "runtime/cpu/AllowedCpus.h"
#include "runtime/cpu/ThreadPool.h"

#include <algorithm>
#include <memory>
#include <new>
#include <sched.h>
#include <system_error>

using namespace tpac::runtime;

struct tpac_thread_pool {
  tpac_thread_pool(int32_t threads, std::span<const int> pinnedCpus, std::chrono::nanoseconds spinTime)
      : pool(threads, pinnedCpus, spinTime), executor{&pool, threads, &tpac_thread_pool::run} {}

  ThreadPool pool;
  tpac_executor executor;

private:
  static void run(void *context, Task task, void *argument, int64_t count) {
    static_cast<ThreadPool *>(context)->run(task, argument, count);
  }
};

namespace {

constexpr const char *create = "tpac_thread_pool_create";
constexpr int32_t largestThreads = 1024;
constexpr int64_t largestSpin = 1'000'000;
constexpr int64_t defaultSpin = 50;

/// Copies and checks the caller's structure.
int32_t readConfig(const tpac_thread_pool_config *given, tpac_thread_pool_config &config) {
  if (const int32_t status = readSized(create, "config", "tpac_thread_pool_config", given, config))
    return status;
  if (config.threads < 0 || config.threads > largestThreads)
    return fail(TPAC_INVALID_ARGUMENT,
                "%s: config.threads is %d; expected 1 to %d, or 0 for as many as CPUs are allowed", create,
                config.threads, largestThreads);
  if (config.pin != 0 && config.pin != 1)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.pin is %d; expected 0 or 1", create, config.pin);
  if (config.spin_microseconds < TPAC_SPIN_NEVER || config.spin_microseconds > largestSpin)
    return fail(TPAC_INVALID_ARGUMENT,
                "%s: config.spin_microseconds is %lld; expected 1 to %lld, 0 for the default, or TPAC_SPIN_NEVER",
                create, static_cast<long long>(config.spin_microseconds), static_cast<long long>(largestSpin));
  return TPAC_SUCCESS;
}

/// Creates what a checked configuration asks for.
tpac_thread_pool *createPool(const tpac_thread_pool_config &config) {
  std::vector<int> cpus = affinityCpus();
  const int usable = usableCpus(cpus, quotaCpus());
  const int32_t threads = config.threads != 0 ? config.threads : std::min(usable, largestThreads);

  int64_t spin = config.spin_microseconds == 0 ? defaultSpin : config.spin_microseconds;
  // What spins then takes the CPU from what it waits for.
  if (spin == TPAC_SPIN_NEVER || threads > usable)
    spin = 0;

  if (config.pin != 0)
    cpus = orderByCore(std::move(cpus), sched_getcpu());
  else
    cpus.clear();
  return new tpac_thread_pool(threads, cpus, std::chrono::microseconds(spin));
}

} // namespace

extern "C" {

int32_t tpac_thread_pool_create(const tpac_thread_pool_config *config, tpac_thread_pool **pool) {
  if (pool == nullptr)
    return fail(TPAC_INVALID_ARGUMENT, "%s: pool is NULL; expected a pointer to a tpac_thread_pool *", create);
  tpac_thread_pool_config checked = {};
  if (config != nullptr)
    if (const int32_t status = readConfig(config, checked))
      return status;
  try {
    *pool = createPool(checked);
    return TPAC_SUCCESS;
  } catch (const std::bad_alloc &) {
    return fail(TPAC_OUT_OF_MEMORY, "%s: out of memory for %d threads (0: all)", create, checked.threads);
  } catch (const std::system_error &error) {
    return fail(TPAC_SYSTEM_ERROR, "%s: %s", create, error.what());
  }
}

const tpac_executor *tpac_thread_pool_executor(const tpac_thread_pool *pool) {
  return pool == nullptr ? nullptr : &pool->executor;
}

void tpac_thread_pool_destroy(tpac_thread_pool *pool) { delete pool; }
}
