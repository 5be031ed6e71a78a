// SPDX-License-Identifier: Apache-2.0
//
// Decode on several threads and in parts: programs under schedules whose parts are short, called through the C
// interface. What attention is, is not tested here: with and without parts must agree, and threads must not matter.

#include "dialect/TPADialect.h"
#include "dialect/json/VariantJson.h"
#include "lowering/cpu/Passes.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/phases/PhaseCall.h"
#include "lowering/reference/Registration.h"
#include "lowering/tile/BuildPrograms.h"
#include "tests/unit/emit/TestExecutor.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>

namespace tpac::test {

namespace {

constexpr int64_t heads = 6, features = 8, split = 16;

constexpr const char *variantJson = R"({
  "tpac_variant": 1, "name": "threads", "heads": 6,
  "q": {"rank": 3, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 8}]},
  "k": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 8}]},
  "v": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 8}]},
  "rope": {"d_rot": 8},
  "types": {"activation": "f32", "head": "f32", "token": "f32", "output": "f32", "compute": "f32"}
})";

template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

/// decode of the variant above, under a schedule of the test.
class Decode {
public:
  Decode(int64_t queries, int64_t headTile, int64_t partTokens, CacheStorage storage = {}) : context(dialects()) {
    auto variant = take(mlir::tpa::readVariant(variantJson, "variant", context));
    auto schedule = mlir::tpa::ScheduleAttr::get(
        &context, /*tokens=*/8, queries, headTile, mlir::tpa::ScoreOrder::merged, mlir::tpa::ValueOrder::factored,
        variant.getTypes().getCompute(), /*query_parts=*/1, partTokens, storage.valueBlock, storage.pageSize);
    if (llvm::Error error = checkSchedule(variant, schedule))
      throw std::runtime_error(llvm::toString(std::move(error)));
    auto module = take(buildPrograms(variant, {{Phase::decode, schedule}}));
    mlir::PassManager passes(&context);
    passes.addPass(mlir::createCanonicalizerPass());
    passes.addPass(mlir::createCSEPass());
    mlir::tpa::buildCpuPipeline(passes, {4, 16});
    if (mlir::failed(passes.run(*module)))
      throw std::runtime_error("the programs cannot be lowered");
    signature = getCompiledSignatures(*module, getPhaseSignature(variant, Phase::decode, storage)).front();
    if (mlir::failed(addCInterface(*module, "p", signature)))
      throw std::runtime_error("the C interface cannot be made");
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    jit = take(llvm::orc::LLJITBuilder().create());
    std::string object = take(emitObject(*module, take(findTarget("host"))));
    if (llvm::Error error = jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "p")))
      throw std::runtime_error(llvm::toString(std::move(error)));
    function = take(jit->lookup("p_decode")).toPtr<PhaseFunction>();
    statusMessage = take(jit->lookup("p_status_message")).toPtr<const char *(*)(int32_t)>();
    if (partTokens > 0)
      workspaceSize = take(jit->lookup("p_decode_workspace_size")).toPtr<int64_t (*)(int64_t, int64_t, int64_t)>();
  }

  bool exports(const std::string &name) {
    auto found = jit->lookup(name);
    if (found)
      return true;
    llvm::consumeError(found.takeError());
    return false;
  }

  static mlir::DialectRegistry dialects() {
    mlir::DialectRegistry registry;
    mlir::tpa::registerReferenceDialects(registry);
    mlir::tpa::registerCpuDialects(registry);
    return registry;
  }

private:
  mlir::MLIRContext context;
  std::unique_ptr<llvm::orc::LLJIT> jit;

public:
  PhaseSignature signature;
  PhaseFunction function = nullptr;
  const char *(*statusMessage)(int32_t) = nullptr;
  int64_t (*workspaceSize)(int64_t, int64_t, int64_t) = nullptr;
};

/// A workspace between guards; its numbers are NaN.
struct Workspace {
  explicit Workspace(int64_t size) : size(size), bytes(static_cast<size_t>(size + 2 * guard + 64), 0xff) {}

  unsigned char *data() {
    auto address = reinterpret_cast<uintptr_t>(bytes.data() + guard);
    return bytes.data() + guard + (64 - address % 64) % 64;
  }
  bool isIntact() {
    return std::all_of(bytes.data(), data(), isPoison) &&
           std::all_of(data() + size, bytes.data() + bytes.size(), isPoison);
  }
  bool isUntouched() { return std::all_of(bytes.begin(), bytes.end(), isPoison); }

  static bool isPoison(unsigned char byte) { return byte == 0xff; }
  static constexpr int64_t guard = 256;
  int64_t size;
  std::vector<unsigned char> bytes;
};

/// Requests with caches of no, one and several parts, on and beside the borders of parts.
struct Requests {
  std::vector<int32_t> queries = {1, 0, 1, 2, 3, 5, 1};
  std::vector<int32_t> lengths = {0, 7, 1, 16, 17, 61, 64};
  int64_t capacity = 70;
};

/// A call and its memory.
class Call {
public:
  Call(const Decode &decode, const Requests &requests) : decode(decode), call(decode.signature) {
    starts = {0};
    for (int32_t queries : requests.queries)
      starts.push_back(starts.back() + queries);
    lengths = requests.lengths;
    tokens = starts.back();
    batch = static_cast<int64_t>(lengths.size());
    capacity = requests.capacity;
    for (size_t request = 0; request < lengths.size(); ++request)
      for (int32_t query = 0; query < requests.queries[request]; ++query)
        positions.push_back(lengths[request] - requests.queries[request] + query);
    call.setSize("tokens", tokens);
    call.setSize("batch", batch);
    call.setSize("capacity", capacity);
    if (storageOf(decode.signature).pageSize != 0)
      call.setSize("pages", largestPool);
    std::mt19937 generator(7);
    std::uniform_real_distribution<float> distribution(-2, 2);
    for (const PhaseTensor &tensor : decode.signature.tensors) {
      if (tensor.elementType == ElementType::i32)
        continue;
      std::vector<int64_t> shape = call.shapeOf(tensor.name);
      int64_t count = 1;
      for (int64_t extent : shape)
        count *= extent;
      std::vector<float> &values = memory[tensor.name];
      values.assign(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
      const int64_t row = tensor.name.ends_with("_cache") ? shape[2] * shape[3] : count;
      // Tests fill pools themselves.
      const bool isFilled = tensor.access == Access::in && (row == count || shape[0] == batch);
      for (int64_t i = 0; i < count && isFilled; ++i)
        // Slots behind the length of a request stay NaN.
        if (row == count || i / row % capacity < lengths[static_cast<size_t>(i / row / capacity)])
          values[static_cast<size_t>(i)] = distribution(generator);
      call.setTensor(tensor.name, values.data());
    }
    call.setTensor("positions", positions.data());
    call.setTensor("token_start", starts.data());
    call.setTensor("lengths", lengths.data());
  }

  /// out and lse behind one another.
  std::vector<float> run(const tpac_executor *executor, Workspace *workspace, PhaseFunction function = nullptr) {
    for (const char *name : {"out", "lse"})
      std::ranges::fill(memory[name], std::numeric_limits<float>::quiet_NaN());
    const int32_t status = statusOf(executor, workspace ? workspace->data() : nullptr, workspace ? workspace->size : 0,
                                    function ? function : decode.function);
    EXPECT_EQ(status, 0) << decode.statusMessage(status);
    std::vector<float> result = memory["out"];
    result.insert(result.end(), memory["lse"].begin(), memory["lse"].end());
    return result;
  }

  int32_t statusOf(const tpac_executor *executor, void *workspace, int64_t workspaceSize, PhaseFunction function) {
    call.setExecutor(executor);
    call.setWorkspace(workspace, workspaceSize);
    return call.run(function);
  }

  /// Pages that a call may have.
  static constexpr int64_t largestPool = 600;

  int64_t neededBytes() const { return decode.workspaceSize(tokens, batch, capacity); }

  const Decode &decode;
  PhaseCall call;
  std::vector<int32_t> starts, lengths, positions;
  std::map<std::string, std::vector<float>> memory;
  int64_t tokens, batch, capacity;
};

bool sameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Largest difference; where one is not finite (lse of rows that see nothing), both must be the same.
double difference(const std::vector<float> &a, const std::vector<float> &b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i])
      largest = std::max(largest, std::isfinite(a[i] - b[i]) ? std::fabs(double(a[i]) - b[i]) : INFINITY);
  return largest;
}

struct Tiles {
  int64_t queries, heads;
};

class WorkItems : public ::testing::TestWithParam<Tiles> {};

TEST_P(WorkItems, partsAgreeWithTheWholeAndThreadsDoNotMatter) {
  const auto [queries, headTile] = GetParam();
  Decode decode(queries, headTile, split);
  ASSERT_EQ(decode.signature.split, split);
  Requests requests;
  Call call(decode, requests);
  int64_t items = 0, parts = 0;
  for (size_t request = 0; request < requests.lengths.size(); ++request) {
    const int64_t tiles = (requests.queries[request] + queries - 1) / queries * ((heads + headTile - 1) / headTile);
    items += tiles;
    parts += tiles * std::max<int64_t>(1, (requests.lengths[request] + split - 1) / split);
  }

  const std::vector<float> whole = call.run(nullptr, nullptr);
  for (float value : whole)
    ASSERT_FALSE(std::isnan(value));
  Workspace alone(call.neededBytes());
  const std::vector<float> inParts = call.run(nullptr, &alone);
  EXPECT_TRUE(alone.isIntact());
  EXPECT_FALSE(alone.isUntouched());
  EXPECT_LT(difference(whole, inParts), 1e-5);
  // Other sums, other roundings: the parts were really computed apart.
  EXPECT_FALSE(sameBits(whole, inParts));

  for (int threads : {1, 2, 3})
    for (unsigned seed : {1u, 2u}) {
      TestExecutor executor(threads, seed);
      EXPECT_TRUE(sameBits(call.run(executor.get(), nullptr), whole)) << threads;
      EXPECT_EQ(executor.runs(), 1);
      EXPECT_EQ(executor.items(), items);
      TestExecutor partExecutor(threads, seed);
      Workspace workspace(call.neededBytes());
      EXPECT_TRUE(sameBits(call.run(partExecutor.get(), &workspace), inParts)) << threads;
      EXPECT_TRUE(workspace.isIntact());
      EXPECT_EQ(partExecutor.runs(), 2);
      EXPECT_EQ(partExecutor.items(), parts + items);
    }
}

/// All shapes; one that has it all (several queries, a last tile that is not full) where TPAC_TEST_EFFORT is quick.
static std::vector<Tiles> testedTiles() {
  const char *effort = std::getenv("TPAC_TEST_EFFORT");
  if (effort && std::string_view(effort) == "quick")
    return {Tiles{2, 4}};
  return {Tiles{1, 6}, Tiles{1, 3}, Tiles{4, 6}, Tiles{2, 4}};
}

INSTANTIATE_TEST_SUITE_P(Tiles, WorkItems, testing::ValuesIn(testedTiles()), [](const auto &info) {
  return "queries" + std::to_string(info.param.queries) + "heads" + std::to_string(info.param.heads);
});

namespace {

/// Decode of two queries, cached token by token and contiguously: what other layouts of the same values give.
struct ByRows {
  explicit ByRows(const Requests &requests) : decode(2, 4, split), call(decode, requests) {
    Workspace workspace(call.neededBytes());
    whole = call.run(nullptr, nullptr);
    inParts = call.run(nullptr, &workspace);
  }

  Decode decode;
  Call call;
  std::vector<float> whole, inParts;
};

} // namespace

/// V's token cache in blocks, longer and shorter than those of the schedule: the same sums, so the same bits.
TEST(WorkItem, readsValuesInBlocks) {
  Requests requests;
  requests.capacity = 80;
  ByRows byRows(requests);
  for (int64_t block : {4, 16}) {
    Decode decode(2, 4, split, {block});
    Call call(decode, requests);
    const std::vector<int64_t> shape = call.call.shapeOf("v_token_cache");
    ASSERT_EQ(shape, (std::vector<int64_t>{call.batch, 80 / block, 2, features, block}));
    for (auto &[name, values] : byRows.call.memory)
      if (name != "v_token_cache")
        call.memory[name].assign(values.begin(), values.end());
    std::vector<float> &blocks = call.memory["v_token_cache"], &tokens = byRows.call.memory["v_token_cache"];
    const int64_t row = 2 * features;
    for (int64_t token = 0; token < call.batch * 80; ++token)
      for (int64_t i = 0; i < row; ++i)
        blocks[static_cast<size_t>((token / block * row + i) * block + token % block)] =
            tokens[static_cast<size_t>(token * row + i)];
    EXPECT_TRUE(sameBits(call.run(nullptr, nullptr), byRows.whole)) << block;
    Workspace workspace(call.neededBytes());
    TestExecutor executor(3, 5);
    EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace), byRows.inParts)) << block;
    call.call.setSize("capacity", 80 + block / 2);
    EXPECT_EQ(std::string(decode.statusMessage(call.statusOf(nullptr, nullptr, 0, decode.function))),
              "p_decode: capacity is not divisible by " + std::to_string(block) + "; expected whole blocks of " +
                  std::to_string(block) + " tokens");
  }
}

/// Caches in pages of any size, in any order, with blocks of V or without: the same sums, so the same bits. Nothing is
/// read of pages and table entries that no request has.
TEST(WorkItem, readsPages) {
  Requests requests;
  requests.capacity = 80;
  ByRows byRows(requests);
  for (CacheStorage storage : {CacheStorage{0, 1}, {0, 5}, {0, 8}, {0, 20}, {4, 40}, {16, 16}}) {
    const int64_t size = storage.pageSize, entries = 80 / size, row = 2 * features;
    Decode decode(2, 4, split, storage);
    Call call(decode, requests);
    std::vector<int32_t> table(static_cast<size_t>(call.batch * entries), 2147480000);
    int32_t next = Call::largestPool - 1;
    for (int64_t request = 0; request < call.batch; ++request)
      for (int64_t i = 0; i * size < call.lengths[static_cast<size_t>(request)]; ++i)
        // Every third page belongs to nobody.
        table[static_cast<size_t>(request * entries + i)] = next -= next % 3 == 1 ? 2 : 1;
    ASSERT_GE(next, 0);
    call.call.setTensor("block_table", table.data());
    for (auto &[name, values] : byRows.call.memory) {
      std::vector<float> &pages = call.memory[name];
      if (!name.ends_with("_cache")) {
        pages.assign(values.begin(), values.end());
        continue;
      }
      const int64_t block = name == "v_token_cache" && storage.valueBlock ? storage.valueBlock : 1;
      const int64_t width = name.ends_with("_head_cache") ? 2 * heads : row;
      for (int64_t request = 0; request < call.batch; ++request)
        for (int64_t token = 0; token < call.lengths[static_cast<size_t>(request)]; ++token)
          for (int64_t i = 0; i < width; ++i) {
            const int64_t page = table[static_cast<size_t>(request * entries + token / size)], slot = token % size;
            pages[static_cast<size_t>(((page * size + slot) / block * width + i) * block + slot % block)] =
                values[static_cast<size_t>((request * 80 + token) * width + i)];
          }
    }
    EXPECT_TRUE(sameBits(call.run(nullptr, nullptr), byRows.whole)) << size;
    Workspace workspace(call.neededBytes());
    TestExecutor executor(3, 5);
    EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace), byRows.inParts)) << size;

    auto refused = [&] {
      return std::string(decode.statusMessage(call.statusOf(nullptr, nullptr, 0, decode.function)));
    };
    // The same pages as a list, of any step.
    std::vector<int32_t> list = {2147480000}, starts = {1};
    for (int64_t request = 0; request < call.batch; ++request) {
      for (int64_t i = 0; i * size < call.lengths[static_cast<size_t>(request)]; ++i)
        list.push_back(table[static_cast<size_t>(request * entries + i)]);
      starts.push_back(static_cast<int32_t>(list.size()));
    }
    const auto listedPages = static_cast<int64_t>(list.size());
    call.call.setTensor("block_table", list.data());
    call.call.setTensor("page_starts", starts.data());
    call.call.setSize("listed_pages", listedPages);
    EXPECT_TRUE(sameBits(call.run(nullptr, nullptr), byRows.whole)) << size;
    TestExecutor listExecutor(3, 5);
    EXPECT_TRUE(sameBits(call.run(listExecutor.get(), &workspace), byRows.inParts)) << size;
    std::vector<int32_t> sparse(2 * list.size(), 2147480000);
    for (size_t i = 0; i < list.size(); ++i)
      sparse[2 * i] = list[i];
    call.call.setTensor("block_table", sparse.data(), std::array<int64_t, 2>{77, 2});
    EXPECT_TRUE(sameBits(call.run(nullptr, nullptr), byRows.whole)) << size;

    call.call.setSize("listed_pages", listedPages - 1);
    EXPECT_EQ(refused(),
              "p_decode: page_starts[batch] exceeds listed_pages; expected at most listed_pages, the numbers "
              "in block_table");
    call.call.setSize("listed_pages", -1);
    EXPECT_EQ(refused(), "p_decode: listed_pages is out of range; expected 0 .. 2147483647");
    call.call.setSize("listed_pages", listedPages);
    std::swap(starts[1], starts[2]);
    EXPECT_EQ(refused(),
              "p_decode: page_starts decreases; expected page_starts[b] <= page_starts[b + 1] for each request b");
    std::swap(starts[1], starts[2]);
    starts[0] = -1;
    EXPECT_EQ(refused(), "p_decode: page_starts[0] is negative; expected 0 or more");
    starts[0] = 1;
    const auto longest = std::ranges::max_element(call.lengths) - call.lengths.begin();
    int32_t &endOfLongest = starts[static_cast<size_t>(longest) + 1];
    endOfLongest -= 1;
    EXPECT_EQ(refused(), "p_decode: the tokens of a request do not fit its listed pages; expected lengths[b] <= " +
                             std::to_string(size) + " (page_starts[b + 1] - page_starts[b]) for each request b");
    endOfLongest += 1;
    call.call.setTensor("page_starts", reinterpret_cast<char *>(starts.data()) + 2);
    EXPECT_EQ(refused(),
              "p_decode: page_starts.data is not aligned; expected a multiple of 4 bytes for i32 [batch + 1]");
    call.call.setTensor("page_starts", nullptr);
    call.call.setSize("listed_pages", 0);

    call.call.setTensor("block_table", nullptr);
    EXPECT_EQ(refused(), "p_decode: block_table.data is NULL; expected a pointer to i32 [batch, capacity" +
                             (size == 1 ? "" : " / " + std::to_string(size)) + "]");
    call.call.setTensor("block_table", table.data());
    call.call.setSize("pages", -1);
    EXPECT_EQ(refused(), "p_decode: pages is out of range; expected 0 .. 2147483647");
    call.call.setSize("pages", Call::largestPool);
    call.call.setSize("capacity", 79);
    if (size > 1) {
      EXPECT_EQ(refused(), "p_decode: capacity is not divisible by " + std::to_string(size) +
                               "; expected whole pages of " + std::to_string(size) + " tokens");
    }
  }
}

TEST(WorkItem, phasesAgreeOnTheLayoutOfTheCache) {
  mlir::MLIRContext context(Decode::dialects());
  auto read = [&](std::string json) { return take(mlir::tpa::readVariant(json, "variant", context)); };
  auto variant = read(variantJson);
  auto schedule = [&](int64_t tokens, int64_t valueBlock, int64_t pageSize = 0) {
    return mlir::tpa::ScheduleAttr::get(&context, tokens, 1, heads, mlir::tpa::ScoreOrder::merged,
                                        mlir::tpa::ValueOrder::factored, variant.getTypes().getCompute(),
                                        /*query_parts=*/1, /*split=*/0, valueBlock, pageSize);
  };
  for (auto [tokens, block] : {std::pair<int64_t, int64_t>{16, 32}, {32, 32}, {96, 32}, {3, 0}})
    EXPECT_EQ(llvm::toString(checkSchedule(variant, schedule(tokens, block))), "");
  EXPECT_EQ(llvm::toString(checkSchedule(variant, schedule(24, 32))),
            "schedule: value_block: expected a divisor or a multiple of tokens = 24, got 32");
  EXPECT_EQ(llvm::toString(checkStorage(variant, {3})),
            "schedule: value_block: expected 0 or a power of two from 2 to 64, got 3");
  EXPECT_EQ(llvm::toString(checkStorage(variant, {128})),
            "schedule: value_block: expected 0 or a power of two from 2 to 64, got 128");
  EXPECT_EQ(llvm::toString(checkStorage(variant, {32, 80})),
            "schedule: page_size: expected 0 or a multiple of 32, at most 1048576, got 80");
  EXPECT_EQ(llvm::toString(checkStorage(variant, {0, -1})),
            "schedule: page_size: expected 0 or a multiple of 1, at most 1048576, got -1");
  EXPECT_EQ(llvm::toString(checkStorage(variant, {32, 96})), "");

  // V that shares K's rows, or has learned ones, caches none.
  for (const char *source : {"shared", "learned"}) {
    std::string json(variantJson);
    json.replace(json.rfind("contextual"), std::strlen("contextual"), source);
    if (std::string_view(source) == "shared")
      json.insert(json.find("\"rope\""), "\"v_sees\": \"rotated\", ");
    EXPECT_EQ(llvm::toString(checkStorage(read(json), {32})),
              "schedule: value_block: expected 0 where no token factor of v is contextual, got 32");
    EXPECT_EQ(llvm::toString(checkStorage(read(json), {})), "");
  }

  auto programs = buildPrograms(variant, {{Phase::append, schedule(16, 32)}, {Phase::decode, schedule(16, 16)}});
  EXPECT_EQ(llvm::toString(programs.takeError()),
            "schedule: value_block: expected 32 in all phases of a pack, as in append, got 16 in decode");
  programs = buildPrograms(variant, {{Phase::append, schedule(16, 0, 64)}, {Phase::prefill, schedule(16, 0)}});
  EXPECT_EQ(llvm::toString(programs.takeError()),
            "schedule: page_size: expected 64 in all phases of a pack, as in append, got 0 in prefill");
}

/// One request has no other one's items to skip.
TEST(WorkItem, splitsOneLongRequest) {
  Decode decode(1, heads, split);
  Call call(decode, {{2}, {63}, 64});
  Workspace workspace(call.neededBytes());
  TestExecutor executor(3, 5);
  const std::vector<float> whole = call.run(nullptr, nullptr);
  EXPECT_LT(difference(call.run(executor.get(), &workspace), whole), 1e-5);
  EXPECT_EQ(executor.items(), 2 * 4 + 2);
}

TEST(WorkItem, capacitiesOfOnePartNeedNoWorkspace) {
  Decode decode(1, heads, split);
  Call call(decode, {{1, 2}, {5, 16}, 16});
  EXPECT_EQ(call.neededBytes(), 0);
  const std::vector<float> whole = call.run(nullptr, nullptr);
  TestExecutor executor(2, 3);
  Workspace workspace(0);
  EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace), whole));
  EXPECT_TRUE(workspace.isUntouched());
  EXPECT_EQ(executor.runs(), 1);
}

TEST(WorkItem, workspaceSizeCountsPartsAndSaturates) {
  Decode decode(1, heads, split);
  const int64_t row = heads * (features + 1) * 4, largest = 2147483647;
  EXPECT_EQ(decode.workspaceSize(3, 9, 17), 3 * 2 * row);
  EXPECT_EQ(decode.workspaceSize(3, 9, 32), 3 * 2 * row);
  EXPECT_EQ(decode.workspaceSize(3, 1, 33), 3 * 3 * row);
  EXPECT_EQ(decode.workspaceSize(3, 1, 16), 0);
  EXPECT_EQ(decode.workspaceSize(3, 1, 0), 0);
  EXPECT_EQ(decode.workspaceSize(0, 1, 33), 0);
  EXPECT_EQ(decode.workspaceSize(largest, 1, 33), largest * 3 * row);
  EXPECT_EQ(decode.workspaceSize(largest, 1, largest), std::numeric_limits<int64_t>::max());
  for (int64_t outside : {int64_t(-1), largest + 1}) {
    EXPECT_EQ(decode.workspaceSize(outside, 1, 33), 0);
    EXPECT_EQ(decode.workspaceSize(1, outside, 33), 0);
    EXPECT_EQ(decode.workspaceSize(1, 1, outside), 0);
  }
}

TEST(WorkItem, refusesBadWorkspacesAndExecutors) {
  Decode decode(1, heads, split);
  Call call(decode, Requests());
  const int64_t needed = call.neededBytes();
  Workspace workspace(needed + 64);
  auto message = [&](const tpac_executor *executor, void *data, int64_t size) {
    return std::string(decode.statusMessage(call.statusOf(executor, data, size, decode.function)));
  };
  EXPECT_EQ(message(nullptr, workspace.data(), needed), "success");
  EXPECT_EQ(message(nullptr, nullptr, needed), "success");
  workspace = Workspace(needed + 64);
  call.memory["out"].assign(call.memory["out"].size(), -7);
  const std::string tooSmall = "p_decode: workspace_size is smaller than p_decode_workspace_size(tokens, batch, "
                               "capacity); expected at least that many bytes, or a NULL workspace";
  for (int64_t size : {needed - 1, int64_t(0), int64_t(-1), std::numeric_limits<int64_t>::min()})
    EXPECT_EQ(message(nullptr, workspace.data(), size), tooSmall) << size;
  EXPECT_EQ(message(nullptr, workspace.data() + 32, needed),
            "p_decode: workspace is not aligned; expected a multiple of 64 bytes, or NULL");
  const tpac_executor empty = {nullptr, 1, nullptr};
  EXPECT_EQ(message(&empty, nullptr, 0), "p_decode: executor.run is NULL; expected a function, or a NULL executor");
  EXPECT_TRUE(workspace.isUntouched());
  EXPECT_EQ(call.memory["out"], std::vector<float>(call.memory["out"].size(), -7));
}

/// What callShortened passes on of a block: the words up to `keptWords`, and behind them what is no pointer.
PhaseFunction shortenedFunction;
size_t keptWords, wholeWords;

int32_t callShortened(const void *args) {
  std::vector<int64_t> words(wholeWords, -1);
  std::memcpy(words.data(), args, 8 * keptWords);
  words[0] = static_cast<int64_t>(8 * keptWords);
  return shortenedFunction(words.data());
}

TEST(WorkItem, olderBlocksEndEarlier) {
  Decode decode(1, heads, split);
  Call call(decode, Requests());
  const size_t required = requiredWords(decode.signature);
  wholeWords = required + optionalWords;
  shortenedFunction = decode.function;
  const std::vector<float> whole = call.run(nullptr, nullptr);
  Workspace workspace(call.neededBytes());
  TestExecutor executor(2, 1);

  keptWords = required;
  EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace, callShortened), whole));
  EXPECT_EQ(executor.runs(), 0);
  keptWords = required + 1;
  EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace, callShortened), whole));
  EXPECT_EQ(executor.runs(), 1);
  EXPECT_TRUE(workspace.isUntouched());

  // A workspace without its size has size 0.
  keptWords = required + 2;
  EXPECT_NE(call.statusOf(executor.get(), workspace.data(), workspace.size, callShortened), 0);
  keptWords = required - 1;
  EXPECT_EQ(std::string(decode.statusMessage(call.statusOf(nullptr, nullptr, 0, callShortened))),
            "p_decode: args.struct_size is less than " + std::to_string(8 * required) +
                "; expected sizeof(p_decode_args)");
}

TEST(WorkItem, schedulesWithoutSplitHaveNoWorkspace) {
  Decode decode(1, heads, 0);
  EXPECT_EQ(decode.signature.split, 0);
  EXPECT_FALSE(decode.exports("p_decode_workspace_size"));
  Call call(decode, Requests());
  const std::vector<float> whole = call.run(nullptr, nullptr);
  TestExecutor executor(2, 1);
  Workspace workspace(64);
  EXPECT_TRUE(sameBits(call.run(executor.get(), &workspace), whole));
  EXPECT_TRUE(workspace.isUntouched());
  EXPECT_EQ(executor.runs(), 1);
}

} // namespace

} // namespace tpac::test
