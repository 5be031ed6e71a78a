// SPDX-License-Identifier: Apache-2.0
//
// Append, import, export and merge of callers' states on the device, against the oracle.

#ifndef TPAC_TESTS_GPU_ELEMENTS_H
#define TPAC_TESTS_GPU_ELEMENTS_H

#include "tests/gpu/Kernels.h"

namespace tpac::gputest {

/// A call of append behind cached tokens; the other kernels run on what it leaves.
struct ElementCase {
  std::string name, kernels;
  /// Cached tokens of each request before the call, and its new ones.
  std::vector<int64_t> lengths, added;
  uint64_t seed = 0;
  bool isStrided = false;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ElementCase, name, kernels, lengths, added, seed, isStrided)

/// The kernels of one configuration.
class ElementKernels {
public:
  ElementKernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description);

  /// Throws a std::runtime_error that names what is wrong.
  void check(const ElementCase &item) const;

private:
  void checkMerge(const ElementCase &item) const;
  void launch(const std::string &kernel, int64_t blocks, const std::map<std::string, DeviceTensor> &tensors,
              DevicePointer cache, const std::vector<int64_t> &sizes) const;
  static void checkAppended(const oracle::Variant &variant, const CacheMap &map, const ElementCase &item,
                            int64_t capacity, const oracle::Tensors &exact, const std::vector<uint8_t> &bytes);

  Driver &driver;
  nlohmann::json json;
  oracle::Variant variant;
  /// Without pages drawn.
  CacheMap layout;
  std::map<std::string, Function> functions;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_ELEMENTS_H
