// SPDX-License-Identifier: Apache-2.0
//
// Learned factors that kernels know beforehand: the same results and launches as with the factors in each call.

#include "tests/cuda/FakeCuda.h"
#include "tests/unit/runtime/TestFiles.h"
#include "tpac/pack.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <vector>

using namespace tpac::test;
namespace cuda = tpac::runtime::cuda;

namespace {

constexpr int64_t heads = 3, rank = 2, features = 16, capacity = 256;

/// With caches and tensors of `type`.
std::string variantOf(const std::string &type) {
  return R"({
  "tpac_variant": 1, "name": "bound", "heads": 3,
  "q": {"rank": 2, "head": {"source": "learned"}, "token": [{"source": "contextual", "size": 16}]},
  "k": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "v": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "types": {"activation": ")" +
         type + R"(", "head": ")" + type + R"(", "token": ")" + type + R"(", "output": ")" + type + R"("}
})";
}

struct Tensor {
  const void *data = nullptr;
  const int64_t *strides = nullptr;
};

/// The argument block of decode, as the packs' headers declare it.
struct DecodeArguments {
  int64_t structSize = sizeof(DecodeArguments), tokens = 1, batch = 1, capacity = ::capacity;
  Tensor qHead, qToken, tokenStart, lengths, kHeadCache, kTokenCache, vHeadCache, vTokenCache, out, lse;
  const void *executor = nullptr;
  void *workspace = nullptr;
  int64_t workspaceSize = 0;
};

std::string message(int32_t status) { return tpac_runtime_status_message(status); }

std::vector<float> values(int64_t count, float seed) {
  std::vector<float> result(static_cast<size_t>(count));
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = std::sin(seed * static_cast<float>(i + 1));
  return result;
}

struct Kernels {
  ~Kernels() { tpac_kernels_destroy(handle); }
  void reset() {
    tpac_kernels_destroy(handle);
    handle = nullptr;
  }
  tpac_kernels *handle = nullptr;
};

/// Packs, built once for all tests of the suite.
class RuntimeBinding : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = new TemporaryFolder;
    folder->write("cpu.json", variantOf("f32"));
    folder->write("gpu.json", variantOf("bf16"));
    const std::string root = folder->path().string(), build = "TPAC_PTXAS= " TPAC_TOOL " build " + root;
    for (const std::string &rest :
         {"/cpu.json --target host -o " + root + "/cpu", "/gpu.json --target sm_90a -o " + root + "/gpu"}) {
      const auto built = runCommand(build + rest);
      ASSERT_EQ(built.status, 0) << built.output;
    }
  }
  static void TearDownTestSuite() { delete folder; }

  static void create(const char *name, int32_t type, tpac_kernels **kernels) {
    tpac_pack *pack = nullptr;
    ASSERT_EQ(tpac_pack_open((folder->path() / name).c_str(), &pack), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT);
    tpac_kernels_config config = {};
    config.struct_size = sizeof(config);
    config.device_type = type;
    EXPECT_EQ(tpac_kernels_create(pack, &config, kernels), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT);
    tpac_pack_close(pack);
  }

  static inline TemporaryFolder *folder = nullptr;
};

/// Addresses that the latest launches passed as their first three parameters.
std::vector<std::array<uint64_t, 3>> launched;
void record(const char *, const cuda::LaunchConfiguration &, void **parameters) {
  std::array<uint64_t, 3> first;
  for (size_t i = 0; i < first.size(); ++i)
    std::memcpy(&first[i], parameters[i], sizeof(first[i]));
  launched.push_back(first);
}

} // namespace

TEST_F(RuntimeBinding, computesTheSame) {
  Kernels plain, bound;
  create("cpu", TPAC_CPU, &plain.handle);
  const std::vector<float> qHead = values(rank * heads, 0.7f), other = values(rank * heads, 1.9f),
                           qToken = values(rank * features, 0.3f), kHead = values(capacity * heads, 0.9f),
                           kToken = values(capacity * features, 1.1f), vHead = values(capacity * heads, 1.3f),
                           vToken = values(capacity * features, 1.7f);
  // The same factor, transposed.
  std::vector<float> transposed(qHead.size());
  for (size_t i = 0; i < rank; ++i)
    for (size_t h = 0; h < heads; ++h)
      transposed[h * rank + i] = qHead[i * heads + h];
  std::vector<int64_t> strides = {1, rank};
  tpac_binding binding = {"q_head", transposed.data(), strides.data()};
  ASSERT_EQ(tpac_kernels_bind(plain.handle, &binding, 1, &bound.handle), TPAC_SUCCESS)
      << message(TPAC_INVALID_ARGUMENT);
  // Strides were copied.
  strides = {100000, 100000};
  EXPECT_STREQ(tpac_kernels_target(bound.handle), "host");

  const std::vector<int32_t> start = {0, 1}, lengths = {77};
  auto decode = [&](const tpac_kernels *kernels, const std::vector<float> *factor) {
    std::vector<float> out(heads * features, NAN), lse(heads, NAN);
    DecodeArguments args;
    args.qHead = {factor ? factor->data() : nullptr};
    args.qToken = {qToken.data()};
    args.tokenStart = {start.data()};
    args.lengths = {lengths.data()};
    args.kHeadCache = {kHead.data()};
    args.kTokenCache = {kToken.data()};
    args.vHeadCache = {vHead.data()};
    args.vTokenCache = {vToken.data()};
    args.out = {out.data()};
    args.lse = {lse.data()};
    const int32_t status = tpac_kernels_run(kernels, TPAC_DECODE, &args);
    EXPECT_EQ(status, TPAC_SUCCESS) << message(status);
    EXPECT_EQ(args.qHead.data, factor ? factor->data() : nullptr);
    out.insert(out.end(), lse.begin(), lse.end());
    for (float value : out)
      EXPECT_FALSE(std::isnan(value));
    return out;
  };
  const auto expected = decode(plain.handle, &qHead), expectedOther = decode(plain.handle, &other);
  EXPECT_NE(expected, expectedOther);
  EXPECT_EQ(decode(bound.handle, nullptr), expected);
  // A call's own factor goes first.
  EXPECT_EQ(decode(bound.handle, &other), expectedOther);

  // What was bound lives on by itself, and can be bound again, with nothing more here.
  Kernels again;
  ASSERT_EQ(tpac_kernels_bind(bound.handle, nullptr, 0, &again.handle), TPAC_SUCCESS);
  plain.reset();
  bound.reset();
  EXPECT_EQ(decode(again.handle, nullptr), expected);
  int64_t bytes = 0;
  EXPECT_EQ(tpac_kernels_workspace_size(again.handle, TPAC_DECODE, 1, 1, 1 << 20, &bytes), TPAC_SUCCESS);
  EXPECT_GT(bytes, 0);

  // Blocks are refused as by the kernels below.
  DecodeArguments args;
  args.structSize = 8;
  EXPECT_EQ(tpac_kernels_run(again.handle, TPAC_DECODE, &args), TPAC_INVALID_ARGUMENT);
  EXPECT_NE(
      message(TPAC_INVALID_ARGUMENT).find("args.struct_size is 8; expected the size of the block of phase decode"),
      std::string::npos)
      << message(TPAC_INVALID_ARGUMENT);
  args.structSize = 1 << 20;
  EXPECT_EQ(tpac_kernels_run(again.handle, TPAC_DECODE, &args), TPAC_INVALID_ARGUMENT);
  EXPECT_NE(message(TPAC_INVALID_ARGUMENT).find("expected at most 4096"), std::string::npos);
}

TEST_F(RuntimeBinding, refusesOtherTensors) {
  Kernels kernels;
  create("cpu", TPAC_CPU, &kernels.handle);
  const float data = 0;
  auto refusal = [&](std::vector<tpac_binding> bindings) {
    Kernels bound;
    const int32_t status =
        tpac_kernels_bind(kernels.handle, bindings.data(), static_cast<int64_t>(bindings.size()), &bound.handle);
    EXPECT_EQ(status, TPAC_INVALID_ARGUMENT);
    EXPECT_EQ(bound.handle, nullptr);
    return message(status);
  };
  EXPECT_EQ(refusal({{"q_token", &data, nullptr}}),
            "tpac_kernels_bind: bindings[0].tensor is 'q_token'; expected one of the pack's tensors without run-time "
            "sizes: q_head");
  EXPECT_NE(refusal({{"q", &data, nullptr}}).find("bindings[0].tensor is 'q'; expected"), std::string::npos);
  EXPECT_NE(refusal({{nullptr, &data, nullptr}}).find("bindings[0].tensor is NULL; expected"), std::string::npos);
  EXPECT_EQ(refusal({{"q_head", nullptr, nullptr}}),
            "tpac_kernels_bind: bindings[0].data is NULL; expected the address of q_head");
  EXPECT_NE(
      refusal({{"q_head", &data, nullptr}, {"q_head", &data, nullptr}}).find("bindings[1].tensor is 'q_head', as"),
      std::string::npos);
  tpac_kernels *bound = nullptr;
  EXPECT_EQ(tpac_kernels_bind(nullptr, nullptr, 0, &bound), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_bind(kernels.handle, nullptr, 1, &bound), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_bind(kernels.handle, nullptr, -1, &bound), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_bind(kernels.handle, nullptr, 0, nullptr), TPAC_INVALID_ARGUMENT);
}

TEST_F(RuntimeBinding, passesThemToKernelsOfGpus) {
  void *library = dlopen(TPAC_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
  ASSERT_NE(library, nullptr) << dlerror();
  FakeCuda *fake = reinterpret_cast<decltype(&fake_cuda)>(dlsym(library, "fake_cuda"))();
  *fake = FakeCuda();
  fake->launched = record;
  reinterpret_cast<decltype(&fake_cuda_set_current)>(dlsym(library, "fake_cuda_set_current"))(-1);
  launched.clear();

  Kernels plain, bound;
  create("gpu", TPAC_CUDA, &plain.handle);
  auto address = [](uintptr_t value) { return reinterpret_cast<void *>(value); };
  const int64_t strides[] = {1, 8};
  const tpac_binding binding = {"q_head", address(0x100), strides};
  ASSERT_EQ(tpac_kernels_bind(plain.handle, &binding, 1, &bound.handle), TPAC_SUCCESS)
      << message(TPAC_INVALID_ARGUMENT);
  DecodeArguments args;
  args.qToken = {address(0x200)};
  args.tokenStart = {address(0x600)};
  args.lengths = {address(0x700)};
  args.kHeadCache = args.kTokenCache = args.vHeadCache = args.vTokenCache = {address(0x7000)};
  args.out = {address(0x800)};
  args.lse = {address(0x900)};
  args.workspace = address(0x10000);
  args.workspaceSize = 1 << 30;
  // Without the factor the device's kernels refuse; bound, they get it with its strides.
  EXPECT_EQ(tpac_kernels_launch(plain.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_NE(message(TPAC_INVALID_ARGUMENT).find("args.q_head.data is NULL"), std::string::npos)
      << message(TPAC_INVALID_ARGUMENT);
  plain.reset();
  ASSERT_EQ(tpac_kernels_launch(bound.handle, TPAC_DECODE, &args, nullptr), TPAC_SUCCESS)
      << message(TPAC_INVALID_ARGUMENT);
  ASSERT_FALSE(launched.empty());
  EXPECT_EQ(launched.front(), (std::array<uint64_t, 3>{0x100, 1, 8}));
  // The module goes with the last kernels that share it.
  EXPECT_EQ(fake->modules, 1);
  bound.reset();
  EXPECT_EQ(fake->modules, 0);
}
