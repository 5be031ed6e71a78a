// SPDX-License-Identifier: Apache-2.0
//
// A libcuda.so.1 without a GPU: answers as told, and shows its caller what is launched. Events say that each launch and
// copy of a graph takes 10 us.

#ifndef TPAC_TESTS_UNIT_RUNTIME_FAKECUDA_H
#define TPAC_TESTS_UNIT_RUNTIME_FAKECUDA_H

#include "runtime/cuda/Driver.h"

namespace tpac::test {

struct FakeCuda {
  int devices = 2, capability = 90, multiprocessors = 132, sharedBytes = 227 * 1024;
  /// This call ("cuModuleGetFunction") fails with 999; null: none does. Set from the environment variable
  /// FAKE_CUDA_FAILURE at the start.
  const char *failingCall = nullptr;
  /// What is alive.
  int modules = 0, retained = 0;
  /// Contexts pushed and not popped, by all threads.
  int pushed = 0;
  /// What the latest module's image begins with.
  char image[512] = "";
  /// Called by launches with the kernel's name.
  void (*launched)(const char *kernel, const runtime::cuda::LaunchConfiguration &configuration,
                   void **parameters) = nullptr;
};

} // namespace tpac::test

extern "C" {
tpac::test::FakeCuda *fake_cuda(void);
/// Makes the primary context of `device` the calling thread's current one; -1: none.
void fake_cuda_set_current(int device);
}

#endif // TPAC_TESTS_UNIT_RUNTIME_FAKECUDA_H
