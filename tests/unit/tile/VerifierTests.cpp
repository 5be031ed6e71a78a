// SPDX-License-Identifier: Apache-2.0
//
// Messages of verifiers that no text can cause; the others are in tests/lit/tile/invalid.mlir.

#include "lowering/tile/TileDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"

#include <gtest/gtest.h>

#include <string>

using namespace mlir;
using mlir::tpa::tile::TileType;

TEST(Verifier, OneSizePerAxis) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<tpa::tile::TileDialect>();
  std::string message;
  ScopedDiagnosticHandler collect(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  Builder builder(&context);
  SmallVector<StringAttr> names = {builder.getStringAttr("h")};
  ArrayRef<StringAttr> axes = names;
  Type number = builder.getF32Type();
  auto emitError = [&] { return mlir::emitError(builder.getUnknownLoc()); };
  EXPECT_FALSE(TileType::getChecked(emitError, &context, axes, ArrayRef<int64_t>{4, 5}, number));
  EXPECT_EQ(message, "expected one size per axis, got 1 axes and 2 sizes [X1]");
  EXPECT_TRUE(TileType::getChecked(emitError, &context, axes, ArrayRef<int64_t>{4}, number));
}
