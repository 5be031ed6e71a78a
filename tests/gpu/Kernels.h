// SPDX-License-Identifier: Apache-2.0
//
// Kernels of decode as GpuCases writes them (a cubin and its description) and how they are called.

#ifndef TPAC_TESTS_GPU_KERNELS_H
#define TPAC_TESTS_GPU_KERNELS_H

#include "tests/gpu/Case.h"
#include "tests/gpu/Driver.h"

#include <filesystem>
#include <map>

namespace tpac::gputest {

class Kernels {
public:
  Kernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description);

  /// Tensors on the device by name, without the cached ones; the cache; a workspace of workspaceBytes.
  struct Call {
    std::map<std::string, DevicePointer> tensors;
    DevicePointer cache = 0, workspace = 0;
    int64_t batch = 0, capacity = 0;
    /// Thread blocks that share the work.
    int64_t splits = 0;
    /// Query tokens of the call.
    int64_t tokens = 0;
  };
  void launch(const Call &call) const;

  int64_t rowBytes() const { return layoutRowBytes; }
  /// Bytes that `batch` requests of `capacity` tokens take.
  size_t cacheBytes(int64_t batch, int64_t capacity) const;
  size_t workspaceBytes(int64_t splits, int64_t tokens) const;
  /// The cache of `inputs` in the kernels' layout; what no token owns is NaN.
  std::vector<uint8_t> layOut(const oracle::Variant &variant, const Case &item, const oracle::Tensors &inputs) const;

  const oracle::Variant &variant() const { return parsed; }
  const nlohmann::json &description() const { return json; }

private:
  int64_t items(int64_t tokens) const;

  Driver &driver;
  nlohmann::json json;
  oracle::Variant parsed;
  Function parts, merge;
  int64_t layoutRowBytes, planes;
};

/// The tensors of a call on the device, freed at the end.
class DeviceTensors {
public:
  explicit DeviceTensors(Driver &driver) : driver(driver) {}
  ~DeviceTensors();
  DeviceTensors(const DeviceTensors &) = delete;
  DevicePointer allocate(size_t bytes);
  DevicePointer upload(oracle::Type type, const oracle::Tensor &tensor);
  oracle::Tensor download(oracle::Type type, DevicePointer from, std::vector<int64_t> shape);

private:
  Driver &driver;
  std::vector<DevicePointer> owned;
};

std::vector<char> readFile(const std::filesystem::path &path);

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_KERNELS_H
