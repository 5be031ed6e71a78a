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

/// How append, import, export and merge are launched.
class ElementLauncher {
public:
  struct Call {
    /// "append", "import", "export", "merge".
    std::string kernel;
    /// Thread blocks, where the launcher does not choose them.
    int64_t blocks;
    std::map<std::string, DeviceTensor> tensors;
    DevicePointer cache;
    /// `tokens`: rows of append and merge, tokens per request of the plain tensors of moves.
    int64_t tokens, batch, capacity;
  };
  virtual ~ElementLauncher() = default;
  virtual void launch(const Call &call) const = 0;
};

/// Checks the kernels of one configuration.
class ElementChecker {
public:
  /// `layout` of the cache, as GpuCases and manifests write it.
  ElementChecker(Driver &driver, const oracle::Variant &variant, const nlohmann::json &layout,
                 const ElementLauncher &launcher)
      : driver(driver), variant(variant), layout(layout), launcher(launcher) {}

  /// Throws a std::runtime_error that names what is wrong.
  void check(const ElementCase &item) const;

private:
  void checkMerge(const ElementCase &item) const;
  static void checkAppended(const oracle::Variant &variant, const CacheMap &map, const ElementCase &item,
                            int64_t capacity, const oracle::Tensors &exact, const std::vector<uint8_t> &bytes);

  Driver &driver;
  const oracle::Variant &variant;
  /// Without pages drawn.
  CacheMap layout;
  const ElementLauncher &launcher;
};

/// Kernels as GpuCases writes them, launched by the driver.
class ElementKernels : public ElementLauncher {
public:
  ElementKernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description);

  void check(const ElementCase &item) const { ElementChecker(driver, variant, json.at("cache"), *this).check(item); }
  /// Does not wait for the kernel: downloads do not either.
  void launch(const Call &call) const override;

  const oracle::Variant &itsVariant() const { return variant; }
  CacheMap cache() const { return CacheMap(json.at("cache")); }

private:
  Driver &driver;
  nlohmann::json json;
  oracle::Variant variant;
  std::map<std::string, Function> functions;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_ELEMENTS_H
