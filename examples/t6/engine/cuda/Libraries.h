// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's driver and cuBLAS, loaded when a GPU is asked for: nothing of CUDA is needed to build or link.

#ifndef TPAC_EXAMPLES_T6_CUDA_LIBRARIES_H
#define TPAC_EXAMPLES_T6_CUDA_LIBRARIES_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace t6::cuda {

using Address = uint64_t;

// Calls of the driver: symbol, parameters.
#define T6_DRIVER_CALLS(CALL)                                                                                          \
  CALL(cuInit, (unsigned))                                                                                             \
  CALL(cuGetErrorString, (int, const char **))                                                                         \
  CALL(cuDeviceGet, (int *, int))                                                                                      \
  CALL(cuDeviceGetName, (char *, int, int))                                                                            \
  CALL(cuDevicePrimaryCtxRetain, (void **, int))                                                                       \
  CALL(cuDevicePrimaryCtxRelease_v2, (int))                                                                            \
  CALL(cuCtxSetCurrent, (void *))                                                                                      \
  CALL(cuStreamCreate, (void **, unsigned))                                                                            \
  CALL(cuStreamDestroy_v2, (void *))                                                                                   \
  CALL(cuStreamSynchronize, (void *))                                                                                  \
  CALL(cuStreamBeginCapture_v2, (void *, int))                                                                         \
  CALL(cuStreamEndCapture, (void *, void **))                                                                          \
  CALL(cuGraphInstantiateWithFlags, (void **, void *, unsigned long long))                                             \
  CALL(cuGraphDestroy, (void *))                                                                                       \
  CALL(cuGraphExecDestroy, (void *))                                                                                   \
  CALL(cuGraphLaunch, (void *, void *))                                                                                \
  CALL(cuMemAlloc_v2, (Address *, size_t))                                                                             \
  CALL(cuMemFree_v2, (Address))                                                                                        \
  CALL(cuMemcpyHtoDAsync_v2, (Address, const void *, size_t, void *))                                                  \
  CALL(cuMemcpyDtoHAsync_v2, (void *, Address, size_t, void *))                                                        \
  CALL(cuModuleLoadData, (void **, const void *))                                                                      \
  CALL(cuModuleUnload, (void *))                                                                                       \
  CALL(cuModuleGetFunction, (void **, void *, const char *))                                                           \
  CALL(cuLaunchKernel,                                                                                                 \
       (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))

// Calls of cuBLAS.
#define T6_CUBLAS_CALLS(CALL)                                                                                          \
  CALL(cublasCreate_v2, (void **))                                                                                     \
  CALL(cublasDestroy_v2, (void *))                                                                                     \
  CALL(cublasSetStream_v2, (void *, void *))                                                                           \
  CALL(cublasSetWorkspace_v2, (void *, void *, size_t))                                                                \
  CALL(cublasGemmEx, (void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int,   \
                      const void *, void *, int, int, int, int))

struct Libraries {
#define T6_FIELD(NAME, PARAMETERS) int(*NAME) PARAMETERS = nullptr;
  T6_DRIVER_CALLS(T6_FIELD)
#undef T6_FIELD
#define T6_FIELD(NAME, PARAMETERS) int(*NAME) PARAMETERS = nullptr;
  T6_CUBLAS_CALLS(T6_FIELD)
#undef T6_FIELD

  /// Throws std::runtime_error where the driver, or cuBLAS at `cublas` (empty: by its usual names), is missing.
  explicit Libraries(const std::string &cublas);

  /// Throw std::runtime_error, with the library's own text, where the result of `call` is not 0.
  void checkDriver(int result, const char *call) const;
  void checkCublas(int result, const char *call) const;
};

} // namespace t6::cuda

#endif // TPAC_EXAMPLES_T6_CUDA_LIBRARIES_H
