// SPDX-License-Identifier: Apache-2.0
//
// Reads and checks argument blocks of phases for devices, whose kernels check nothing. What libraries of packs check
// for CPUs is generated with them (lowering/emit/StatusChecks.cpp).

#ifndef TPAC_RUNTIME_PACKS_ARGUMENTBLOCK_H
#define TPAC_RUNTIME_PACKS_ARGUMENTBLOCK_H

#include "runtime/packs/PackManifest.h"

#include <array>

namespace tpac::runtime {

/// A block's values. On the stack: reading one allocates nothing.
struct ArgumentBlock {
  static constexpr size_t mostTensors = 32, mostDimensions = 6;

  struct Tensor {
    uint64_t data;
    std::array<int64_t, mostDimensions> strides;
  };
  std::array<int64_t, sizeCount> sizes = {};
  std::array<Tensor, mostTensors> tensors;
  /// Address of the one piece of memory that all cache tensors are.
  uint64_t cache = 0;
  uint64_t workspace = 0;
  int64_t workspaceBytes = 0;

  int64_t operator[](Size size) const { return sizes[static_cast<size_t>(size)]; }

  /// Reads the block `args` of `phase` and checks it: sizes within i32, data given and aligned, strides that kernels
  /// can address. What data points to is not looked at. Throws Failure naming argument, found and expected.
  void read(const PhaseArguments &phase, const GpuCache &cache, const void *args);
  /// Throws Failure where there is no workspace of `bytes`.
  void checkWorkspace(int64_t bytes) const;
};

/// Throws Failure where an ArgumentBlock cannot hold a block of `phase`.
void checkHolds(const PhaseArguments &phase);

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_ARGUMENTBLOCK_H
