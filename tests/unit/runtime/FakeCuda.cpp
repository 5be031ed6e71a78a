// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/runtime/FakeCuda.h"

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
  if (fake.launched)
    fake.launched(static_cast<const std::string *>(function)->c_str(), *configuration, parameters);
  return 0;
}
}
