// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes variants as JSON (docs/variant.md). Rules that the attributes' verifiers check are not repeated
// here.

#ifndef TPAC_DIALECT_JSON_VARIANTJSON_H
#define TPAC_DIALECT_JSON_VARIANTJSON_H

#include "dialect/TPADialect.h"

#include "llvm/Support/Error.h"

#include <string>

namespace mlir::tpa {

/// The variant that `jsonText` describes; loads the tpa dialect into `context`. The error holds one line per fault
/// found, each "FILE: JSON-PATH: found ..., accepted: ..." or "FILE: JSON-PATH: " and a verifier's message; for text
/// that is not JSON it is "FILE:LINE:COLUMN: ...". `fileName` is only used in messages.
llvm::Expected<VariantAttr> readVariant(StringRef jsonText, StringRef fileName, MLIRContext &context);

/// `variant` as JSON text that ends in a newline: fields in the order of docs/variant.md, defaults written out, absent
/// options left out, `{"dense": D}` for normalised dense factorizations. readVariant returns the same attribute for it.
std::string writeVariant(VariantAttr variant);

/// `variant` with `type` (f64, f32, bf16 or f16) for activations, cached factors and output, and with `compute` f64
/// where `type` is f64 and f32 elsewhere.
VariantAttr withStorage(VariantAttr variant, Type type);

} // namespace mlir::tpa

#endif // TPAC_DIALECT_JSON_VARIANTJSON_H
