// SPDX-License-Identifier: Apache-2.0
//
// Kernels for GPUs without a GPU: which image is chosen, what launches pass, what is refused, and what becomes of the
// driver's errors.

#include "runtime/cuda/DeviceCode.h"
#include "tests/unit/runtime/FakeCuda.h"
#include "tests/unit/runtime/TestFiles.h"
#include "tpac/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

namespace fs = std::filesystem;
using namespace tpac::test;
using namespace tpac::runtime;

namespace {

const char *variant = R"({
  "tpac_variant": 1, "name": "gpu-test", "heads": 3,
  "q": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "k": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "v": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "rope": {"d_rot": 16},
  "types": {"activation": "bf16", "head": "bf16", "token": "bf16", "output": "bf16"}
})";

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
  int64_t structSize, tokens, batch, capacity, pages;
  Tensor qHead, qToken, positions, tokenStart, lengths, blockTable, kHeadCache, kTokenCache, vHeadCache, vTokenCache,
      out, lse;
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

constexpr uint64_t cacheAddress = 0x7000, workspaceAddress = 0x10000;
constexpr int64_t largeWorkspace = 1 << 30;

AppendArguments appendArguments() {
  AppendArguments args = {sizeof(args), 5,       3,       256,      {0x100},  {0x200},  {0x300}, {0x400},
                          {0x500},      {0x600}, {0x700}, {0x7000}, {0x7000}, {0x7000}, {0x7000}};
  return args;
}
DecodeArguments decodeArguments(int64_t tokens, int64_t batch) {
  return {sizeof(DecodeArguments),
          tokens,
          batch,
          4096,
          {0x100},
          {0x200},
          {0x500},
          {0x600},
          {0x700},
          {0x7000},
          {0x7000},
          {0x7000},
          {0x7000},
          {0x800},
          {0x900},
          0,
          workspaceAddress,
          largeWorkspace};
}

struct Launch {
  std::string kernel;
  unsigned blocks, threads, sharedBytes;
  void *stream;
  bool overlaps;
  std::vector<uint64_t> parameters;
};

std::vector<Launch> launches;
/// Parameters that kernels take, by the names that they begin with.
size_t parametersOf(const std::string &kernel) {
  const std::pair<const char *, size_t> counts[] = {
      {"append", 4 * 4 + 3 + 1 + 2}, {"merge", 4 + 3 + 4 + 3 + 4 + 3 + 1}, {"import", 4 * 5 + 1 + 1 + 3},
      {"export", 4 * 5 + 1 + 1 + 3}, {"decode", 2 * 4 + 3 + 4 + 3 + 6},    {"prefill", 2 * 4 + 3 + 4 + 3 + 6}};
  for (const auto &[name, count] : counts)
    if (kernel.starts_with(name))
      return count;
  ADD_FAILURE() << kernel;
  return 0;
}
size_t tableParameters = 0;

void record(const char *kernel, const cuda::LaunchConfiguration &configuration, void **parameters) {
  Launch launch = {kernel,
                   configuration.grid[0],
                   configuration.block[0],
                   configuration.sharedBytes,
                   configuration.stream,
                   configuration.attributeCount == 1 &&
                       configuration.attributes->id == cuda::programmaticStreamSerialization &&
                       configuration.attributes->value.number == 1,
                   {}};
  EXPECT_EQ(configuration.grid[1] * configuration.grid[2] * configuration.block[1] * configuration.block[2], 1u);
  for (size_t i = 0; i < parametersOf(kernel) + tableParameters; ++i) {
    uint64_t value;
    std::memcpy(&value, parameters[i], sizeof(value));
    launch.parameters.push_back(value);
  }
  launches.push_back(std::move(launch));
}

std::string message(int32_t status) { return tpac_runtime_status_message(status); }

/// A pack, built once for all tests of the suite, and the fake driver, which the library finds by its name because it
/// is loaded already.
class RuntimeCuda : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = new TemporaryFolder;
    folder->write("variant.json", variant);
    const std::string root = folder->path().string(),
                      build = "TPAC_PTXAS= " TPAC_TOOL " build " + root + "/variant.json";
    for (const std::string &rest : {" --target host --target sm_90a -o " + root + "/pack",
                                    " --target sm_90a --page-size 16 -o " + root + "/paged"}) {
      const auto built = runCommand(build + rest);
      ASSERT_EQ(built.status, 0) << built.output;
    }
    void *library = dlopen(TPAC_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
    ASSERT_NE(library, nullptr) << dlerror();
    fake = reinterpret_cast<decltype(&fake_cuda)>(dlsym(library, "fake_cuda"))();
    setCurrent = reinterpret_cast<decltype(&fake_cuda_set_current)>(dlsym(library, "fake_cuda_set_current"));
  }
  static void TearDownTestSuite() { delete folder; }

  void SetUp() override {
    *fake = FakeCuda();
    fake->launched = record;
    setCurrent(-1);
    launches.clear();
    tableParameters = 0;
  }
  void TearDown() override {
    EXPECT_EQ(fake->modules, 0);
    EXPECT_EQ(fake->retained, 0);
    EXPECT_EQ(fake->pushed, 0);
  }

  static std::string path(const std::string &name) { return (folder->path() / name).string(); }
  static std::string textOf(const std::string &name) {
    std::ifstream stream(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  static int32_t create(tpac_kernels **kernels, const char *name = "pack", int32_t type = TPAC_CUDA,
                        int32_t device = 0) {
    tpac_pack *pack = nullptr;
    EXPECT_EQ(tpac_pack_open(path(name).c_str(), &pack), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT);
    const tpac_kernels_config config = {sizeof(config), type, device};
    const int32_t status = tpac_kernels_create(pack, &config, kernels);
    // What was made from it goes on.
    tpac_pack_close(pack);
    return status;
  }

  static inline TemporaryFolder *folder = nullptr;
  static inline FakeCuda *fake = nullptr;
  static inline decltype(&fake_cuda_set_current) setCurrent = nullptr;
};

/// Kernels that end with the scope.
struct Kernels {
  ~Kernels() { tpac_kernels_destroy(handle); }
  tpac_kernels *handle = nullptr;
};

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
  tableParameters = 3;
  PagedDecodeArguments args = {sizeof(args),
                               2,
                               2,
                               48,
                               9,
                               {0x100},
                               {0x200},
                               {0x500},
                               {0x600},
                               {0x700},
                               {0xa00},
                               {0x7000},
                               {0x7000},
                               {0x7000},
                               {0x7000},
                               {0x800},
                               {0x900},
                               0,
                               workspaceAddress,
                               largeWorkspace};
  const int64_t strides[] = {100, 1};
  args.blockTable.strides = strides;
  ASSERT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS) << message(1);
  ASSERT_EQ(launches.size(), 2u);
  // Two requests of at most two blocks: a part has one at least.
  EXPECT_EQ(launches[0].blocks, 2u);
  EXPECT_EQ(launches[0].parameters, (Values{0x100,
                                            6,
                                            3,
                                            1,
                                            0x200,
                                            32,
                                            16,
                                            1,
                                            0x500,
                                            0x600,
                                            0x700,
                                            0xa00,
                                            100,
                                            1,
                                            0x800,
                                            48,
                                            16,
                                            1,
                                            0x900,
                                            3,
                                            1,
                                            cacheAddress,
                                            workspaceAddress,
                                            2,
                                            48,
                                            2,
                                            8}));
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

TEST_F(RuntimeCuda, refusesWhatKernelsCannotRead) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  const int64_t far[] = {48, int64_t(1) << 31, 1}, negative[] = {48, -16, 1}, row[] = {16, 1}, two[] = {2};
  const std::pair<std::function<void(DecodeArguments &)>, const char *> cases[] = {
      {[](auto &a) { a.structSize = 16; },
       "args.struct_size is 16; expected the size of the block of phase decode, at least 208"},
      {[](auto &a) { a.tokens = -1; }, "args.tokens is -1; expected 0 .. 2147483647"},
      {[](auto &a) { a.batch = int64_t(1) << 31; }, "args.batch is 2147483648; expected 0 .. 2147483647"},
      {[](auto &a) { a.capacity = 100; },
       "args.capacity is 100; expected a multiple of 128, as kernels for GPUs need it"},
      {[](auto &a) { a.out.data = 0; },
       "args.out.data is NULL; expected an address on the device for bf16 [tokens, 3, 16]"},
      {[](auto &a) { a.lse.data = 0x902; },
       "args.lse.data is no multiple of 4; expected an address aligned to so many bytes for f32 [tokens, 3]"},
      {[&](auto &a) { a.qToken.strides = negative; },
       "args.q_token.strides holds -16 for dimension 1; expected 0 or more for each dimension, or NULL, for bf16 "
       "[tokens, 2, 16]"},
      {[&](auto &a) { a.out.strides = far; }, "args.out.strides holds 2147483648 for dimension 1; expected elements of "
                                              "one token less than 2^31 apart for bf16 "
                                              "[tokens, 3, 16]"},
      {[&](auto &a) { a.lengths.strides = two; }, "args.lengths.strides holds 2; expected 1, or NULL, for i32 [batch]"},
      {[](auto &a) { a.kHeadCache.data = 0x7008; }, "args.k_head_cache.data is no multiple of 16"},
      {[](auto &a) { a.vTokenCache.data = 0x8000; },
       "args.v_token_cache.data differs from that of k_head_cache; expected the address of the one cache"},
      {[&](auto &a) { a.kTokenCache.strides = row; },
       "args.k_token_cache.strides is given; expected NULL, since caches on GPUs have a layout of their own"},
      {[](auto &a) { a.workspace = 0; }, "args.workspace is NULL; expected "},
      {[](auto &a) { a.structSize -= 16; }, "args.workspace is NULL; expected "},
      {[](auto &a) { a.workspace += 32; }, "args.workspace is no multiple of 64"},
      {[](auto &a) { a.workspaceSize = 100; }, "args.workspace_size is 100; expected at least "},
  };
  for (const auto &[change, expected] : cases) {
    DecodeArguments args = decodeArguments(2, 2);
    change(args);
    EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT) << expected;
    EXPECT_EQ(message(TPAC_INVALID_ARGUMENT).find(std::string("tpac_kernels_launch: ") + expected), 0u)
        << message(TPAC_INVALID_ARGUMENT);
  }
  EXPECT_TRUE(launches.empty());
  const DecodeArguments args = decodeArguments(2, 2);
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, 6, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_launch(nullptr, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, nullptr, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_cache_layout(kernels.handle, nullptr), TPAC_INVALID_ARGUMENT);

  Kernels cpu;
  ASSERT_EQ(create(&cpu.handle, "pack", TPAC_CPU), TPAC_SUCCESS);
  EXPECT_EQ(tpac_kernels_launch(cpu.handle, TPAC_IMPORT, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT), "tpac_kernels_launch: the pack has no phase import for CPUs");
  EXPECT_EQ(tpac_kernels_launch(cpu.handle, TPAC_DECODE, &args, &cpu), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_launch: stream is given; expected NULL on a CPU, which has no streams");
  EXPECT_EQ(create(&cpu.handle, "paged", TPAC_CPU), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_create: the pack has no kernels for CPUs; it is for GPUs alone");
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

TEST_F(RuntimeCuda, choosesImagesByCapability) {
  auto chosen = [&](int capability, int sharedBytes) {
    fake->capability = capability;
    fake->sharedBytes = sharedBytes;
    Kernels kernels;
    const int32_t status = create(&kernels.handle);
    return status == TPAC_SUCCESS ? tpac_kernels_target(kernels.handle) : message(status);
  };
  EXPECT_EQ(chosen(90, 227 * 1024), "sm_90a (PTX)");
  EXPECT_NE(std::string(fake->image).find(".target sm_90a"), std::string::npos) << fake->image;
  // Later and earlier GPUs, also those with little shared memory, compile the PTX that stands for all.
  for (int capability : {80, 86, 89, 100, 120}) {
    EXPECT_EQ(chosen(capability, 99 * 1024), "sm_80 (PTX)") << capability;
  }
  EXPECT_EQ(chosen(75, 64 * 1024),
            "tpac_kernels_create: Fake GPU 0, compute capability 7.5, runs none of the pack's images; "
            "gpu/gpu_test.sm_90a.ptx (sm_90a) is for that architecture alone; gpu/gpu_test.ptx (sm_80) is for newer "
            "GPUs");
}

TEST(DeviceCode, prefersWhatIsClosest) {
  GpuPart part;
  auto add = [&](const char *target, bool isCubin, int64_t sharedBytes) {
    GpuKernel kernel = {"decode_parts", Grid::parts, 128, sharedBytes, false, {}};
    GpuPhase phase;
    phase.kernels.push_back(kernel);
    part.images.push_back({target, isCubin, std::string(target) + (isCubin ? ".cubin" : ".ptx"), {phase}});
  };
  add("sm_80", true, 160 << 10);
  add("sm_80", false, 90 << 10);
  add("sm_86", true, 90 << 10);
  add("sm_90a", true, 200 << 10);
  add("sm_120a", false, 90 << 10);
  auto chosen = [&](int capability, int64_t sharedKib) {
    return cuda::chooseImage(part, {"GPU", capability, 100, sharedKib << 10}).image->file;
  };
  EXPECT_EQ(chosen(80, 163), "sm_80.cubin");
  EXPECT_EQ(chosen(86, 99), "sm_86.cubin");
  EXPECT_EQ(chosen(87, 163), "sm_86.cubin");
  EXPECT_EQ(chosen(89, 99), "sm_86.cubin");
  EXPECT_EQ(chosen(90, 227), "sm_90a.cubin");
  EXPECT_EQ(chosen(100, 227), "sm_80.ptx");
  EXPECT_EQ(chosen(103, 227), "sm_80.ptx");
  EXPECT_EQ(chosen(120, 99), "sm_120a.ptx");
  EXPECT_EQ(chosen(121, 99), "sm_80.ptx");
  const std::string reason = cuda::chooseImage(part, {"GPU", 100, 100, 227 << 10}).reason;
  EXPECT_EQ(reason.find("PTX, which the driver compiles"), 0u) << reason;
  EXPECT_NE(reason.find("sm_90a.cubin (sm_90a) is for that architecture alone"), std::string::npos) << reason;
  EXPECT_THROW(chosen(80, 48), std::runtime_error);
}

TEST_F(RuntimeCuda, reportsEachFailureOfTheDriver) {
  auto expectFailure = [&](int32_t status, const std::string &call) {
    EXPECT_EQ(status, TPAC_DEVICE_ERROR) << call;
    const std::string text = message(TPAC_DEVICE_ERROR);
    EXPECT_NE(text.find(call), std::string::npos) << text;
    EXPECT_NE(text.find("failed: as the test wants it (999)"), std::string::npos) << text;
  };
  for (const char *call : {"cuDeviceGetCount", "cuDeviceGet", "cuCtxGetCurrent", "cuDevicePrimaryCtxRetain",
                           "cuDeviceGetName", "cuDeviceGetAttribute", "cuCtxPushCurrent", "cuModuleLoadDataEx",
                           "cuModuleGetFunction", "cuFuncSetAttribute"}) {
    fake->failingCall = call;
    tpac_kernels *kernels = nullptr;
    expectFailure(create(&kernels), call);
    EXPECT_EQ(kernels, nullptr);
    if (std::string(call) == "cuModuleLoadDataEx")
      EXPECT_NE(message(TPAC_DEVICE_ERROR).find("gpu/gpu_test.sm_90a.ptx"), std::string::npos);
    if (std::string(call) == "cuModuleLoadDataEx")
      EXPECT_NE(message(TPAC_DEVICE_ERROR).find("line 1: no such thing"), std::string::npos);
    // Nothing stays behind, even where contexts cannot be entered.
    fake->failingCall = nullptr;
    EXPECT_EQ(fake->modules, 0) << call;
    EXPECT_EQ(fake->retained, 0) << call;
    EXPECT_EQ(fake->pushed, 0) << call;
  }
  setCurrent(0);
  fake->failingCall = "cuCtxGetDevice";
  tpac_kernels *refused = nullptr;
  expectFailure(create(&refused), "cuCtxGetDevice");
  setCurrent(-1);
  fake->failingCall = nullptr;
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  const DecodeArguments args = decodeArguments(1, 1);
  for (const char *call : {"cuCtxGetCurrent", "cuCtxPushCurrent", "cuLaunchKernelEx"}) {
    fake->failingCall = call;
    expectFailure(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), call);
  }
  EXPECT_NE(message(TPAC_DEVICE_ERROR).find("decode_parts"), std::string::npos) << message(TPAC_DEVICE_ERROR);
  fake->failingCall = nullptr;
}

TEST_F(RuntimeCuda, refusesManifestsThatNoKernelFits) {
  const std::string manifest = textOf("paged/gpu_test.json");
  runCommand("cp -r " + path("paged") + " " + path("edited"));
  const std::tuple<const char *, const char *, const char *> cases[] = {
      {"\"grid\": \"tokens\"", "\"grid\": \"all\"", "grid is all; expected one of parts, rows, tokens"},
      {"\"threads\": 128", "\"threads\": 0", "threads is 0; expected 1 .. 1024"},
      {"\"warps_of_row\"", "\"warp\"", "parameters[] is warp; expected one of cache, workspace"},
      {"\"kind\": \"ptx\"", "\"kind\": \"sass\"", "kind is sass; expected one of cubin, ptx"},
      {"\"target\": \"sm_90a\",\n        \"kind\"", "\"target\": \"gfx90a\",\n        \"kind\"",
       "target is gfx90a; expected a name as sm_80 or sm_90a"},
      {"\"file\": \"gpu/", "\"file\": \"cpu/", "expected one of files"},
      {"\"record_bytes\"", "\"record\"", "record_bytes is missing"},
      {"\"moves\"", "\"movers\"", "gpu.moves is missing"},
      {"\"row_bytes\": 128", "\"row_bytes\": \"128\"", "gpu.cache.row_bytes is \"128\", which is of the wrong type"},
  };
  for (const auto &[from, to, expected] : cases) {
    std::string text = manifest;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, std::strlen(from), to);
    folder->write("edited/gpu_test.json", text);
    tpac_pack *pack = nullptr;
    EXPECT_EQ(tpac_pack_open(path("edited").c_str(), &pack), TPAC_INVALID_ARGUMENT) << expected;
    EXPECT_NE(message(TPAC_INVALID_ARGUMENT).find(expected), std::string::npos) << message(TPAC_INVALID_ARGUMENT);
  }
}

/// What the test below does in processes of their own.
TEST(RuntimeCudaChild, DISABLED_opensThePack) {
  tpac_pack *pack = nullptr;
  ASSERT_EQ(tpac_pack_open(std::getenv("TPAC_TEST_PACK"), &pack), TPAC_SUCCESS);
  for (const int32_t type : {TPAC_CPU, TPAC_CUDA}) {
    const tpac_kernels_config config = {sizeof(config), type, 0};
    tpac_kernels *kernels = nullptr;
    const int32_t status = tpac_kernels_create(pack, &config, &kernels);
    std::printf("status %d: %s\n", status,
                status == TPAC_SUCCESS ? tpac_kernels_target(kernels) : message(status).c_str());
    if (status == TPAC_SUCCESS && type == TPAC_CUDA) {
      const DecodeArguments args = decodeArguments(4, 2);
      EXPECT_EQ(tpac_kernels_launch(kernels, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS);
    }
    if (status == TPAC_SUCCESS && type == TPAC_CPU) {
      const MergeArguments args = {sizeof(args), 0, {8}, {8}, {8}, {8}, {8}, {8}};
      EXPECT_EQ(tpac_kernels_run(kernels, TPAC_MERGE, &args), TPAC_SUCCESS);
    }
    tpac_kernels_destroy(kernels);
  }
  tpac_pack_close(pack);
}

TEST_F(RuntimeCuda, findsTheDriverWhereTheSystemHasIt) {
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  const std::string fakes = fs::path(TPAC_FAKE_CUDA).parent_path().string();
  auto run = [&](const std::string &environment) {
    return runCommand("TPAC_TEST_PACK=" + path("pack") + " " + environment + " " + self +
                      " --gtest_also_run_disabled_tests --gtest_filter=RuntimeCudaChild.*")
        .output;
  };
  auto has = [](const std::string &output, const std::string &text) {
    EXPECT_NE(output.find(text), std::string::npos) << output << "\nexpected: " << text;
  };
  const std::string found = run("TPA_VERBOSE=other,dispatch LD_LIBRARY_PATH=" + fakes);
  has(found, "status 0: sm_90a (PTX)");
  has(found, "tpac: dispatch: gpu_test on the CPU: host, the best of host that CPU and system allow\n");
  has(found, "tpac: dispatch: gpu_test merge (host): tokens 0; the calling thread\n");
  has(found, "tpac: dispatch: gpu_test on Fake GPU 0, compute capability 9.0: gpu/gpu_test.sm_90a.ptx (sm_90a): made "
             "for this very architecture\n");
  has(found, "tpac: dispatch: gpu_test decode (sm_90a (PTX)): tokens 4 batch 2 capacity 4096; decode_parts_q2 in 132 "
             "thread blocks, decode_merge_q2 in 18 thread blocks; for up to 2 query tokens per request, 2 at a time\n");
  EXPECT_EQ(run("LD_LIBRARY_PATH=" + fakes).find("dispatch:"), std::string::npos);
  has(run("FAKE_CUDA_FAILURE=cuInit LD_LIBRARY_PATH=" + fakes),
      "status 5: tpac_kernels_create: cuInit failed: as the test wants it (999)");
  fs::create_directory(path("empty"));
  ASSERT_EQ(runCommand("clang-22 -shared -fPIC -x c /dev/null -o " + path("empty/libcuda.so.1")).status, 0);
  has(run("LD_LIBRARY_PATH=" + path("empty")),
      "status 5: tpac_kernels_create: libcuda.so.1 has no cuInit; expected a driver of CUDA 12 or later");
  // A machine with a driver has it here too.
  if (const std::string absent = run("LD_LIBRARY_PATH=");
      absent.find("status 0: sm") == std::string::npos &&
      absent.find("status 5: tpac_kernels_create: cu") == std::string::npos)
    has(absent, "status 5: tpac_kernels_create: NVIDIA's driver cannot be loaded: libcuda.so.1: ");
}
