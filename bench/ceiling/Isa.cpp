// SPDX-License-Identifier: Apache-2.0
//
// Which vector instructions this machine has.

#include "bench/ceiling/Isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tpac::bench {

Isa bestIsa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return Isa::avx2;
#endif
  return Isa::portable;
}

std::string isaName(Isa isa) {
  switch (isa) {
  case Isa::avx512:
    return "avx512";
  case Isa::avx2:
    return "avx2";
  case Isa::portable:
    return "portable";
  }
  __builtin_unreachable();
}

namespace {

std::string findAmxObstacle() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Leaf 7: EDX bit 24 AMX-TILE, bit 22 AMX-BF16.
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx >> 24 & 1) || !(edx >> 22 & 1))
    return "the CPU has no AMX with bf16";
  // Without this permission of the kernel the first tile instruction ends the process. Threads inherit it.
  constexpr long requestPermission = 0x1023, tileData = 18;
  if (syscall(SYS_arch_prctl, requestPermission, tileData) != 0)
    return "the operating system refuses the use of AMX tiles";
  return "";
#else
  return "not an x86-64 CPU";
#endif
}

} // namespace

const std::string &amxObstacle() {
  static const std::string obstacle = findAmxObstacle();
  return obstacle;
}

} // namespace tpac::bench
