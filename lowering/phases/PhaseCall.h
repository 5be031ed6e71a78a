// SPDX-License-Identifier: Apache-2.0
//
// Assembles the argument block of a phase by tensor names and calls it: the same for a kernel compiled in this process
// and one taken from a pack by dlsym. No MLIR in this header.

#ifndef TPAC_LOWERING_PHASES_PHASECALL_H
#define TPAC_LOWERING_PHASES_PHASECALL_H

#include "lowering/phases/PhaseSignature.h"

#include <optional>
#include <span>

namespace tpac {

/// The C entry point of a phase: 0, or a status (see docs/variant.md, "Calling a phase").
using PhaseFunction = int32_t (*)(const void *args);

class PhaseCall {
public:
  explicit PhaseCall(const PhaseSignature &signature);

  /// Sets run-time size `name` ("tokens", "batch", "capacity"). "listed_pages" is 0 before.
  void setSize(std::string_view name, int64_t value);
  /// Points tensor `name` at caller-owned memory, contiguous or with the given strides (in elements).
  /// Optional tensors are NULL before.
  void setTensor(std::string_view name, void *data, std::span<const int64_t> strides = {});

  /// How the phase runs its work items: a tpac_executor of the caller (runtime/include/tpac/executor.h), or nullptr, as
  /// it is before: the calling thread computes everything.
  void setExecutor(const void *executor);
  /// Memory of the caller, aligned to 64 bytes, for the parts of split caches; nullptr, as it is before: caches are not
  /// split. A phase that never splits takes no notice of it.
  void setWorkspace(void *workspace, int64_t bytes);
  /// Memory of the caller, aligned to 64 bytes, for the large tiles of as many threads as its size is a multiple of the
  /// signature's `scratch`: no more compute. nullptr, as it is before: tiles are on the stacks of the threads.
  void setScratch(void *scratch, int64_t bytes);

  /// Shape of tensor `name` under the sizes set so far.
  std::vector<int64_t> shapeOf(std::string_view name) const;

  /// Calls `function`. Returns its status; throws std::invalid_argument where a size or tensor was not set
  /// or a name does not exist.
  int32_t run(PhaseFunction function) const;

private:
  size_t tensorIndex(std::string_view name) const;
  size_t sizeIndex(std::string_view name) const;

  PhaseSignature signature;
  std::vector<std::optional<int64_t>> sizes;
  std::vector<void *> data;
  std::vector<std::vector<int64_t>> strides;
  const void *executor = nullptr;
  void *workspace = nullptr;
  int64_t workspaceSize = 0;
  void *scratch = nullptr;
  int64_t scratchSize = 0;
};

} // namespace tpac

#endif // TPAC_LOWERING_PHASES_PHASECALL_H
