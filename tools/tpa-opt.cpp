// SPDX-License-Identifier: Apache-2.0
//
// Reads IR, runs passes, prints IR: mlir-opt with the tpa dialect.

#include "tools/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  tpac::registerToolDialects(registry);
  tpac::registerToolPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "tpa-opt: passes of tpac\n", registry));
}
