// SPDX-License-Identifier: Apache-2.0
//
// LLVM's errors as exceptions, which commands throw.

#ifndef TPAC_TOOLS_TPAC_TAKE_H
#define TPAC_TOOLS_TPAC_TAKE_H

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

#endif // TPAC_TOOLS_TPAC_TAKE_H
