/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages of a paged factor cache belong to which request: allocates, shares prefixes, frees, and writes the block
 * tables that kernels read. Bookkeeping on the host alone: the pages' memory is the engine's, on whatever device, one
 * pool of memory per layer with the same page numbers. C99 or later, C++17 or later.
 */
#ifndef TPAC_PAGE_POOL_H
#define TPAC_PAGE_POOL_H

#include "tpac/status.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One caller at a time: a pool has no lock of its own. */
typedef struct tpac_page_pool tpac_page_pool;

typedef struct tpac_page_pool_config {
  int64_t struct_size; /* sizeof(tpac_page_pool_config) */
  int64_t pages;       /* 1 .. 2^31 - 1; their numbers are 0 .. pages - 1 */
  int64_t page_size;   /* tokens of a page, 1 .. 2^20; a pack's manifest lists what its kernels take */
  int64_t page_bytes;  /* bytes of a page in all layers together, for statistics; 0: not known */
} tpac_page_pool_config;

/* Creates a pool whose pages are all free and stores it in *pool. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_create(const tpac_page_pool_config *config, tpac_page_pool **pool);

/* Frees the pool's own memory; its requests' numbers mean nothing from then on. NULL is accepted. */
TPAC_API void tpac_page_pool_destroy(tpac_page_pool *pool);

/* A new request of no tokens. Its number is never 0 and never given again in this pool's life. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_add(tpac_page_pool *pool, int64_t *request);

/* A new request whose cache is the first `tokens` tokens (0 .. length) of `request`, on the same pages: no page is
 * taken and nothing is copied. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_fork(tpac_page_pool *pool, int64_t request, int64_t tokens,
                                                   int64_t *child);

/* A page whose first `tokens` tokens must be copied, in every layer, before anything is written to page `to`. */
typedef struct tpac_page_copy {
  int32_t from, to;
  int32_t tokens; /* 0: there is nothing to copy, and from and to are -1 */
} tpac_page_copy;

/* Makes room for `tokens` more tokens at the end of `request`: takes pages, and gives it a page of its own in place of
 * one that it shares with another request and would write to (*copy). TPAC_OUT_OF_PAGES where too few are free: then
 * nothing has changed. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_append(tpac_page_pool *pool, int64_t request, int64_t tokens,
                                                     tpac_page_copy *copy);

/* Shortens `request` to `tokens` tokens (0 .. length), as after rejected drafts; pages that nobody uses become free. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_truncate(tpac_page_pool *pool, int64_t request, int64_t tokens);

/* Ends `request`; pages that nobody uses become free. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_remove(tpac_page_pool *pool, int64_t request);

/* Tokens of `request`. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_length(const tpac_page_pool *pool, int64_t request, int64_t *tokens);

/* The pages of `count` requests as a block table (as in vLLM and FlashMLA): table [count, columns], row by row, -1
 * behind a request's last page, and lengths [count] in tokens. An error, and nothing written, where a request has more
 * than `columns` pages. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_block_table(const tpac_page_pool *pool, const int64_t *requests,
                                                          int64_t count, int32_t *table, int64_t columns,
                                                          int32_t *lengths);

/* The same as lists (as in FlashInfer): pages of request i are indices[indptr[i] .. indptr[i + 1]], and its last page
 * holds last_page_tokens[i] tokens, 1 .. page_size, or 0 where it has none. indptr [count + 1], indices [size],
 * last_page_tokens [count]. An error, and nothing written, where there are more than `size` pages. */
TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_page_list(const tpac_page_pool *pool, const int64_t *requests,
                                                        int64_t count, int32_t *indptr, int32_t *indices, int64_t size,
                                                        int32_t *last_page_tokens);

typedef struct tpac_page_pool_statistics {
  int64_t struct_size; /* in: sizeof(tpac_page_pool_statistics) */
  int64_t requests;
  int64_t pages;
  int64_t free_pages;
  int64_t shared_pages;   /* used by two requests or more */
  int64_t request_tokens; /* of all requests: a shared token counts for each */
  int64_t used_bytes;     /* of pages that are not free; 0 where page_bytes is 0, as are the next two */
  int64_t shared_bytes;   /* that sharing saves: pages of all requests less pages that are not free */
  int64_t slack_bytes;    /* of token slots that no request has filled, in pages that are not free */
} tpac_page_pool_statistics;

TPAC_MUST_USE TPAC_API int32_t tpac_page_pool_get_statistics(const tpac_page_pool *pool,
                                                             tpac_page_pool_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_PAGE_POOL_H */
