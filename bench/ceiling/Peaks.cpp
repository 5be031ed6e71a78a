// SPDX-License-Identifier: Apache-2.0
//
// Peaks of arithmetic. Operands stay in registers; there are enough independent accumulators to hide the latency.

#include "bench/ceiling/Peaks.h"

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tpac::bench {

namespace {

/// Operations that `rounds` rounds of a loop do.
using Loop = int64_t (*)(int64_t rounds);

// 0.5 * x + 0.25 tends to 0.5: neither denormal nor infinite however long it runs.
constexpr float factor = 0.5f, addend = 0.25f;
// Latency 4 or 5 times 2 units: 12 chains are enough, and leave registers for the operands.
constexpr int chains = 12;
constexpr int64_t flopPerMultiplyAdd = 2;

// The empty asm keeps the compiler from knowing what an accumulator holds, so no iteration can be dropped.

int64_t portableLoop(int64_t rounds) {
  typedef float Vector __attribute__((vector_size(16)));
  Vector accumulators[chains] = {};
  for (int64_t round = 0; round < rounds; ++round)
    for (Vector &accumulator : accumulators) {
      accumulator = accumulator * factor + addend;
#if defined(__aarch64__)
      asm volatile("" : "+w"(accumulator));
#elif defined(__x86_64__)
      asm volatile("" : "+x"(accumulator));
#else
      asm volatile("" : "+m"(accumulator));
#endif
    }
  return rounds * chains * 4 * flopPerMultiplyAdd;
}

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) int64_t avx2Loop(int64_t rounds) {
  __m256 accumulators[chains] = {};
  __m256 a = _mm256_set1_ps(factor), b = _mm256_set1_ps(addend);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int chain = 0; chain < chains; ++chain) {
      accumulators[chain] = _mm256_fmadd_ps(accumulators[chain], a, b);
      asm volatile("" : "+x"(accumulators[chain]));
    }
  }
  return rounds * chains * 8 * flopPerMultiplyAdd;
}

__attribute__((target("avx512f"))) int64_t avx512Loop(int64_t rounds) {
  __m512 accumulators[chains] = {};
  __m512 a = _mm512_set1_ps(factor), b = _mm512_set1_ps(addend);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int chain = 0; chain < chains; ++chain) {
      accumulators[chain] = _mm512_fmadd_ps(accumulators[chain], a, b);
      asm volatile("" : "+v"(accumulators[chain]));
    }
  }
  return rounds * chains * 16 * flopPerMultiplyAdd;
}

struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t startRow = 0;
  uint8_t reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

// Six accumulators, one A and one B: all eight tile registers.
__attribute__((target("amx-tile,amx-bf16"))) int64_t amxLoop(int64_t rounds) {
  TileConfiguration configuration;
  _tile_loadconfig(&configuration);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  // Zeros: the time of a tile product does not depend on its values, and zeros never overflow.
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
    _tile_dpbf16ps(4, 6, 7);
    _tile_dpbf16ps(5, 6, 7);
  }
  _tile_release();
  constexpr int64_t multiplyAdds = int64_t(16) * 16 * 32;
  return rounds * 6 * multiplyAdds * flopPerMultiplyAdd;
}

#endif

double peak(ThreadTeam &team, Loop loop, double seconds) {
  int64_t rounds = 4096;
  auto measure = [&] {
    std::atomic<int64_t> operations{0};
    double elapsed = team.run([&](int) { operations += loop(rounds); });
    return std::pair<double, double>(static_cast<double>(operations), elapsed);
  };
  // The first run says how long a round takes, and lets the clock settle for this mix of instructions.
  double first = std::max(measure().second, 1e-7);
  rounds = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rounds) * seconds / first));
  auto [operations, elapsed] = measure();
  return operations / elapsed;
}

} // namespace

double fmaPeak(ThreadTeam &team, Isa isa, double seconds) {
#if defined(__x86_64__)
  if (isa == Isa::avx512)
    return peak(team, avx512Loop, seconds);
  if (isa == Isa::avx2)
    return peak(team, avx2Loop, seconds);
#endif
  return peak(team, portableLoop, seconds);
}

double amxPeak(ThreadTeam &team, double seconds) {
#if defined(__x86_64__)
  return peak(team, amxLoop, seconds);
#else
  return 0;
#endif
}

} // namespace tpac::bench
