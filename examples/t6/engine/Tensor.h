// SPDX-License-Identifier: Apache-2.0
//
// Rows of numbers in the memory of the machine that computes.

#ifndef TPAC_EXAMPLES_T6_TENSOR_H
#define TPAC_EXAMPLES_T6_TENSOR_H

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace t6 {

/// Storage types that the engine computes with.
enum class Type { f32, bf16 };
int64_t sizeOf(Type type);
/// In the host's memory: `to` holds values.size() elements of `type`; rounds to nearest, ties to even.
void store(std::span<const float> values, Type type, void *to);
void load(const void *from, Type type, std::span<float> values);

/// Memory of a machine, an address there; goes back to the machine at the end of its life.
using Memory = std::unique_ptr<void, std::function<void(void *)>>;

/// Contiguous rows.
struct Tensor {
  Type type = Type::f32;
  int64_t rows = 0, width = 0;
  Memory data;

  int64_t elements() const { return rows * width; }
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_TENSOR_H
