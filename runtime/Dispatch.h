// SPDX-License-Identifier: Apache-2.0
//
// TPA_VERBOSE=dispatch: which kernel runs, and why, on stderr.

#ifndef TPAC_RUNTIME_DISPATCH_H
#define TPAC_RUNTIME_DISPATCH_H

namespace tpac::runtime {

/// Whether the environment variable TPA_VERBOSE, a list with commas, holds "dispatch". Read at each call: whoever loads
/// kernels asks once and keeps the answer.
bool reportsDispatch() noexcept;

/// One line on stderr, formatted as by printf.
[[gnu::format(printf, 1, 2)]] void reportDispatch(const char *format, ...) noexcept;

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_DISPATCH_H
