// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's assembler, ptxas: a program of the CUDA Toolkit that may be there or not.

#ifndef TPAC_LOWERING_EMIT_ASSEMBLER_H
#define TPAC_LOWERING_EMIT_ASSEMBLER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace tpac {

/// Path of ptxas: what TPAC_PTXAS names in the environment (empty: none), else on the PATH, beside tpac's build folder
/// where `./dev setup --gpu` puts it, or where the CUDA Toolkit is installed. Nothing where it is not found.
std::optional<std::string> findPtxas();

/// Machine code of PTX, and what ptxas says of its kernels (-v).
struct Cubin {
  std::string bytes;
  std::string log;
};

/// Assembles `ptx` for `chip` ("sm_90a"). An error carries what ptxas printed.
llvm::Expected<Cubin> assemblePtx(const std::string &ptxas, const std::string &ptx, const std::string &chip);

/// What a kernel takes of a multiprocessor, as ptxas says.
struct KernelResources {
  std::string entry;
  int64_t registers = 0;
  /// Local memory: the stack frame, where spilled registers stand too. 0 in a kernel that keeps all in registers.
  int64_t localBytes = 0;
  /// Bytes of instructions that spill and reload, counted where they stand.
  int64_t spillStoreBytes = 0, spillLoadBytes = 0;
};

/// The kernels of `log` (Cubin::log), in its order. An error where it does not say what is asked for.
llvm::Expected<std::vector<KernelResources>> kernelResources(llvm::StringRef log);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_ASSEMBLER_H
