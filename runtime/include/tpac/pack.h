/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel packs opened at run time: a pack's files, and its kernels ready to be called on one device. The argument
 * blocks are those of the pack's own header, so that a program names no function of the pack and links none of its
 * libraries. C99 or later, C++17 or later.
 */
#ifndef TPAC_PACK_H
#define TPAC_PACK_H

#include "tpac/status.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The files of a pack, read and checked. Does not change once it is open: any number of threads may use it. */
typedef struct tpac_pack tpac_pack;

/* Opens the pack at `path`, the directory that `tpac build` made or one file, a tar archive of that directory (not
 * compressed), and stores it in *pack. TPAC_INVALID_ARGUMENT where it is no pack, is damaged (the message names file
 * and cause) or of a format that this library does not know; TPAC_SYSTEM_ERROR where a file cannot be read. */
TPAC_MUST_USE TPAC_API int32_t tpac_pack_open(const char *path, tpac_pack **pack);

/* The same from an archive of `size` bytes in memory, which is copied. */
TPAC_MUST_USE TPAC_API int32_t tpac_pack_open_memory(const void *data, int64_t size, tpac_pack **pack);

/* Closes a pack; kernels that were made from it go on. NULL is accepted. */
TPAC_API void tpac_pack_close(tpac_pack *pack);

/* The prefix of the names in the pack's header, and the manifest as JSON text: what it computes, for which targets,
 * what the phases take. They live as long as the pack. NULL for NULL. */
TPAC_API const char *tpac_pack_name(const tpac_pack *pack);
TPAC_API const char *tpac_pack_manifest(const tpac_pack *pack);

/* Phases of a pack. */
enum { TPAC_APPEND = 0, TPAC_DECODE = 1, TPAC_PREFILL = 2, TPAC_MERGE = 3 };

/* Devices that kernels run on. */
enum { TPAC_CPU = 1 };

/* A pack's kernels, loaded for one device. Any number of threads may run them. */
typedef struct tpac_kernels tpac_kernels;

typedef struct tpac_kernels_config {
  int64_t struct_size; /* sizeof(tpac_kernels_config) */
  int32_t device_type; /* TPAC_CPU */
  int32_t device;      /* 0 */
} tpac_kernels_config;

/* Loads the kernels of `pack` for a device: of its targets the best one that the device runs, for CPUs as the pack's
 * header says of NAME_cpu_level. An error names the device and the targets where it runs none of them. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_create(const tpac_pack *pack, const tpac_kernels_config *config,
                                                   tpac_kernels **kernels);

/* Unloads kernels. None of their functions may be running. NULL is accepted. */
TPAC_API void tpac_kernels_destroy(tpac_kernels *kernels);

/* The target whose code runs, such as "x86-64-v4". NULL for NULL. */
TPAC_API const char *tpac_kernels_target(const tpac_kernels *kernels);

/* Runs a phase. args: the argument block of the pack's header, such as t6_medium_decode_args for TPAC_DECODE. What the
 * block's tensors must be, and what the call does, is said there. TPAC_INVALID_ARGUMENT, and nothing written, where one
 * is refused; the message names it, what was found and what is expected. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_run(const tpac_kernels *kernels, int32_t phase, const void *args);

/* Stores in *bytes the size of the workspace with which `phase` splits the caches of its requests into parts, 0 where
 * it does not (see the pack's header). */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_workspace_size(const tpac_kernels *kernels, int32_t phase, int64_t tokens,
                                                           int64_t batch, int64_t capacity, int64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_PACK_H */
