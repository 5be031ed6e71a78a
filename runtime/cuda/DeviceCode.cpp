// SPDX-License-Identifier: Apache-2.0

#include "runtime/cuda/DeviceCode.h"

#include "runtime/Failure.h"

#include <algorithm>
#include <charconv>
#include <tuple>

namespace tpac::runtime::cuda {

namespace {

struct Architecture {
  int number = 0;
  /// "sm_90a": for this one alone.
  bool isExact;
};

Architecture architectureOf(const std::string &target) {
  Architecture result;
  std::from_chars(target.data() + 3, target.data() + target.size(), result.number);
  result.isExact = target.ends_with("a");
  return result;
}

/// Why `image` does not run on `device`; empty where it does.
std::string obstacle(const GpuImage &image, const DeviceTraits &device) {
  const auto [number, isExact] = architectureOf(image.target);
  if (isExact && number != device.capability)
    return "is for that architecture alone";
  if (image.isCubin && (number / 10 != device.capability / 10 || number > device.capability))
    return "is machine code of another generation";
  if (number > device.capability)
    return "is for newer GPUs";
  for (const GpuPhase &phase : image.phases)
    for (const GpuKernel &kernel : phase.kernels)
      if (kernel.sharedBytes > device.sharedBytes)
        return "takes " + std::to_string(kernel.sharedBytes) + " bytes of shared memory (" + kernel.entry + "), and " +
               std::to_string(device.sharedBytes) + " are there";
  return "";
}

} // namespace

DeviceCode chooseImage(const GpuPart &gpu, const DeviceTraits &device) {
  const GpuImage *best = nullptr;
  std::string others;
  auto rank = [](const GpuImage &image) {
    const Architecture own = architectureOf(image.target);
    return std::tuple(own.isExact, image.isCubin, own.number);
  };
  for (const GpuImage &image : gpu.images) {
    if (const std::string why = obstacle(image, device); !why.empty())
      others += "; " + image.file + " (" + image.target + ") " + why;
    else if (!best || rank(image) > rank(*best))
      best = &image;
  }
  const std::string capability = std::to_string(device.capability / 10) + "." + std::to_string(device.capability % 10);
  if (!best)
    refuse(device.name + ", compute capability " + capability + ", runs none of the pack's images" + others);
  const bool isExact = architectureOf(best->target).isExact;
  return {best, std::string(isExact         ? "made for this very architecture"
                            : best->isCubin ? "machine code of its generation"
                                            : "PTX, which the driver compiles: no machine code of the pack runs here") +
                    others};
}

} // namespace tpac::runtime::cuda
