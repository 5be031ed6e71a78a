/* SPDX-License-Identifier: Apache-2.0
 *
 * Uses a kernel pack from C: appends tokens of two requests to a small cache, computes one decode step, and compares it
 * with a plain loop in double over the same numbers. Needs the pack of configs/t6-medium.json, libc and libm.
 */

#include "t6_medium.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  heads = T6_MEDIUM_HEADS,
  qRank = T6_MEDIUM_Q_RANK,
  kRank = T6_MEDIUM_K_RANK,
  vRank = T6_MEDIUM_V_RANK,
  qFeatures = T6_MEDIUM_Q_TOKEN_SIZE,
  kFeatures = T6_MEDIUM_K_TOKEN_SIZE,
  vFeatures = T6_MEDIUM_V_TOKEN_SIZE,
  batch = 2,
  capacity = 32,
  tokens = 29 /* of both requests together */
};

/* bf16 is the upper half of a float; rounding to nearest, ties to even. The numbers here are finite. */
static uint16_t toBf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static double fromBf16(uint16_t value) {
  uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

/* Pseudo-random bf16 numbers between -scale and scale; the same in every run. */
static uint16_t *randomTensor(size_t count, float scale) {
  static uint32_t state = 2501;
  uint16_t *data = malloc(count * sizeof *data);
  if (!data) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    data[i] = toBf16(scale * ((float)(state >> 8) / 8388608.0f - 1.0f));
  }
  return data;
}

static void *zeros(size_t count, size_t size) {
  void *data = calloc(count, size);
  if (!data) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return data;
}

static void check(const char *what, int32_t status) {
  printf("%-26s %s\n", what, t6_medium_status_message(status));
  if (status != 0)
    exit(1);
}

/* Row `row` of a token factor, rotated by `position`: this variant pairs feature j with j + ROPE_FEATURES / 2 and turns
 * (x1, x2) into (x1 cos + x2 sin, x2 cos - x1 sin). */
static void rotatedRow(const uint16_t *row, int features, int position, double *out) {
  const int half = T6_MEDIUM_ROPE_FEATURES / 2;
  for (int d = 0; d < features; ++d)
    out[d] = fromBf16(row[d]);
  for (int j = 0; j < half; ++j) {
    const int first = T6_MEDIUM_ROPE_OFFSET + j, second = first + half;
    const double angle = position * pow(T6_MEDIUM_ROPE_BASE, -2.0 * j / T6_MEDIUM_ROPE_FEATURES);
    const double x1 = out[first], x2 = out[second];
    out[first] = x1 * cos(angle) + x2 * sin(angle);
    out[second] = x2 * cos(angle) - x1 * sin(angle);
  }
}

/* Row `head` of the product of a head factor [rank][heads] and a token factor [rank][features] of one token, divided by
 * the rank; rotated by `position` where that is not negative. */
static void contract(const uint16_t *headFactor, const uint16_t *tokenFactor, int rank, int features, int head,
                     int position, double *out) {
  double row[T6_MEDIUM_Q_TOKEN_SIZE + T6_MEDIUM_K_TOKEN_SIZE + T6_MEDIUM_V_TOKEN_SIZE];
  for (int d = 0; d < features; ++d)
    out[d] = 0;
  for (int r = 0; r < rank; ++r) {
    if (position >= 0)
      rotatedRow(tokenFactor + r * features, features, position, row);
    else
      for (int d = 0; d < features; ++d)
        row[d] = fromBf16(tokenFactor[r * features + d]);
    for (int d = 0; d < features; ++d)
      out[d] += fromBf16(headFactor[r * heads + head]) * row[d] / rank;
  }
}

/* The factors of all tokens, [token][rank][heads or features], as the projections of a model would give them. */
typedef struct {
  uint16_t *kHead, *kToken, *vHead, *vToken;
} Factors;

/* Attention of the query (already contracted and rotated) of one head over tokens begin .. end: out[e], and the natural
 * logarithm of the sum of exponentials. */
static double attend(const Factors *factors, const double *query, int head, int begin, int end, double *out) {
  double sum = 0, largest = -INFINITY, scores[tokens], key[T6_MEDIUM_K_TOKEN_SIZE], value[T6_MEDIUM_V_TOKEN_SIZE];
  for (int t = begin; t < end; ++t) {
    contract(factors->kHead + t * kRank * heads, factors->kToken + t * kRank * kFeatures, kRank, kFeatures, head,
             t - begin, key);
    scores[t] = 0;
    for (int d = 0; d < kFeatures; ++d)
      scores[t] += query[d] * key[d] / sqrt((double)kFeatures);
    largest = fmax(largest, scores[t]);
  }
  for (int e = 0; e < vFeatures; ++e)
    out[e] = 0;
  for (int t = begin; t < end; ++t) {
    const double weight = exp(scores[t] - largest);
    sum += weight;
    contract(factors->vHead + t * vRank * heads, factors->vToken + t * vRank * vFeatures, vRank, vFeatures, head, -1,
             value);
    for (int e = 0; e < vFeatures; ++e)
      out[e] += weight * value[e];
  }
  for (int e = 0; e < vFeatures; ++e)
    out[e] /= sum;
  return largest + log(sum);
}

int main(void) {
  /* Request 0 has tokens 0 .. 10, request 1 the others; positions count within a request. */
  int32_t tokenStart[batch + 1] = {0, 11, tokens}, lengths[batch] = {0, 0}, positions[tokens];
  for (int b = 0; b < batch; ++b)
    for (int t = tokenStart[b]; t < tokenStart[b + 1]; ++t)
      positions[t] = t - tokenStart[b];
  Factors factors = {
      randomTensor((size_t)tokens * kRank * heads, 2.0f), randomTensor((size_t)tokens * kRank * kFeatures, 2.0f),
      randomTensor((size_t)tokens * vRank * heads, 1.0f), randomTensor((size_t)tokens * vRank * vFeatures, 1.0f)};

  uint16_t *kHeadCache = zeros((size_t)batch * capacity * kRank * heads, sizeof *kHeadCache);
  uint16_t *kTokenCache = zeros((size_t)batch * capacity * kRank * kFeatures, sizeof *kTokenCache);
  uint16_t *vHeadCache = zeros((size_t)batch * capacity * vRank * heads, sizeof *vHeadCache);
  uint16_t *vTokenCache = zeros((size_t)batch * capacity * vRank * vFeatures, sizeof *vTokenCache);

  t6_medium_append_args append;
  memset(&append, 0, sizeof append); /* strides NULL: contiguous */
  append.struct_size = sizeof append;
  append.tokens = tokens;
  append.batch = batch;
  append.capacity = capacity;
  append.k_head.data = factors.kHead;
  append.k_token.data = factors.kToken;
  append.v_head.data = factors.vHead;
  append.v_token.data = factors.vToken;
  append.positions.data = positions;
  append.token_start.data = tokenStart;
  append.lengths.data = lengths;
  append.k_head_cache.data = kHeadCache;
  append.k_token_cache.data = kTokenCache;
  append.v_head_cache.data = vHeadCache;
  append.v_token_cache.data = vTokenCache;
  check("append", t6_medium_append(&append));
  for (int b = 0; b < batch; ++b)
    lengths[b] += tokenStart[b + 1] - tokenStart[b];

  /* One query per request: its last token. */
  int32_t queryStart[batch + 1], queryPositions[batch];
  for (int b = 0; b < batch; ++b) {
    queryStart[b] = b;
    queryPositions[b] = lengths[b] - 1;
  }
  queryStart[batch] = batch;
  uint16_t *qHead = randomTensor((size_t)batch * qRank * heads, 2.0f);
  uint16_t *qToken = randomTensor((size_t)batch * qRank * qFeatures, 2.0f);
  uint16_t *out = zeros((size_t)batch * heads * vFeatures, sizeof *out);
  float *lse = zeros((size_t)batch * heads, sizeof *lse);

  t6_medium_decode_args decode;
  memset(&decode, 0, sizeof decode);
  decode.struct_size = sizeof decode;
  decode.tokens = batch;
  decode.batch = batch;
  decode.capacity = capacity;
  decode.q_head.data = qHead;
  decode.q_token.data = qToken;
  decode.positions.data = queryPositions;
  decode.token_start.data = queryStart;
  decode.lengths.data = lengths;
  decode.k_head_cache.data = kHeadCache;
  decode.k_token_cache.data = kTokenCache;
  decode.v_head_cache.data = vHeadCache;
  decode.v_token_cache.data = vTokenCache;
  decode.out.data = out;
  decode.lse.data = lse;
  decode.executor = NULL; /* this thread alone; an engine sets its executor here */
  check("decode", t6_medium_decode(&decode));

  printf("%-26s %s\n", "CPU level", t6_medium_cpu_level());
  const int mhaBytes = 2 * heads * (kFeatures + vFeatures);
  printf("%-26s %d (multi-head attention of this size: %d)\n", "cache bytes per token", T6_MEDIUM_CACHE_BYTES_PER_TOKEN,
         mhaBytes);

  /* Per request: |out - expected| / |expected| (Frobenius), and the largest difference of the logarithms. */
  int failed = 0;
  for (int b = 0; b < batch; ++b) {
    double difference = 0, norm = 0, lseDifference = 0, query[T6_MEDIUM_Q_TOKEN_SIZE], expected[T6_MEDIUM_V_TOKEN_SIZE];
    for (int h = 0; h < heads; ++h) {
      contract(qHead + b * qRank * heads, qToken + b * qRank * qFeatures, qRank, qFeatures, h, queryPositions[b],
               query);
      const double expectedLse = attend(&factors, query, h, tokenStart[b], tokenStart[b + 1], expected);
      lseDifference = fmax(lseDifference, fabs(lse[b * heads + h] - expectedLse));
      for (int e = 0; e < vFeatures; ++e) {
        const double error = fromBf16(out[(b * heads + h) * vFeatures + e]) - expected[e];
        difference += error * error;
        norm += expected[e] * expected[e];
      }
    }
    const double relative = sqrt(difference / norm);
    printf("request %d, %2d tokens        relative error %.1e, logarithm %.1e\n", b, (int)lengths[b], relative,
           lseDifference);
    /* Written so that NaN fails. */
    if (!(relative <= 1e-2) || !(lseDifference <= 1e-2))
      failed = 1;
  }
  puts(failed ? "FAILED: errors above 1e-2" : "ok");

  free(factors.kHead);
  free(factors.kToken);
  free(factors.vHead);
  free(factors.vToken);
  free(kHeadCache);
  free(kTokenCache);
  free(vHeadCache);
  free(vTokenCache);
  free(qHead);
  free(qToken);
  free(out);
  free(lse);
  return failed;
}
