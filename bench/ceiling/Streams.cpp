// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing streams: one loop, compiled for each vector width.

#include "bench/ceiling/Streams.h"

#include <algorithm>
#include <array>

namespace tpac::bench {

namespace {

constexpr uintptr_t lineBytes = 64;

/// The cache line that `address` lies in.
uintptr_t lineAt(uintptr_t address) { return address / lineBytes * lineBytes; }

// Inlined into functions with a `target`, so that a 64-byte vector is one, two or four registers.
[[gnu::always_inline]] inline uint64_t walk(const StreamGroup &group, const StreamWalk &how) {
  typedef uint64_t Line __attribute__((vector_size(64)));
  Line sums[4] = {}, written = {};
  asm volatile("" : "+m"(written)); // unknown to the compiler, which would call memset for known zeros
  for (int64_t row = 0; row < group.rows; row += how.rowsInTurn) {
    int64_t end = std::min(group.rows, row + how.rowsInTurn);
    for (const Stream &stream : group.streams) {
      auto data = reinterpret_cast<uintptr_t>(stream.data);
      uintptr_t line = lineAt(data + row * stream.rowBytes), last = lineAt(data + end * stream.rowBytes);
      if (stream.written) {
        for (; line < last; line += lineBytes)
          *reinterpret_cast<Line *>(line) = written;
        continue;
      }
      // Prefetches beyond the end of the array are harmless: they never fault.
      uintptr_t ahead = lineAt(how.prefetchRows * stream.rowBytes);
      if (ahead) {
        for (; line + 4 * lineBytes <= last; line += 4 * lineBytes)
#pragma clang loop unroll(full)
          for (int part = 0; part < 4; ++part) {
            __builtin_prefetch(reinterpret_cast<const void *>(line + part * lineBytes + ahead), 0, 3);
            sums[part] ^= *reinterpret_cast<const Line *>(line + part * lineBytes);
          }
      } else {
        for (; line + 4 * lineBytes <= last; line += 4 * lineBytes)
#pragma clang loop unroll(full)
          for (int part = 0; part < 4; ++part)
            sums[part] ^= *reinterpret_cast<const Line *>(line + part * lineBytes);
      }
      for (; line < last; line += lineBytes)
        sums[0] ^= *reinterpret_cast<const Line *>(line);
    }
  }
  Line sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  uint64_t result = 0;
  for (int lane = 0; lane < 8; ++lane)
    result ^= sum[lane];
  return result;
}

uint64_t portableWalk(const StreamGroup &group, const StreamWalk &how) { return walk(group, how); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t avx2Walk(const StreamGroup &group, const StreamWalk &how) {
  return walk(group, how);
}
__attribute__((target("avx512f"))) uint64_t avx512Walk(const StreamGroup &group, const StreamWalk &how) {
  return walk(group, how);
}
#endif

constexpr std::array<StreamWalk, 6> walks = {{{16, 0}, {64, 0}, {16, 64}, {16, 256}, {64, 64}, {64, 256}}};

} // namespace

std::span<const StreamWalk> streamWalks() { return walks; }

std::string walkName(const StreamWalk &walk) {
  return std::to_string(walk.rowsInTurn) + " rows in turn, " +
         (walk.prefetchRows ? "prefetch " + std::to_string(walk.prefetchRows) + " rows ahead" : "no prefetch");
}

int64_t streamBytes(const StreamGroup &group) {
  int64_t bytes = 0;
  for (const Stream &stream : group.streams)
    bytes += stream.rowBytes * group.rows;
  return bytes;
}

uint64_t walkStreams(const StreamGroup &group, const StreamWalk &walk, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512)
    return avx512Walk(group, walk);
  if (isa == Isa::avx2)
    return avx2Walk(group, walk);
#endif
  return portableWalk(group, walk);
}

} // namespace tpac::bench
