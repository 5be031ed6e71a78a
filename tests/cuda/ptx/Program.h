// SPDX-License-Identifier: Apache-2.0
//
// Kernels of a PTX module, ready to be executed for warps of 32 lanes. Every register is an array of 32 elements in the
// warp's registers; constants are registers that nobody writes.

#ifndef TPAC_TESTS_CUDA_PTX_PROGRAM_H
#define TPAC_TESTS_CUDA_PTX_PROGRAM_H

#include "tests/cuda/ptx/Text.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tpac::ptx {

class Warp;
struct Instruction;

/// Executes an instruction for the active lanes of a warp.
using Execute = void (*)(Warp &, const Instruction &);

/// What the warp does around an instruction.
enum class Flow : uint8_t {
  /// Goes on behind it.
  next,
  branch,
  exit,
  /// All lanes that have not ended execute it together.
  together,
  /// The same, and then the warp waits for others.
  barrier,
  /// Where it has not succeeded for the lanes (`Warp::isRetried`), others go on before it is executed again.
  poll,
};

inline constexpr uint32_t noPlace = ~0u;

struct Instruction {
  Execute execute = nullptr;
  Flow flow = Flow::next;
  bool isGuardNegated = false;
  /// Predicate; noPlace: always.
  uint32_t guard = noPlace;
  /// Of a load or store: elements per lane, and whether they are in shared memory.
  uint8_t count = 1;
  bool isShared = false;
  /// Places in the warp's registers, in bytes; noPlace: what is written is not kept.
  std::array<uint32_t, 4> to = {noPlace, noPlace, noPlace, noPlace};
  std::array<uint32_t, 10> from = {};
  /// Displacements of addresses.
  std::array<int64_t, 3> offsets = {};
  /// Of a branch, the number of an instruction.
  uint32_t target = 0;
  int line = 0;
};

/// Where a warp finds what it is.
struct SpecialRegisters {
  uint32_t thread = noPlace, block = noPlace, blocks = noPlace, threads = noPlace, lane = noPlace;
};

struct Program {
  std::string name;
  std::vector<KernelText::Parameter> parameters;
  uint32_t mostThreads = 1024;
  std::vector<Instruction> code;
  /// By number of instruction, for messages.
  std::vector<std::string> texts;
  /// Registers at the start: constants, and NaN.
  std::vector<uint8_t> registers;
  SpecialRegisters special;
};

/// A variable in global memory.
struct Global {
  static constexpr size_t alignment = 64;
  std::vector<uint8_t> storage;
  size_t bytes = 0;

  uint8_t *begin() { return aligned(storage.data()); }
  const uint8_t *begin() const { return aligned(storage.data()); }

private:
  template <typename T> static T *aligned(T *pointer) {
    return reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(pointer) + alignment - 1) / alignment * alignment);
  }
};

struct Module {
  std::map<std::string, Program, std::less<>> programs;
  /// Programs know where they are.
  std::vector<Global> globals;
};

/// Throws ParseError.
Module load(std::string_view text);

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_PROGRAM_H
