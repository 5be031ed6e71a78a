// SPDX-License-Identifier: Apache-2.0
//
// What a transformer does between matrix products, for a GPU: this file is compiled to PTX (CMakeLists.txt), which the
// driver compiles for the GPU at hand.

#define KERNEL extern "C" __attribute__((nvptx_kernel))

using Operand = __bf16;

static long block() { return __nvvm_read_ptx_sreg_ctaid_x(); }
static int thread() { return __nvvm_read_ptx_sreg_tid_x(); }
static int threads() { return __nvvm_read_ptx_sreg_ntid_x(); }

/// to [blocks, width] = rows of `table` by number; -1: zeros.
KERNEL void gather(const float *table, const int *numbers, float *to, int width) {
  const int number = numbers[block()];
  for (int i = thread(); i < width; i += threads())
    to[block() * width + i] = number < 0 ? 0 : table[static_cast<long>(number) * width + i];
}

/// y = x / sqrt(mean(x^2) + epsilon), rows of `width`: one block of one warp each.
KERNEL void normalise(const float *x, Operand *y, int width) {
  constexpr float epsilon = 0x1p-23f;
  const float *from = x + block() * width;
  float sum = 0;
  for (int i = thread(); i < width; i += 32)
    sum += from[i] * from[i];
  for (int distance = 16; distance > 0; distance /= 2)
    sum += __nvvm_shfl_sync_bfly_f32(-1, sum, distance, 31);
  const float scale = 1 / __nvvm_sqrt_rn_f(sum / static_cast<float>(width) + epsilon);
  for (int i = thread(); i < width; i += 32)
    y[block() * width + i] = static_cast<Operand>(from[i] * scale);
}

/// y = gate * sigmoid(gate) * up, of `count` elements.
KERNEL void gate(const float *gates, const float *up, Operand *y, long count) {
  constexpr float log2e = 1.44269504f;
  const long i = block() * threads() + thread();
  if (i < count)
    y[i] = static_cast<Operand>(gates[i] * up[i] / (1 + __nvvm_ex2_approx_f(-gates[i] * log2e)));
}
