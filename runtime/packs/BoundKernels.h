// SPDX-License-Identifier: Apache-2.0
//
// Kernels that know some tensors of their calls beforehand: learned factors, which are the same from call to call.

#ifndef TPAC_RUNTIME_PACKS_BOUNDKERNELS_H
#define TPAC_RUNTIME_PACKS_BOUNDKERNELS_H

#include "runtime/packs/Kernels.h"

#include <array>
#include <memory>
#include <vector>

namespace tpac::runtime {

/// Completes argument blocks on the caller's stack and hands them to the kernels below, of whatever device.
class BoundKernels : public Kernels {
public:
  /// Throws Failure, which names the binding, for tensors that are none, depend on a call, or are given twice.
  BoundKernels(std::shared_ptr<const Kernels> kernels, const tpac_binding *bindings, int64_t count);

  const char *target() const override { return kernels->target(); }
  const PhaseArguments *arguments(int32_t phase) const override { return kernels->arguments(phase); }
  void launch(int32_t phase, const void *args, void *stream) const override;
  int64_t workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const override {
    return kernels->workspaceSize(phase, tokens, batch, capacity);
  }
  void cacheLayout(tpac_cache_layout &layout) const override { kernels->cacheLayout(layout); }

private:
  /// A word of a phase's block, which its strides follow.
  struct Place {
    size_t word;
    const void *data;
    /// Null: contiguous.
    const int64_t *strides;
  };

  std::shared_ptr<const Kernels> kernels;
  /// Strides of bindings; places point into them.
  std::vector<std::vector<int64_t>> strides;
  std::array<std::vector<Place>, phaseNames.size()> places;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_BOUNDKERNELS_H
