// SPDX-License-Identifier: Apache-2.0

#include "runtime/cuda/Driver.h"

#include "runtime/Failure.h"

#include <dlfcn.h>

namespace tpac::runtime::cuda {

namespace {

constexpr const char *libraryName = "libcuda.so.1";

/// Stays loaded: contexts and modules of other users of the driver outlive any of ours.
Driver load() {
  void *library = dlopen(libraryName, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw Failure(TPAC_DEVICE_ERROR, std::string("NVIDIA's driver cannot be loaded: ") + dlerror() + "; expected " +
                                         libraryName + ", which comes with the driver");
  Driver driver;
#define TPAC_CUDA_LOAD(NAME, SYMBOL, PARAMETERS)                                                                       \
  driver.NAME = reinterpret_cast<Result(*) PARAMETERS>(dlsym(library, SYMBOL));                                        \
  if (!driver.NAME)                                                                                                    \
    throw Failure(TPAC_DEVICE_ERROR, std::string(libraryName) + " has no " SYMBOL "; expected a driver of CUDA 12 or " \
                                                                "later");
  TPAC_CUDA_CALLS(TPAC_CUDA_LOAD)
#undef TPAC_CUDA_LOAD
  driver.check(driver.Init(0), "cuInit");
  return driver;
}

} // namespace

const Driver &Driver::get() {
  static const Driver driver = load();
  return driver;
}

void Driver::check(Result result, const char *call) const {
  if (result == 0)
    return;
  const char *text = nullptr;
  if (GetErrorString(result, &text) != 0 || !text)
    text = "unknown error";
  throw Failure(TPAC_DEVICE_ERROR, std::string(call) + " failed: " + text + " (" + std::to_string(result) + ")");
}

CurrentContext::CurrentContext(const Driver &driver, Context context) : driver(driver) {
  Context current = nullptr;
  driver.check(driver.CtxGetCurrent(&current), "cuCtxGetCurrent");
  if (current == context)
    return;
  driver.check(driver.CtxPushCurrent(context), "cuCtxPushCurrent");
  isPushed = true;
}

CurrentContext::~CurrentContext() {
  Context ignored;
  if (isPushed)
    (void)driver.CtxPopCurrent(&ignored);
}

} // namespace tpac::runtime::cuda
