// SPDX-License-Identifier: Apache-2.0
//
// The list of what is measured: bench/shapes.json, read and multiplied out.

#ifndef TPAC_BENCH_PHASES_ROWS_H
#define TPAC_BENCH_PHASES_ROWS_H

#include "lowering/phases/PhaseSignature.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tpac::bench {

/// One line of the table.
struct Row {
  Phase phase;
  std::string config; ///< name of the variant in the table
  nlohmann::json variant;
  int64_t cached;   ///< tokens in the cache per request when the phase is done; merge: 0
  int64_t tokens;   ///< query tokens or new tokens per request
  int64_t requests; ///< per call, over all threads
  int threads;
  std::string implementation; ///< "tpac" or "materialised"

  /// "decode/t6-medium/cached:8192/tokens:1/requests:2/threads:2/impl:tpac": what bench/report.py takes apart.
  std::string name() const;
};

/// The rows of list `list` ("full", "quick") of the file at `path`, each followed by those of its rivals that are made
/// with our own kernels. Variants come from `configs`, a folder of variants. Thread counts beyond `cpus` are left out.
/// Throws std::runtime_error naming file, entry and field.
std::vector<Row> readRows(const std::string &path, const std::string &list, const std::string &configs, int cpus);

/// How the command line says what to measure.
inline constexpr const char *shapeHelp =
    "PHASE[/cached:N][/tokens:N][/requests:N]: append, decode, prefill or merge, with N tokens in the cache of each "
    "request at the end (default: as many as are new), N new or query tokens per request (default: 1; merge: rows), N "
    "requests per call (default: one per thread); repeatable";

/// The row that `shape` asks for, of the variant `variant`, which the table calls `config`. Throws std::runtime_error
/// that names the option --shape.
Row rowOfShape(const std::string &shape, const std::string &config, const nlohmann::json &variant, int threads);

} // namespace tpac::bench

#endif // TPAC_BENCH_PHASES_ROWS_H
