// SPDX-License-Identifier: Apache-2.0
//
// Builds the tree from nlohmann's parser events. The tree is our own because nlohmann's drops repeated keys and the
// text of numbers, and a limit on its depth must act while parsing.

#include "dialect/json/JsonTree.h"

#include <nlohmann/json.hpp>

#include <limits>

using namespace mlir::tpa;
using namespace mlir::tpa::detail;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr size_t maxDepth = 64;
/// Longer strings are cut in messages.
constexpr size_t maxShown = 60;

/// "FILE:LINE:COLUMN: " of byte `position` (from 1) of `text`.
std::string location(StringRef text, StringRef fileName, size_t position) {
  StringRef before = text.take_front(position > 0 ? position - 1 : 0);
  size_t column = before.size() - (before.contains('\n') ? before.rfind('\n') + 1 : 0) + 1;
  return (fileName + ":" + Twine(before.count('\n') + 1) + ":" + Twine(column) + ": ").str();
}

/// nlohmann's message without its class and the position, which we give ourselves.
std::string bareMessage(StringRef message) {
  message.consume_front("[");
  if (size_t end = message.find("] "); end != StringRef::npos)
    message = message.substr(end + 2);
  if (message.starts_with("parse error at"))
    message = message.substr(message.find(": ") + 2);
  return message.str();
}

class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
public:
  TreeBuilder(StringRef source, StringRef fileName) : source(source), fileName(fileName) {}

  bool null() override {
    add(JsonNode());
    return true;
  }

  bool boolean(bool value) override {
    JsonNode node(JsonNode::Kind::boolean);
    node.boolean = value;
    add(std::move(node));
    return true;
  }

  bool number_integer(number_integer_t value) override {
    JsonNode node(JsonNode::Kind::integer);
    node.integer = value;
    node.number = static_cast<double>(value);
    node.text = std::to_string(value);
    add(std::move(node));
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return number_integer(static_cast<int64_t>(value));
    return number_float(static_cast<double>(value), std::to_string(value));
  }

  bool number_float(number_float_t value, const string_t &text) override {
    JsonNode node(JsonNode::Kind::number);
    node.number = value;
    node.text = text;
    add(std::move(node));
    return true;
  }

  bool string(string_t &value) override {
    JsonNode node(JsonNode::Kind::string);
    node.text = std::move(value);
    add(std::move(node));
    return true;
  }

  // The parser gives no bytes for text.
  bool binary(binary_t &) override { return false; }

  bool start_object(std::size_t) override { return open(JsonNode::Kind::object); }
  bool start_array(std::size_t) override { return open(JsonNode::Kind::array); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t &value) override {
    stack.back()->keys.push_back(std::move(value));
    return true;
  }

  bool parse_error(std::size_t position, const std::string &, const nlohmann::json::exception &exception) override {
    error = location(source, fileName, position) + bareMessage(exception.what());
    return false;
  }

  JsonNode root;
  std::string error;

private:
  JsonNode *add(JsonNode node) {
    if (stack.empty()) {
      root = std::move(node);
      return &root;
    }
    // Only the last of a parent's elements is ever open, so growing the vector moves closed ones alone.
    return &stack.back()->elements.emplace_back(std::move(node));
  }

  bool open(JsonNode::Kind kind) {
    if (stack.size() == maxDepth) {
      error = (fileName + ": found values nested deeper than " + Twine(maxDepth) + " levels, accepted: at most " +
               Twine(maxDepth))
                  .str();
      return false;
    }
    stack.push_back(add(JsonNode(kind)));
    return true;
  }

  bool close() {
    stack.pop_back();
    return true;
  }

  StringRef source;
  StringRef fileName;
  std::vector<JsonNode *> stack;
};

} // namespace

std::string detail::quoted(StringRef text) {
  using Json = nlohmann::json;
  return Json(text.str()).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string JsonNode::describe() const {
  switch (kind) {
  case Kind::null:
    return "null";
  case Kind::boolean:
    return boolean ? "true (boolean)" : "false (boolean)";
  case Kind::integer:
    return text + " (integer)";
  case Kind::number:
    return text + (StringRef(text).find_first_of(".eE") == StringRef::npos ? " (beyond 64 bits)" : " (number)");
  case Kind::string:
    return quoted(StringRef(text).take_front(maxShown)) + (text.size() > maxShown ? "... (string)" : " (string)");
  case Kind::array:
    return "an array of " + std::to_string(elements.size());
  case Kind::object:
    return "an object";
  }
  llvm_unreachable("unknown kind");
}

llvm::Expected<JsonNode> detail::parseJson(StringRef text, StringRef fileName) {
  TreeBuilder builder(text, fileName);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
    return llvm::createStringError(builder.error);
  return std::move(builder.root);
}
