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

/// The key of calls as `row` says, of this machine's CPU where `target` is "host", of its level else, and this
/// compiler.
QuestionKey questionKeyOf(mlir::tpa::VariantAttr variant, const bench::Row &row, CacheStorage storage,
                          const CodeTarget &target);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_QUESTIONS_H
