// SPDX-License-Identifier: Apache-2.0
//
// PTX as text, taken apart: what compilers write, without what only people do (macros, sections, calls).

#ifndef TPAC_TESTS_CUDA_PTX_TEXT_H
#define TPAC_TESTS_CUDA_PTX_TEXT_H

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::ptx {

/// What is not understood; begins with "line N: ".
struct ParseError : std::runtime_error {
  ParseError(int line, const std::string &message)
      : std::runtime_error("line " + std::to_string(line) + ": " + message) {}
};

/// `@!%p1 add.s32 %r1, %r2, 3;`. Registers of inner scopes have names of their own.
struct Statement {
  /// Empty: always.
  std::string guard;
  bool isGuardNegated = false;
  std::string opcode;
  std::vector<std::string> operands;
  int line = 0;
};

struct KernelText {
  struct Parameter {
    std::string name;
    int64_t bytes = 0;
  };
  std::string name;
  std::vector<Parameter> parameters;
  /// Of a block (.maxntid).
  uint32_t mostThreads = 1024;
  /// Bytes of each register; predicates have one.
  std::map<std::string, int64_t, std::less<>> registers;
  std::vector<Statement> statements;
  /// Of labels, the number of the statement behind them.
  std::map<std::string, size_t, std::less<>> labels;
};

/// A variable of the module.
struct GlobalText {
  std::string name;
  int64_t alignment = 1;
  std::vector<uint8_t> bytes;
};

struct ModuleText {
  std::vector<KernelText> kernels;
  std::vector<GlobalText> globals;
  /// Names of arrays in shared memory whose size the launch gives; all of them begin where it begins.
  std::vector<std::string> sharedArrays;
};

/// Throws ParseError.
ModuleText parse(std::string_view text);

/// Bytes of "b32", "f64", "pred"; 0: no such type.
int64_t typeBytes(std::string_view type);

/// Of an integer literal (`-1`, `0x7f`, `1U`), whether it is one.
bool parseInteger(std::string_view text, int64_t &value);

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_TEXT_H
