// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/CpuKernels.h"

#include "runtime/Failure.h"

#include <cstring>
#include <dlfcn.h>

namespace tpac::runtime {

namespace {

/// The bytes that any argument block begins with: its own size.
int64_t sizeOfBlock(const void *args) {
  int64_t size;
  std::memcpy(&size, args, sizeof(size));
  return size;
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

CpuKernels::CpuKernels(const Pack &pack) {
  const PackManifest &manifest = pack.manifest;
  const std::string file = manifest.sharedLibrary();
  if (file.empty())
    refuse("the pack has no kernels for CPUs; its targets are: " + joined(manifest.targets));
  library = std::shared_ptr<void>(pack.files.load(file), [](void *handle) { dlclose(handle); });
  level = function<const char *(*)()>(manifest.cpuLevelFunction)();
  if (std::strcmp(level, "none") == 0)
    refuse("this CPU runs none of the pack's targets: " + joined(manifest.targets));
  statusMessage = function<const char *(*)(int32_t)>(manifest.name + "_status_message");
  for (size_t index = 0; index < phases.size(); ++index) {
    const PackManifest::Phase *phase = manifest.find(phaseNames[index]);
    if (!phase)
      continue;
    phases[index].run = function<int32_t (*)(const void *)>(phase->function);
    if (!phase->workspaceSizeFunction.empty())
      phases[index].workspaceSize = function<int64_t (*)(int64_t, int64_t, int64_t)>(phase->workspaceSizeFunction);
    phases[index].argumentBytes = phase->argumentBytes;
  }
}

const CpuKernels::Phase &CpuKernels::at(int32_t phase) const {
  const Phase &found = phases[static_cast<size_t>(phase)];
  if (!found.run)
    refuse(std::string("the pack has no phase ") + phaseNames[static_cast<size_t>(phase)]);
  return found;
}

void CpuKernels::run(int32_t phase, const void *args) const {
  const Phase &called = at(phase);
  // Also what keeps the block of another phase from being taken for this one's.
  if (const int64_t size = sizeOfBlock(args); size < called.argumentBytes)
    refuse("args.struct_size is " + std::to_string(size) + "; expected the size of the block of phase " +
           phaseNames[static_cast<size_t>(phase)] + ", at least " + std::to_string(called.argumentBytes));
  if (const int32_t status = called.run(args))
    refuse(statusMessage(status));
}

int64_t CpuKernels::workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  const Phase &asked = at(phase);
  return asked.workspaceSize ? asked.workspaceSize(tokens, batch, capacity) : 0;
}

} // namespace tpac::runtime
