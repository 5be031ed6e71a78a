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

/* Phases of a pack. TPAC_IMPORT and TPAC_EXPORT move cached tokens between plain tensors
 * and the layout that a GPU's cache has; CPUs do not have them. */
enum { TPAC_APPEND = 0, TPAC_DECODE = 1, TPAC_PREFILL = 2, TPAC_MERGE = 3, TPAC_IMPORT = 4, TPAC_EXPORT = 5 };

/* Devices that kernels run on; the numbers are DLPack's. */
enum { TPAC_CPU = 1, TPAC_CUDA = 2 };

/* A pack's kernels, loaded for one device. Any number of threads may run them. */
typedef struct tpac_kernels tpac_kernels;

typedef struct tpac_kernels_config {
  int64_t struct_size; /* sizeof(tpac_kernels_config) */
  int32_t device_type; /* TPAC_CPU or TPAC_CUDA */
  int32_t device;      /* 0 for TPAC_CPU; the number of the GPU, as the CUDA driver counts them */
  /* Since the field is the last, callers that do not know it may leave it out of struct_size.
   * 0: a call's work is divided evenly, so that the last bits of a request's results depend on the sizes and lengths of
   * the whole call. Above 0, on a GPU: decode and prefill divide each request's cached tokens, from its first one on,
   * into parts of so many tokens (rounded up to whole blocks of the schedule), and decode takes its kernels for one
   * query token whatever the call has. The results of a query token then depend on its request alone, not on the other
   * requests, nor on the number of multiprocessors. More workspace is needed (tpac_kernels_workspace_size knows), and
   * what a call costs depends on the number: 1024 to 4096 suit most. */
  int64_t part_tokens;
} tpac_kernels_config;

/* Loads the kernels of `pack` for a device: of its targets the best one that the device runs, for CPUs as the pack's
 * header says of NAME_cpu_level, for GPUs machine code for the very compute capability, else for an older one of the
 * same generation, else PTX, which the driver compiles. An error names the device and the targets where it runs none of
 * them. TPAC_CUDA loads NVIDIA's driver (libcuda.so.1; TPAC_DEVICE_ERROR where there is none) and takes the calling
 * thread's current context, which must be one of `device`; where there is none, the device's primary context, for the
 * life of the kernels.
 *
 * Where the environment variable TPA_VERBOSE holds "dispatch" at this time, a line on stderr says what was chosen and
 * why, and so does one for each call that runs a phase. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_create(const tpac_pack *pack, const tpac_kernels_config *config,
                                                   tpac_kernels **kernels);

/* A tensor that is the same from call to call, by its name in the pack's header. */
typedef struct tpac_binding {
  const char *tensor;
  const void *data;       /* as in an argument block: on the device, aligned */
  const int64_t *strides; /* in elements, one for each dimension; NULL: contiguous */
} tpac_binding;

/* Makes kernels that share the code of `kernels` and know `count` tensors beforehand: learned factors, or any other
 * tensors whose shape has no run-time size. Where an argument block of any phase leaves such a tensor's data NULL, they
 * take the binding's data and strides; other data goes before it. A model binds once for each layer, when it has loaded
 * its weights. Names and strides are copied, data is not and must last as long as *bound. *bound is destroyed like any
 * other kernels, before `kernels` or after. TPAC_INVALID_ARGUMENT where a binding names no such tensor, names one
 * twice or has no data. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_bind(const tpac_kernels *kernels, const tpac_binding *bindings,
                                                 int64_t count, tpac_kernels **bound);

/* Unloads kernels. None of their functions may be running. NULL is accepted. */
TPAC_API void tpac_kernels_destroy(tpac_kernels *kernels);

/* The target whose code runs, such as "x86-64-v4". NULL for NULL. */
TPAC_API const char *tpac_kernels_target(const tpac_kernels *kernels);

/* Runs a phase. args: the argument block of the pack's header, such as t6_medium_decode_args for TPAC_DECODE. What the
 * block's tensors must be, and what the call does, is said there. TPAC_INVALID_ARGUMENT, and nothing written, where one
 * is refused; the message names it, what was found and what is expected. On a GPU the same as tpac_kernels_launch on
 * the default stream. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_run(const tpac_kernels *kernels, int32_t phase, const void *args);

/* Runs a phase on a stream: on a GPU a CUstream of the kernels' context (or NULL, its default stream), on a CPU NULL.
 * On a GPU the call returns when the kernels are launched. It allocates nothing, copies nothing and waits for nothing,
 * so that it can be captured in a CUDA graph. What a graph replays is what the sizes and addresses of the block said;
 * token_start, lengths, positions, the block table or list of pages and all other data are read when the kernels run,
 * and may change between replays. Memory that the block names must last until the kernels have run; the block itself
 * need not.
 *
 * GPUs check what a block says, not what its data is: lengths beyond the capacity, token_start or page_starts that
 * decrease, and pages that are none are the caller's to avoid. Of argument blocks they read:
 * - data: addresses on the device, aligned to their elements; of tensors with one dimension contiguous
 * - NAME_cache: all the same address, that of the cache (tpac_kernels_cache_layout), aligned to 16 bytes; strides NULL
 * - capacity: a multiple of capacity_unit of the layout
 * - executor: not at all
 * - workspace: decode and prefill need one of tpac_kernels_workspace_size, aligned to 64 bytes
 *
 * Results are the same bits from call to call; they depend on sizes and lengths, and on the device, which decides into
 * how many parts the work is divided. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_launch(const tpac_kernels *kernels, int32_t phase, const void *args,
                                                   void *stream);

/* How a device keeps the cache. Filled by tpac_kernels_cache_layout; later versions may have more fields. */
typedef struct tpac_cache_layout {
  int64_t struct_size; /* in: sizeof(tpac_cache_layout) */
  /* 0: each cache tensor is one, with the shape that the pack's header says. 1: all are one piece of memory,
   * [request][plane][token][row], with pages [page][plane][token][row]: batch * capacity * token_bytes, with pages
   * pages * page_size * token_bytes. Where each tensor is in a row says the manifest (gpu.cache). */
  int64_t is_one_piece;
  int64_t page_size;     /* tokens of a page; 0: no pages */
  int64_t capacity_unit; /* a capacity must be a multiple of this */
  int64_t token_bytes;   /* bytes of a token, in all planes and tensors */
  int64_t planes;        /* rows of a token */
  /* Chunk c (16 bytes) of a row of token t stands at place c ^ ((t >> swizzle_shift) & swizzle_mask). */
  int64_t swizzle_mask;
  int64_t swizzle_shift;
} tpac_cache_layout;

TPAC_MUST_USE TPAC_API int32_t tpac_kernels_cache_layout(const tpac_kernels *kernels, tpac_cache_layout *layout);

/* Stores in *bytes the size of the workspace of `phase`. CPUs: with which it splits the caches of its requests into
 * parts, 0 where it does not (see the pack's header). GPUs: which it needs; enough for every call of no more tokens and
 * requests. 0 for sizes out of range. */
TPAC_MUST_USE TPAC_API int32_t tpac_kernels_workspace_size(const tpac_kernels *kernels, int32_t phase, int64_t tokens,
                                                           int64_t batch, int64_t capacity, int64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_PACK_H */
