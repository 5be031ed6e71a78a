/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads CPUID and XCR0, and asks the Linux kernel for AMX. Includes headers of the compiler alone, so that it compiles
 * for x86-64 on every machine. */

#include "CpuLevel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

extern char *getenv(const char *name);

/* --- Facts --- */

tpac_cpu_facts tpac_read_cpu_facts(void) {
  tpac_cpu_facts facts = {0, 0, 0, 0, 0, 0};
#if defined(__x86_64__)
  uint32_t eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
    facts.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    facts.leaf7_ebx = ebx;
    facts.leaf7_edx = edx;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx))
      facts.leaf7_1_eax = eax;
  }
  if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx))
    facts.extended1_ecx = ecx;
  if (facts.leaf1_ecx & bit_OSXSAVE) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    facts.xcr0 = (uint64_t)high << 32 | low;
  }
#endif
  return facts;
}

/* Bits of a level beyond those of the level before it. Levels 2 to 4 are those of the System V ABI. */
static const tpac_cpu_facts needed[TPAC_CPU_LEVEL_COUNT] = {
    [TPAC_CPU_LEVEL_V2] =
        {
            /* SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT */
            .leaf1_ecx = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23,
            /* LAHF */
            .extended1_ecx = 1u << 0,
        },
    [TPAC_CPU_LEVEL_V3] =
        {
            /* FMA, MOVBE, OSXSAVE, AVX, F16C */
            .leaf1_ecx = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29,
            /* BMI1, AVX2, BMI2 */
            .leaf7_ebx = 1u << 3 | 1u << 5 | 1u << 8,
            /* LZCNT */
            .extended1_ecx = 1u << 5,
            /* XMM, YMM */
            .xcr0 = 1u << 1 | 1u << 2,
        },
    [TPAC_CPU_LEVEL_V4] =
        {
            /* AVX512F, DQ, CD, BW, VL */
            .leaf7_ebx = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31,
            /* mask registers, upper halves of ZMM0-15, ZMM16-31 */
            .xcr0 = 1u << 5 | 1u << 6 | 1u << 7,
        },
    [TPAC_CPU_LEVEL_AMX] =
        {
            /* AMX-BF16, AVX512-FP16, AMX-TILE */
            .leaf7_edx = 1u << 22 | 1u << 23 | 1u << 24,
            /* AVX512-BF16 */
            .leaf7_1_eax = 1u << 5,
            /* TILECFG, TILEDATA */
            .xcr0 = 1u << 17 | 1u << 18,
        },
};

static int has(const tpac_cpu_facts *facts, const tpac_cpu_facts *bits) {
  return (facts->leaf1_ecx & bits->leaf1_ecx) == bits->leaf1_ecx &&
         (facts->leaf7_ebx & bits->leaf7_ebx) == bits->leaf7_ebx &&
         (facts->leaf7_edx & bits->leaf7_edx) == bits->leaf7_edx &&
         (facts->leaf7_1_eax & bits->leaf7_1_eax) == bits->leaf7_1_eax &&
         (facts->extended1_ecx & bits->extended1_ecx) == bits->extended1_ecx &&
         (facts->xcr0 & bits->xcr0) == bits->xcr0;
}

int tpac_cpu_level_of(const tpac_cpu_facts *facts) {
  int level = TPAC_CPU_LEVEL_NONE;
  while (level + 1 < TPAC_CPU_LEVEL_COUNT && has(facts, &needed[level + 1]))
    ++level;
  return level;
}

int tpac_request_amx(void) {
#if defined(__x86_64__) && defined(__linux__)
  /* arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA), which libc has no function for. Idempotent. Refused where a thread's
   * signal stack is too small for tiles, and by seccomp filters. */
  enum { arch_prctl = 158, request = 0x1023, tile_data = 18 };
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"((long)arch_prctl), "D"((long)request), "S"((long)tile_data)
                   : "rcx", "r11", "memory");
  return result == 0;
#else
  return 0;
#endif
}

/* --- Choice --- */

int tpac_cpu_level_named(const char *name) {
  static const char names[TPAC_CPU_LEVEL_COUNT][12] = {"", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-amx"};
  for (int level = TPAC_CPU_LEVEL_NONE + 1; level < TPAC_CPU_LEVEL_COUNT; ++level) {
    int i = 0;
    while (name[i] == names[level][i] && name[i] != '\0')
      ++i;
    if (name[i] == names[level][i])
      return level;
  }
  return TPAC_CPU_LEVEL_NONE;
}

int tpac_best_cpu_level(uint32_t levels, int bound) {
  tpac_cpu_facts facts = tpac_read_cpu_facts();
  int level = tpac_cpu_level_of(&facts);
  if (level > bound)
    level = bound;
  for (; level > TPAC_CPU_LEVEL_NONE; --level)
    if ((levels & 1u << level) && (level != TPAC_CPU_LEVEL_AMX || tpac_request_amx()))
      return level;
  return TPAC_CPU_LEVEL_NONE;
}

int tpac_pack_cpu_level(uint32_t levels) {
  /* The level and 1; 0: not decided. Threads that decide at the same time come to the same result. */
  static int decided;
  int level = __atomic_load_n(&decided, __ATOMIC_RELAXED) - 1;
  if (level >= 0)
    return level;
  const char *name = getenv("TPAC_CPU_LEVEL");
  int bound = name ? tpac_cpu_level_named(name) : TPAC_CPU_LEVEL_NONE;
  level = tpac_best_cpu_level(levels, bound == TPAC_CPU_LEVEL_NONE ? TPAC_CPU_LEVEL_COUNT - 1 : bound);
  __atomic_store_n(&decided, level + 1, __ATOMIC_RELAXED);
  return level;
}
