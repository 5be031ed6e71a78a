// SPDX-License-Identifier: Apache-2.0
//
// A pack's kernels for the CPU: functions of its shared library, which picks the level itself.

#ifndef TPAC_RUNTIME_PACKS_CPUKERNELS_H
#define TPAC_RUNTIME_PACKS_CPUKERNELS_H

#include "runtime/packs/Kernels.h"

#include <array>
#include <memory>

namespace tpac::runtime {

class CpuKernels : public Kernels {
public:
  explicit CpuKernels(const Pack &pack);

  const char *target() const override { return level; }
  const PhaseArguments *arguments(int32_t phase) const override {
    const Phase &asked = phases[static_cast<size_t>(phase)];
    return asked.run ? &asked.arguments : nullptr;
  }
  void launch(int32_t phase, const void *args, void *stream) const override;
  int64_t workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const override;
  void cacheLayout(tpac_cache_layout &layout) const override;

private:
  struct Phase {
    int32_t (*run)(const void *args) = nullptr;
    /// Null where the phase never splits.
    int64_t (*workspaceSize)(int64_t tokens, int64_t batch, int64_t capacity) = nullptr;
    PhaseArguments arguments;
  };
  const Phase &at(int32_t phase) const;
  void report(const PhaseArguments &arguments, const void *args) const;
  template <typename Function> Function function(const std::string &name) const;

  std::shared_ptr<void> library;
  const char *level;
  const char *(*statusMessage)(int32_t status);
  std::array<Phase, phaseNames.size()> phases;
  std::string packName;
  int64_t pageSize, capacityUnit, tokenBytes;
  bool isReporting;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_CPUKERNELS_H
