// SPDX-License-Identifier: Apache-2.0
//
// What the tests of variants as JSON share: files of the repository and reading with the error as text.

#ifndef TPAC_TESTS_UNIT_JSON_TESTVARIANTS_H
#define TPAC_TESTS_UNIT_JSON_TESTVARIANTS_H

#include "dialect/json/VariantJson.h"

#include "mlir/IR/MLIRContext.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace tests {

inline std::string readText(const std::filesystem::path &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::filesystem::path configs() { return std::filesystem::path(TPAC_SOURCE_ROOT) / "configs"; }

/// The variant, or null and the message in `error`.
inline mlir::tpa::VariantAttr read(llvm::StringRef text, mlir::MLIRContext &context, std::string &error) {
  llvm::Expected<mlir::tpa::VariantAttr> variant = mlir::tpa::readVariant(text, "test.json", context);
  if (variant)
    return *variant;
  error = llvm::toString(variant.takeError());
  return {};
}

/// The variant of a text that must be valid.
inline mlir::tpa::VariantAttr read(llvm::StringRef text, mlir::MLIRContext &context) {
  std::string error;
  mlir::tpa::VariantAttr variant = read(text, context, error);
  EXPECT_TRUE(variant) << error;
  return variant;
}

/// A short valid text that tests change.
inline const char *const smallVariant = R"({
  "tpac_variant": 1,
  "name": "small",
  "heads": 6,
  "q": {"rank": 4, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 32}]},
  "k": {"rank": 2, "head": {"source": "learned"}, "token": [{"source": "contextual", "size": 32}]},
  "v": {"dense": 16},
  "rope": {"d_rot": 32}
})";

} // namespace tests

#endif // TPAC_TESTS_UNIT_JSON_TESTVARIANTS_H
