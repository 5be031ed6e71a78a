// SPDX-License-Identifier: Apache-2.0
//
// The generated C functions, loaded from a pack's shared library: what they compute with, what they refuse.

#include "lowering/emit/CInterface.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"
#include "lowering/phases/PhaseCall.h"
#include "tests/unit/emit/TestPack.h"

#include "mlir/IR/Diagnostics.h"

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <cmath>
#include <set>

namespace tpac::test {

namespace {

class CInterfaceTest : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    directory = new TemporaryDirectory;
    mlir::MLIRContext context;
    auto module = testModule(context);
    ASSERT_EQ(writePackFor(*module, testPack(), {"host"}, directory->path() / "pack"), "");
    library = dlopen((directory->path() / "pack/lib/libtest_pack_1.so").c_str(), RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
  }
  static void TearDownTestSuite() {
    if (library)
      dlclose(library);
    delete directory;
  }

  static PhaseFunction function(Phase phase) {
    return reinterpret_cast<PhaseFunction>(dlsym(library, functionName("test_pack_1", phase).c_str()));
  }
  static std::string message(int32_t status) {
    auto statusMessage = reinterpret_cast<const char *(*)(int32_t)>(dlsym(library, "test_pack_1_status_message"));
    return statusMessage(status);
  }
  static const PhaseSignature &signature(Phase phase) {
    static const Pack pack = testPack();
    return pack.signatures[phase == Phase::append ? 0 : 1];
  }

  static inline TemporaryDirectory *directory = nullptr;
  static inline void *library = nullptr;
};

/// Valid arguments of a phase as raw words, so that tests can break each of them.
struct RawArguments {
  explicit RawArguments(Phase phase) {
    if (phase == Phase::append)
      words = {8 * 12, 3, 2, 4, word(head), 0, word(start), 0, word(lengths), 0, word(cache), 0};
    else
      words = {8 * 12, 3, word(out0), 0, word(lse0), 0, word(out1), 0, word(out), 0, word(lse), 0};
  }
  template <typename T> static int64_t word(std::vector<T> &values) {
    return static_cast<int64_t>(reinterpret_cast<uintptr_t>(values.data()));
  }

  std::vector<uint16_t> head = std::vector<uint16_t>(3 * 6, 7), cache = std::vector<uint16_t>(2 * 4 * 6);
  std::vector<int32_t> start = {0, 1, 3}, lengths = {3, 1};
  std::vector<float> out0 = std::vector<float>(9, 1), lse0 = std::vector<float>(3, 1), out1 = out0,
                     out = std::vector<float>(9), lse = std::vector<float>(3);
  /// Appends a word to the block.
  void addWord(int64_t value) {
    words.push_back(value);
    words[0] += 8;
  }

  std::vector<int64_t> strides;
  /// context, concurrency, run
  std::vector<int64_t> emptyExecutor = {0, 1, 0};
  std::vector<int64_t> words;
};

/// Makes `check` fail, and no earlier one.
void breakArgument(RawArguments &arguments, const StatusCheck &check, const PhaseSignature &signature) {
  const size_t dataWord = 1 + signature.sizes.size() + 2 * check.index;
  switch (check.kind) {
  case CheckKind::argsNull:
    break;
  case CheckKind::structSize:
    arguments.words[0] -= 8;
    break;
  case CheckKind::sizeRange:
    arguments.words[1 + check.index] = -1;
    break;
  case CheckKind::capacityBlock:
    FAIL() << "the caches of this pack are in no blocks";
  case CheckKind::pageStartsNegative:
  case CheckKind::pageStartsOrder:
  case CheckKind::pageStartsLast:
  case CheckKind::listedLength:
    FAIL() << "the caches of this pack are in no pages";
  case CheckKind::dataNull:
    arguments.words[dataWord] = 0;
    break;
  case CheckKind::dataAlignment:
    arguments.words[dataWord] += 1;
    break;
  case CheckKind::strideNegative:
    // Wrong in the last dimension alone.
    arguments.strides.assign(signature.tensors[check.index].shape.size(), 1);
    arguments.strides.back() = -1;
    arguments.words[dataWord + 1] = RawArguments::word(arguments.strides);
    break;
  case CheckKind::strideOfRow:
    arguments.strides.assign(signature.tensors[check.index].shape.size(), 2);
    arguments.words[dataWord + 1] = RawArguments::word(arguments.strides);
    break;
  case CheckKind::tokenStartNegative:
    arguments.start[0] = -1;
    break;
  case CheckKind::tokenStartOrder:
    arguments.start = {1, 0, 3};
    arguments.words[dataWord] = RawArguments::word(arguments.start);
    break;
  case CheckKind::tokenStartLast:
    arguments.start[2] = 4;
    break;
  case CheckKind::lengthRange:
    arguments.lengths[1] = -1;
    break;
  case CheckKind::appendedLength:
    arguments.lengths[1] = 3;
    break;
  case CheckKind::executorRun:
    arguments.addWord(RawArguments::word(arguments.emptyExecutor));
    break;
  case CheckKind::workspaceAlignment:
  case CheckKind::workspaceSize:
    FAIL() << "the phases of this pack split no caches";
  case CheckKind::scratchAlignment:
  case CheckKind::scratchSize:
    FAIL() << "the phases of this pack have no large tiles";
  }
}

} // namespace

TEST_F(CInterfaceTest, appendsContiguousTensors) {
  PhaseCall call(signature(Phase::append));
  call.setSize("tokens", 3);
  call.setSize("batch", 2);
  call.setSize("capacity", 4);
  std::vector<uint16_t> head(3 * 6), cache(2 * 4 * 6, 999);
  for (size_t index = 0; index < head.size(); ++index)
    head[index] = static_cast<uint16_t>(index);
  std::vector<int32_t> start = {0, 1, 3}, lengths = {3, 1};
  call.setTensor("k_head", head.data());
  call.setTensor("token_start", start.data());
  call.setTensor("lengths", lengths.data());
  call.setTensor("k_head_cache", cache.data());
  EXPECT_EQ(call.shapeOf("k_head_cache"), (std::vector<int64_t>{2, 4, 2, 3}));
  EXPECT_EQ(call.shapeOf("token_start"), (std::vector<int64_t>{3}));

  const int32_t status = call.run(function(Phase::append));
  ASSERT_EQ(status, 0) << message(status);
  std::vector<uint16_t> expected(cache.size(), 999);
  std::copy(head.begin(), head.begin() + 6, expected.begin() + 3 * 6);
  std::copy(head.begin() + 6, head.end(), expected.begin() + (4 + 1) * 6);
  EXPECT_EQ(cache, expected);
}

TEST_F(CInterfaceTest, followsStridesOfEveryTensor) {
  PhaseCall call(signature(Phase::append));
  call.setSize("tokens", 3);
  call.setSize("batch", 2);
  call.setSize("capacity", 4);
  // head is stored [head][rank][token], token_start and lengths with gaps, the cache [slot][batch][...] padded.
  std::vector<uint16_t> head(3 * 2 * 3), cache(4 * 2 * 2 * 8, 999);
  std::vector<int32_t> start = {0, -77, 99, 1, -77, 99, 3}, lengths = {3, -77, 1};
  auto value = [](int64_t token, int64_t rank, int64_t h) {
    return static_cast<uint16_t>(100 * token + 10 * rank + h);
  };
  for (int64_t token = 0; token < 3; ++token)
    for (int64_t rank = 0; rank < 2; ++rank)
      for (int64_t h = 0; h < 3; ++h)
        head[h * 6 + rank * 3 + token] = value(token, rank, h);
  const std::vector<int64_t> headStrides = {1, 3, 6}, startStrides = {3}, lengthStrides = {2},
                             cacheStrides = {16, 32, 8, 1};
  call.setTensor("k_head", head.data(), headStrides);
  call.setTensor("token_start", start.data(), startStrides);
  call.setTensor("lengths", lengths.data(), lengthStrides);
  call.setTensor("k_head_cache", cache.data(), cacheStrides);
  const int32_t status = call.run(function(Phase::append));
  ASSERT_EQ(status, 0) << message(status);

  std::vector<uint16_t> expected(cache.size(), 999);
  const int64_t requests[] = {0, 1, 1}, slots[] = {3, 1, 2};
  for (int64_t token = 0; token < 3; ++token)
    for (int64_t rank = 0; rank < 2; ++rank)
      for (int64_t h = 0; h < 3; ++h)
        expected[requests[token] * 16 + slots[token] * 32 + rank * 8 + h] = value(token, rank, h);
  EXPECT_EQ(cache, expected);

  // The value checks read through the strides as well.
  lengths[2] = 3;
  EXPECT_EQ(message(call.run(function(Phase::append))),
            "test_pack_1_append: the new tokens do not fit the cache; expected lengths[b] + token_start[b + 1] - "
            "token_start[b] <= capacity for each request b");
}

TEST_F(CInterfaceTest, acceptsNoRequestsAndEmptyTensors) {
  PhaseCall call(signature(Phase::append));
  call.setSize("tokens", 0);
  call.setSize("batch", 0);
  call.setSize("capacity", 4);
  int32_t start = 0;
  call.setTensor("k_head", nullptr);
  call.setTensor("token_start", &start);
  call.setTensor("lengths", nullptr);
  call.setTensor("k_head_cache", nullptr);
  const int32_t status = call.run(function(Phase::append));
  EXPECT_EQ(status, 0) << message(status);
}

TEST_F(CInterfaceTest, mergesThroughLibm) {
  RawArguments arguments(Phase::merge);
  ASSERT_EQ(function(Phase::merge)(arguments.words.data()), 0);
  EXPECT_EQ(arguments.out, std::vector<float>(9, 2));
  for (float value : arguments.lse)
    EXPECT_NEAR(value, std::tanh(1.0), 1e-6);
}

TEST_F(CInterfaceTest, acceptsLargerArgumentBlocks) {
  RawArguments arguments(Phase::merge);
  arguments.addWord(0);
  for (size_t word = 1; word <= optionalWords; ++word)
    arguments.addWord(-1);
  EXPECT_EQ(function(Phase::merge)(arguments.words.data()), 0);
}

TEST_F(CInterfaceTest, readsNoWordBehindTheBlock) {
  RawArguments arguments(Phase::merge);
  // No pointer: it would be followed if it were taken for an executor.
  arguments.words.push_back(-1);
  EXPECT_EQ(function(Phase::merge)(arguments.words.data()), 0);
  EXPECT_EQ(arguments.out, std::vector<float>(9, 2));
}

TEST_F(CInterfaceTest, phasesWithoutWorkItemsTakeNoNoticeOfExecutors) {
  static int calls;
  calls = 0;
  struct {
    void *context;
    int32_t concurrency;
    void (*run)(void *, void (*)(void *, int64_t), void *, int64_t);
  } executor = {nullptr, 2, [](void *, void (*)(void *, int64_t), void *, int64_t) { ++calls; }};
  RawArguments arguments(Phase::merge);
  arguments.addWord(static_cast<int64_t>(reinterpret_cast<uintptr_t>(&executor)));
  ASSERT_EQ(function(Phase::merge)(arguments.words.data()), 0);
  EXPECT_EQ(arguments.out, std::vector<float>(9, 2));
  EXPECT_EQ(calls, 0);
}

TEST_F(CInterfaceTest, returnsEveryStatusAndWritesNothing) {
  const Pack pack = testPack();
  const std::vector<std::string> table = statusTable("test_pack_1", pack.signatures);
  std::set<int32_t> returned;
  const auto checks = statusChecks("test_pack_1", pack.signatures);
  for (size_t index = 0; index < checks.size(); ++index) {
    const PhaseSignature &checked = pack.signatures[index];
    for (const StatusCheck &check : checks[index]) {
      RawArguments arguments(checked.phase);
      breakArgument(arguments, check, checked);
      const void *block = check.kind == CheckKind::argsNull ? nullptr : arguments.words.data();
      const int32_t status = function(checked.phase)(block);
      EXPECT_EQ(status, check.status) << check.message << "\nreturned: " << message(status);
      EXPECT_EQ(message(status), check.message);
      EXPECT_EQ(arguments.cache, std::vector<uint16_t>(arguments.cache.size())) << check.message;
      EXPECT_EQ(arguments.out, std::vector<float>(arguments.out.size())) << check.message;
      returned.insert(status);
    }
  }
  EXPECT_EQ(returned.size(), table.size() - 1);
  EXPECT_EQ(*returned.begin(), 1);
  EXPECT_EQ(*returned.rbegin(), static_cast<int32_t>(table.size()) - 1);
}

TEST_F(CInterfaceTest, refusesValuesAboveTheirRange) {
  RawArguments tokens(Phase::merge);
  tokens.words[1] = largestSize + 1;
  EXPECT_EQ(message(function(Phase::merge)(tokens.words.data())),
            "test_pack_1_merge: tokens is out of range; expected 0 .. 2147483647");
  RawArguments lengths(Phase::append);
  lengths.lengths[0] = 5;
  EXPECT_EQ(message(function(Phase::append)(lengths.words.data())),
            "test_pack_1_append: lengths[b] is out of range; expected 0 .. capacity for each request b");
}

TEST_F(CInterfaceTest, statusTextsNameFieldFoundAndAccepted) {
  EXPECT_EQ(message(0), "success");
  EXPECT_EQ(message(-1), unknownStatusText());
  EXPECT_EQ(message(1000000), unknownStatusText());
  RawArguments arguments(Phase::append);
  arguments.words[4] = 0;
  EXPECT_EQ(message(function(Phase::append)(arguments.words.data())),
            "test_pack_1_append: k_head.data is NULL; expected a pointer to bf16 [tokens, 2, 3]");
  EXPECT_EQ(message(function(Phase::append)(nullptr)),
            "test_pack_1_append: args is NULL; expected a pointer to test_pack_1_append_args");
}

namespace {

/// The diagnostics of addCInterface, which is expected to fail.
std::string refusal(mlir::ModuleOp module, llvm::ArrayRef<PhaseSignature> signatures) {
  std::string text;
  mlir::ScopedDiagnosticHandler handler(module.getContext(), [&](mlir::Diagnostic &diagnostic) {
    text += diagnostic.str();
    return mlir::success();
  });
  EXPECT_TRUE(mlir::failed(addCInterface(module, "p", signatures)));
  return text;
}

} // namespace

TEST(AddCInterface, refusesModulesThatDoNotFit) {
  mlir::MLIRContext context;
  const Pack pack = testPack();
  auto empty = lowerToLlvmDialect(context, "module {}");
  EXPECT_NE(refusal(*empty, pack.signatures).find("expected 'llvm.func @append' for the C interface; found none"),
            std::string::npos);

  auto other = lowerToLlvmDialect(context, "func.func @append(%x: memref<?xf32>) { return }");
  EXPECT_NE(refusal(*other, pack.signatures).find("one memref descriptor per tensor of the phase"), std::string::npos);

  auto twice = testModule(context);
  EXPECT_NE(refusal(*twice, {pack.signatures[0], pack.signatures[0]}).find("phase 'append' is listed twice"),
            std::string::npos);

  auto taken = testModule(context);
  ASSERT_TRUE(mlir::succeeded(addCInterface(*taken, "p", pack.signatures)));
  EXPECT_NE(refusal(*taken, pack.signatures).find("has the name of a C function of the pack"), std::string::npos);
}

} // namespace tpac::test
