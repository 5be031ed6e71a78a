// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/CpuKernels.h"

#include "runtime/Dispatch.h"
#include "runtime/Failure.h"
#include "tpac/executor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

namespace tpac::runtime {

namespace {

/// Word `index` of an argument block; the first one is its size in bytes.
int64_t wordOf(const void *args, int64_t index) {
  int64_t word;
  std::memcpy(&word, static_cast<const char *>(args) + index * static_cast<int64_t>(sizeof(word)), sizeof(word));
  return word;
}

std::string joined(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

} // namespace

template <typename Function> Function CpuKernels::function(const std::string &name) const {
  void *address = dlsym(library.get(), name.c_str());
  if (!address)
    refuse("the pack's library has no function '" + name + "', which its manifest names");
  return reinterpret_cast<Function>(address);
}

CpuKernels::CpuKernels(const Pack &pack) : isReporting(reportsDispatch()) {
  const PackManifest &manifest = pack.manifest;
  packName = manifest.name;
  pageSize = manifest.pageSize;
  capacityUnit = std::max<int64_t>({1, manifest.pageSize, manifest.valueBlock});
  tokenBytes = manifest.cacheBytesPerToken;
  const std::string file = manifest.sharedLibrary();
  if (file.empty())
    refuse("the pack has no kernels for CPUs; it is for GPUs alone");
  library = std::shared_ptr<void>(pack.files.load(file), [](void *handle) { dlclose(handle); });
  level = function<const char *(*)()>(manifest.cpuLevelFunction)();
  if (std::strcmp(level, "none") == 0)
    refuse("this CPU runs none of the pack's targets: " + joined(manifest.targets));
  statusMessage = function<const char *(*)(int32_t)>(manifest.name + "_status_message");
  for (size_t index = 0; index < phases.size(); ++index) {
    const PackManifest::Phase *phase = manifest.find(phaseNames[index]);
    // Moves between plain tensors and the layout of a device.
    if (!phase || phase->function.empty())
      continue;
    phases[index].run = function<int32_t (*)(const void *)>(phase->function);
    if (!phase->workspaceSizeFunction.empty())
      phases[index].workspaceSize = function<int64_t (*)(int64_t, int64_t, int64_t)>(phase->workspaceSizeFunction);
    phases[index].arguments = phase->arguments;
  }
  if (isReporting) {
    const char *bound = std::getenv("TPAC_CPU_LEVEL");
    reportDispatch("%s on the CPU: %s, the best of %s that CPU and system allow%s%s", packName.c_str(), level,
                   joined(manifest.targets).c_str(), bound ? ", TPAC_CPU_LEVEL=" : "", bound ? bound : "");
  }
}

const CpuKernels::Phase &CpuKernels::at(int32_t phase) const {
  const Phase &found = phases[static_cast<size_t>(phase)];
  if (!found.run)
    refuse(std::string("the pack has no phase ") + phaseNames[static_cast<size_t>(phase)] + " for CPUs");
  return found;
}

void CpuKernels::launch(int32_t phase, const void *args, void *stream) const {
  const Phase &called = at(phase);
  if (stream != nullptr)
    refuse("stream is given; expected NULL on a CPU, which has no streams");
  // Also what keeps the block of another phase from being taken for this one's.
  const int64_t size = wordOf(args, 0), bytes = called.arguments.bytes;
  if (size < bytes)
    refuse("args.struct_size is " + std::to_string(size) + "; expected the size of the block of phase " +
           phaseNames[static_cast<size_t>(phase)] + ", at least " + std::to_string(bytes));
  if (isReporting)
    report(called.arguments, args);
  if (const int32_t status = called.run(args))
    refuse(statusMessage(status));
}

void CpuKernels::report(const PhaseArguments &arguments, const void *args) const {
  std::string text = packName + " " + arguments.name + " (" + level + "):";
  int64_t word = 1;
  for (const Size size : arguments.sizes)
    text += std::string(" ") + sizeName(size) + " " + std::to_string(wordOf(args, word++));
  // Words behind the tensors may be left out.
  constexpr int64_t wordSize = 8;
  const auto optional = [&](int64_t index) {
    return wordOf(args, 0) >= arguments.bytes + (index + 1) * wordSize
               ? wordOf(args, arguments.bytes / wordSize + index)
               : 0;
  };
  if (const auto *executor = reinterpret_cast<const tpac_executor *>(optional(0)))
    text += "; an executor of " + std::to_string(executor->concurrency) + " threads";
  else
    text += "; the calling thread";
  if (optional(1) != 0)
    text += ", caches in parts";
  reportDispatch("%s", text.c_str());
}

int64_t CpuKernels::workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  const Phase &asked = at(phase);
  return asked.workspaceSize ? asked.workspaceSize(tokens, batch, capacity) : 0;
}

void CpuKernels::cacheLayout(tpac_cache_layout &layout) const {
  layout.is_one_piece = 0;
  layout.page_size = pageSize;
  layout.capacity_unit = capacityUnit;
  layout.token_bytes = tokenBytes;
  layout.planes = layout.swizzle_mask = layout.swizzle_shift = 0;
}

} // namespace tpac::runtime
