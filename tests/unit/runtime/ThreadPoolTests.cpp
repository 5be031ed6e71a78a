// SPDX-License-Identifier: Apache-2.0
//
// Creating and destroying pools: defaults, binding to CPUs, configurations that are refused, and their messages.

#include "runtime/cpu/AllowedCpus.h"
#include "tests/unit/runtime/TestPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using namespace tpac::test;
using namespace tpac::runtime;

namespace {

/// The threads of this process that a pool has started: id and name.
std::map<int, std::string> workers() {
  std::map<int, std::string> found;
  for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name.starts_with("tpac-"))
      found[std::stoi(task.path().filename())] = name;
  }
  return found;
}

/// A joined thread stays in /proc for a moment.
size_t workersLeft() {
  for (int attempt = 0; attempt < 2000 && !workers().empty(); ++attempt)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return workers().size();
}

std::vector<int> affinityOf(int thread) {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(thread, sizeof(set), &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set))
        cpus.push_back(cpu);
  return cpus;
}

/// Creates a pool, which must fail with `status`; returns the message.
std::string refusal(const tpac_thread_pool_config &config, int32_t status) {
  auto *const untouched = reinterpret_cast<tpac_thread_pool *>(8);
  tpac_thread_pool *pool = untouched;
  const int32_t found = tpac_thread_pool_create(&config, &pool);
  EXPECT_EQ(found, status);
  if (found == TPAC_SUCCESS)
    tpac_thread_pool_destroy(pool);
  else
    EXPECT_EQ(pool, untouched);
  return tpac_runtime_status_message(status);
}

} // namespace

TEST(ThreadPool, defaultsToTheCpusThatAreAllowed) {
  const int usable = usableCpus(affinityCpus(), quotaCpus());
  tpac_thread_pool *pool = nullptr;
  ASSERT_EQ(tpac_thread_pool_create(nullptr, &pool), TPAC_SUCCESS);
  EXPECT_EQ(tpac_thread_pool_executor(pool)->concurrency, usable);
  EXPECT_EQ(workers().size(), static_cast<size_t>(usable - 1));
  tpac_thread_pool_destroy(pool);

  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(affinityCpus().front(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(TestPool(poolConfig(0)).executor().concurrency, 1);
  }).join();
}

TEST(ThreadPool, startsNamedThreadsAndEndsThem) {
  ASSERT_EQ(workersLeft(), 0u);
  {
    const TestPool pool(poolConfig(4));
    std::vector<std::string> names;
    for (const auto &[thread, name] : workers())
      names.push_back(name);
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"tpac-1", "tpac-2", "tpac-3"}));
  }
  EXPECT_EQ(workersLeft(), 0u);
}

TEST(ThreadPool, bindsItsThreadsWhereAsked) {
  const std::vector<int> cpus = affinityCpus();
  const int threads = static_cast<int>(cpus.size()) + 1;
  {
    const TestPool pool(poolConfig(threads, 0, 1));
    // As many started threads as CPUs: one on each.
    std::vector<int> bound;
    for (const auto &[thread, name] : workers()) {
      const std::vector<int> own = affinityOf(thread);
      ASSERT_EQ(own.size(), 1u) << name;
      bound.push_back(own.front());
    }
    std::sort(bound.begin(), bound.end());
    EXPECT_EQ(bound, cpus);
  }
  ASSERT_EQ(workersLeft(), 0u);
  const TestPool pool(poolConfig(threads));
  for (const auto &[thread, name] : workers())
    EXPECT_EQ(affinityOf(thread), cpus) << name;
  EXPECT_EQ(affinityCpus(), cpus);
}

TEST(ThreadPool, leavesTheCreatorsCpuFree) {
  const std::vector<int> cpus = affinityCpus();
  if (cpus.size() < 2)
    GTEST_SKIP() << "needs two CPUs";
  std::thread([&] {
    // The system may move the thread between our look and the pool's: such attempts say nothing.
    for (int attempt = 0; attempt < 100; ++attempt) {
      const int before = sched_getcpu();
      const TestPool pool(poolConfig(static_cast<int32_t>(cpus.size()), TPAC_SPIN_NEVER, 1));
      if (sched_getcpu() != before)
        continue;
      for (const auto &[thread, name] : workers())
        EXPECT_NE(affinityOf(thread), std::vector<int>{before}) << name;
      return;
    }
    GTEST_SKIP() << "the system moved the thread every time";
  }).join();
}

TEST(ThreadPool, keepsSignalsAwayFromItsThreads) {
  const TestPool pool(poolConfig(2));
  const std::thread::id caller = std::this_thread::get_id();
  std::mutex mutex;
  std::vector<std::pair<bool, bool>> masks; // SIGUSR1 and SIGSEGV blocked, of other threads than this one
  for (int attempt = 0; attempt < 10000 && masks.empty(); ++attempt)
    pool.run(2, [&](int64_t) {
      if (std::this_thread::get_id() == caller) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        return;
      }
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      const std::lock_guard<std::mutex> lock(mutex);
      masks.emplace_back(sigismember(&mask, SIGUSR1) == 1, sigismember(&mask, SIGSEGV) == 1);
    });
  ASSERT_FALSE(masks.empty());
  EXPECT_EQ(masks.front(), std::make_pair(true, false));
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  EXPECT_EQ(sigismember(&own, SIGUSR1), 0);
}

TEST(ThreadPool, createAndDestroyInALoop) {
  for (int repeat = 0; repeat < 200; ++repeat) {
    const TestPool pool(poolConfig(1 + repeat % 5, repeat % 2 ? TPAC_SPIN_NEVER : 0, repeat % 3 == 0));
    if (repeat % 4 == 0)
      continue; // Threads are ended before they have found their first job.
    std::vector<int> runs(8);
    pool.run(8, [&](int64_t index) { runs[index] += 1; });
    ASSERT_EQ(runs, std::vector<int>(8, 1));
  }
  EXPECT_EQ(workersLeft(), 0u);
}

TEST(ThreadPool, nullIsAccepted) {
  tpac_thread_pool_destroy(nullptr);
  EXPECT_EQ(tpac_thread_pool_executor(nullptr), nullptr);
}

TEST(ThreadPool, messagesNameTheFieldWhatWasFoundAndWhatIsAccepted) {
  tpac_thread_pool_config config = poolConfig(1);
  EXPECT_EQ(tpac_thread_pool_create(&config, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_STREQ(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT),
               "tpac_thread_pool_create: pool is NULL; expected a pointer to a tpac_thread_pool *");

  for (int64_t size : {int64_t{-1}, int64_t{0}, int64_t{23}, INT64_MAX}) {
    config = poolConfig(1);
    config.struct_size = size;
    EXPECT_EQ(refusal(config, TPAC_INVALID_ARGUMENT), "tpac_thread_pool_create: config.struct_size is " +
                                                          std::to_string(size) +
                                                          "; expected sizeof(tpac_thread_pool_config), which is 24");
  }
  for (int32_t threads : {-1, 1025, INT32_MAX})
    EXPECT_EQ(refusal(poolConfig(threads), TPAC_INVALID_ARGUMENT),
              "tpac_thread_pool_create: config.threads is " + std::to_string(threads) +
                  "; expected 1 to 1024, or 0 for as many as CPUs are allowed");
  for (int32_t pin : {-1, 2})
    EXPECT_EQ(refusal(poolConfig(1, 0, pin), TPAC_INVALID_ARGUMENT),
              "tpac_thread_pool_create: config.pin is " + std::to_string(pin) + "; expected 0 or 1");
  for (int64_t spin : {int64_t{-2}, int64_t{1'000'001}, INT64_MAX})
    EXPECT_EQ(refusal(poolConfig(1, spin), TPAC_INVALID_ARGUMENT),
              "tpac_thread_pool_create: config.spin_microseconds is " + std::to_string(spin) +
                  "; expected 1 to 1000000, 0 for the default, or TPAC_SPIN_NEVER");
}

TEST(ThreadPool, laterConfigsAreAcceptedUnlessTheyAskForMore) {
  struct {
    tpac_thread_pool_config known;
    int64_t later;
  } config = {poolConfig(2), 0};
  config.known.struct_size = sizeof(config);
  tpac_thread_pool *pool = nullptr;
  ASSERT_EQ(tpac_thread_pool_create(&config.known, &pool), TPAC_SUCCESS);
  tpac_thread_pool_destroy(pool);
  config.later = 256;
  EXPECT_EQ(refusal(config.known, TPAC_INVALID_ARGUMENT),
            "tpac_thread_pool_create: config has a field at byte 25 that version " TPAC_RUNTIME_VERSION
            " does not know; expected 0 in all bytes from 24");
}

TEST(ThreadPool, aRefusalOfTheSystemEndsWhatWasStarted) {
#if TPAC_RUNTIME_SANITIZED
  GTEST_SKIP() << "sanitizers cannot live under a limit of the address space";
#endif
  // Room for the stacks of two threads. The default size is another one, so no earlier stack is there to be used again.
  constexpr size_t stack = size_t{64} << 20;
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit limit = {pages * sysconf(_SC_PAGESIZE) + stack * 5 / 2, before.rlim_max};
  pthread_attr_t attributesBefore, attributes;
  ASSERT_EQ(pthread_getattr_default_np(&attributesBefore), 0);
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, stack), 0);

  ASSERT_EQ(pthread_setattr_default_np(&attributes), 0);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  const std::string message = refusal(poolConfig(8), TPAC_SYSTEM_ERROR);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  ASSERT_EQ(pthread_setattr_default_np(&attributesBefore), 0);

  EXPECT_EQ(message, "tpac_thread_pool_create: pthread_create for thread 4 of 8: Resource temporarily unavailable");
  EXPECT_EQ(workersLeft(), 0u);
}

TEST(Status, messages) {
  EXPECT_STREQ(tpac_runtime_status_message(TPAC_SUCCESS), "success");
  EXPECT_STREQ(tpac_runtime_status_message(TPAC_OUT_OF_MEMORY), "out of memory");
  EXPECT_STREQ(tpac_runtime_status_message(99), "unknown status: no function of this library returns it");
  EXPECT_STREQ(tpac_runtime_status_message(-1), "unknown status: no function of this library returns it");
  refusal(poolConfig(-1), TPAC_INVALID_ARGUMENT);
  // Failures are the thread's own.
  std::thread([] {
    EXPECT_STREQ(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT), "an argument is invalid");
  }).join();
}

TEST(Status, versions) {
  EXPECT_STREQ(tpac_runtime_version(), TPAC_RUNTIME_VERSION);
  EXPECT_EQ(tpac_runtime_abi_version(), TPAC_RUNTIME_ABI_VERSION);
}
