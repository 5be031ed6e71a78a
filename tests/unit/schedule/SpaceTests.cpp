// SPDX-License-Identifier: Apache-2.0
//
// Every target's schedules: what it chooses is in its space and legal, for every config; the space's own arithmetic.

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/TargetSchedule.h"
#include "lowering/gpu/GpuSchedule.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

using namespace mlir::tpa;

namespace tpac {
namespace {

std::vector<std::filesystem::path> configFiles() {
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::directory_iterator(TPAC_SOURCE_ROOT "/configs"))
    if (entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

std::vector<std::string> allTargets() {
  std::vector<std::string> targets = acceptedTargets(), gpus = acceptedGpus();
  targets.insert(targets.end(), gpus.begin(), gpus.end());
  return targets;
}

template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

int64_t countLegal(const ScheduleSpace &space, VariantAttr variant, Phase phase, const CodeTarget &target) {
  int64_t legal = 0;
  for (int64_t i = 0; i < space.size(); ++i)
    if (ScheduleAttr schedule = space.at(i)) {
      llvm::Error error = checkSchedule(variant, phase, schedule, target);
      legal += !error;
      llvm::consumeError(std::move(error));
    }
  return legal;
}

class Schedules : public testing::Test {
protected:
  VariantAttr read(const std::filesystem::path &file) {
    std::ifstream stream(file);
    std::string text(std::istreambuf_iterator<char>(stream), {});
    return take(readVariant(text, file.string(), context));
  }
  VariantAttr config(const std::string &name) { return read(TPAC_SOURCE_ROOT "/configs/" + name + ".json"); }

  mlir::MLIRContext context;
};

} // namespace

/// Blocks lie in one page each where a page has room for some; otherwise any page will do on a CPU.
TEST_F(Schedules, BlocksDividePages) {
  VariantAttr variant = config("t6-medium");
  for (const char *name : {"x86-64-v3", "x86-64-v4", "x86-64-amx", "aarch64"})
    for (int64_t pageSize : {1, 7, 16, 24, 32, 64, 96, 256}) {
      CodeTarget target = take(findTarget(name));
      CacheStorage storage = {defaultValueBlock(variant, target, pageSize), pageSize};
      for (Phase phase : {Phase::decode, Phase::prefill}) {
        SCOPED_TRACE(std::string(name) + ", page_size " + std::to_string(pageSize));
        ScheduleAttr schedule = take(defaultSchedule(variant, phase, target, storage));
        EXPECT_EQ(llvm::toString(checkSchedule(variant, phase, schedule, target)), "");
        EXPECT_EQ(schedule.getPageSize(), pageSize);
        EXPECT_EQ(pageSize % schedule.getTokens() == 0, pageSize >= 16);
      }
    }
  // Matrix tiles need pages of whole blocks of V.
  CodeTarget amx = take(findTarget("x86-64-amx")), gpu = take(findTarget("sm_90a"));
  EXPECT_EQ(defaultValueBlock(variant, amx, 48), 0);
  EXPECT_EQ(defaultValueBlock(variant, amx, 96), 32);
  EXPECT_EQ(take(defaultSchedule(variant, Phase::decode, amx, {32, 256})).getTokens(), 64);
  EXPECT_EQ(take(defaultSchedule(variant, Phase::decode, gpu, {0, 48})).getPageSize(), 48);
  std::string reason = llvm::toString(defaultSchedule(variant, Phase::decode, gpu, {0, 24}).takeError());
  EXPECT_NE(reason.find("page_size: expected a multiple of 16, got 24"), std::string::npos) << reason;
}

TEST_F(Schedules, DefaultsAreInTheSpaceAndLegal) {
  std::map<std::string, int64_t> scheduled;
  for (const std::filesystem::path &file : configFiles()) {
    VariantAttr variant = read(file);
    for (const std::string &name : allTargets()) {
      CodeTarget target = take(findTarget(name));
      std::set<int64_t> blocks = {0, defaultValueBlock(variant, target)};
      for (int64_t block : blocks)
        for (Phase phase : packPhases) {
          SCOPED_TRACE(file.stem().string() + ", " + name + ", " + std::string(phaseName(phase)) + ", value_block " +
                       std::to_string(block));
          auto space = scheduleSpace(variant, phase, target, {block});
          auto schedule = defaultSchedule(variant, phase, target, {block});
          if (!space) {
            // No space, no schedule: both say why.
            EXPECT_FALSE(static_cast<bool>(schedule));
            std::string reason = llvm::toString(space.takeError());
            EXPECT_NE(llvm::toString(schedule.takeError()).find(reason), std::string::npos) << reason;
            continue;
          }
          if (!schedule) {
            // The default gives up only where there is nothing to choose from.
            std::string reason = llvm::toString(schedule.takeError());
            EXPECT_TRUE(isGpu(target)) << reason;
            EXPECT_EQ(countLegal(*space, variant, phase, target), 0) << reason;
            continue;
          }
          EXPECT_EQ(llvm::toString(space->contains(*schedule)), "");
          EXPECT_EQ(llvm::toString(checkSchedule(variant, phase, *schedule, target)), "");
          EXPECT_EQ(schedule->getValueBlock(), block);
          for (const ScheduleSpace::Knob &knob : space->knobs()) {
            EXPECT_FALSE(knob.values.empty()) << knob.name;
            EXPECT_EQ(std::set(knob.values.begin(), knob.values.end()).size(), knob.values.size()) << knob.name;
          }
          ++scheduled[name];
        }
    }
  }
  // CPUs compute every phase of every config.
  for (const std::string &name : acceptedTargets())
    EXPECT_GE(scheduled[name], static_cast<int64_t>(configFiles().size() * packPhases.size())) << name;
  for (const std::string &name : acceptedGpus())
    EXPECT_GE(scheduled[name], static_cast<int64_t>(configFiles().size())) << name;
}

/// #tpa.schedule's own rules, such as G8 (heads of an item are whole tiles), hold for all that a space names.
TEST_F(Schedules, CombinationsThatContradictThemselvesAreNull) {
  VariantAttr variant = config("t6-medium");
  CodeTarget target = take(findTarget("x86-64-v4"));
  ScheduleSpace space = take(scheduleSpace(variant, Phase::prefill, target));
  int64_t partial = 0;
  for (int64_t i = 0; i < space.size(); ++i)
    if (ScheduleAttr schedule = space.at(i)) {
      EXPECT_EQ(schedule.getItemHeads() % schedule.getHeads(), 0);
      EXPECT_EQ(schedule.getSplit() % schedule.getTokens(), 0);
    } else {
      ++partial;
    }
  EXPECT_GT(partial, 0);
}

TEST_F(Schedules, EveryCombinationComesUpOnceAndIsContained) {
  VariantAttr variant = config("t6-mini");
  for (const char *name : {"x86-64-amx", "sm_90a"}) {
    CodeTarget target = take(findTarget(name));
    ScheduleSpace space = take(scheduleSpace(variant, Phase::decode, target));
    std::set<const void *> seen;
    int64_t contradictions = 0;
    for (int64_t i = 0; i < space.size(); ++i) {
      ScheduleAttr schedule = space.at(i);
      if (!schedule) {
        ++contradictions;
        continue;
      }
      EXPECT_EQ(llvm::toString(space.contains(schedule)), "");
      seen.insert(schedule.getAsOpaquePointer());
    }
    int64_t legal = countLegal(space, variant, Phase::decode, target);
    EXPECT_EQ(static_cast<int64_t>(seen.size()), space.size() - contradictions) << name;
    EXPECT_GT(legal, 0) << name;
    EXPECT_LT(legal, space.size()) << name;
  }
}

TEST_F(Schedules, AreFoundByTheValuesOfKnobs) {
  ScheduleSpace space = take(scheduleSpace(config("t6-mini"), Phase::decode, take(findTarget("x86-64-amx"))));
  const std::vector<ScheduleSpace::Knob> knobs = space.knobs();
  auto valuesOf = [&](ScheduleAttr schedule) {
    std::map<std::string, std::string> values;
    const std::vector<std::string> spelled = ScheduleSpace::valuesOf(schedule);
    for (size_t knob = 0; knob < knobs.size(); ++knob)
      values[knobs[knob].name] = spelled[knob];
    return values;
  };
  ScheduleAttr last;
  for (int64_t i = 0; i < space.size(); ++i)
    if (ScheduleAttr schedule = space.at(i)) {
      ASSERT_EQ(take(space.schedule(valuesOf(schedule))), schedule);
      last = schedule;
    }
  std::map<std::string, std::string> values = valuesOf(last);
  // A record that is older than a knob of one value.
  values.erase("groups");
  EXPECT_EQ(take(space.schedule(values)), last);
  auto problem = [&](const char *knob, const char *value) {
    auto changed = values;
    changed[knob] = value;
    return llvm::toString(space.schedule(changed).takeError());
  };
  EXPECT_EQ(problem("tokens", "24").substr(0, 27), "schedule: tokens: expected ");
  EXPECT_EQ(problem("groups", "2"), "schedule: groups: expected 1, got 2");
  EXPECT_EQ(problem("warps", "2"), "schedule: no knob is called 'warps'");
  values.erase("tokens");
  EXPECT_NE(llvm::toString(space.schedule(values).takeError()).find(", got nothing"), std::string::npos);
}

TEST_F(Schedules, ChecksNameFieldFoundAndAccepted) {
  VariantAttr variant = config("t6-mini");
  CodeTarget cpu = take(findTarget("x86-64-v3")), gpu = take(findTarget("sm_80"));
  auto f32 = mlir::Float32Type::get(&context);
  auto bf16 = mlir::BFloat16Type::get(&context);
  auto schedule = [&](int64_t tokens, int64_t queries, int64_t heads, mlir::Type operands, int64_t split,
                      int64_t groups = 1, int64_t stages = 1, bool bulk = false) {
    return ScheduleAttr::get(&context, tokens, queries, heads, ScoreOrder::merged, ValueOrder::factored,
                             TileRows::heads, operands, operands == bf16 ? 2 : 1, /*item_heads=*/0, split,
                             /*value_block=*/0, /*page_size=*/0, groups, stages, bulk);
  };
  auto problem = [&](const CodeTarget &target, ScheduleAttr schedule) {
    return llvm::toString(checkSchedule(variant, Phase::decode, schedule, target));
  };
  EXPECT_EQ(problem(cpu, schedule(16, 1, 11, f32, 8192)), "");
  EXPECT_EQ(problem(cpu, schedule(24, 1, 11, f32, 0)), "schedule: tokens: expected 8, 16, 32, 64, 128 or 256, got 24");
  EXPECT_EQ(problem(cpu, schedule(16, 1, 7, f32, 0)), "schedule: heads: expected 1, 8 or 11, got 7");
  EXPECT_EQ(problem(cpu, schedule(16, 1, 12, f32, 0)),
            "schedule: heads: expected at most 11, the heads computed, got 12");
  EXPECT_EQ(problem(cpu, schedule(16, 1, 11, mlir::Float16Type::get(&context), 0)),
            "schedule: operands: expected f32 or bf16, got f16");
  EXPECT_EQ(problem(cpu, schedule(16, 1, 11, f32, 0, 2)), "schedule: groups: expected 1, got 2");
  EXPECT_EQ(problem(gpu, schedule(32, 1, 11, bf16, 8192, 2, 2)), "");
  EXPECT_EQ(problem(gpu, schedule(32, 1, 11, f32, 8192, 2, 2)), "schedule: operands: expected bf16, got f32");
  EXPECT_EQ(problem(gpu, schedule(32, 1, 11, bf16, 0, 4, 2)), "schedule: split: expected 8192, got 0");
  EXPECT_EQ(problem(gpu, schedule(32, 1, 11, bf16, 8192, 4, 2, true)), "schedule: bulk: expected false, got true");
  EXPECT_EQ(problem(gpu, schedule(32, 32, 11, bf16, 8192, 4, 2)),
            "schedule: queries, heads, groups: expected at most 16 warps, got 128");
  EXPECT_EQ(
      problem(cpu, ScheduleAttr::get(&context, 16, 1, 11, ScoreOrder::merged, ValueOrder::factored, bf16, 1, 0, 0)),
      "schedule: query_parts: expected 2 with operands narrower than the arithmetic, but for the order merged where "
      "query_precision is storage and keys are multiplied as they are cached, got 1");
  EXPECT_EQ(
      problem(cpu, ScheduleAttr::get(&context, 16, 1, 11, ScoreOrder::factored, ValueOrder::factored, bf16, 2, 0, 0)),
      "schedule: score: expected merged or rebuilt where operands are narrower than the arithmetic, got factored: this "
      "target multiplies token factors as they are");
  // Token factors of one query token for all rows of a tensor core's operand.
  auto factored = [&](int64_t queries, int64_t heads) {
    return ScheduleAttr::get(&context, 32, queries, heads, ScoreOrder::factored, ValueOrder::factored, TileRows::heads,
                             bf16, 2, /*item_heads=*/0, 8192, /*value_block=*/0, /*page_size=*/0, /*groups=*/1,
                             /*stages=*/2,
                             /*bulk=*/false);
  };
  EXPECT_EQ(problem(gpu, factored(1, 11)), "");
  EXPECT_EQ(problem(gpu, factored(2, 11)), "");
  EXPECT_EQ(problem(gpu, factored(1, 8)), "");
  EXPECT_EQ(problem(gpu, factored(2, 8)), "schedule: score: expected merged where several query tokens have 8 rows "
                                          "each, no multiple of 16, got factored");
  // What is read anyway needs no merged queries; of several tokens the products count.
  auto scoreOf = [&](const char *name, int64_t queries) {
    return take(defaultGpuSchedule(config(name), Phase::decode, GpuLimits::of("sm_90a"), queries)).getScore();
  };
  EXPECT_EQ(scoreOf("t6-medium", 1), ScoreOrder::factored);
  EXPECT_EQ(scoreOf("t6-medium", 4), ScoreOrder::merged);
  EXPECT_EQ(scoreOf("t6-decode-32", 8), ScoreOrder::merged);
  EXPECT_EQ(scoreOf("tpa-folded", 1), ScoreOrder::merged);
  EXPECT_EQ(scoreOf("t6-medium-kvonly", 1), ScoreOrder::merged);
  // Cached tokens on rows.
  auto onRows = [&](int64_t heads, ScoreOrder score) {
    return ScheduleAttr::get(&context, 32, 1, heads, score, ValueOrder::factored, TileRows::tokens, bf16, 2,
                             /*item_heads=*/0, 8192, /*value_block=*/0, /*page_size=*/0, /*groups=*/1, /*stages=*/2,
                             /*bulk=*/false);
  };
  EXPECT_EQ(problem(gpu, onRows(11, ScoreOrder::merged)), "");
  EXPECT_EQ(problem(gpu, onRows(11, ScoreOrder::factored)),
            "schedule: rows: expected heads where score is factored, got tokens");
  auto cpuOnRows = ScheduleAttr::get(&context, 16, 1, 11, ScoreOrder::merged, ValueOrder::factored, TileRows::tokens,
                                     f32, 1, /*item_heads=*/0, 8192, /*value_block=*/0, /*page_size=*/0, /*groups=*/1,
                                     /*stages=*/1, /*bulk=*/false);
  EXPECT_EQ(problem(cpu, cpuOnRows), "schedule: rows: expected heads, got tokens");
  for (auto [name, reason] : {std::pair("mla-16", "warps share accumulators of 512 features"),
                              {"t6-medium-fp8", "token factors have 8 bits"},
                              {"tpa3-16x4", "k has order 3"},
                              {"tpa-shared-token-unrotated", "keys are rotated on read"},
                              {"tpa-learned-b", "keys are rotated on read"}})
    EXPECT_EQ(llvm::toString(checkSchedule(config(name), Phase::decode,
                                           onRows(config(name).getHeads().getLocal(), ScoreOrder::merged), gpu)),
              "schedule: rows: expected heads where " + std::string(reason) + ", got tokens");
  // t6-medium's blocks of keys per head and 16 queries.
  VariantAttr large = config("t6-medium");
  auto rebuilt = ScheduleAttr::get(&context, 256, 16, 47, ScoreOrder::rebuilt, ValueOrder::rebuilt, f32, 1, 0, 0);
  EXPECT_EQ(llvm::toString(checkSchedule(large, Phase::prefill, rebuilt, cpu)),
            "schedule: tokens, queries, heads: expected tiles of at most 1048576 bytes together, got 4042752");
}

/// A few rows of heads wait for the cache's bytes whatever is on rows. Products take longer only where calls have many
/// query tokens, and are fewer with tokens on rows where tiles of more than one query token are too large.
TEST_F(Schedules, TokensAreOnRowsWhereThatLeavesFewerProductsToWaitFor) {
  auto rowsOf = [&](VariantAttr variant, Phase phase, int64_t queries) {
    return take(defaultGpuSchedule(variant, phase, GpuLimits::of("sm_90a"), queries)).getRows();
  };
  for (const char *name : {"t6-mini", "gqa-32x128-g8", "mha-32x64", "mqa-32x128", "t6-medium-heads-24-47"}) {
    EXPECT_EQ(rowsOf(config(name), Phase::decode, 1), TileRows::heads) << name;
    EXPECT_EQ(rowsOf(config(name), Phase::prefill, 4096), TileRows::heads) << name;
  }
  VariantAttr large = take(readVariant(R"({"tpac_variant": 1, "name": "large", "heads": 8,
      "q": {"rank": 16, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 1024}]},
      "k": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 1024}]},
      "v": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 256}]}})",
                                       "large", context));
  EXPECT_EQ(rowsOf(large, Phase::decode, 1), TileRows::heads);
  EXPECT_EQ(rowsOf(large, Phase::prefill, 4096), TileRows::tokens);
}

/// Records that were written before there was the knob do not name it.
TEST_F(Schedules, RowsAreHeadsWhereValuesNameNone) {
  ScheduleSpace space = take(scheduleSpace(config("t6-mini"), Phase::decode, take(findTarget("sm_90a"))));
  std::map<std::string, std::string> values;
  for (const ScheduleSpace::Knob &knob : space.knobs())
    values[knob.name] = knob.values.back();
  EXPECT_EQ(take(space.schedule(values)).getRows(), TileRows::tokens);
  values.erase("rows");
  EXPECT_EQ(take(space.schedule(values)).getRows(), TileRows::heads);
}

TEST_F(Schedules, LoweringRefusesWhatTheTargetDoes) {
  mlir::DialectRegistry registry;
  registerCompilerDialects(registry);
  context.appendDialectRegistry(registry);
  VariantAttr variant = config("t6-mini");
  auto f32 = mlir::Float32Type::get(&context);
  auto schedule = ScheduleAttr::get(&context, 24, 1, 11, ScoreOrder::merged, ValueOrder::factored, f32, 1, 0, 0);
  auto module = lowerScheduled(variant, {{Phase::decode, schedule}}, take(findTarget("x86-64-v3")));
  ASSERT_FALSE(static_cast<bool>(module));
  EXPECT_NE(llvm::toString(module.takeError()).find("tokens: expected 8, 16, 32, 64, 128 or 256, got 24"),
            std::string::npos);
}

} // namespace tpac
