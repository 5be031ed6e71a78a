// SPDX-License-Identifier: Apache-2.0
//
// Links an object file into a shared library with the C compiler of the machine.

#ifndef TPAC_LOWERING_EMIT_SHAREDLIBRARY_H
#define TPAC_LOWERING_EMIT_SHAREDLIBRARY_H

#include "lowering/emit/ObjectFile.h"

#include "llvm/Support/Error.h"

#include <string>

namespace tpac {

/// Links `objectPath` into `outputPath` with the given soname, against libc and libm alone; an undefined symbol is an
/// error. Uses the first of cc, gcc, clang-22 and clang on PATH (for another architecture than this machine's:
/// ARCH-linux-gnu-gcc). Errors name what was searched, or carry what the linker said.
llvm::Error linkSharedLibrary(const CodeTarget &target, const std::string &objectPath, const std::string &outputPath,
                              const std::string &soname);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_SHAREDLIBRARY_H
