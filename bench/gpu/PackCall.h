// SPDX-License-Identifier: Apache-2.0
//
// Calls of a pack's phases on a GPU, launched by the runtime as engines launch them.

#ifndef TPAC_BENCH_GPU_PACKCALL_H
#define TPAC_BENCH_GPU_PACKCALL_H

#include "bench/gpu/Driver.h"
#include "bench/phases/Rows.h"
#include "tpac/pack.h"

#include <functional>
#include <memory>
#include <vector>

namespace tpac::device {

/// Of tensors in device memory.
inline constexpr size_t tensorAlignment = 256;
constexpr size_t alignedBytes(size_t bytes) {
  return (bytes + tensorAlignment - 1) / tensorAlignment * tensorAlignment;
}

/// Memory of a device for the life of the object.
class DeviceBuffer {
public:
  DeviceBuffer(Driver &driver, size_t bytes) : driver(driver), pointer(driver.allocate(bytes)) {}
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer &) = delete;
  DevicePointer get() const { return pointer; }

private:
  Driver &driver;
  DevicePointer pointer;
};

/// Kernels that the runtime has loaded.
using PackKernels = std::unique_ptr<tpac_kernels, decltype(&tpac_kernels_destroy)>;

/// Throws std::runtime_error with the runtime's message where `status` is a failure.
void require(int32_t status);

/// The kernels of `pack` for the first device, of which the pack may be closed then. Throws std::runtime_error where it
/// has none.
PackKernels loadKernels(const tpac_pack *pack);

/// A call's sizes and argument block (docs/packs.md): contiguous tensors, pages by a table.
class PackCall {
public:
  /// `capacity`: a legal one, of `row.cached` tokens or more. `addressOf`: of each tensor that is no cache.
  PackCall(const bench::Row &row, const PhaseSignature &signature, int64_t capacity,
           const std::function<DevicePointer(size_t tensor)> &addressOf);

  size_t workspaceBytes(const PackKernels &kernels) const;
  /// Launches the call. Returns why it is refused, "" where it is not; throws Failure where the device fails.
  std::string launch(const PackKernels &kernels, DevicePointer cache, DevicePointer workspace, size_t workspaceSize,
                     void *stream);

private:
  int32_t phase;
  int64_t tokens, requests, capacity;
  std::vector<int64_t> words;
  /// Words that hold the cache's address.
  std::vector<size_t> cacheWords;
};

} // namespace tpac::device

#endif // TPAC_BENCH_GPU_PACKCALL_H
