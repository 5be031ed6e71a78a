// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/runtime/FakeCuda.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

using namespace tpac::runtime::cuda;

namespace {

tpac::test::FakeCuda fake = [] {
  tpac::test::FakeCuda initial;
  initial.failingCall = std::getenv("FAKE_CUDA_FAILURE");
  return initial;
}();

constexpr int failure = 999, invalidValue = 1, invalidContext = 201;

/// Primary contexts of the devices.
char contexts[8];
thread_local std::vector<Context> stack;
std::set<std::string> functions;

/// Launches and copies since capturing began. A graph is their number, and what was replayed last is how long it took.
int64_t captured = 0, replayed = 0;
constexpr float millisecondsOfLaunch = 0.01f;

bool fails(const char *call) { return fake.failingCall && std::strcmp(fake.failingCall, call) == 0; }

} // namespace

extern "C" {

tpac::test::FakeCuda *fake_cuda() { return &fake; }

void fake_cuda_set_current(int device) {
  stack.clear();
  if (device >= 0)
    stack.push_back(&contexts[device]);
}

Result cuInit(unsigned) { return fails("cuInit") ? failure : 0; }

Result cuGetErrorString(Result result, const char **text) {
  *text = result == failure ? "as the test wants it" : "invalid";
  return 0;
}

Result cuDeviceGetCount(int *count) {
  *count = fake.devices;
  return fails("cuDeviceGetCount") ? failure : 0;
}

Result cuDeviceGet(Device *device, int ordinal) {
  *device = ordinal;
  return fails("cuDeviceGet") ? failure : 0;
}

Result cuDeviceGetName(char *name, int size, Device device) {
  std::snprintf(name, static_cast<size_t>(size), "Fake GPU %d", device);
  return fails("cuDeviceGetName") ? failure : 0;
}

Result cuDeviceGetAttribute(int *value, int attribute, Device) {
  switch (attribute) {
  case multiprocessorCount:
    *value = fake.multiprocessors;
    break;
  case capabilityMajor:
    *value = fake.capability / 10;
    break;
  case capabilityMinor:
    *value = fake.capability % 10;
    break;
  case maxSharedBytesOptin:
    *value = fake.sharedBytes;
    break;
  // Clocks of processors and memory, width of memory, bytes of L2: what tuning records tell devices apart by.
  case 13:
  case 36:
    *value = 2000000;
    break;
  case 37:
    *value = 5120;
    break;
  case 38:
    *value = 50 << 20;
    break;
  default:
    return invalidValue;
  }
  return fails("cuDeviceGetAttribute") ? failure : 0;
}

Result cuDevicePrimaryCtxRetain(Context *context, Device device) {
  if (fails("cuDevicePrimaryCtxRetain"))
    return failure;
  *context = &contexts[device];
  ++fake.retained;
  return 0;
}

Result cuDevicePrimaryCtxRelease_v2(Device) {
  --fake.retained;
  return 0;
}

Result cuCtxGetCurrent(Context *context) {
  *context = stack.empty() ? nullptr : stack.back();
  return fails("cuCtxGetCurrent") ? failure : 0;
}

Result cuCtxGetDevice(Device *device) {
  if (fails("cuCtxGetDevice"))
    return failure;
  if (stack.empty())
    return invalidContext;
  *device = static_cast<Device>(static_cast<char *>(stack.back()) - contexts);
  return 0;
}

Result cuCtxPushCurrent_v2(Context context) {
  if (fails("cuCtxPushCurrent"))
    return failure;
  stack.push_back(context);
  ++fake.pushed;
  return 0;
}

Result cuCtxPopCurrent_v2(Context *context) {
  *context = stack.back();
  stack.pop_back();
  --fake.pushed;
  return 0;
}

Result cuModuleLoadDataEx(Module *module, const void *image, unsigned count, int *options, void **values) {
  if (stack.empty())
    return invalidContext;
  if (fails("cuModuleLoadDataEx")) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == jitErrorLog)
        std::strcpy(static_cast<char *>(values[i]), "line 1: no such thing");
    return failure;
  }
  *module = &fake;
  std::snprintf(fake.image, sizeof(fake.image), "%s", static_cast<const char *>(image));
  ++fake.modules;
  return 0;
}

Result cuModuleUnload(Module) {
  if (stack.empty())
    return invalidContext;
  --fake.modules;
  return 0;
}

Result cuModuleGetFunction(Function *function, Module, const char *name) {
  if (fails("cuModuleGetFunction"))
    return failure;
  // Nodes of a set stay where they are.
  *function = const_cast<std::string *>(&*functions.insert(name).first);
  return 0;
}

Result cuFuncSetAttribute(Function, int attribute, int value) {
  if (fails("cuFuncSetAttribute"))
    return failure;
  return attribute == maxDynamicSharedBytes && value <= fake.sharedBytes ? 0 : invalidValue;
}

Result cuLaunchKernelEx(const LaunchConfiguration *configuration, Function function, void **parameters, void **) {
  if (stack.empty())
    return invalidContext;
  if (fails("cuLaunchKernelEx"))
    return failure;
  ++captured;
  if (fake.launched)
    fake.launched(static_cast<const std::string *>(function)->c_str(), *configuration, parameters);
  return 0;
}

// What benchmarks and the tuner take besides (bench/gpu/Driver.h): memory of the host in the place of the device's, and
// graphs, in which each launch and copy takes 10 us. Nothing is computed.

Result cuCtxSetCurrent(Context context) {
  stack = {context};
  return 0;
}

Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = *total = size_t(1) << 30;
  return 0;
}

Result cuMemAlloc_v2(uint64_t *pointer, size_t bytes) {
  *pointer = reinterpret_cast<uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  return fails("cuMemAlloc") || *pointer == 0 ? failure : 0;
}

Result cuMemFree_v2(uint64_t pointer) {
  std::free(reinterpret_cast<void *>(pointer));
  return 0;
}

Result cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return 0;
}

Result cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return 0;
}

Result cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream) {
  ++captured;
  std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
  return 0;
}

Result cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, Stream) {
  std::memset(reinterpret_cast<void *>(to), byte, bytes);
  return 0;
}

Result cuStreamCreate(Stream *stream, unsigned) {
  *stream = &fake;
  return 0;
}

Result cuStreamSynchronize(Stream stream) { return stream && fails("cuStreamSynchronize") ? failure : 0; }

Result cuModuleLoadData(Module *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

Result cuStreamBeginCapture_v2(Stream, int) {
  captured = 0;
  return 0;
}

Result cuStreamEndCapture(Stream, void **graph) {
  *graph = &captured;
  return 0;
}

Result cuGraphInstantiateWithFlags(void **executable, void *, unsigned long long) {
  *executable = new int64_t(captured);
  return 0;
}

Result cuGraphDestroy(void *) { return 0; }

Result cuGraphLaunch(void *executable, Stream) {
  replayed = *static_cast<int64_t *>(executable);
  return fails("cuGraphLaunch") ? failure : 0;
}

Result cuGraphExecDestroy(void *executable) {
  delete static_cast<int64_t *>(executable);
  return 0;
}

Result cuEventCreate(void **event, unsigned) {
  *event = &replayed;
  return 0;
}

Result cuEventRecord(void *, Stream) { return 0; }
Result cuEventSynchronize(void *) { return 0; }

Result cuEventElapsedTime(float *milliseconds, void *, void *) {
  *milliseconds = static_cast<float>(replayed) * millisecondsOfLaunch;
  return 0;
}

Result cuEventDestroy_v2(void *) { return 0; }
}
