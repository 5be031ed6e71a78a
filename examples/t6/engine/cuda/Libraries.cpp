// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/cuda/Libraries.h"

#include <dlfcn.h>
#include <stdexcept>
#include <vector>

namespace t6::cuda {

namespace {

/// The first of `names` that can be loaded. Libraries stay loaded.
void *open(const std::vector<std::string> &names, const char *purpose) {
  std::string causes;
  for (const std::string &name : names) {
    if (void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL))
      return library;
    causes += std::string(causes.empty() ? "" : "; ") + dlerror();
  }
  throw std::runtime_error(std::string(purpose) + ": " + causes);
}

template <typename F> void find(void *library, const char *name, F &function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  if (!function)
    throw std::runtime_error(std::string("the library lacks the call ") + name);
}

} // namespace

Libraries::Libraries(const std::string &cublas) {
  void *driver = open({"libcuda.so.1"}, "NVIDIA's driver");
#define T6_FIND(NAME, PARAMETERS) find(driver, #NAME, NAME);
  T6_DRIVER_CALLS(T6_FIND)
#undef T6_FIND
  const std::vector<std::string> usual = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
  void *products = open(cublas.empty() ? usual : std::vector{cublas}, "cuBLAS (--cublas FILE says where it is)");
#define T6_FIND(NAME, PARAMETERS) find(products, #NAME, NAME);
  T6_CUBLAS_CALLS(T6_FIND)
#undef T6_FIND
}

void Libraries::checkDriver(int result, const char *call) const {
  if (result == 0)
    return;
  const char *text = nullptr;
  cuGetErrorString(result, &text);
  throw std::runtime_error(std::string(call) + ": " + (text ? text : "error " + std::to_string(result)));
}

void Libraries::checkCublas(int result, const char *call) const {
  if (result != 0)
    throw std::runtime_error(std::string(call) + ": status " + std::to_string(result) + " of cuBLAS");
}

} // namespace t6::cuda
