// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's assembler, ptxas: a program of the CUDA Toolkit that may be there or not.

#ifndef TPAC_LOWERING_EMIT_ASSEMBLER_H
#define TPAC_LOWERING_EMIT_ASSEMBLER_H

#include "llvm/Support/Error.h"

#include <optional>
#include <string>

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

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_ASSEMBLER_H
