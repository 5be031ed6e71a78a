// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Faults.h"

#include <csignal>
#include <map>
#include <stdexcept>
#include <unistd.h>

namespace tpac::autotune {

namespace {

// A C entry point has no state of its own.
PhaseFunction real = nullptr;
size_t inputWord = 0, outputWord = 0;
unsigned calls = 0;

/// The first byte of the tensor whose address is word `word` of the argument block.
unsigned char &firstByte(const void *args, size_t word) {
  return *reinterpret_cast<unsigned char *>(static_cast<const int64_t *>(args)[word]);
}

int32_t crash(const void *) {
  raise(SIGSEGV);
  return 0;
}

int32_t hang(const void *) {
  for (;;)
    pause();
}

int32_t refuse(const void *) { return 1; }

int32_t wrong(const void *args) {
  int32_t status = real(args);
  // The sign bit of the first element, or of one near it.
  (&firstByte(args, outputWord))[1] ^= 0x80;
  (&firstByte(args, outputWord))[3] ^= 0x80;
  return status;
}

int32_t outside(const void *args) {
  int32_t status = real(args);
  firstByte(args, inputWord) ^= 1;
  return status;
}

int32_t unrepeatable(const void *args) {
  int32_t status = real(args);
  firstByte(args, outputWord) ^= ++calls & 1;
  return status;
}

} // namespace

PhaseFunction withFault(const std::string &fault, PhaseFunction kernel, const PhaseSignature &signature) {
  static const std::map<std::string, PhaseFunction> faults = {{"crash", crash},   {"hang", hang},
                                                              {"wrong", wrong},   {"outside", outside},
                                                              {"refuse", refuse}, {"unrepeatable", unrepeatable}};
  auto found = faults.find(fault);
  if (found == faults.end())
    throw std::invalid_argument("fault: found '" + fault +
                                "'; expected crash, hang, wrong, outside, unrepeatable or refuse");
  real = kernel;
  // The block is its size, the run-time sizes, then address and strides of each tensor (docs/variant.md).
  for (size_t i = signature.tensors.size(); i-- > 0;)
    (signature.tensors[i].access == Access::in ? inputWord : outputWord) = 1 + signature.sizes.size() + 2 * i;
  return found->second;
}

} // namespace tpac::autotune
