// SPDX-License-Identifier: Apache-2.0
//
// A pack's kernels for a GPU: an image loaded into a context, and its launches.

#ifndef TPAC_RUNTIME_CUDA_CUDAKERNELS_H
#define TPAC_RUNTIME_CUDA_CUDAKERNELS_H

#include "runtime/cuda/DeviceCode.h"
#include "runtime/cuda/Driver.h"
#include "runtime/packs/ArgumentBlock.h"
#include "runtime/packs/Kernels.h"

#include <array>

namespace tpac::runtime::cuda {

class CudaKernels : public Kernels {
public:
  /// In the calling thread's current context, which must be of device `device`, or where there is none in the device's
  /// primary one. `partTokens`: tpac_kernels_config.part_tokens.
  CudaKernels(const Pack &pack, int32_t device, int64_t partTokens);
  ~CudaKernels() override;

  const char *target() const override { return targetName.c_str(); }
  const PhaseArguments *arguments(int32_t phase) const override {
    const Phase &asked = phases[static_cast<size_t>(phase)];
    return asked.ways.empty() ? nullptr : &asked.arguments;
  }
  void launch(int32_t phase, const void *args, void *stream) const override;
  int64_t workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const override;
  void cacheLayout(tpac_cache_layout &layout) const override;

private:
  struct Kernel {
    GpuKernel plan;
    Function function;
  };
  /// One way to compute a phase.
  struct Way {
    GpuPhase plan;
    std::vector<Kernel> kernels;
  };
  struct Phase {
    PhaseArguments arguments;
    /// By ascending query tokens.
    std::vector<Way> ways;
  };
  /// What the launches of a call have in common.
  struct Work {
    /// `parts`: thread blocks that share the work. `blocksOfPart`: where parts are of a fixed size, else 0.
    int64_t items = 0, parts = 0, blocksOfPart = 0, warpsOfRow = 0, records = 0;
  };

  void enterContext(int32_t device);
  void readTraits();
  void load(const Pack &pack);
  void unload() noexcept;
  Kernel loadKernel(const GpuKernel &plan) const;
  const Phase &at(int32_t phase) const;
  const Way &wayFor(const Phase &phase, int64_t tokens, int64_t batch) const;
  int64_t itemsOf(const GpuPhase &plan, int64_t tokens, int64_t batch) const;
  int64_t blocksOfPart(const GpuPhase &plan) const;
  int64_t recordsOf(const GpuPhase &plan, int64_t items, int64_t parts, int64_t capacity) const;
  int64_t workspaceBytes(const Phase &phase, int64_t tokens, int64_t batch, int64_t capacity) const;
  Work divide(const GpuPhase &plan, const ArgumentBlock &block) const;
  int64_t blocksOf(const GpuKernel &kernel, const GpuPhase &plan, const ArgumentBlock &block, const Work &work) const;
  void launch(const Kernel &kernel, const Phase &phase, const ArgumentBlock &block, const Work &work, int64_t blocks,
              Stream stream) const;
  void report(const Phase &phase, const Way &way, const ArgumentBlock &block, const Work &work) const;

  const Driver &driver;
  Device device = 0;
  Context context = nullptr;
  bool retainsContext = false;
  DeviceTraits traits;
  Module module = nullptr;
  std::string packName, targetName;
  GpuCache cache;
  std::array<Phase, phaseNames.size()> phases;
  bool isReporting;
  int64_t partTokens;
};

} // namespace tpac::runtime::cuda

#endif // TPAC_RUNTIME_CUDA_CUDAKERNELS_H
