// SPDX-License-Identifier: Apache-2.0
//
// Statuses, their messages and the library's versions.

#include "runtime/Status.h"

#include <cstdarg>
#include <cstdio>

namespace {

/// A fixed buffer: reporting that memory has run out must not need any.
struct LatestFailure {
  int32_t status = TPAC_SUCCESS;
  char message[512] = "";
};

thread_local LatestFailure latestFailure;

} // namespace

namespace tpac::runtime {

int32_t fail(int32_t status, const char *format, ...) noexcept {
  latestFailure.status = status;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(latestFailure.message, sizeof(latestFailure.message), format, arguments);
  va_end(arguments);
  return status;
}

} // namespace tpac::runtime

extern "C" {

const char *tpac_runtime_status_message(int32_t status) {
  if (status != TPAC_SUCCESS && latestFailure.status == status)
    return latestFailure.message;
  switch (status) {
  case TPAC_SUCCESS:
    return "success";
  case TPAC_INVALID_ARGUMENT:
    return "an argument is invalid";
  case TPAC_OUT_OF_MEMORY:
    return "out of memory";
  case TPAC_SYSTEM_ERROR:
    return "the operating system refused a call";
  case TPAC_OUT_OF_PAGES:
    return "too few free pages";
  case TPAC_DEVICE_ERROR:
    return "a device's driver is missing or refused a call";
  default:
    return "unknown status: no function of this library returns it";
  }
}

const char *tpac_runtime_version(void) { return TPAC_RUNTIME_VERSION; }

int32_t tpac_runtime_abi_version(void) { return TPAC_RUNTIME_ABI_VERSION; }
}
