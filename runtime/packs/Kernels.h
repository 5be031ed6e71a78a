// SPDX-License-Identifier: Apache-2.0
//
// A pack's kernels, loaded for a device of any kind.

#ifndef TPAC_RUNTIME_PACKS_KERNELS_H
#define TPAC_RUNTIME_PACKS_KERNELS_H

#include "runtime/packs/Pack.h"
#include "runtime/packs/PhaseNames.h"
#include "tpac/pack.h"

namespace tpac::runtime {

/// Functions throw Failure. `phase` is within phaseNames.
class Kernels {
public:
  virtual ~Kernels() = default;

  virtual const char *target() const = 0;
  /// The argument block of a phase; null where the device has no kernels for it.
  virtual const PhaseArguments *arguments(int32_t phase) const = 0;
  virtual void launch(int32_t phase, const void *args, void *stream) const = 0;
  virtual int64_t workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const = 0;
  /// Fills all fields but struct_size.
  virtual void cacheLayout(tpac_cache_layout &layout) const = 0;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_KERNELS_H
