// SPDX-License-Identifier: Apache-2.0
//
// JSON text as a tree that keeps what strict checks and good messages need: repeated keys, numbers as they were
// written. Nothing here knows variants.

#ifndef TPAC_DIALECT_JSON_JSONTREE_H
#define TPAC_DIALECT_JSON_JSONTREE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlir::tpa::detail {

struct JsonNode {
  enum class Kind { null, boolean, integer, number, string, array, object };

  explicit JsonNode(Kind kind = Kind::null) : kind(kind) {}

  Kind kind;
  bool boolean = false;
  /// Of kind `integer`: a number without fraction and exponent that fits.
  int64_t integer = 0;
  /// Of kinds `number` and `integer`.
  double number = 0.0;
  /// A string's value; a number as written.
  std::string text;
  std::vector<JsonNode> elements;
  /// Keys of an object's elements in the order of the text, repetitions included.
  std::vector<std::string> keys;

  bool is(Kind other) const { return kind == other; }
  /// What a message says was found: `"64" (string)`, `64.0 (number)`, `an array of 2`.
  std::string describe() const;
};

/// `text` in double quotes, escaped as in JSON.
std::string quoted(llvm::StringRef text);

/// The one value of `text`. Errors read "FILE:LINE:COLUMN: ...". Values nested deeper than 64 levels are errors.
llvm::Expected<JsonNode> parseJson(llvm::StringRef text, llvm::StringRef fileName);

} // namespace mlir::tpa::detail

#endif // TPAC_DIALECT_JSON_JSONTREE_H
