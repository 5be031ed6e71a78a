// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a word to change: spinning, and sleeping in the kernel (futex). Knows nothing of what is waited for.

#ifndef TPAC_RUNTIME_CPU_WAIT_H
#define TPAC_RUNTIME_CPU_WAIT_H

#include <atomic>
#include <chrono>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tpac::runtime {

static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free,
              "the kernel reads the word in memory");

/// Sleeps as long as `word` holds `value`; may return earlier.
inline void sleepWhile(std::atomic<uint32_t> &word, uint32_t value) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

/// Wakes up to `count` threads that sleep on `word`.
inline void wakeSleepers(std::atomic<uint32_t> &word, int32_t count) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

/// Tells the core that this thread spins.
inline void pauseSpinning() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// Spins until ready() or until `limit` has passed; returns the last ready().
template <typename Ready> bool spinUntil(Ready ready, std::chrono::nanoseconds limit) noexcept {
  using Clock = std::chrono::steady_clock;
  if (ready())
    return true;
  if (limit.count() <= 0)
    return false;
  const Clock::time_point end = Clock::now() + limit;
  do {
    // Reading the clock costs as much as several pauses, and the word is read before either.
    for (int i = 0; i < 16; ++i) {
      if (ready())
        return true;
      pauseSpinning();
    }
  } while (Clock::now() < end);
  return ready();
}

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_CPU_WAIT_H
