// SPDX-License-Identifier: Apache-2.0
//
// CpuLevel.c as LLVM bitcode.

#ifndef TPAC_LOWERING_EMIT_LEVELS_CPULEVELBITCODE_H
#define TPAC_LOWERING_EMIT_LEVELS_CPULEVELBITCODE_H

#include "llvm/ADT/StringRef.h"

namespace tpac {

/// For x86-64 Linux, without functions of its own to export.
llvm::StringRef cpuLevelBitcode();

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_LEVELS_CPULEVELBITCODE_H
