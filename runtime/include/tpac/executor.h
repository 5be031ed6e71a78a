/* SPDX-License-Identifier: Apache-2.0
 *
 * How kernels run on several threads: the executor, which an engine can implement on its own threads, and a thread pool
 * that implements it. C99 or later, C++17 or later. Nothing of attention here.
 */
#ifndef TPAC_EXECUTOR_H
#define TPAC_EXECUTOR_H

#include "tpac/status.h"

#include <stdint.h>

/* Guarded by itself: headers of kernel packs repeat the definition, so that they need no other header. */
#ifndef TPAC_EXECUTOR_DEFINED
#define TPAC_EXECUTOR_DEFINED
/* How a kernel runs its work items. `run` calls task(argument, index) once for each index in 0 .. count-1, possibly at
 * the same time from several threads, and returns when all have returned. Items do not wait for one another, so one
 * thread may run them all. What was written before `run` is visible to every item, and what items wrote is visible
 * after it. */
typedef struct tpac_executor {
  void *context;
  int32_t concurrency; /* threads that may run at once, the caller's included */
  void (*run)(void *context, void (*task)(void *argument, int64_t index), void *argument, int64_t count);
} tpac_executor;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A pool of persistent threads. The thread that calls `run` works too, so a pool of N threads starts N - 1.
 *
 * Idle threads spin for a while, then sleep. Items are handed out one at a time, in order of their index, to whichever
 * thread is free. `run` may be called from any number of threads and from inside items: while another `run` has the
 * pool, a caller works on its own items alone, and hands out the rest as soon as the pool is free. So no caller ever
 * waits for the items of another. `run` allocates nothing.
 *
 * Items must return: they must not throw, jump out or end their thread. */
typedef struct tpac_thread_pool tpac_thread_pool;

/* spin_microseconds: idle threads go to sleep at once. */
#define TPAC_SPIN_NEVER (-1)

/* Options of a thread pool; 0 is the default of each but struct_size. */
typedef struct tpac_thread_pool_config {
  int64_t struct_size; /* sizeof(tpac_thread_pool_config) */
  /* 1 .. 1024, the caller's thread included. 0: as many as CPUs are allowed, by the calling thread's affinity and the
   * CPU quota of its control groups (rounded up). */
  int32_t threads;
  /* 1: each started thread is bound to one of the CPUs that the calling thread may use, to different cores first; the
   * CPU that the calling thread is on is taken last. Callers of `run` are never bound. 0: the system decides. */
  int32_t pin;
  /* How long an idle thread, or a caller whose items are still running elsewhere, spins before it sleeps: up to
   * 1000000, or TPAC_SPIN_NEVER. 0: 50. A pool of more threads than CPUs are allowed never spins. */
  int64_t spin_microseconds;
} tpac_thread_pool_config;

/* Creates a pool and stores it in *pool. config NULL: all defaults. The started threads keep the floating-point
 * environment of the calling thread; signals are not delivered to them. */
TPAC_MUST_USE TPAC_API int32_t tpac_thread_pool_create(const tpac_thread_pool_config *config, tpac_thread_pool **pool);

/* The executor that runs on the pool; it lives as long as the pool. NULL for NULL. */
TPAC_API const tpac_executor *tpac_thread_pool_executor(const tpac_thread_pool *pool);

/* Ends the threads of the pool and frees it. No `run` may be in progress, hence no item may call this. NULL is
 * accepted. After fork, a child may go on using the pool, with the calling thread alone, and may destroy it, provided
 * that no `run` was in progress at the fork. */
TPAC_API void tpac_thread_pool_destroy(tpac_thread_pool *pool);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_EXECUTOR_H */
