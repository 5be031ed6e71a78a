// SPDX-License-Identifier: Apache-2.0
//
// Dialects and interfaces that the reference path needs in a context.

#ifndef TPAC_LOWERING_REFERENCE_REGISTRATION_H
#define TPAC_LOWERING_REFERENCE_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::tpa {

/// Everything from the tpa dialect to LLVM IR on the host.
void registerReferenceDialects(DialectRegistry &registry);

} // namespace mlir::tpa

#endif // TPAC_LOWERING_REFERENCE_REGISTRATION_H
