/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine does with a kernel pack and the runtime, in its smallest form: one request whose cache grows token by
 * token on a thread pool, once through the functions that it links and once through the same pack opened at run time.
 * Both give the same bits.
 *
 *   consumer PACK
 */
#include <t6_medium.h>
#include <tpac/executor.h>
#include <tpac/pack.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CAPACITY = 512,
  STEPS = 20,
  HEADS = T6_MEDIUM_HEADS,
  Q_RANK = T6_MEDIUM_Q_RANK,
  RANK = T6_MEDIUM_K_RANK,
  SIZE = T6_MEDIUM_K_TOKEN_SIZE
};

static void stop(const char *call, const char *message) {
  fprintf(stderr, "consumer: %s: %s\n", call, message);
  exit(1);
}

/* bf16 numbers of -1 .. 1, the same in every run. */
static uint16_t *numbers(size_t count, unsigned seed) {
  uint16_t *values = malloc(count * sizeof *values);
  size_t i;
  if (values == NULL)
    stop("malloc", "out of memory");
  for (i = 0; i < count; ++i) {
    float value;
    uint32_t bits;
    seed = seed * 1664525u + 1013904223u;
    value = (float)(seed >> 8) / (float)(1 << 23) - 1;
    memcpy(&bits, &value, sizeof bits);
    values[i] = (uint16_t)(bits >> 16);
  }
  return values;
}

static tpac_tensor tensor(void *data) {
  tpac_tensor result;
  result.data = data;
  result.strides = NULL;
  return result;
}

/* STEPS times: a token is appended, and attends to all so far. opened: kernels of the opened pack, or NULL for the
 * linked functions. Returns the last output. */
static uint16_t *generate(const tpac_kernels *opened, const tpac_executor *executor) {
  uint16_t *out = calloc(HEADS * SIZE, sizeof *out);
  float lse[HEADS];
  int32_t position, length, start[2] = {0, 1};
  size_t head_cache = (size_t)CAPACITY * RANK * HEADS, token_cache = (size_t)CAPACITY * RANK * SIZE;
  uint16_t *caches[4];
  t6_medium_append_args append;
  t6_medium_decode_args decode;
  int step, i;
  if (out == NULL)
    stop("calloc", "out of memory");
  for (i = 0; i < 4; ++i) {
    caches[i] = calloc(i % 2 == 0 ? head_cache : token_cache, sizeof **caches);
    if (caches[i] == NULL)
      stop("calloc", "out of memory");
  }
  memset(&append, 0, sizeof append);
  append.struct_size = sizeof append;
  append.tokens = append.batch = 1;
  append.capacity = CAPACITY;
  append.positions = tensor(&position);
  append.token_start = tensor(start);
  append.lengths = tensor(&length);
  append.k_head_cache = tensor(caches[0]);
  append.k_token_cache = tensor(caches[1]);
  append.v_head_cache = tensor(caches[2]);
  append.v_token_cache = tensor(caches[3]);
  append.executor = executor;
  memset(&decode, 0, sizeof decode);
  decode.struct_size = sizeof decode;
  decode.tokens = decode.batch = 1;
  decode.capacity = CAPACITY;
  decode.positions = append.positions;
  decode.token_start = append.token_start;
  decode.lengths = append.lengths;
  decode.k_head_cache = append.k_head_cache;
  decode.k_token_cache = append.k_token_cache;
  decode.v_head_cache = append.v_head_cache;
  decode.v_token_cache = append.v_token_cache;
  decode.out = tensor(out);
  decode.lse = tensor(lse);
  decode.executor = executor;

  for (step = 0; step < STEPS; ++step) {
    uint16_t *projected[6];
    int32_t status;
    projected[0] = numbers(RANK * HEADS, 6u * (unsigned)step);
    projected[1] = numbers(RANK * SIZE, 6u * (unsigned)step + 1);
    projected[2] = numbers(RANK * HEADS, 6u * (unsigned)step + 2);
    projected[3] = numbers(RANK * SIZE, 6u * (unsigned)step + 3);
    projected[4] = numbers(Q_RANK * HEADS, 6u * (unsigned)step + 4);
    projected[5] = numbers(Q_RANK * SIZE, 6u * (unsigned)step + 5);
    append.k_head = tensor(projected[0]);
    append.k_token = tensor(projected[1]);
    append.v_head = tensor(projected[2]);
    append.v_token = tensor(projected[3]);
    decode.q_head = tensor(projected[4]);
    decode.q_token = tensor(projected[5]);

    position = length = step;
    if (opened != NULL) {
      if (tpac_kernels_run(opened, TPAC_APPEND, &append) != TPAC_SUCCESS)
        stop("append", tpac_runtime_status_message(TPAC_INVALID_ARGUMENT));
    } else if ((status = t6_medium_append(&append)) != 0) {
      stop("append", t6_medium_status_message(status));
    }
    length = step + 1;
    if (opened != NULL) {
      if (tpac_kernels_run(opened, TPAC_DECODE, &decode) != TPAC_SUCCESS)
        stop("decode", tpac_runtime_status_message(TPAC_INVALID_ARGUMENT));
    } else if ((status = t6_medium_decode(&decode)) != 0) {
      stop("decode", t6_medium_status_message(status));
    }
    for (i = 0; i < 6; ++i)
      free(projected[i]);
  }
  for (i = 0; i < 4; ++i)
    free(caches[i]);
  return out;
}

int main(int argc, char **argv) {
  tpac_thread_pool *threads;
  tpac_pack *pack;
  tpac_kernels *kernels;
  tpac_kernels_config config;
  const tpac_executor *executor;
  uint16_t *linked, *opened;
  int32_t status;
  int same;
  if (argc != 2)
    stop("usage", "consumer PACK");
  if ((status = tpac_thread_pool_create(NULL, &threads)) != TPAC_SUCCESS)
    stop("tpac_thread_pool_create", tpac_runtime_status_message(status));
  if ((status = tpac_pack_open(argv[1], &pack)) != TPAC_SUCCESS)
    stop("tpac_pack_open", tpac_runtime_status_message(status));
  config.struct_size = sizeof config;
  config.device_type = TPAC_CPU;
  config.device = 0;
  if ((status = tpac_kernels_create(pack, &config, &kernels)) != TPAC_SUCCESS)
    stop("tpac_kernels_create", tpac_runtime_status_message(status));

  executor = tpac_thread_pool_executor(threads);
  linked = generate(NULL, executor);
  opened = generate(kernels, executor);
  same = memcmp(linked, opened, HEADS * SIZE * sizeof *linked) == 0;
  printf("%d tokens on %d threads by the kernels for %s: linked and opened functions %s\n", (int)STEPS,
         (int)executor->concurrency, tpac_kernels_target(kernels), same ? "agree" : "DIFFER");

  free(linked);
  free(opened);
  tpac_kernels_destroy(kernels);
  tpac_pack_close(pack);
  tpac_thread_pool_destroy(threads);
  return same ? 0 : 1;
}
