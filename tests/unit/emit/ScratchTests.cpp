// SPDX-License-Identifier: Apache-2.0
//
// Tiles in the caller's memory: kernels on threads with small stacks, as many threads as there is scratch for, and what
// is refused.

#include "lowering/execute/Executable.h"
#include "lowering/phases/PhaseCall.h"
#include "tests/unit/emit/TestExecutor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <pthread.h>
#include <random>

using namespace tpac;
using tpac::test::TestExecutor;

namespace {

/// Large enough that its tiles fit no small stack at any level.
constexpr const char *variantJson = R"({
  "tpac_variant": 1, "name": "large", "heads": 64,
  "q": {"rank": 8, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 128}]},
  "k": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 128}]},
  "v": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 128}]},
  "rope": {"d_rot": 128},
  "types": {"activation": "bf16", "head": "bf16", "token": "bf16", "output": "f32", "compute": "f32"}
})";

/// What a thread needs with scratch (docs/cpu.md).
constexpr size_t smallStack = 256 << 10;

/// A call of `phase` and its memory, NaN wherever nothing is read.
class Call {
public:
  Call(Phase phase, const Executable &compiled)
      : phase(phase), compiled(compiled), signature(compiled.signature(phase)), call(signature) {
    const int64_t perRequest = phase == Phase::prefill ? cached : 1;
    starts = {0, static_cast<int32_t>(perRequest), static_cast<int32_t>(2 * perRequest)};
    lengths = {cached, cached};
    call.setSize("tokens", 2 * perRequest);
    call.setSize("batch", 2);
    call.setSize("capacity", capacity);
    std::mt19937 generator(3);
    std::normal_distribution<float> distribution(0, 0.5);
    for (const PhaseTensor &tensor : signature.tensors) {
      if (tensor.elementType == ElementType::i32)
        continue;
      size_t count = 1;
      for (int64_t extent : call.shapeOf(tensor.name))
        count *= static_cast<size_t>(extent);
      std::vector<unsigned char> &bytes = memory[tensor.name];
      bytes.assign(count * static_cast<size_t>(elementSize(tensor.elementType)), 0xff);
      if (tensor.access == Access::in && tensor.elementType == ElementType::bf16)
        for (size_t i = 0; i < count; ++i) {
          const float value = distribution(generator);
          std::memcpy(&bytes[2 * i], reinterpret_cast<const char *>(&value) + 2, 2);
        }
      call.setTensor(tensor.name, bytes.data());
    }
    for (int request = 0; request < 2; ++request)
      for (int64_t i = cached - perRequest; i < cached; ++i)
        positions.push_back(static_cast<int32_t>(i));
    call.setTensor("positions", positions.data());
    call.setTensor("token_start", starts.data());
    call.setTensor("lengths", lengths.data());
  }

  int64_t perThread() const { return signature.scratch; }

  /// The status with scratch of `bytes` bytes, `offset` behind where it may begin; their number 0: without scratch.
  int32_t status(const tpac_executor *executor, int64_t bytes, int64_t offset = 0) {
    lines.assign(static_cast<size_t>(bytes) / 64 + 2, Line());
    std::memset(lines.data(), 0xff, 64 * lines.size());
    call.setExecutor(executor);
    call.setScratch(bytes == 0 ? nullptr : reinterpret_cast<char *>(lines.data()) + offset, bytes);
    return call.run(compiled.function(phase));
  }

  std::string message(int64_t bytes, int64_t offset = 0) {
    return compiled.statusMessage(phase, status(nullptr, bytes, offset));
  }

  /// out and lse; nothing is written behind the scratch.
  std::vector<unsigned char> run(const tpac_executor *executor, int64_t threads) {
    for (const char *name : {"out", "lse"})
      std::ranges::fill(memory[name], 0xff);
    const int32_t failed = status(executor, threads * perThread());
    EXPECT_EQ(failed, 0) << compiled.statusMessage(phase, failed);
    for (unsigned char byte : lines.back().bytes)
      EXPECT_EQ(byte, 0xff);
    std::vector<unsigned char> result = memory["out"];
    result.insert(result.end(), memory["lse"].begin(), memory["lse"].end());
    return result;
  }

private:
  static constexpr int64_t cached = 40, capacity = 64;
  struct alignas(64) Line {
    unsigned char bytes[64];
  };

  Phase phase;
  const Executable &compiled;
  const PhaseSignature &signature;
  PhaseCall call;
  std::map<std::string, std::vector<unsigned char>> memory;
  std::vector<int32_t> starts, lengths, positions;
  std::vector<Line> lines;
};

/// body() on a thread with a stack of `bytes` bytes.
void onStackOf(size_t bytes, std::function<void()> body) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread;
  auto start = [](void *argument) -> void * {
    (*static_cast<std::function<void()> *>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, start, &body), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

class Scratch : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    const Phase phases[] = {Phase::decode, Phase::prefill};
    compiled = Executable::compile(variantJson, phases);
  }
  static void TearDownTestSuite() { compiled.reset(); }
  static std::unique_ptr<Executable> compiled;
};

std::unique_ptr<Executable> Scratch::compiled;

} // namespace

TEST_F(Scratch, kernelsRunOnSmallStacks) {
  for (Phase phase : {Phase::decode, Phase::prefill}) {
    Call call(phase, *compiled);
    if (call.perThread() == 0)
      continue;
    const auto expected = call.run(nullptr, 0);
    std::vector<unsigned char> found;
    onStackOf(smallStack, [&] { found = call.run(nullptr, 1); });
    EXPECT_TRUE(found == expected) << phaseName(phase);
  }
  // Else nothing was shown. Without scratch these tiles would be on the stack.
  EXPECT_GT(compiled->signature(Phase::prefill).scratch, static_cast<int64_t>(smallStack));
}

TEST_F(Scratch, asManyThreadsComputeAsThereIsScratchFor) {
  Call call(Phase::prefill, *compiled);
  const auto expected = call.run(nullptr, 0);
  TestExecutor onStack(3, 1);
  EXPECT_TRUE(call.run(onStack.get(), 0) == expected);
  const int64_t items = onStack.items();
  ASSERT_GT(items, 2);
  for (int64_t threads : {int64_t(1), int64_t(2), items + 5}) {
    TestExecutor executor(3, 2);
    EXPECT_TRUE(call.run(executor.get(), threads) == expected) << threads;
    EXPECT_EQ(executor.items(), std::min(threads, items));
  }
}

TEST_F(Scratch, refusesWhatIsTooSmallOrMisaligned) {
  Call call(Phase::prefill, *compiled);
  const std::string bytes = std::to_string(call.perThread());
  EXPECT_EQ(call.message(call.perThread()), "success");
  EXPECT_EQ(call.message(call.perThread() + 63), "success");
  for (int64_t size : {int64_t(64), call.perThread() - 1})
    EXPECT_EQ(call.message(size),
              "large_prefill: scratch_size is less than " + bytes +
                  "; expected at least that many bytes for each thread that is to compute, or NULL scratch");
  EXPECT_EQ(call.message(call.perThread(), 32),
            "large_prefill: scratch is not aligned; expected a multiple of 64 bytes, or NULL");
}
