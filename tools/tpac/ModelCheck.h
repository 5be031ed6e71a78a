// SPDX-License-Identifier: Apache-2.0
//
// The engine of `tpac check VARIANT.json --model DIR`: computes a trained model's attention through the compiled phases
// and compares it with a recording. Neither reads the command line nor prints.

#ifndef TPAC_TOOLS_TPAC_MODELCHECK_H
#define TPAC_TOOLS_TPAC_MODELCHECK_H

#include "lowering/phases/CodePath.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tpac {

struct ModelCheckOptions {
  /// A valid variant with the element types to be tested (docs/variant.md).
  std::string variantJson;
  /// Holds NAME.safetensors, NAME.json and NAME.reference.safetensors, NAME being the variant's name.
  std::filesystem::path directory;
  /// Accepted relative error; without one, that of the variant's types (defaultTolerance in ModelErrors.h). fp8 and
  /// int8 need one.
  std::optional<double> tolerance;
  CodePath path = CodePath::fused;
  /// Tokens per page of the cache; 0: none.
  int64_t pageSize = 0;
};

/// One phase of one layer.
struct ModelCheckRow {
  int64_t layer;
  /// "prefill": all tokens appended, then attended to in one call. "decode": token by token.
  std::string phase;
  /// Element type of the cached token factors.
  std::string storage;
  int64_t tokens;
  /// Relative Frobenius error over the [N, H, E] output.
  double relativeError;
  /// The largest relative error of a row [n, h] over its E features.
  double worstRowError;
  /// Of relativeError.
  double tolerance;
  /// Of worstRowError (rowTolerance in ModelErrors.h).
  double rowTolerance;
  bool pass;
  /// Of the calls of append and the phase, without compilation.
  double seconds;
};

/// Projects the recorded input of each recorded layer with the model's weights (both rounded to the variant's
/// activation type), runs append + prefill on all tokens and append + decode token by token, and compares with the
/// recorded output. Throws std::runtime_error where a file is missing or broken, the model and the variant differ, the
/// variant has factors that no published checkpoint holds (learned, shared, order 3 and up), or a phase fails.
std::vector<ModelCheckRow> checkModel(const ModelCheckOptions &options);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_MODELCHECK_H
