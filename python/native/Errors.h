// SPDX-License-Identifier: Apache-2.0
//
// How failures leave the bindings: as a status and its message, which Module.cpp makes an exception of tpac.errors.

#ifndef TPAC_PYTHON_ERRORS_H
#define TPAC_PYTHON_ERRORS_H

#include "tpac/status.h"

#include <stdexcept>
#include <string>

namespace tpac::python {

struct StatusError : std::runtime_error {
  StatusError(int32_t status, const std::string &message) : std::runtime_error(message), status(status) {}
  int32_t status;
};

/// Throws where the calling thread's latest call of the runtime has failed.
inline void check(int32_t status) {
  if (status != TPAC_SUCCESS)
    throw StatusError(status, tpac_runtime_status_message(status));
}

[[noreturn]] inline void refuse(const std::string &message) { throw StatusError(TPAC_INVALID_ARGUMENT, message); }

} // namespace tpac::python

#endif // TPAC_PYTHON_ERRORS_H
