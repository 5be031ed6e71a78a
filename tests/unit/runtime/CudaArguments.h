// SPDX-License-Identifier: Apache-2.0
//
// Argument blocks of the pack that tests of kernels for GPUs launch.

#ifndef TPAC_TESTS_UNIT_RUNTIME_CUDAARGUMENTS_H
#define TPAC_TESTS_UNIT_RUNTIME_CUDAARGUMENTS_H

#include <cstdint>

namespace tpac::test {

struct Tensor {
  uint64_t data;
  const int64_t *strides = nullptr;
};

/// Argument blocks, as the pack's header declares them. The cache is one piece of memory.
struct AppendArguments {
  int64_t structSize, tokens, batch, capacity;
  Tensor kHead, kToken, vHead, vToken, positions, tokenStart, lengths, kHeadCache, kTokenCache, vHeadCache, vTokenCache;
};
struct DecodeArguments {
  int64_t structSize, tokens, batch, capacity;
  Tensor qHead, qToken, positions, tokenStart, lengths, kHeadCache, kTokenCache, vHeadCache, vTokenCache, out, lse;
  uint64_t executor, workspace;
  int64_t workspaceSize;
};
struct PagedDecodeArguments {
  int64_t structSize, tokens, batch, capacity, pages, listedPages;
  Tensor qHead, qToken, positions, tokenStart, lengths, blockTable, pageStarts, kHeadCache, kTokenCache, vHeadCache,
      vTokenCache, out, lse;
  uint64_t executor, workspace;
  int64_t workspaceSize;
};
struct MergeArguments {
  int64_t structSize, tokens;
  Tensor out0, lse0, out1, lse1, out, lse;
};
struct MoveArguments {
  int64_t structSize, tokens, batch, capacity;
  Tensor kHead, kToken, vHead, vToken, lengths, kHeadCache, kTokenCache, vHeadCache, vTokenCache;
};

inline constexpr uint64_t cacheAddress = 0x7000, workspaceAddress = 0x10000;
inline constexpr int64_t largeWorkspace = 1 << 30;

inline AppendArguments appendArguments() {
  AppendArguments args = {sizeof(args), 5,       3,       256,      {0x100},  {0x200},  {0x300}, {0x400},
                          {0x500},      {0x600}, {0x700}, {0x7000}, {0x7000}, {0x7000}, {0x7000}};
  return args;
}
/// Arguments of decode, with pages or without.
template <typename Arguments = DecodeArguments> Arguments decodeArguments(int64_t tokens, int64_t batch) {
  Arguments args = {};
  args.structSize = sizeof(Arguments);
  args.tokens = tokens;
  args.batch = batch;
  args.capacity = 4096;
  args.qHead = {0x100};
  args.qToken = {0x200};
  args.positions = {0x500};
  args.tokenStart = {0x600};
  args.lengths = {0x700};
  args.kHeadCache = args.kTokenCache = args.vHeadCache = args.vTokenCache = {cacheAddress};
  args.out = {0x800};
  args.lse = {0x900};
  args.workspace = workspaceAddress;
  args.workspaceSize = largeWorkspace;
  return args;
}

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_RUNTIME_CUDAARGUMENTS_H
