// SPDX-License-Identifier: Apache-2.0
//
// How the library's functions report failures. Internal; what callers see is tpac/status.h.

#ifndef TPAC_RUNTIME_STATUS_H
#define TPAC_RUNTIME_STATUS_H

#include "tpac/status.h"

namespace tpac::runtime {

/// Keeps the message, formatted as by printf, as that of the calling thread's latest failure, and returns `status`.
[[gnu::format(printf, 2, 3)]] int32_t fail(int32_t status, const char *format, ...) noexcept;

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_STATUS_H
