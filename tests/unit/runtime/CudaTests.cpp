// SPDX-License-Identifier: Apache-2.0
//
// What launches of GPU kernels pass, from whichever thread and context.

#include "tests/unit/runtime/CudaFixture.h"

#include <thread>

using namespace tpac::test;

namespace {
using Values = std::vector<uint64_t>;
} // namespace

TEST_F(RuntimeCuda, passesWhatKernelsTake) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT) << message(TPAC_DEVICE_ERROR);
  EXPECT_STREQ(tpac_kernels_target(kernels.handle), "sm_90a (PTX)");
  auto *stream = reinterpret_cast<void *>(0x77);

  const int64_t strides[] = {500, 1, 2};
  AppendArguments append = appendArguments();
  append.kToken.strides = strides;
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_APPEND, &append, stream), TPAC_SUCCESS);
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches[0].kernel, "append");
  EXPECT_EQ(launches[0].blocks, 5u);
  EXPECT_EQ(launches[0].threads, 128u);
  EXPECT_EQ(launches[0].stream, stream);
  EXPECT_FALSE(launches[0].overlaps);
  EXPECT_EQ(launches[0].parameters, (Values{0x100, 6,     3,  1,  0x200, 500,   1,     2,     0x300,        3, 3,
                                            1,     0x400, 16, 16, 1,     0x500, 0x600, 0x700, cacheAddress, 3, 256}));

  launches.clear();
  const DecodeArguments decode = decodeArguments(2, 2);
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &decode, stream), TPAC_SUCCESS);
  ASSERT_EQ(launches.size(), 2u);
  // Two blocks of 32 tokens in each part, for 2 x 4096; all warps of a thread block merge a row.
  EXPECT_EQ(launches[0].kernel, "decode_parts");
  EXPECT_EQ(launches[0].blocks, 128u);
  EXPECT_FALSE(launches[0].overlaps);
  EXPECT_EQ(launches[1].kernel, "decode_merge");
  EXPECT_EQ(launches[1].blocks, 6u);
  EXPECT_TRUE(launches[1].overlaps);
  for (const Launch &launch : launches)
    EXPECT_EQ(launch.parameters, (Values{0x100, 6,     3,   1,  0x200, 32,    16, 1, 0x500,        0x600,
                                         0x700, 0x800, 48,  16, 1,     0x900, 3,  1, cacheAddress, workspaceAddress,
                                         2,     4096,  128, 8}));

  launches.clear();
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_PREFILL, &decode, nullptr), TPAC_SUCCESS);
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[0].kernel, "prefill_parts");
  EXPECT_EQ(launches[1].kernel, "prefill_merge");
  EXPECT_EQ(launches[1].stream, nullptr);

  launches.clear();
  const MergeArguments merge = {sizeof(merge), 7, {0x100}, {0x200}, {0x300}, {0x400}, {0x500}, {0x600}};
  ASSERT_EQ(tpac_kernels_run(kernels.handle, TPAC_MERGE, &merge), TPAC_SUCCESS);
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches[0].kernel, "merge");
  EXPECT_EQ(launches[0].blocks, 7u);
  EXPECT_EQ(launches[0].parameters,
            (Values{0x100, 48, 16, 1, 0x200, 3, 1, 0x300, 48, 16, 1, 0x400, 3, 1, 0x500, 48, 16, 1, 0x600, 3, 1, 7}));

  for (const auto &[phase, name] : {std::pair(TPAC_IMPORT, "import"), {TPAC_EXPORT, "export"}}) {
    launches.clear();
    const MoveArguments move = {sizeof(move), 1000,    2,        128,      {0x100},  {0x200}, {0x300},
                                {0x400},      {0x700}, {0x7000}, {0x7000}, {0x7000}, {0x7000}};
    ASSERT_EQ(tpac_kernels_launch(kernels.handle, phase, &move, stream), TPAC_SUCCESS) << message(1);
    ASSERT_EQ(launches.size(), 1u);
    EXPECT_EQ(launches[0].kernel, name);
    EXPECT_EQ(launches[0].blocks, 8u * 132);
    EXPECT_EQ(launches[0].parameters,
              (Values{0x100, 6000, 6,     3,     1,  0x200, 32000, 32,    16,           1, 0x300, 3000, 3,
                      3,     1,    0x400, 16000, 16, 16,    1,     0x700, cacheAddress, 2, 128,   1000}));
  }
}

TEST_F(RuntimeCuda, passesBlockTables) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle, "paged"), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT);
  tableParameters = 4;
  auto args = decodeArguments<PagedDecodeArguments>(2, 2);
  args.capacity = 48;
  args.pages = 9;
  args.blockTable = {0xa00};
  const int64_t strides[] = {100, 1};
  args.blockTable.strides = strides;
  auto parameters = [](std::initializer_list<uint64_t> pages) {
    Values values = {0x100, 6, 3, 1, 0x200, 32, 16, 1, 0x500, 0x600, 0x700};
    values.insert(values.end(), pages);
    values.insert(values.end(), {0x800, 48, 16, 1, 0x900, 3, 1, cacheAddress, workspaceAddress, 2, 48, 2, 8});
    return values;
  };
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
  ASSERT_EQ(launches.size(), 2u);
  // Two requests of at most two blocks: a part has one at least.
  EXPECT_EQ(launches[0].blocks, 2u);
  for (const Launch &launch : launches)
    EXPECT_EQ(launch.parameters, parameters({0xa00, 100, 1, 0}));

  // A list in place of the table: a row begins with each of its entries.
  args.pageStarts = {0xb00};
  args.listedPages = 5;
  const int64_t sparse[] = {70, 2};
  const std::pair<const int64_t *, uint64_t> steps[] = {{nullptr, 1}, {sparse, 2}};
  for (const auto &[given, step] : steps) {
    launches.clear();
    args.blockTable.strides = given;
    ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
    ASSERT_EQ(launches.size(), 2u);
    EXPECT_EQ(launches[0].parameters, parameters({0xa00, step, step, 0xb00}));
  }
  auto refused = [&] {
    launches.clear();
    EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
    EXPECT_TRUE(launches.empty());
    return message(TPAC_INVALID_ARGUMENT);
  };
  args.blockTable = {0};
  EXPECT_EQ(refused(), "tpac_kernels_launch: args.block_table.data is NULL; expected an address on the device for i32 "
                       "[batch, capacity / 16]");
  args.listedPages = -1;
  EXPECT_EQ(refused(), "tpac_kernels_launch: args.listed_pages is -1; expected 0 .. 2147483647");
  // No request has any page.
  args.listedPages = 0;
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
  args.blockTable = {0xa00};
  args.pageStarts = {0xb02};
  EXPECT_EQ(refused(), "tpac_kernels_launch: args.page_starts.data is no multiple of 4; expected an address aligned to "
                       "so many bytes for i32 [batch + 1]");
  args.pageStarts = {0xb00, strides};
  EXPECT_EQ(refused(),
            "tpac_kernels_launch: args.page_starts.strides holds 100; expected 1, or NULL, for i32 [batch + 1]");
  args.pageStarts = {};
  args.capacity = 40;
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_launch: args.capacity is 40; expected a multiple of 16, the tokens of a page");
  tpac_cache_layout layout = {};
  layout.struct_size = sizeof(layout);
  ASSERT_EQ(tpac_kernels_cache_layout(kernels.handle, &layout), TPAC_SUCCESS);
  EXPECT_EQ(layout.is_one_piece, 1);
  EXPECT_EQ(layout.page_size, 16);
  EXPECT_EQ(layout.capacity_unit, 16);
  // Head factors of K and V in a chunk of 16 bytes each, token factors of 2 and 1 ranks.
  EXPECT_EQ(layout.token_bytes, 16 + 2 * 32 + 16 + 32);
  EXPECT_EQ(layout.planes, 1);
}

TEST_F(RuntimeCuda, takesKernelsForTheMeanNumberOfQueries) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  const std::tuple<int64_t, int64_t, const char *> expected[] = {
      {1, 1, "decode_parts"},    {16, 16, "decode_parts"},  {17, 16, "decode_parts_q2"},
      {4, 1, "decode_parts_q4"}, {8, 1, "decode_parts_q8"}, {900, 3, "decode_parts_q8"}};
  for (const auto &[tokens, batch, kernel] : expected) {
    launches.clear();
    const DecodeArguments args = decodeArguments(tokens, batch);
    ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
    EXPECT_EQ(launches[0].kernel, kernel);
  }
  // Parts begin and end with whole items where that costs little: 128 of 132 for 16 items, 132 for 100.
  for (const auto &[batch, parts] : {std::pair(16, 128u), {100, 132u}, {1000, 132u}}) {
    launches.clear();
    const DecodeArguments args = decodeArguments(batch, batch);
    ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
    EXPECT_EQ(launches[0].blocks, parts) << batch;
    EXPECT_EQ(launches[0].parameters[22], parts);
  }
  // Nothing to compute is nothing to launch.
  launches.clear();
  for (const auto &[tokens, batch] : {std::pair(0, 1), {0, 0}}) {
    const DecodeArguments args = decodeArguments(tokens, batch);
    EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
  }
  EXPECT_TRUE(launches.empty());
}

TEST_F(RuntimeCuda, saysHowMuchWorkspaceCallsNeed) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  auto bytesFor = [&](int64_t tokens, int64_t batch) {
    int64_t bytes = -1;
    EXPECT_EQ(tpac_kernels_workspace_size(kernels.handle, TPAC_DECODE, tokens, batch, 4096, &bytes), TPAC_SUCCESS);
    return bytes;
  };
  // A size that is enough for many requests is enough for fewer, and for all tokens of one of them.
  int64_t largest = 0;
  for (int64_t batch = 0; batch <= 40; ++batch)
    for (int64_t tokens = 0; tokens <= 40; ++tokens) {
      const int64_t bytes = bytesFor(tokens, batch);
      if (tokens > 0)
        EXPECT_GE(bytes, bytesFor(tokens - 1, batch));
      largest = std::max(largest, bytes);
      DecodeArguments args = decodeArguments(tokens, batch);
      args.workspaceSize = bytes;
      EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
    }
  EXPECT_EQ(largest, bytesFor(40, 40));
  EXPECT_EQ(bytesFor(-1, 1), 0);
  int64_t bytes = -1;
  EXPECT_EQ(tpac_kernels_workspace_size(kernels.handle, TPAC_APPEND, 1, 1, 1, &bytes), TPAC_SUCCESS);
  EXPECT_EQ(bytes, 0);
}

TEST_F(RuntimeCuda, dividesRequestsIntoPartsOfAFixedSize) {
  Kernels even, fixed;
  ASSERT_EQ(create(&even.handle), TPAC_SUCCESS);
  // Blocks have 32 tokens: 65 are three.
  ASSERT_EQ(create(&fixed.handle, "pack", TPAC_CUDA, 0, /*partTokens=*/65), TPAC_SUCCESS) << message(1);
  constexpr int64_t size = 22, blocks = -3;
  auto workspace = [&](const Kernels &kernels, int64_t batch) {
    int64_t bytes = 0;
    EXPECT_EQ(tpac_kernels_workspace_size(kernels.handle, TPAC_DECODE, batch, batch, 4096, &bytes), TPAC_SUCCESS);
    return bytes;
  };
  for (const auto &[tokens, batch] : {std::pair(1, 1), {16, 16}, {17, 16}, {900, 3}, {2000, 2000}}) {
    launches.clear();
    DecodeArguments args = decodeArguments(tokens, batch);
    ASSERT_EQ(tpac_kernels_launch(fixed.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
    ASSERT_EQ(launches.size(), 2u);
    // The same kernel and the same parts, whatever the call has.
    EXPECT_EQ(launches[0].kernel, "decode_parts");
    EXPECT_EQ(launches[1].kernel, "decode_merge");
    for (const Launch &launch : launches) {
      EXPECT_EQ(static_cast<int64_t>(launch.parameters[size]), blocks);
      EXPECT_EQ(launch.parameters[size + 1], 8u);
    }
    EXPECT_LE(launches[0].blocks, 132u);
  }
  // A record for each part of 96 of the capacity's 4096 tokens, and for each query token.
  const int64_t recordBytes = workspace(even, 101) - workspace(even, 100);
  EXPECT_EQ(workspace(fixed, 101) - workspace(fixed, 100), 43 * recordBytes);
  DecodeArguments args = decodeArguments(16, 16);
  args.workspaceSize = workspace(fixed, 16);
  EXPECT_EQ(tpac_kernels_launch(fixed.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
  // A record: 3 heads with 16 features and an LSE each, in whole pieces of 16 bytes.
  args.workspaceSize = 16 * 43 * 208 - 1;
  EXPECT_EQ(tpac_kernels_launch(fixed.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT), "tpac_kernels_launch: args.workspace_size is 143103; expected at least "
                                            "143104, as tpac_kernels_workspace_size says");

  tpac_kernels *refused = nullptr;
  EXPECT_EQ(create(&refused, "pack", TPAC_CUDA, 0, -1), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT), "tpac_kernels_create: config.part_tokens is -1; expected 0 .. 2147483647");
  EXPECT_EQ(create(&refused, "pack", TPAC_CPU, 0, 64), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_create: config.part_tokens is 64; expected 0, since parts of a fixed size are for GPUs");
}

TEST_F(RuntimeCuda, acceptsConfigurationsOfTheFirstVersion) {
  tpac_pack *pack = nullptr;
  ASSERT_EQ(tpac_pack_open(path("pack").c_str(), &pack), TPAC_SUCCESS);
  // Without part_tokens, which is then 0 whatever stands there.
  tpac_kernels_config config = {16, TPAC_CUDA, 0, -1};
  Kernels kernels;
  EXPECT_EQ(tpac_kernels_create(pack, &config, &kernels.handle), TPAC_SUCCESS) << message(1);
  config.struct_size = 8;
  tpac_kernels *refused = nullptr;
  EXPECT_EQ(tpac_kernels_create(pack, &config, &refused), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_create: config.struct_size is 8; expected sizeof(tpac_kernels_config), which is 24");
  tpac_pack_close(pack);
}

TEST_F(RuntimeCuda, usesTheCallersContext) {
  setCurrent(1);
  tpac_kernels *refused = nullptr;
  EXPECT_EQ(create(&refused), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(
      message(TPAC_INVALID_ARGUMENT),
      "tpac_kernels_create: config.device is 0, and the calling thread's current context is of device 1; expected "
      "the same");
  EXPECT_EQ(create(&refused, "pack", TPAC_CUDA, 2), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_create: config.device is 2; expected one of the 2 CUDA devices of this machine, counted from "
            "0");
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle, "pack", TPAC_CUDA, 1), TPAC_SUCCESS);
  EXPECT_EQ(fake->retained, 0);
  const DecodeArguments args = decodeArguments(1, 1);
  // Whatever context the calling thread has, it has afterwards.
  setCurrent(0);
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
  std::thread([&] {
    EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
  }).join();
  EXPECT_EQ(launches.size(), 4u);
  EXPECT_EQ(fake->pushed, 0);
}

TEST_F(RuntimeCuda, launchesFromManyThreads) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  fake->launched = nullptr;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const DecodeArguments args = decodeArguments(i + 1, 1);
      setCurrent(0);
      for (int call = 0; call < 100; ++call)
        EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
    });
  for (std::thread &thread : threads)
    thread.join();
}
