// SPDX-License-Identifier: Apache-2.0
//
// Kernels of decode as GpuCases writes them (a cubin or PTX, and its description) and how they are called.

#ifndef TPAC_TESTS_GPU_KERNELS_H
#define TPAC_TESTS_GPU_KERNELS_H

#include "bench/gpu/Driver.h"
#include "tests/gpu/CacheMap.h"
#include "tests/gpu/Case.h"

#include <filesystem>
#include <map>

namespace tpac::gputest {

using namespace device;

/// A tensor on the device; strides in elements.
struct DeviceTensor {
  DevicePointer pointer = 0;
  std::vector<int64_t> strides;
  size_t bytes = 0;
};

/// What a launch passes for `tensor`: its pointer, and its strides where it has several dimensions.
void addParameters(Launch &launch, const DeviceTensor &tensor);

class Kernels {
public:
  Kernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description);

  /// Tensors on the device by name, without the cached ones; the cache; a workspace of workspaceBytes.
  struct Call {
    std::map<std::string, DeviceTensor> tensors;
    DevicePointer cache = 0, workspace = 0;
    int64_t batch = 0, capacity = 0;
    /// Thread blocks that share the work.
    int64_t splits = 0;
    /// Where it is not 0, parts have so many blocks of cached tokens each: results of a request then depend on nothing
    /// but that number.
    int64_t blocksOfPart = 0;
    /// Warps that merge a row; 0: as the sizes suggest.
    int64_t warpsOfRow = 0;
    /// Query tokens of the call.
    int64_t tokens = 0;
  };
  void launch(const Call &call) const;

  const CacheMap &cache() const { return map; }
  size_t workspaceBytes(const Call &call) const;

  const oracle::Variant &variant() const { return parsed; }
  const nlohmann::json &description() const { return json; }
  /// Of a call of `tokens` query tokens, at most.
  int64_t items(int64_t tokens) const;

private:
  Driver &driver;
  nlohmann::json json;
  oracle::Variant parsed;
  Function parts, merge;
  CacheMap map;
};

/// The tensors of a call on the device, freed at the end.
class DeviceTensors {
public:
  explicit DeviceTensors(Driver &driver) : driver(driver) {}
  ~DeviceTensors();
  DeviceTensors(const DeviceTensors &) = delete;
  DevicePointer allocate(size_t bytes);
  /// Room for a tensor. `isStrided`: its inner dimensions in reverse order, and a gap behind each element of the first.
  DeviceTensor place(oracle::Type type, const std::vector<int64_t> &shape, bool isStrided);
  /// Places a tensor and fills it; gaps are NaN.
  DeviceTensor upload(oracle::Type type, const oracle::Tensor &tensor, bool isStrided);
  /// Where `map` has pages: sets block_table and page_starts of a call to its table or, `isList`, its list.
  void placePages(std::map<std::string, DeviceTensor> &tensors, const CacheMap &map, bool isList, bool isStrided);
  /// Throws where something was written between the elements of a tensor that was filled with 0xff before.
  oracle::Tensor download(oracle::Type type, const DeviceTensor &from, std::vector<int64_t> shape);

private:
  Driver &driver;
  std::vector<DevicePointer> owned;
};

std::vector<char> readFile(const std::filesystem::path &path);

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_KERNELS_H
