// SPDX-License-Identifier: Apache-2.0
//
// LLVM's errors as exceptions: what commands, the tuner and the executor throw.

#ifndef TPAC_LOWERING_EMIT_TAKE_H
#define TPAC_LOWERING_EMIT_TAKE_H

#include "llvm/Support/Error.h"

#include <stdexcept>

namespace tpac {

/// The value of `expected`; throws std::runtime_error with its message where there is none.
template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_TAKE_H
