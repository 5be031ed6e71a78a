// SPDX-License-Identifier: Apache-2.0
//
// A pack opened by the runtime, called with tensors by name.

#ifndef TPAC_TESTS_GPU_PACKONDEVICE_H
#define TPAC_TESTS_GPU_PACKONDEVICE_H

#include "tests/gpu/Elements.h"
#include "tpac/pack.h"

namespace tpac::gputest {

class PackOnDevice : public ElementLauncher {
public:
  /// `partTokens`: tpac_kernels_config.part_tokens.
  PackOnDevice(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description,
               int64_t partTokens = 0);
  ~PackOnDevice() override;

  /// The argument block of a phase. It points into `tensors`.
  using Block = std::vector<int64_t>;
  using Tensors = std::map<std::string, DeviceTensor>;
  struct Sizes {
    int64_t tokens, batch, capacity, pages, listed = 0;
  };
  Block block(const std::string &phase, const Tensors &tensors, DevicePointer cache, const Sizes &sizes,
              DevicePointer workspace = 0, size_t workspaceBytes = 0) const;
  /// Tensors of a phase that are the same from call to call: learned factors.
  std::vector<std::string> constantTensors(const std::string &phase) const;
  /// The same call by kernels that know `constants` of its tensors beforehand and do not find them in the block.
  void runBound(const std::string &phase, Block block, const Tensors &tensors,
                const std::vector<std::string> &constants) const;
  /// Throws a std::runtime_error with the library's message where the call is refused.
  void run(const std::string &phase, const Block &block) const;
  /// The same, as an engine does it: what is measured.
  int32_t runQuickly(int32_t phase, const Block &block) const {
    return tpac_kernels_launch(kernels, phase, block.data(), driver.cudaStream());
  }
  size_t workspaceBytes(const std::string &phase, const Sizes &sizes) const;
  const oracle::Variant &variant() const { return parsed; }
  const nlohmann::json &cacheLayout() const { return manifest.at("gpu").at("cache"); }
  const char *target() const { return tpac_kernels_target(kernels); }

  void launch(const Call &call) const override;

private:
  static void check(int32_t status);
  /// The phase as the manifest describes it.
  const nlohmann::json &description(const std::string &phase) const;
  static int32_t numberOf(const std::string &phase);

  Driver &driver;
  oracle::Variant parsed;
  nlohmann::json manifest;
  tpac_kernels *kernels = nullptr;
};

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_PACKONDEVICE_H
