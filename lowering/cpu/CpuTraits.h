// SPDX-License-Identifier: Apache-2.0
//
// What schedules and lowering must know of a CPU.

#ifndef TPAC_LOWERING_CPU_CPUTRAITS_H
#define TPAC_LOWERING_CPU_CPUTRAITS_H

#include <cstdint>

namespace tpac {

struct CpuTraits {
  /// f32 elements per vector: 16 (AVX-512), 8 (AVX2) or 4 (NEON, SSE).
  int64_t lanes = 16;
  /// Vector registers: 32 (AVX-512, NEON) or 16 (AVX2, SSE).
  int64_t registers = 32;
  /// AMX tiles of bf16; the process must have asked the kernel for them.
  bool amx = false;
  /// AVX-512 F and DQ instructions on vectors of 16 f32.
  bool avx512 = false;
};

} // namespace tpac

#endif // TPAC_LOWERING_CPU_CPUTRAITS_H
