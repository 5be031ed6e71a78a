// SPDX-License-Identifier: Apache-2.0
//
// Calls of attention on a GPU: tensors in device memory, caches as kernels for GPUs read them.

#ifndef TPAC_AUTOTUNE_MEASURE_DEVICECALL_H
#define TPAC_AUTOTUNE_MEASURE_DEVICECALL_H

#include "autotune/measure/ReferenceCalls.h"
#include "bench/gpu/PackCall.h"
#include "lowering/gpu/CacheLayout.h"

#include <memory>
#include <vector>

namespace tpac::autotune {

using device::DeviceBuffer;
using device::PackCall;
using device::PackKernels;

/// The cache of a variant on GPUs: where elements lie.
class DeviceCache {
public:
  /// `pageSize`: tokens per page; 0: no pages.
  DeviceCache(GpuCacheLayout layout, int64_t pageSize) : layout(std::move(layout)), pageSize(pageSize) {}

  /// The least capacity for `tokens` cached tokens per request.
  int64_t capacityFor(int64_t tokens) const;
  size_t bytes(int64_t requests, int64_t capacity) const;
  /// The caches of `call` for the device; what no token has is NaN.
  std::vector<std::byte> encode(const ReferenceCall &call) const;

private:
  GpuCacheLayout layout;
  int64_t pageSize;
};

/// One of the reference calls on the device.
class DeviceProbe {
public:
  DeviceProbe(device::Driver &driver, const ReferenceCall &reference, const PhaseSignature &signature,
              const DeviceCache &layout);

  /// Why kernels must not win, "" where nothing speaks against them. `fault`: what a test wants to go wrong (Faults.h).
  std::string problemWith(const PackKernels &kernels, const std::string &fault);

private:
  std::string call(const PackKernels &kernels, const std::string &fault);
  void disturb(const std::string &fault);
  std::string difference() const;
  bool changedOthers() const;

  device::Driver &driver;
  const ReferenceCall &reference;
  /// Of tensors, which lie in one piece of memory with poison between them; of caches that of the only one.
  std::vector<size_t> offsets;
  size_t cacheOffset = 0;
  std::vector<std::byte> start, after;
  std::unique_ptr<DeviceBuffer> memory;
  std::unique_ptr<PackCall> block;
  unsigned calls = 0;
};

/// A call of the size that is timed, over many caches in turn.
class DeviceWorkload {
public:
  DeviceWorkload(device::Driver &driver, const bench::Row &row, const PhaseSignature &signature,
                 const DeviceCache &layout, int64_t pageSize, int64_t poolBytes);

  /// Seconds of one call: those of one replay of a graph of many calls, by their number.
  double run(const PackKernels &kernels);

private:
  device::Driver &driver;
  std::unique_ptr<DeviceBuffer> tensors, pool, workspace;
  std::unique_ptr<PackCall> block;
  size_t setBytes, sets, workspaceSize = 0, next = 0;
  /// Of one replay; 0: not known yet.
  size_t launches = 0;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_DEVICECALL_H
