// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's driver, loaded with dlopen when it is first asked for: nothing of CUDA is needed to build or link.

#ifndef TPAC_RUNTIME_CUDA_DRIVER_H
#define TPAC_RUNTIME_CUDA_DRIVER_H

#include <cstddef>
#include <cstdint>

namespace tpac::runtime::cuda {

// Types of the driver's interface (stable since CUDA 11.8), as far as they are used here.
using Result = int;
using Device = int;
using Context = void *;
using Module = void *;
using Function = void *;
using Stream = void *;

struct LaunchAttribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    int number;
  } value;
};

struct LaunchConfiguration {
  unsigned grid[3], block[3], sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};

inline constexpr int programmaticStreamSerialization = 6;
inline constexpr int maxDynamicSharedBytes = 8;
inline constexpr int multiprocessorCount = 16, capabilityMajor = 75, capabilityMinor = 76, maxSharedBytesOptin = 97;
inline constexpr int jitErrorLog = 5, jitErrorLogBytes = 6;

// Calls of the driver: name without "cu", symbol, parameters.
#define TPAC_CUDA_CALLS(CALL)                                                                                          \
  CALL(Init, "cuInit", (unsigned))                                                                                     \
  CALL(GetErrorString, "cuGetErrorString", (Result, const char **))                                                    \
  CALL(DeviceGetCount, "cuDeviceGetCount", (int *))                                                                    \
  CALL(DeviceGet, "cuDeviceGet", (Device *, int))                                                                      \
  CALL(DeviceGetName, "cuDeviceGetName", (char *, int, Device))                                                        \
  CALL(DeviceGetAttribute, "cuDeviceGetAttribute", (int *, int, Device))                                               \
  CALL(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (Context *, Device))                                        \
  CALL(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (Device))                                              \
  CALL(CtxGetCurrent, "cuCtxGetCurrent", (Context *))                                                                  \
  CALL(CtxGetDevice, "cuCtxGetDevice", (Device *))                                                                     \
  CALL(CtxPushCurrent, "cuCtxPushCurrent_v2", (Context))                                                               \
  CALL(CtxPopCurrent, "cuCtxPopCurrent_v2", (Context *))                                                               \
  CALL(ModuleLoadDataEx, "cuModuleLoadDataEx", (Module *, const void *, unsigned, int *, void **))                     \
  CALL(ModuleUnload, "cuModuleUnload", (Module))                                                                       \
  CALL(ModuleGetFunction, "cuModuleGetFunction", (Function *, Module, const char *))                                   \
  CALL(FuncSetAttribute, "cuFuncSetAttribute", (Function, int, int))                                                   \
  CALL(LaunchKernelEx, "cuLaunchKernelEx", (const LaunchConfiguration *, Function, void **, void **))

struct Driver {
#define TPAC_CUDA_FIELD(NAME, SYMBOL, PARAMETERS) Result(*NAME) PARAMETERS = nullptr;
  TPAC_CUDA_CALLS(TPAC_CUDA_FIELD)
#undef TPAC_CUDA_FIELD

  /// The driver, loaded by the first call. Throws Failure (TPAC_DEVICE_ERROR) where there is none, or it lacks a call;
  /// later calls try again then.
  static const Driver &get();

  /// Throws Failure, with the driver's own text, where `result` of `call` is not success.
  void check(Result result, const char *call) const;
};

/// Makes a context the calling thread's current one for the life of the object, where it is not.
class CurrentContext {
public:
  CurrentContext(const Driver &driver, Context context);
  ~CurrentContext();
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

private:
  const Driver &driver;
  bool isPushed = false;
};

} // namespace tpac::runtime::cuda

#endif // TPAC_RUNTIME_CUDA_DRIVER_H
