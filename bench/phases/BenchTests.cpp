// SPDX-License-Identifier: Apache-2.0
//
// What benchmarks claim about arithmetic and memory, against figures worked out by hand. Nothing is timed.

#include "bench/measure/Arena.h"
#include "bench/measure/Statistics.h"
#include "bench/phases/KernelPasses.h"
#include "bench/phases/Work.h"
#include "bench/phases/Workload.h"

#include "lowering/execute/Executable.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>

using namespace tpac;
using namespace tpac::bench;

namespace {

nlohmann::json config(const std::string &name) {
  std::ifstream file(std::string(TPAC_SOURCE_ROOT "/configs/") + name + ".json");
  return nlohmann::json::parse(file);
}

TEST(Statistics, Median) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_TRUE(std::isnan(median({})));
}

TEST(Work, MultiplyAdds) {
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("mha-32x64"))), 2 * 32 * 64);
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("gqa-32x128-g8"))), 2 * 32 * 128);
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("mla-16"))), 16 * (2 * 512 + 64));
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("t6-decode-32"))), 16 * 64 + 32 * 16 + 32 * 64);
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("t6-medium"))), 6 * 2 * 64 + 47 * 6 * 2 + 47 * 2 * 64);
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(config("t6-medium-kvonly"))), 29 * 2 * 65 + 29 * 2 * 64);
  EXPECT_EQ(prefillMultiplyAdds(Dimensions(config("t6-medium"))), 47 * 128);
  EXPECT_EQ(Dimensions(config("t6-medium-heads-24-47")).heads, 23);
  EXPECT_EQ(Dimensions(config("tpa4-16x2x2")).d, 64);
}

TEST(Work, VisibleTokens) {
  Dimensions causal(config("t6-medium"));
  EXPECT_EQ(visiblePairs(causal, 1, 100), 100);
  EXPECT_EQ(visiblePairs(causal, 4, 4), 10);
  EXPECT_EQ(visiblePairs(causal, 2, 100), 99 + 100);
  EXPECT_EQ(firstVisible(causal, 1, 100), 0);
  Dimensions window = causal;
  window.window = 10;
  EXPECT_EQ(visiblePairs(window, 2, 100), 20);
  EXPECT_EQ(firstVisible(window, 2, 100), 89);
}

TEST(Work, MaterialisedMember) {
  nlohmann::json dense = materialised(config("t6-medium-heads-24-47"));
  EXPECT_EQ(dense["heads"], 23);
  EXPECT_EQ(decodeMultiplyAdds(Dimensions(dense)), 2 * 23 * 64);
  EXPECT_THROW(materialised(config("mla-16")), std::invalid_argument);
}

TEST(Work, CountsMatrixProducts) {
  auto count = [](nlohmann::json variant) { return prefillMatrixMultiplyAdds(Dimensions(variant)); };
  nlohmann::json medium = config("t6-medium");
  EXPECT_EQ(count(medium), 47 * (3 * 64 + 64)) << "two parts of queries and of keys";
  EXPECT_EQ(count(config("t6-decode-32")), 32 * (2 * 64 + 64)) << "keys of one rank as they are";
  EXPECT_EQ(count(config("mha-32x64")), 32 * (2 * 64 + 64));
  medium["query_precision"] = "storage";
  EXPECT_EQ(count(medium), 47 * (64 + 64));
}

struct Case {
  const char *config;
  Phase phase;
  int64_t bytesPerToken; // of the cache alone
  int64_t valueBlock = 0;
  int64_t pageSize = 0;
};

class WorkloadOf : public testing::TestWithParam<Case> {};

// A small workload is laid out, called once per unit, and must count the bytes that MATH's table gives.
TEST_P(WorkloadOf, CountsBytesAndRuns) {
  const auto &[name, phase, bytesPerToken, valueBlock, pageSize] = GetParam();
  Row row{phase, name, config(name), 48, phase == Phase::decode ? 1 : 16, 2, 1, "tpac"};
  CodePath path = valueBlock == 0 ? CodePath::reference : CodePath::fused;
  auto executable = Executable::compile(row.variant.dump(), std::span(&phase, 1), path, "host", valueBlock, pageSize);
  Arena arena;
  ThreadTeam team(1);
  Workload workload(row, executable->signature(phase), arena, team, 1 << 20, 1 << 28);
  ASSERT_GE(workload.units(), 1);
  int64_t streamed = 0;
  std::vector<StreamGroup> groups = workload.streams(0);
  ASSERT_EQ(groups.size(), 3u) << "two requests, and the tensors of tokens";
  for (const StreamGroup &group : groups)
    streamed += streamBytes(group);
  int64_t cache = streamBytes(groups[0]);
  EXPECT_EQ(streamBytes(groups[1]), cache);
  int64_t rows = phase == Phase::append ? 16 : 48;
  EXPECT_EQ(cache, rows * bytesPerToken);
  // Positions, lengths and tables are touched, but too small to be streamed.
  EXPECT_LE(streamed, workload.unitBytes());
  EXPECT_GE(streamed, workload.unitBytes() - 4 * (32 + 3 + 2 + (pageSize ? 2 * 48 / pageSize : 0)));
  for (int64_t unit = 0; unit < workload.units(); ++unit)
    ASSERT_EQ(workload.call(executable->function(phase), unit), 0);
  uint64_t read = 0;
  for (const StreamGroup &group : groups)
    read ^= walkStreams(group, streamWalks()[0], Isa::portable) ^ walkStreams(group, streamWalks()[3], bestIsa());
  EXPECT_EQ(read, 0u) << "two walks over the same data must read the same";
}

// Kernels whose tiles leave the stack get scratch of their own size, whichever ran before.
TEST(KernelPassesOf, GivesEachKernelItsScratch) {
  Row row{Phase::decode, "t6-decode-32", config("t6-decode-32"), 48, 1, 2, 2, "tpac"};
  auto executable = Executable::compile(row.variant.dump(), std::span(&row.phase, 1));
  Arena arena;
  ThreadTeam team(2);
  Workload workload(row, executable->signature(row.phase), arena, team, 1 << 20, 1 << 28);
  KernelPasses passes(workload, team);
  static std::atomic<int> wrong, calls;
  static std::atomic<int64_t> expected;
  Kernel kernel{executable->signature(row.phase),
                [](const void *block) {
                  const auto *words = static_cast<const int64_t *>(block);
                  const int64_t *optional = words + words[0] / 8 - optionalWords;
                  auto *scratch = reinterpret_cast<char *>(optional[scratchWord]);
                  wrong += optional[scratchSizeWord] != expected || (expected != 0) != (scratch != nullptr) ||
                           reinterpret_cast<uintptr_t>(scratch) % 64 != 0;
                  std::fill_n(scratch, expected.load(), '\1');
                  ++calls;
                  return 0;
                },
                [](int32_t) { return std::string(); }};
  for (int64_t bytes : {0, 300032, 64, 1 << 20, 0}) {
    kernel.signature.scratch = expected = bytes;
    passes.run(kernel, 2);
  }
  EXPECT_EQ(calls, 10);
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Configs, WorkloadOf,
    testing::Values(Case{"mha-32x64", Phase::decode, 8192}, Case{"t6-decode-32", Phase::decode, 384},
                    Case{"t6-medium", Phase::decode, 888}, Case{"t6-medium", Phase::prefill, 888},
                    Case{"t6-medium-int8", Phase::append, 632}, Case{"mla-16", Phase::decode, 1152},
                    Case{"t6-decode-32", Phase::decode, 384, 32}, Case{"t6-decode-32", Phase::decode, 384, 0, 16}),
    [](const auto &instance) {
      std::string name = std::string(phaseName(instance.param.phase)) + "_" + instance.param.config;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + (instance.param.valueBlock ? "_in_blocks" : instance.param.pageSize ? "_in_pages" : "");
    });

} // namespace
