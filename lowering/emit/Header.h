// SPDX-License-Identifier: Apache-2.0
//
// The C header of a kernel pack (C99 and C++17). No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_HEADER_H
#define TPAC_LOWERING_EMIT_HEADER_H

#include "lowering/emit/Pack.h"

#include "llvm/Support/Error.h"

#include <string>

namespace tpac {

/// Text of NAME.h: one argument struct and one function per phase, NAME_status_message, constants of the variant.
/// An error where the variant's JSON lacks what the constants are made from.
llvm::Expected<std::string> headerText(const Pack &pack);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_HEADER_H
