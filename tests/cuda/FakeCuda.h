// SPDX-License-Identifier: Apache-2.0
//
// A libcuda.so.1 without a GPU: answers as told, and shows its caller what is launched. With FAKE_CUDA_EXECUTES=1 in
// the environment it computes: modules of PTX are executed on the CPU (ptx/Machine.h), whatever a kernel does wrong is
// error 700, whose text says what it was, and a launch takes time by the instructions of its warps. Else nothing is
// computed, and each launch and copy of a graph takes 10 us.

#ifndef TPAC_TESTS_CUDA_FAKECUDA_H
#define TPAC_TESTS_CUDA_FAKECUDA_H

#include "runtime/cuda/Driver.h"

namespace tpac::test {

struct FakeCuda {
  int devices = 2, capability = 90, multiprocessors = 132, sharedBytes = 227 * 1024;
  /// Launches are executed.
  bool executes = false;
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

#endif // TPAC_TESTS_CUDA_FAKECUDA_H
