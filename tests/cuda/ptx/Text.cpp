// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/ptx/Text.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tpac::ptx {
namespace {

bool isNameCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }

std::string trimmed(std::string_view text) {
  const char *blanks = " \t\r\n";
  const size_t first = text.find_first_not_of(blanks);
  return first == text.npos ? std::string()
                            : std::string(text.substr(first, text.find_last_not_of(blanks) - first + 1));
}

/// Words between blanks.
std::vector<std::string> wordsOf(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != text.npos;) {
    const size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

/// At commas outside of brackets.
std::vector<std::string> splitAtCommas(std::string_view text) {
  std::vector<std::string> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && std::strchr("{[(", text[i]))
      ++depth;
    else if (i < text.size() && std::strchr("}])", text[i]))
      --depth;
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      if (std::string part = trimmed(text.substr(begin, i - begin)); !part.empty())
        parts.push_back(std::move(part));
      begin = i + 1;
    }
  }
  return parts;
}

/// Comments become blanks, so that lines stay where they are.
std::string withoutComments(std::string_view text) {
  std::string result(text);
  for (size_t i = 0; i + 1 < result.size(); ++i) {
    const bool isBlock = result.compare(i, 2, "/*") == 0;
    if (!isBlock && result.compare(i, 2, "//") != 0)
      continue;
    const size_t found = isBlock ? result.find("*/", i + 2) : result.find('\n', i);
    const size_t end = found == result.npos ? result.size() : found + (isBlock ? 2 : 0);
    for (; i < end; ++i)
      if (result[i] != '\n')
        result[i] = ' ';
    --i;
  }
  return result;
}

class Parser {
public:
  explicit Parser(std::string_view source) : text(withoutComments(source)) {}

  ModuleText run() {
    while (skipBlanks()) {
      // A directive of the module ends with its line, a variable with ';', a kernel with its body.
      const size_t begin = at;
      const std::string line = trimmed(std::string_view(text).substr(at, endOfLine() - at));
      if (line.starts_with(".version") || line.starts_with(".target") || line.starts_with(".address_size")) {
        advanceTo(endOfLine());
        continue;
      }
      const size_t end = text.find_first_of("{;(=", at);
      const std::vector<std::string> words = wordsOf(std::string_view(text).substr(begin, end - begin));
      if (std::ranges::find(words, ".entry") != words.end())
        parseKernel(words);
      else
        parseVariable();
    }
    return std::move(result);
  }

private:
  bool skipBlanks() {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])))
      advanceTo(at + 1);
    return at < text.size();
  }
  void advanceTo(size_t to) {
    line += static_cast<int>(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                                        text.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at = to;
  }
  size_t endOfLine() const { return std::min(text.find('\n', at), text.size()); }
  /// What lies before the next of `ends`, and moves behind that.
  std::string take(const char *ends) {
    const size_t end = text.find_first_of(ends, at);
    if (end == text.npos)
      throw ParseError(line, std::string("found the end of the text; expected one of '") + ends + "'");
    std::string taken = trimmed(std::string_view(text).substr(at, end - at));
    advanceTo(end + 1);
    return taken;
  }

  /// `.global .align 4 .b8 NAME[8] = {1, 2};`, `.extern .shared .align 16 .b8 NAME[];`
  void parseVariable() {
    const int begin = line;
    std::string all = take(";");
    const size_t equals = all.find('=');
    std::string head = all.substr(0, equals);
    const size_t bracket = head.find('[');
    const std::vector<std::string> words = wordsOf(head.substr(0, bracket));
    auto has = [&](const char *word) { return std::ranges::find(words, word) != words.end(); };
    if (words.empty() || words.back().starts_with("."))
      throw ParseError(begin, "found '" + head + "'; expected a variable");
    if (has(".shared")) {
      if (!has(".extern"))
        throw ParseError(begin, "shared memory of a fixed size is not supported");
      result.sharedArrays.push_back(words.back());
      return;
    }
    GlobalText global;
    global.name = words.back();
    if (auto align = std::ranges::find(words, ".align"); align != words.end())
      global.alignment = std::stoll(*(align + 1));
    const int64_t size = typeBytes(std::string_view(words[words.size() - 2]).substr(1));
    const int64_t count = bracket == head.npos ? 1 : std::stoll(head.substr(bracket + 1));
    if (size == 0 || !has(".global"))
      throw ParseError(begin, "found '" + head + "'; expected a variable in global memory");
    global.bytes.resize(static_cast<size_t>(size * count));
    if (equals != all.npos) {
      std::string values = all.substr(equals + 1);
      std::ranges::replace_if(values, [](char c) { return c == '{' || c == '}'; }, ' ');
      size_t place = 0;
      for (const std::string &text : splitAtCommas(values)) {
        int64_t value = 0;
        if (!parseInteger(text, value) || place + static_cast<size_t>(size) > global.bytes.size())
          throw ParseError(begin, "found '" + text + "' as a value of " + global.name);
        std::memcpy(&global.bytes[place], &value, static_cast<size_t>(size));
        place += static_cast<size_t>(size);
      }
    }
    result.globals.push_back(std::move(global));
  }

  void parseKernel(const std::vector<std::string> &words) {
    KernelText kernel;
    kernel.name = words.back();
    take("(");
    for (const std::string &parameter : splitAtCommas(take(")"))) {
      const std::vector<std::string> parts = wordsOf(parameter);
      const int64_t bytes = parts.size() < 3 ? 0 : typeBytes(std::string_view(parts[1]).substr(1));
      if (bytes == 0)
        throw ParseError(line, "found '" + parameter + "'; expected a parameter of a number or a pointer");
      kernel.parameters.push_back({parts.back(), bytes});
    }
    // Bounds of threads and of registers.
    const std::vector<std::string> bounds = wordsOf(take("{"));
    if (auto bound = std::ranges::find(bounds, ".maxntid"); bound != bounds.end() && bound + 1 != bounds.end())
      kernel.mostThreads = static_cast<uint32_t>(std::stoul(*(bound + 1)));
    scopes = {{}};
    for (int depth = 1; depth > 0;) {
      if (!skipBlanks())
        throw ParseError(line, "kernel " + kernel.name + " does not end");
      if (text[at] == '{' || text[at] == '}') {
        const bool begins = text[at] == '{';
        depth += begins ? 1 : -1;
        if (begins)
          scopes.emplace_back();
        else
          scopes.pop_back();
        advanceTo(at + 1);
      } else if (size_t label = labelEnd(); label != text.npos) {
        const std::string name = text.substr(at, label - at);
        if (!kernel.labels.emplace(name, kernel.statements.size()).second)
          throw ParseError(line, "label " + name + " stands twice in a kernel");
        advanceTo(label + 1);
      } else {
        parseStatement(kernel);
      }
    }
    result.kernels.push_back(std::move(kernel));
  }

  /// Where the colon of a label stands that begins here.
  size_t labelEnd() const {
    size_t end = at;
    while (end < text.size() && isNameCharacter(text[end]))
      ++end;
    return end > at && end < text.size() && text[end] == ':' ? end : text.npos;
  }

  void parseStatement(KernelText &kernel) {
    Statement statement;
    statement.line = line;
    std::string body = take(";");
    if (body.starts_with(".reg")) {
      declareRegisters(kernel, body);
      return;
    }
    if (body.starts_with("."))
      throw ParseError(statement.line, "found '" + body + "'; expected an instruction");
    if (body.starts_with('@')) {
      statement.isGuardNegated = body[1] == '!';
      const size_t begin = statement.isGuardNegated ? 2 : 1, end = body.find_first_of(" \t", begin);
      statement.guard = resolved(body.substr(begin, end - begin));
      body = trimmed(std::string_view(body).substr(end));
    }
    const size_t end = std::min(body.find_first_of(" \t\n"), body.size());
    statement.opcode = body.substr(0, end);
    for (const std::string &operand : splitAtCommas(std::string_view(body).substr(end)))
      statement.operands.push_back(resolved(operand));
    kernel.statements.push_back(std::move(statement));
  }

  /// `.reg .b32 %r<12>`: %r0 to %r11; `.reg .pred p`.
  void declareRegisters(KernelText &kernel, const std::string &body) {
    const size_t space = body.find('.', 1), end = body.find_first_of(" \t", space);
    const int64_t bytes = typeBytes(std::string_view(body).substr(space + 1, end - space - 1));
    if (bytes == 0)
      throw ParseError(line, "found '" + body + "'; expected a register of a number");
    for (const std::string &name : splitAtCommas(std::string_view(body).substr(end))) {
      const size_t bracket = name.find('<');
      if (bracket != name.npos) {
        const int64_t count = std::stoll(name.substr(bracket + 1));
        for (int64_t i = 0; i < count; ++i)
          kernel.registers[name.substr(0, bracket) + std::to_string(i)] = bytes;
      } else if (scopes.size() == 1) {
        kernel.registers[name] = bytes;
      } else {
        const std::string own = name + "#" + std::to_string(++scoped);
        scopes.back()[name] = own;
        kernel.registers[own] = bytes;
      }
    }
  }

  /// `operand` with the own names of registers of inner scopes.
  std::string resolved(const std::string &operand) const {
    if (scopes.size() == 1)
      return operand;
    std::string result;
    for (size_t i = 0; i < operand.size();) {
      size_t end = i;
      while (end < operand.size() && isNameCharacter(operand[end]))
        ++end;
      if (end == i) {
        result += operand[i++];
        continue;
      }
      std::string name = operand.substr(i, end - i);
      for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
        if (auto own = scope->find(name); own != scope->end()) {
          name = own->second;
          break;
        }
      result += name;
      i = end;
    }
    return result;
  }

  std::string text;
  size_t at = 0;
  int line = 1;
  ModuleText result;
  /// Own names of registers by the names they have in a scope.
  std::vector<std::map<std::string, std::string>> scopes;
  int scoped = 0;
};

} // namespace

int64_t typeBytes(std::string_view type) {
  if (type == "pred")
    return 1;
  if (type.size() < 2 || !std::strchr("bsuf", type[0]))
    return 0;
  int bits = 0;
  const auto [end, error] = std::from_chars(type.data() + 1, type.data() + type.size(), bits);
  return error == std::errc() && end == type.data() + type.size() && bits % 8 == 0 ? bits / 8 : 0;
}

bool parseInteger(std::string_view text, int64_t &value) {
  const bool isNegative = text.starts_with('-');
  if (isNegative)
    text.remove_prefix(1);
  if (text.ends_with('U'))
    text.remove_suffix(1);
  const bool isHex = text.starts_with("0x");
  if (isHex)
    text.remove_prefix(2);
  uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, isHex ? 16 : 10);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    return false;
  value = static_cast<int64_t>(isNegative ? 0 - magnitude : magnitude);
  return true;
}

ModuleText parse(std::string_view text) { return Parser(text).run(); }

} // namespace tpac::ptx
