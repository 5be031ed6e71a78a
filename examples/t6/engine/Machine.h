// SPDX-License-Identifier: Apache-2.0
//
// What a transformer needs besides the phases of a pack, on the CPU or on a GPU: memory, matrix products, norms.

#ifndef TPAC_EXAMPLES_T6_MACHINE_H
#define TPAC_EXAMPLES_T6_MACHINE_H

#include "examples/t6/engine/Tensor.h"

#include "tpac/executor.h"
#include "tpac/pack.h"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace t6 {

/// Throws std::runtime_error with the message of a status of the runtime that is not success.
void requireSuccess(int32_t status);

/// Work is done in the order of the calls. Functions throw std::runtime_error with the message of the library that
/// failed.
class Machine {
public:
  virtual ~Machine() = default;

  /// For the runtime: which device, the executor of its kernels (null: none), the stream of its launches.
  virtual tpac_kernels_config kernelsConfig() const = 0;
  virtual const tpac_executor *executor() const = 0;
  virtual void *stream() const = 0;
  /// For the user: "2 threads", "NVIDIA H100 80GB HBM3".
  virtual std::string description() const = 0;
  /// In which matrix products take their operands.
  virtual Type operandType() const = 0;

  /// Not initialised, aligned to 64 bytes or more.
  virtual Memory allocate(int64_t bytes) = 0;
  virtual void upload(const void *from, int64_t bytes, void *to) = 0;
  /// Waits until all work is done.
  virtual void download(const void *from, int64_t bytes, void *to) = 0;

  /// Rows of `table` (f32) by number; -1: zeros. `numbers`: `count` of them in this machine's memory.
  virtual Tensor gather(const Tensor &table, const Memory &numbers, int64_t count) = 0;
  /// Rows of `x` (f32) divided by their root mean square, as operand of products.
  virtual Tensor normalise(const Tensor &x) = 0;
  /// `y` [rows, outputs] = `x` [rows, inputs] times the transposed `weight` [outputs, inputs]; `adds`: plus y.
  virtual void project(const Tensor &x, const Tensor &weight, Tensor &y, bool adds) = 0;
  /// gate * sigmoid(gate) * up of f32, as operand of products.
  virtual Tensor gate(const Tensor &gate, const Tensor &up) = 0;

  /// Work that can be repeated at little cost: the same calls with the same memory, whose contents may differ.
  using Recording = std::shared_ptr<void>;
  /// Null where the machine records nothing; nothing of `work` is done here.
  virtual Recording record(const std::function<void()> &work) = 0;
  virtual void repeat(const Recording &recording) = 0;

  // Of the functions above.
  Tensor tensor(int64_t rows, int64_t width, Type type);
  /// A tensor of `type` with `values`.
  Tensor tensor(std::span<const float> values, int64_t rows, int64_t width, Type type);
  Tensor project(const Tensor &x, const Tensor &weight, Type type);
  std::vector<float> values(const Tensor &x);
};

/// `threads`: 0: all that this process may use.
std::unique_ptr<Machine> makeCpuMachine(int threads);
/// The GPU number `device` of NVIDIA's driver; matrix products are cuBLAS's, `cublas` its file (empty: where the system
/// finds one).
std::unique_ptr<Machine> makeCudaMachine(int device, const std::string &cublas);

} // namespace t6

#endif // TPAC_EXAMPLES_T6_MACHINE_H
