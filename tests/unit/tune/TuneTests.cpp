// SPDX-License-Identifier: Apache-2.0

#include "autotune/Bundling.h"
#include "autotune/Sweep.h"
#include "autotune/Tuner.h"
#include "autotune/records/RecordFile.h"
#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/emit/Take.h"
#include "tests/unit/tune/RecordedSweep.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <unistd.h>

namespace tpac::autotune {
namespace {

/// AddressSanitizer ends a process that reads from nowhere itself.
#if __has_feature(address_sanitizer)
constexpr const char *crashProblem = "crashed: exit code";
#else
constexpr const char *crashProblem = "crashed: signal 11";
#endif

class Tuning : public testing::Test {
protected:
  Tuning() {
    mlir::DialectRegistry registry;
    registerCompilerDialects(registry);
    context.appendDialectRegistry(registry);
    std::ifstream stream(TPAC_SOURCE_ROOT "/configs/t6-mini.json");
    variant = take(mlir::tpa::readVariant(std::string(std::istreambuf_iterator<char>(stream), {}), "t6-mini", context));
    // Small pieces of time: what wins does not matter here.
    question = {
        {Phase::decode, "t6-mini", nlohmann::json::parse(mlir::tpa::writeVariant(variant)), 64, 1, 1, 1, "tpac"},
        "host",
        int64_t(1) << 20,
        1e-4,
        "",
        0};
    options.worker.command = {TPAC_PROGRAM, "tune-worker"};
  }

  Candidates candidatesOf(CacheStorage storage, const Pins &pins = {{"tokens", "32"}, {"queries", "1"}}) {
    return candidatesFor(variant, question.row.phase, take(findTarget("host")), storage, pins,
                         {question.row.requests, question.row.tokens, question.row.cached});
  }
  CacheStorage defaultStorage() { return {defaultValueBlock(variant, take(findTarget("host"))), 0}; }

  mlir::MLIRContext context;
  mlir::tpa::VariantAttr variant;
  Question question;
  TuneOptions options;
};

} // namespace

TEST_F(Tuning, candidatesAreLegalAndPinned) {
  Candidates all = candidatesOf(defaultStorage(), {}), pinned = candidatesOf(defaultStorage(), {{"tokens", "32"}});
  ASSERT_TRUE(all.byDefault);
  EXPECT_GT(all.texts.size(), pinned.texts.size());
  EXPECT_GT(pinned.texts.size(), 0u);
  for (const nlohmann::json &fields : pinned.fields)
    EXPECT_EQ(fields.at("tokens"), "32");
  // A CPU's kernel of decode serves calls of several query tokens, too.
  const nlohmann::json queries = all.fields[*all.byDefault].at("queries");
  EXPECT_TRUE(std::ranges::all_of(all.fields, [&](const nlohmann::json &of) { return of.at("queries") == queries; }));
  const Candidates one = candidatesOf(defaultStorage(), {{"queries", "1"}});
  EXPECT_FALSE(one.fields.empty());
  EXPECT_TRUE(std::ranges::all_of(one.fields, [](const nlohmann::json &of) { return of.at("queries") == "1"; }));
  EXPECT_EQ(all.find(all.fields[*all.byDefault]), all.byDefault);
  EXPECT_EQ(std::set(all.promising.begin(), all.promising.end()).size(), 16u);
  EXPECT_FALSE(all.find({{"tokens", "32"}}));
  auto messageOf = [&](const Pins &pins) {
    try {
      candidatesOf(defaultStorage(), pins);
    } catch (const std::runtime_error &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(messageOf({{"tokens", "24"}}), "--pin tokens: found '24'; expected one of 8, 16, 32, 64, 128, 256");
  EXPECT_EQ(messageOf({{"warps", "4"}}).substr(0, 43), "--pin: found 'warps'; expected one of token");
}

// Whatever is wrong with a candidate: it is named, it does not win, and the search goes on.
TEST_F(Tuning, faultyCandidatesNeverWin) {
  Candidates candidates = candidatesOf(defaultStorage(), {});
  ASSERT_TRUE(candidates.byDefault);
  const std::string call = "decode/t6-mini/cached:333/tokens:1/requests:2/threads:1/impl:tpac: ";
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"wrong", "wrong: " + call + "out: relative error"},
      {"outside", "wrong: " + call + "memory changed that is no output's"},
      {"unrepeatable", "wrong: " + call + "called again, it gives other bits"},
      {"refuse", "wrong: status 1"},
      {"crash", crashProblem},
      {"hang", "timed out after 2 s"}};
  // Schedules that are not the default, so that there is something to win.
  std::map<std::string, std::string> expected;
  for (size_t i = 0; expected.size() < faults.size(); ++i)
    if (i != *candidates.byDefault) {
      const auto &[fault, problem] = faults[expected.size()];
      expected[candidates.texts[i]] = problem;
      options.worker.faults[candidates.texts[i]] = fault;
      options.portfolio.push_back(candidates.fields[i]);
    }
  options.worker.checkTimeout = std::chrono::seconds(2);
  options.compiledTogether = 2;
  options.effort = records::Effort::quick;
  // The faulty ones come right after the default, then one more, then the search ends.
  size_t evaluations = 0;
  options.onProgress = [&](const Progress &progress) { evaluations = progress.evaluations; };
  options.isStopped = [&] { return evaluations > faults.size() + 1; };
  Tuned tuned = tune(question, candidates, options);
  EXPECT_EQ(tuned.problems.size(), faults.size());
  for (const auto &[schedule, problem] : expected)
    EXPECT_EQ(tuned.problems[schedule].substr(0, problem.size()), problem);
  // The default and the one after the faulty ones.
  EXPECT_EQ(tuned.entry.best.size(), 2u);
  EXPECT_GT(tuned.entry.defaultUs, 0);
  EXPECT_EQ(tuned.rejects, (std::map<std::string, int>{{"crashed", 1}, {"timed out after 2 s", 1}, {"wrong", 4}}));
}

// The gate knows every order of caches.
TEST_F(Tuning, cachesOfAnyStorageCanBeTuned) {
  options.effort = records::Effort::none;
  for (CacheStorage storage : {CacheStorage{0, 16}, CacheStorage{32, 64}}) {
    Tuned tuned = tune(question, candidatesOf(storage, {}), options);
    EXPECT_TRUE(tuned.problems.empty());
    EXPECT_EQ(tuned.entry.best.size(), 1u);
  }
}

TEST_F(Tuning, otherPhasesCanBeTuned) {
  for (Phase phase : {Phase::append, Phase::prefill, Phase::merge}) {
    question.row.phase = phase;
    question.row.cached = phase == Phase::merge ? 0 : 64;
    question.row.tokens = 64;
    options.effort = records::Effort::none;
    Tuned tuned = tune(question, candidatesOf(defaultStorage(), {}), options);
    EXPECT_EQ(tuned.entry.evaluations, 1) << phaseName(phase);
    EXPECT_TRUE(tuned.problems.empty());
    ASSERT_EQ(tuned.entry.best.size(), 1u);
    EXPECT_EQ(tuned.entry.best[0].medianUs, tuned.entry.defaultUs);
    EXPECT_EQ(tuned.entry.best[0].runs, 15);
  }
}

// Schedules whose code is the same are compiled, and one of them is timed.
TEST_F(Tuning, timesTheSameCodeOnce) {
  question.row.phase = Phase::merge;
  question.row.cached = 0;
  question.row.tokens = 64;
  options.effort = records::Effort::quick;
  options.compiledTogether = 2;
  const Candidates candidates = candidatesOf(defaultStorage(), {});
  Tuned tuned = tune(question, candidates, options);
  EXPECT_TRUE(tuned.problems.empty());
  EXPECT_EQ(tuned.entry.best.size(),
            std::min(records::mostCandidates, static_cast<size_t>(tuned.entry.evaluations) - tuned.identical));
}

// A sweep in two pieces: what the file has is not timed again; another space is refused.
TEST_F(Tuning, sweepsGoOnWhereTheyEnded) {
  question.row.phase = Phase::merge;
  question.row.cached = 0;
  question.row.tokens = 64;
  const Candidates candidates = candidatesOf(defaultStorage(), {});
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("sweep." + std::to_string(getpid()));
  std::filesystem::remove(file);
  SweepOptions how;
  how.group = 4;
  how.runs = 2;
  how.worker = options.worker;
  size_t done = 0;
  how.onProgress = [&](size_t now, size_t all) {
    done = now;
    EXPECT_EQ(all, candidates.texts.size());
  };
  how.isStopped = [&] { return done > 0; };
  sweep(question, candidates, {{"shape", "merge"}}, file, how);
  EXPECT_EQ(done, 4u);
  how.isStopped = [] { return false; };
  sweep(question, candidates, {{"shape", "merge"}}, file, how);
  EXPECT_EQ(done, candidates.texts.size());
  std::ifstream stream(file);
  std::set<nlohmann::json> points;
  size_t timed = 0;
  for (std::string line; std::getline(stream, line);) {
    nlohmann::json one = nlohmann::json::parse(line);
    if (!one.contains("point"))
      continue;
    EXPECT_TRUE(points.insert(one.at("point")).second);
    EXPECT_FALSE(one.contains("problem")) << line;
    timed += one.contains("us") && one.at("us").size() == 2;
  }
  EXPECT_EQ(points.size(), candidates.texts.size());
  EXPECT_GT(timed, 0u);
  question.row.phase = Phase::append;
  EXPECT_THROW(sweep(question, candidatesOf(defaultStorage(), {}), {}, file, how), std::runtime_error);
  std::filesystem::remove(file);
}

// A bundle begins with the default and what differs from it in the fewest knobs.
TEST_F(Tuning, bundlesHoldWhatIsNearTheDefault) {
  Candidates candidates = candidatesOf(defaultStorage(), {});
  candidates.promising.clear();
  BundleOptions how;
  how.effort = records::Effort::quick;
  how.portfolio = {candidates.fields.back(), {{"tokens", "no schedule"}}};
  const std::vector<search::Index> points = bundled(candidates, how);
  ASSERT_EQ(points.size(), 32u);
  EXPECT_EQ(points[0], candidates.byDefault);
  EXPECT_EQ(points[1], candidates.fields.size() - 1);
  EXPECT_EQ(std::set(points.begin(), points.end()).size(), points.size());
  auto changes = [&](search::Index i) {
    int count = 0;
    for (size_t knob = 0; knob < candidates.knobs.size(); ++knob)
      count += candidates.space.points[i][knob] != candidates.space.points[*candidates.byDefault][knob];
    return count;
  };
  for (size_t i = 3; i < points.size(); ++i)
    EXPECT_LE(changes(points[i - 1]), changes(points[i])) << i;
  how.effort = records::Effort::full;
  EXPECT_EQ(bundled(candidates, how).size(), candidates.texts.size());
}

// On GPUs: no tiles of query tokens that a request does not have, and the default is that of packs for such calls.
TEST_F(Tuning, candidatesForGpusFitTheCalls) {
  const CodeTarget gpu = take(findTarget("sm_90a"));
  for (int64_t tokens : {1, 3, 8}) {
    const Candidates all =
        candidatesFor(variant, Phase::decode, gpu, {}, {{"groups", "2"}, {"tokens", "32"}}, {1, tokens, 4096});
    std::set<std::string> queries;
    for (const nlohmann::json &fields : all.fields)
      queries.insert(fields.at("queries"));
    EXPECT_EQ(queries.contains("1"), true);
    EXPECT_EQ(queries.contains("4"), tokens > 2);
    EXPECT_FALSE(queries.contains("16"));
  }
  EXPECT_EQ(take(defaultSchedule(variant, Phase::decode, gpu, {}, 3)).getQueries(), 4);
  EXPECT_EQ(gpuQueriesFor(Phase::decode, 9), 8);
  EXPECT_EQ(gpuQueriesFor(Phase::prefill, 2), 4096);
}

// Of each recorded question: how far the best of the default and of what the estimate has a search try first is from
// the recorded winner. Schedules that no record has count for nothing, so the truth is nearer.
TEST_F(Tuning, estimatesOfGpusFindRecordedWinners) {
  const CodeTarget gpu = take(findTarget("sm_90a"));
  int questions = 0, near = 0;
  double sum = 0;
  for (const char *name : {"h100.json", "h200.json"})
    for (const records::Entry &entry :
         records::readRecords(std::filesystem::path(TPAC_SOURCE_ROOT "/autotune/shipped") / name).entries) {
      nlohmann::json text = entry.key.variant;
      text["name"] = "recorded";
      const Candidates all = candidatesFor(take(mlir::tpa::readVariant(text.dump(), "recorded", context)),
                                           entry.key.phase == "decode" ? Phase::decode : Phase::prefill, gpu,
                                           {entry.key.valueBlock, entry.key.pageSize}, {{"rows", "heads"}},
                                           {entry.key.shape.requests, entry.key.shape.tokens, entry.key.shape.cached});
      double found = entry.defaultUs;
      for (search::Index point : all.promising)
        for (const records::Candidate &candidate : entry.best)
          if (candidate.schedule == all.fields[point])
            found = std::min(found, candidate.medianUs);
      const double ratio = found / entry.best.front().medianUs;
      ++questions;
      near += ratio <= 1.01;
      sum += ratio;
    }
  std::printf("%d of %d questions within 1 %% of the recorded best, mean ratio %.4f\n", near, questions,
              sum / questions);
  ASSERT_GT(questions, 0);
  EXPECT_GE(near, 0.7 * questions);
  EXPECT_LE(sum / questions, 1.025);
}

// Replays of the sweep of a GPU begin with what the estimate says today.
TEST_F(Tuning, recordedSweepOfGpuHasTodaysEstimates) {
  const search::RecordedSweep sweep(TPAC_SOURCE_ROOT "/tests/unit/tune/sweeps/h100-t6-medium-decode.jsonl.gz");
  std::ifstream stream(TPAC_SOURCE_ROOT "/configs/t6-medium.json");
  variant = take(mlir::tpa::readVariant(std::string(std::istreambuf_iterator<char>(stream), {}), "t6-medium", context));
  const Candidates all = candidatesFor(variant, Phase::decode, take(findTarget("sm_90a")), {},
                                       {{"score", "merged"}, {"rows", "heads"}}, {1, 1, 65536});
  nlohmann::json recorded = nlohmann::json::array(), today = recorded;
  for (search::Index point : sweep.promising)
    recorded.push_back(sweep.schedule(point));
  for (search::Index point : all.promising)
    today.push_back(all.fields[point]);
  EXPECT_EQ(recorded, today);
}

TEST_F(Tuning, saysWhyNoWorkerStarts) {
  options.worker.command = {"/nowhere/tpac", "tune-worker"};
  try {
    tune(question, candidatesOf(defaultStorage(), {}), options);
    FAIL() << "expected an error";
  } catch (const std::runtime_error &error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/tpac"), std::string::npos) << error.what();
  }
}

} // namespace tpac::autotune
