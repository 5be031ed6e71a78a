// SPDX-License-Identifier: Apache-2.0
//
// Runs tile programs written as text in tests.

#ifndef TPAC_TESTS_UNIT_TILE_TESTPROGRAM_H
#define TPAC_TESTS_UNIT_TILE_TESTPROGRAM_H

#include "lowering/tile/Interpreter.h"

#include <span>
#include <string>
#include <vector>

/// Memory of a test with its elements as numbers.
class TestMemory {
public:
  /// All elements are `fill`.
  TestMemory(tpac::ElementType type, std::vector<int64_t> shape, double fill = 0.0);
  /// `values` in row-major order.
  TestMemory(tpac::ElementType type, std::vector<int64_t> shape, std::span<const double> values);
  TestMemory(tpac::ElementType type, std::vector<int64_t> shape, std::initializer_list<double> values)
      : TestMemory(type, std::move(shape), std::span<const double>(values.begin(), values.size())) {}

  tpac::MemoryView view() const { return tpac::MemoryView::contiguous(type, bytes.data(), shape); }
  /// All elements in row-major order.
  std::vector<double> values() const;

private:
  tpac::ElementType type;
  std::vector<int64_t> shape;
  mutable std::vector<std::byte> bytes;
};

/// Parses and verifies `program`, runs @main of it and gives the interpreter's error, or "" where there is none. Throws
/// std::runtime_error where the program does not parse.
std::string runProgram(const std::string &program, std::vector<tpac::InterpreterArgument> arguments,
                       tpac::Arithmetic arithmetic = tpac::Arithmetic::exact);

#endif // TPAC_TESTS_UNIT_TILE_TESTPROGRAM_H
