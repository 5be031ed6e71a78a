// SPDX-License-Identifier: Apache-2.0
//
// Tile programs as text, compiled by the CPU target and run in this process, or interpreted.

#ifndef TPAC_TESTS_UNIT_CPU_TESTKERNEL_H
#define TPAC_TESTS_UNIT_CPU_TESTKERNEL_H

#include "lowering/cpu/Passes.h"
#include "lowering/tile/MemoryView.h"

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tpac::test {

/// A tensor in memory of its own, between words that must not be written.
class TestTensor {
public:
  /// Elements are NaN, or the largest number of a type without NaN.
  TestTensor(ElementType type, std::vector<int64_t> shape);

  /// Random numbers in [-scale, scale]; the same for the same seed.
  static TestTensor random(ElementType type, std::vector<int64_t> shape, double scale, unsigned seed);

  MemoryView view() const;
  double at(int64_t i) const;
  void set(int64_t i, double value);
  int64_t count() const;
  /// Whether nothing before or behind the elements was written.
  bool isIntact() const;

private:
  static constexpr int64_t guard = 64;
  ElementType type;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

/// Function `main` of a program whose arguments are memrefs and indices.
class TestKernel {
public:
  /// Throws std::runtime_error with the diagnostics.
  TestKernel(const std::string &program, const tpac::CpuTraits &options);
  ~TestKernel();

  void run(const std::vector<MemoryView> &memory, const std::vector<int64_t> &indices) const;
  /// The same program in the interpreter, which rounds as tiles do where `rounded`.
  void interpret(const std::vector<MemoryView> &memory, const std::vector<int64_t> &indices, bool rounded) const;

private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation;
};

/// Whether TPAC_TEST_EFFORT is quick.
bool isQuick();

/// What is compiled for: AVX-512, AVX2, and vectors of four; in a quick run the first alone.
std::span<const tpac::CpuTraits> testedOptions();

/// `sizes`; in a quick run every second one, from the second on.
template <typename T> std::vector<T> sampled(std::initializer_list<T> sizes) {
  std::vector<T> result;
  for (const T *size = sizes.begin() + (isQuick() ? 1 : 0); size < sizes.end(); size += isQuick() ? 2 : 1)
    result.push_back(*size);
  return result;
}

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_CPU_TESTKERNEL_H
