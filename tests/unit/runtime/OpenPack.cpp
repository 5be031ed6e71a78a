// SPDX-License-Identifier: Apache-2.0
//
//   RuntimeOpenPack PACK
//
// Loads a pack's kernels for the CPU and for a GPU, prints the status of each, and calls them: what a test sees of a
// process that begins under other environment variables. Exit code 1: a call failed.

#include "tests/unit/runtime/CudaArguments.h"
#include "tpac/pack.h"

#include <cstdio>
#include <initializer_list>

using namespace tpac::test;

int main(int argc, char **argv) {
  tpac_pack *pack = nullptr;
  if (argc != 2 || tpac_pack_open(argv[1], &pack) != TPAC_SUCCESS)
    return 1;
  bool failed = false;
  for (const int32_t type : {TPAC_CPU, TPAC_CUDA}) {
    const tpac_kernels_config config = {sizeof(config), type, 0, 0};
    tpac_kernels *kernels = nullptr;
    const int32_t status = tpac_kernels_create(pack, &config, &kernels);
    std::printf("status %d: %s\n", status,
                status == TPAC_SUCCESS ? tpac_kernels_target(kernels) : tpac_runtime_status_message(status));
    if (status == TPAC_SUCCESS && type == TPAC_CUDA) {
      const DecodeArguments args = decodeArguments(4, 2);
      failed |= tpac_kernels_launch(kernels, TPAC_DECODE, &args, nullptr) != TPAC_SUCCESS;
    }
    if (status == TPAC_SUCCESS && type == TPAC_CPU) {
      const MergeArguments args = {sizeof(args), 0, {8}, {8}, {8}, {8}, {8}, {8}};
      failed |= tpac_kernels_run(kernels, TPAC_MERGE, &args) != TPAC_SUCCESS;
    }
    tpac_kernels_destroy(kernels);
  }
  tpac_pack_close(pack);
  return failed ? 1 : 0;
}
