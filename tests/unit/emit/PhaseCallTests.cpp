// SPDX-License-Identifier: Apache-2.0
//
// The argument block that PhaseCall lays out, and what it refuses. The called function is a plain C++ one.

#include "lowering/emit/SignatureText.h"
#include "lowering/phases/PhaseCall.h"
#include "tests/unit/emit/TestPack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

namespace tpac::test {

namespace {

const int64_t *seenWords;
int32_t recordWords(const void *args) {
  static int64_t words[17];
  std::memcpy(words, args, sizeof words);
  seenWords = words;
  return 42;
}

PhaseCall mergeCall() { return PhaseCall(testPack().signatures[1]); }

/// What the thrown std::invalid_argument says.
template <typename Action> std::string thrownBy(Action action) {
  try {
    action();
  } catch (const std::invalid_argument &error) {
    return error.what();
  }
  return "nothing was thrown";
}

} // namespace

TEST(PhaseCallTest, laysOutTheArgumentBlock) {
  PhaseCall call = mergeCall();
  call.setSize("tokens", 5);
  float values[5];
  const int64_t strides[] = {9, 1};
  for (const char *name : {"out0", "lse0", "out1", "lse"})
    call.setTensor(name, values);
  call.setTensor("out", &values[2], strides);
  EXPECT_EQ(call.run(recordWords), 42);
  EXPECT_EQ(seenWords[0], 8 * 17);
  EXPECT_EQ(seenWords[1], 5);
  EXPECT_EQ(seenWords[2], static_cast<int64_t>(reinterpret_cast<uintptr_t>(values)));
  EXPECT_EQ(seenWords[3], 0);
  EXPECT_EQ(seenWords[8], static_cast<int64_t>(reinterpret_cast<uintptr_t>(&values[2])));
  EXPECT_NE(seenWords[9], 0);
  EXPECT_EQ(seenWords[11], 0);
  for (size_t word = 12; word < 17; ++word)
    EXPECT_EQ(seenWords[word], 0);
  call.setExecutor(&strides);
  call.setWorkspace(values, 20);
  EXPECT_EQ(call.run(recordWords), 42);
  EXPECT_EQ(seenWords[12], static_cast<int64_t>(reinterpret_cast<uintptr_t>(&strides)));
  EXPECT_EQ(seenWords[13], static_cast<int64_t>(reinterpret_cast<uintptr_t>(values)));
  EXPECT_EQ(seenWords[14], 20);
  call.setScratch(&values[1], 8);
  EXPECT_EQ(call.run(recordWords), 42);
  EXPECT_EQ(seenWords[15], static_cast<int64_t>(reinterpret_cast<uintptr_t>(&values[1])));
  EXPECT_EQ(seenWords[16], 8);
}

TEST(PhaseCallTest, namesWhatIsMissingOrUnknown) {
  PhaseCall call = mergeCall();
  EXPECT_EQ(thrownBy([&] { call.run(recordWords); }), "merge: size 'tokens' was not set");
  EXPECT_EQ(thrownBy([&] { call.shapeOf("out"); }), "the shape of tensor 'out' needs size 'tokens', which was not set");
  call.setSize("tokens", 1);
  EXPECT_EQ(thrownBy([&] { call.run(recordWords); }), "merge: tensor 'out0' was not set");
  EXPECT_EQ(thrownBy([&] { call.setSize("batch", 1); }), "merge has no size 'batch'; its sizes are: tokens");
  EXPECT_EQ(thrownBy([&] { call.setTensor("k_head", nullptr); }),
            "merge has no tensor 'k_head'; its tensors are: out0, lse0, out1, out, lse");
  const int64_t strides[] = {1};
  EXPECT_EQ(thrownBy([&] { call.setTensor("out", nullptr, strides); }),
            "tensor 'out' was given 1 strides; expected 2, or none for a contiguous tensor");
}

TEST(PhaseSignatureTest, namesAndSizesOfElementTypes) {
  EXPECT_EQ(elementTypeName(ElementType::f8E4M3FN), "f8E4M3FN");
  EXPECT_EQ(elementSize(ElementType::f8E4M3FN), 1);
  EXPECT_EQ(elementTypeName(ElementType::bf16), "bf16");
  EXPECT_EQ(elementSize(ElementType::bf16), 2);
  EXPECT_EQ(elementSize(ElementType::f16), 2);
  EXPECT_EQ(elementSize(ElementType::i32), 4);
  EXPECT_EQ(elementSize(ElementType::f64), 8);
  EXPECT_EQ(phaseName(Phase::prefill), "prefill");
}

TEST(PhaseSignatureTest, cachesInBlocksHaveWholeBlocks) {
  PhaseSignature rows = testPack().signatures[0], blocks = rows;
  PhaseTensor &cache = blocks.tensors.back();
  cache.shape = {{"batch", 0}, {"capacity", 0, 32}, {"", 2}, {"", 3}, {"", 32}};
  EXPECT_EQ(storageOf(rows).valueBlock, 0);
  EXPECT_EQ(storageOf(blocks).valueBlock, 32);
  EXPECT_EQ(capacityFor(rows, 33), 33);
  EXPECT_EQ(capacityFor(blocks, 33), 64);
  EXPECT_EQ(capacityFor(blocks, 64), 64);
  EXPECT_EQ(capacityFor(blocks, 0), 0);
  EXPECT_EQ(tensorText(cache), "bf16 [batch, capacity / 32, 2, 3, 32]");
  EXPECT_EQ(cacheBytesPerToken({blocks}).total(), cacheBytesPerToken({rows}).total());
  PhaseCall call(blocks);
  call.setSize("batch", 2);
  call.setSize("capacity", 96);
  EXPECT_EQ(call.shapeOf(cache.name), (std::vector<int64_t>{2, 3, 2, 3, 32}));
}

TEST(PhaseSignatureTest, cachesInPagesHaveWholePages) {
  PhaseSignature rows = testPack().signatures[0], pages = rows;
  pages.sizes.push_back("pages");
  pages.tensors.back().shape = {{"pages", 0}, {"", 3}, {"", 2}, {"", 3}, {"", 32}};
  pages.tensors.push_back({"block_table", ElementType::i32, {{"batch", 0}, {"capacity", 0, 96}}, Access::in, ""});
  EXPECT_EQ(storageOf(rows).pageSize, 0);
  EXPECT_EQ(storageOf(pages).pageSize, 96);
  EXPECT_EQ(storageOf(pages).valueBlock, 32);
  EXPECT_EQ(storageOf(std::vector{rows, pages}).pageSize, 96);
  EXPECT_FALSE(isCache(pages.tensors.back()));
  EXPECT_EQ(capacityFor(pages, 97), 192);
  EXPECT_EQ(capacityFor(pages, 96), 96);
  EXPECT_EQ(cacheBytesPerToken({pages}).total(), cacheBytesPerToken({rows}).total());
  PhaseCall call(pages);
  call.setSize("batch", 2);
  call.setSize("capacity", 192);
  EXPECT_EQ(call.shapeOf("block_table"), (std::vector<int64_t>{2, 2}));
}

} // namespace tpac::test
