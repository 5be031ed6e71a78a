// SPDX-License-Identifier: Apache-2.0
//
// The two ways from a variant to machine code. No MLIR in this header.

#ifndef TPAC_LOWERING_PHASES_CODEPATH_H
#define TPAC_LOWERING_PHASES_CODEPATH_H

namespace tpac {

enum class CodePath {
  fused,     ///< tile programs, lowered by a target
  reference, ///< linalg loops: the executable specification
};

} // namespace tpac

#endif // TPAC_LOWERING_PHASES_CODEPATH_H
