// SPDX-License-Identifier: Apache-2.0
//
// Writes a kernel pack: a directory with header, libraries, manifest, pkg-config and CMake files.

#ifndef TPAC_LOWERING_EMIT_PACKWRITER_H
#define TPAC_LOWERING_EMIT_PACKWRITER_H

#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/Pack.h"

#include "llvm/Support/Error.h"

namespace tpac {

/// Compiles `levels` (the phases' functions as addLevelInterface expects them, without the C interface, which are not
/// changed; their targets are findPackTargets') into one library and writes the pack to `directory`:
///   include/NAME.h  lib/libNAME.a  lib/libNAME.so  NAME.json  lib/pkgconfig/NAME.pc  lib/cmake/NAME/NAMEConfig.cmake
/// Without `levels` there is no library: a pack of kernels for GPUs alone (`pack.gpu`, whose files it writes). Of
/// `pack`, splits of signatures and targets follow from `levels`. The pack is made beside `directory` and moved there
/// when it is complete. A `directory` that exists must be empty or hold a pack and nothing else, which is then replaced
/// as a whole; anything else is an error and stays as it is.
llvm::Error writePack(llvm::ArrayRef<TargetModule> levels, const Pack &pack, llvm::StringRef directory);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_PACKWRITER_H
