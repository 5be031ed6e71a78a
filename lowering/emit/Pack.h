// SPDX-License-Identifier: Apache-2.0
//
// What a kernel pack is made from, besides code. No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_PACK_H
#define TPAC_LOWERING_EMIT_PACK_H

#include "lowering/phases/PhaseSignature.h"

#include <string>
#include <vector>

namespace tpac {

/// Format of the manifest and the layout of a pack's directory.
inline constexpr int packFormatVersion = 1;

struct Pack {
  /// The variant's name.
  std::string name;
  /// The whole variant as JSON text, defaults spelled out.
  std::string variantJson;
  /// One per phase in the pack, in the order in which header and manifest list them.
  std::vector<PhaseSignature> signatures;
  /// Names of what it is compiled for: one target, or CPU levels in ascending order.
  std::vector<std::string> targets = {"host"};
};

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_PACK_H
