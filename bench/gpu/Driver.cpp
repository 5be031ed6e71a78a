// SPDX-License-Identifier: Apache-2.0

#include "bench/gpu/Driver.h"

#include <dlfcn.h>

#include <cstring>
#include <iostream>

namespace tpac::device {
namespace {

// Declarations of the driver's interface (CUDA driver API, stable since 12.0), as far as they are used here.
using Handle = void *;

struct Attribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    int overlaps;
  } value;
};

struct Configuration {
  unsigned grid[3], block[3], sharedBytes;
  Handle stream;
  Attribute *attributes;
  unsigned attributeCount;
};

constexpr int programmaticSerialization = 6;
constexpr int maxDynamicSharedBytes = 8;
constexpr int attributeProcessors = 16, attributeMajor = 75, attributeMinor = 76;

} // namespace

int runOnDevice(const char *program, const std::function<int()> &work) {
  try {
    return work();
  } catch (const NoDevice &error) {
    std::cout << "skipped: " << error.what() << "\n";
    return 0;
  } catch (const std::exception &error) {
    std::cerr << program << ": " << error.what() << "\n";
    return 1;
  }
}

template <typename F> F Driver::symbol(const char *symbolName) {
  auto found = reinterpret_cast<F>(dlsym(library, symbolName));
  if (!found)
    throw Failure(std::string("the CUDA driver has no ") + symbolName);
  return found;
}

#define CALL(name, parameters, ...) check(symbol<int(*) parameters>(#name)(__VA_ARGS__), #name)

void Driver::check(int result, const char *call) {
  if (result == 0)
    return;
  const char *text = nullptr;
  symbol<int (*)(int, const char **)>("cuGetErrorString")(result, &text);
  throw Failure(std::string(call) + " failed: " + (text ? text : "unknown error") + " (" + std::to_string(result) +
                ")");
}

Driver::Driver() {
  library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library)
    throw NoDevice("no CUDA driver on this machine (libcuda.so.1)");
  int count = 0;
  if (symbol<int (*)(unsigned)>("cuInit")(0) != 0 || symbol<int (*)(int *)>("cuDeviceGetCount")(&count) != 0 || !count)
    throw NoDevice("the CUDA driver sees no device");
  CALL(cuDeviceGet, (int *, int), &deviceNumber, 0);
  char text[256] = {};
  CALL(cuDeviceGetName, (char *, int, int), text, sizeof(text), deviceNumber);
  name = text;
  processorCount = attribute(attributeProcessors);
  computeCapability = 10 * attribute(attributeMajor) + attribute(attributeMinor);
  Handle context = nullptr;
  CALL(cuDevicePrimaryCtxRetain, (Handle *, int), &context, deviceNumber);
  CALL(cuCtxSetCurrent, (Handle), context);
  CALL(cuStreamCreate, (Handle *, unsigned), &stream, 1);
}

int Driver::attribute(int id) {
  int value = 0;
  CALL(cuDeviceGetAttribute, (int *, int, int), &value, id, deviceNumber);
  return value;
}

int Driver::version() {
  int value = 0;
  CALL(cuDriverGetVersion, (int *), &value);
  return value;
}

size_t Driver::freeBytes() {
  size_t free = 0, total = 0;
  CALL(cuMemGetInfo_v2, (size_t *, size_t *), &free, &total);
  return free;
}

Function Driver::load(std::span<const char> image, const std::string &function, int64_t sharedBytes) {
  Handle module = nullptr;
  CALL(cuModuleLoadData, (Handle *, const void *), &module, image.data());
  Function result;
  CALL(cuModuleGetFunction, (Handle *, Handle, const char *), &result.handle, module, function.c_str());
  CALL(cuFuncSetAttribute, (Handle, int, int), result.handle, maxDynamicSharedBytes, static_cast<int>(sharedBytes));
  return result;
}

DevicePointer Driver::allocate(size_t bytes) {
  DevicePointer pointer = 0;
  CALL(cuMemAlloc_v2, (DevicePointer *, size_t), &pointer, bytes ? bytes : 1);
  return pointer;
}

void Driver::release(DevicePointer pointer) { CALL(cuMemFree_v2, (DevicePointer), pointer); }

void Driver::upload(DevicePointer to, const void *from, size_t bytes) {
  CALL(cuMemcpyHtoD_v2, (DevicePointer, const void *, size_t), to, from, bytes);
  // It returns when the bytes are staged, and our stream does not wait for the default one.
  CALL(cuStreamSynchronize, (Handle), nullptr);
}

void Driver::download(void *to, DevicePointer from, size_t bytes) {
  CALL(cuMemcpyDtoH_v2, (void *, DevicePointer, size_t), to, from, bytes);
}

void Driver::fill(DevicePointer to, uint8_t byte, size_t bytes) {
  CALL(cuMemsetD8Async, (DevicePointer, unsigned char, size_t, Handle), to, byte, bytes, stream);
}

void Driver::copy(DevicePointer to, DevicePointer from, size_t bytes) {
  CALL(cuMemcpyDtoDAsync_v2, (DevicePointer, DevicePointer, size_t, Handle), to, from, bytes, stream);
}

void Driver::launch(const Launch &launch) {
  std::vector<const void *> parameters;
  for (const uint64_t &parameter : launch.parameters)
    parameters.push_back(&parameter);
  Attribute attribute;
  std::memset(&attribute, 0, sizeof(attribute));
  attribute.id = programmaticSerialization;
  attribute.value.overlaps = 1;
  Configuration configuration = {
      {static_cast<unsigned>(launch.blocks), 1, 1}, {static_cast<unsigned>(launch.threads), 1, 1},
      static_cast<unsigned>(launch.sharedBytes),    stream,
      launch.overlaps ? &attribute : nullptr,       launch.overlaps ? 1u : 0u};
  CALL(cuLaunchKernelEx, (const Configuration *, Handle, const void **, void **), &configuration,
       launch.function.handle, parameters.data(), nullptr);
}

void Driver::synchronize() { CALL(cuStreamSynchronize, (Handle), stream); }

void Driver::beginCapture() {
  constexpr int threadLocal = 1;
  CALL(cuStreamBeginCapture_v2, (Handle, int), stream, threadLocal);
}

Function Driver::endCapture() {
  Handle graph = nullptr;
  Function executable;
  CALL(cuStreamEndCapture, (Handle, Handle *), stream, &graph);
  CALL(cuGraphInstantiateWithFlags, (Handle *, Handle, unsigned long long), &executable.handle, graph, 0);
  CALL(cuGraphDestroy, (Handle), graph);
  return executable;
}

void Driver::launchGraph(Function graph) { CALL(cuGraphLaunch, (Handle, Handle), graph.handle, stream); }

std::vector<double> Driver::replay(int replays) {
  Handle executable = endCapture().handle, start = nullptr, end = nullptr;
  CALL(cuEventCreate, (Handle *, unsigned), &start, 0);
  CALL(cuEventCreate, (Handle *, unsigned), &end, 0);
  std::vector<double> seconds;
  for (int i = -1; i < replays; ++i) {
    CALL(cuEventRecord, (Handle, Handle), start, stream);
    CALL(cuGraphLaunch, (Handle, Handle), executable, stream);
    CALL(cuEventRecord, (Handle, Handle), end, stream);
    CALL(cuEventSynchronize, (Handle), end);
    float milliseconds = 0;
    CALL(cuEventElapsedTime, (float *, Handle, Handle), &milliseconds, start, end);
    // The first replay uploads the graph.
    if (i >= 0)
      seconds.push_back(milliseconds * 1e-3);
  }
  CALL(cuEventDestroy_v2, (Handle), start);
  CALL(cuEventDestroy_v2, (Handle), end);
  CALL(cuGraphExecDestroy, (Handle), executable);
  return seconds;
}

} // namespace tpac::device
