// SPDX-License-Identifier: Apache-2.0
//
// Compares the engine with a model's recording.

#ifndef TPAC_EXAMPLES_T6_CHECK_H
#define TPAC_EXAMPLES_T6_CHECK_H

#include "examples/t6/engine/Model.h"

#include <string>

namespace t6 {

struct CheckOptions {
  /// File with `tokens` [prompts, n], `greedy` [prompts, m] and `logits` [prompts, n, vocabulary] or, of the last 16
  /// tokens alone, `logits.last16`.
  std::string recording;
  /// Largest norm of the error of a prompt's logits relative to their own; three times as much for a single row.
  double tolerance = 1e-4;
  /// Whether the greedy continuations must be the recorded ones, too.
  bool greedy = true;
};

/// Runs the recorded prompts one by one and all together, prints a table; whether all was as it should be. Throws
/// std::runtime_error where the recording is not of this model.
bool check(const Weights &weights, const Kernels &kernels, const CheckOptions &options);

} // namespace t6

#endif // TPAC_EXAMPLES_T6_CHECK_H
