// SPDX-License-Identifier: Apache-2.0
//
// The numbers of a variant that callers of its pack need, read from its JSON: heads, ranks, feature sizes.
// No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_VARIANTCONSTANTS_H
#define TPAC_LOWERING_EMIT_VARIANTCONSTANTS_H

#include "lowering/emit/Pack.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace tpac {

struct VariantConstant {
  /// Without the pack's prefix: "HEADS", "K_RANK", "K_TOKEN_SIZE", "ROPE_BASE".
  std::string name;
  /// As it stands in C source. A number with a point or an exponent is a double.
  std::string value;
  std::string description;
};

llvm::Expected<std::vector<VariantConstant>> variantConstants(const Pack &pack);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_VARIANTCONSTANTS_H
