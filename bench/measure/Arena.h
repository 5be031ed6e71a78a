// SPDX-License-Identifier: Apache-2.0
//
// One large piece of memory for the data of a benchmark, kept from row to row because mapping it costs more than
// measuring in it.

#ifndef TPAC_BENCH_MEASURE_ARENA_H
#define TPAC_BENCH_MEASURE_ARENA_H

#include <cstddef>
#include <cstdint>
#include <span>

namespace tpac::bench {

/// Bytes that the system says can be used without swapping.
int64_t availableMemory();

class Arena {
public:
  Arena() = default;
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  /// Forgets all allocations; from now on `bytes` are there to allocate (slack included). Throws std::bad_alloc.
  void reset(int64_t bytes);

  /// 64-byte aligned; consecutive allocations start at different places of a page, since arrays that are read
  /// together and lie a multiple of 4 KiB apart compete for the same cache sets. Throws std::bad_alloc beyond `reset`.
  std::byte *allocate(int64_t bytes);

  /// All that has been allocated, with what lies between.
  std::span<std::byte> allocated() const { return {memory, static_cast<size_t>(used)}; }

  /// Upper limit of what `allocate` adds to the bytes of one allocation.
  static constexpr int64_t slack = 4096;

private:
  void unmap();

  std::byte *memory = nullptr;
  int64_t capacity = 0;
  int64_t used = 0;
};

} // namespace tpac::bench

#endif // TPAC_BENCH_MEASURE_ARENA_H
