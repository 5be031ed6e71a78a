// SPDX-License-Identifier: Apache-2.0
//
// Dialects, passes and pipelines of the tools for developers.

#ifndef TPAC_TOOLS_REGISTRATION_H
#define TPAC_TOOLS_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace tpac {

void registerToolDialects(mlir::DialectRegistry &registry);
void registerToolPasses();

} // namespace tpac

#endif // TPAC_TOOLS_REGISTRATION_H
