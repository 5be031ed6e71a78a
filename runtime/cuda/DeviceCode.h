// SPDX-License-Identifier: Apache-2.0
//
// Which image of a pack a GPU runs.

#ifndef TPAC_RUNTIME_CUDA_DEVICECODE_H
#define TPAC_RUNTIME_CUDA_DEVICECODE_H

#include "runtime/packs/PackManifest.h"

namespace tpac::runtime::cuda {

struct DeviceTraits {
  std::string name;
  /// 90 for compute capability 9.0.
  int capability = 0;
  int multiprocessors = 0;
  /// Most shared memory of a thread block.
  int64_t sharedBytes = 0;
};

struct DeviceCode {
  const GpuImage *image;
  /// Why it is the one, for TPA_VERBOSE=dispatch.
  std::string reason;
};

/// The image of `gpu` that fits a device best: made for its very architecture (sm_90a), else machine code for an older
/// one of its generation (sm_80 on 8.6), else PTX, which the driver compiles. Throws Failure, which names the device,
/// the images and why each is none, where it runs none of them.
DeviceCode chooseImage(const GpuPart &gpu, const DeviceTraits &device);

} // namespace tpac::runtime::cuda

#endif // TPAC_RUNTIME_CUDA_DEVICECODE_H
