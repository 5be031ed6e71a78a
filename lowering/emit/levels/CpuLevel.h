/* SPDX-License-Identifier: Apache-2.0
 *
 * Levels of x86-64 CPUs, and the choice among those of a kernel pack. The same source is part of tpac and, as LLVM
 * bitcode, of every pack that has levels: nothing here allocates, and libc is used for getenv alone. */

#ifndef TPAC_LOWERING_EMIT_LEVELS_CPULEVEL_H
#define TPAC_LOWERING_EMIT_LEVELS_CPULEVEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In ascending order: a CPU of a level is of all those before it. */
enum tpac_cpu_level {
  TPAC_CPU_LEVEL_NONE,
  TPAC_CPU_LEVEL_V2,
  TPAC_CPU_LEVEL_V3,
  TPAC_CPU_LEVEL_V4,
  TPAC_CPU_LEVEL_AMX,
  TPAC_CPU_LEVEL_COUNT
};

/* What CPUID and XGETBV say; all zeros on other machines. */
typedef struct tpac_cpu_facts {
  uint32_t leaf1_ecx;
  uint32_t leaf7_ebx;
  uint32_t leaf7_edx;
  /* Subleaf 1. */
  uint32_t leaf7_1_eax;
  uint32_t extended1_ecx;
  /* States that the operating system saves; 0 without OSXSAVE. */
  uint64_t xcr0;
} tpac_cpu_facts;

tpac_cpu_facts tpac_read_cpu_facts(void);

/* The highest level of a machine with these facts. AMX also needs the kernel's permission. */
int tpac_cpu_level_of(const tpac_cpu_facts *facts);

/* Asks the kernel for tile registers, for this process; whether it has them then. Only after the facts allow AMX. */
int tpac_request_amx(void);

/* The number of the level called `name` ("x86-64-v3"), or TPAC_CPU_LEVEL_NONE. */
int tpac_cpu_level_named(const char *name);

/* The highest of `levels` (bit i: level i) that this machine runs and that is not above `bound`, or
 * TPAC_CPU_LEVEL_NONE. The kernel is asked for tiles only where the answer depends on it. */
int tpac_best_cpu_level(uint32_t levels, int bound);

/* tpac_best_cpu_level of this machine, bounded by the level that the environment variable TPAC_CPU_LEVEL names; any
 * other value bounds nothing. Decided at the first call; every call must have the same `levels`. */
int tpac_pack_cpu_level(uint32_t levels);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_LOWERING_EMIT_LEVELS_CPULEVEL_H */
