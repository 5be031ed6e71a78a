// SPDX-License-Identifier: Apache-2.0
//
// Instructions of memory, copies and barriers. Their operands are given as they are used (`Instruction::from`),
// addresses first.

#ifndef TPAC_TESTS_CUDA_PTX_MEMORY_H
#define TPAC_TESTS_CUDA_PTX_MEMORY_H

#include "tests/cuda/ptx/Operations.h"

namespace tpac::ptx {

/// Elements of `bytes`, signed or not, to or from registers of `registerBytes`; null where there is no such load.
Execute loadOf(int64_t bytes, bool isSigned, int64_t registerBytes);
Execute storeOf(int64_t bytes, int64_t registerBytes);
/// A parameter of the launch, at `offsets[0]` of all of them.
Execute loadParameterOf(int64_t bytes);

/// By the whole opcode. What an operand is: 'a' an address, 'r' what is read, 'w' what is written.
struct MemoryOperation {
  Execute execute = nullptr;
  Flow flow = Flow::next;
  std::string_view operands;
  /// Of the 'r' and 'w' among the operands.
  std::vector<int> bytes = {};
};
const MemoryOperation *findMemoryOperation(std::string_view opcode, size_t operands);

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_MEMORY_H
