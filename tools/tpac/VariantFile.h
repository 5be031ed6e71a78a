// SPDX-License-Identifier: Apache-2.0
//
// Variants from files, for the commands.

#ifndef TPAC_TOOLS_TPAC_VARIANTFILE_H
#define TPAC_TOOLS_TPAC_VARIANTFILE_H

#include "dialect/TPADialect.h"

#include "mlir/IR/MLIRContext.h"

#include <string>

namespace tpac {

/// A context with everything that compiling needs, and the variant of one file in it.
class VariantFile {
public:
  /// Throws std::runtime_error where the file cannot be read or holds no valid variant.
  explicit VariantFile(const std::string &path);
  /// The same for JSON text that messages call `name`.
  VariantFile(const std::string &text, const std::string &name);

  mlir::tpa::VariantAttr variant() const { return attribute; }
  /// The variant as JSON text with every default spelled out.
  std::string json() const;
  /// The same with storage type `type` ("f32", "bf16", "f16", "f64") for all its tensors.
  std::string jsonWithStorage(const std::string &type);

private:
  mlir::MLIRContext context;
  mlir::tpa::VariantAttr attribute;
};

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_VARIANTFILE_H
