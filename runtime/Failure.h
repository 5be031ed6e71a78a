// SPDX-License-Identifier: Apache-2.0
//
// Failures inside of the library as exceptions, statuses at its border.

#ifndef TPAC_RUNTIME_FAILURE_H
#define TPAC_RUNTIME_FAILURE_H

#include "runtime/Status.h"

#include <new>
#include <stdexcept>
#include <string>

namespace tpac::runtime {

/// A failure that a C function reports as `status`.
class Failure : public std::runtime_error {
public:
  Failure(int32_t status, const std::string &message) : std::runtime_error(message), status(status) {}
  const int32_t status;
};

[[noreturn]] inline void refuse(const std::string &message) { throw Failure(TPAC_INVALID_ARGUMENT, message); }

/// Fails for C function `function`, one of whose pointers is NULL.
inline int32_t refuseNull(const char *function, const char *argument) noexcept {
  return fail(TPAC_INVALID_ARGUMENT, "%s: %s is NULL; expected a pointer", function, argument);
}

/// Runs `work`; what it throws becomes the status of C function `function` and its message.
template <typename Work> int32_t guarded(const char *function, Work work) noexcept {
  try {
    work();
    return TPAC_SUCCESS;
  } catch (const Failure &failure) {
    return fail(failure.status, "%s: %s", function, failure.what());
  } catch (const std::bad_alloc &) {
    return fail(TPAC_OUT_OF_MEMORY, "%s: out of memory", function);
  } catch (const std::exception &error) {
    return fail(TPAC_SYSTEM_ERROR, "%s: %s", function, error.what());
  }
}

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_FAILURE_H
