// SPDX-License-Identifier: Apache-2.0
//
// What commands ask of tuning records.

#ifndef TPAC_TOOLS_TPAC_QUESTIONS_H
#define TPAC_TOOLS_TPAC_QUESTIONS_H

#include "autotune/records/Record.h"
#include "bench/phases/Rows.h"
#include "dialect/TPADialect.h"
#include "lowering/emit/ObjectFile.h"

namespace tpac {

struct QuestionKey {
  records::Key key;
  records::Fingerprint fingerprint;
};

/// The toolchain of fingerprints that this compiler makes for a target: of its sources those that decide what code for
/// it is (cmake/TpacCodegenHash.cmake).
nlohmann::json toolchainOfThis(const CodeTarget &target);

/// The CPU level that `target` is code for, as records name it: of "host" the highest that this machine runs, so that
/// both answer for each other.
std::string levelOf(const CodeTarget &target);

/// The key of calls as `row` says, of this machine's CPU at the level of `target`, and this compiler. For a GPU, which
/// need not be here, the silicon is its architecture alone.
QuestionKey questionKeyOf(mlir::tpa::VariantAttr variant, const bench::Row &row, CacheStorage storage,
                          const CodeTarget &target);

/// The row that `shape` (as bench::shapeHelp says) asks for. Where it does not say how many, requests are one per CPU
/// of this process, and one on GPUs, which have no threads to give one each. Throws std::runtime_error.
bench::Row questionRow(const std::string &shape, mlir::tpa::VariantAttr variant, bool onGpu);

/// "tokens 64, queries 4": what of a schedule differs from the default.
std::string changesOf(const nlohmann::json &schedule, const nlohmann::json &byDefault);

/// "decode/cached:8192/tokens:1/requests:2".
std::string shapeOf(const bench::Row &row);
std::string shapeOf(const records::Entry &entry);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_QUESTIONS_H
