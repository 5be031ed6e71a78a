// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/Questions.h"

#include "autotune/records/Machine.h"
#include "dialect/json/VariantJson.h"

#include "tpac/CodegenHash.h"
#include "tpac/Version.h"

namespace tpac {

QuestionKey questionKeyOf(mlir::tpa::VariantAttr variant, const bench::Row &row, CacheStorage storage,
                          const CodeTarget &target) {
  nlohmann::json json = nlohmann::json::parse(mlir::tpa::writeVariant(variant));
  json.erase("name");
  return {{std::string(phaseName(row.phase)), json, storage.valueBlock, storage.pageSize,
           records::bucketed(records::Shape{row.requests, row.tokens, row.cached})},
          {records::cpuSilicon(target.name),
           {{"tpac", TPAC_VERSION}, {"llvm", TPAC_LLVM_VERSION}, {"codegen", TPAC_CODEGEN_HASH}}}};
}

} // namespace tpac
