// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Verdict.h"
#include "tests/unit/records/Entries.h"

#include <gtest/gtest.h>

namespace tpac::records {

namespace {

const nlohmann::json byDefault = {{"tokens", "16"}, {"heads", "4"}};
const auto allLegal = [](const nlohmann::json &) { return std::string(); };

std::vector<Verdict> judged(std::vector<Entry> entries, int64_t cached,
                            const std::function<std::string(const nlohmann::json &)> &problemWith = allLegal) {
  Layer layer{"records.json", {}};
  layer.contents.entries = std::move(entries);
  return judge(answersFor({layer}, sampleEntry(cached).key, sampleEntry().fingerprint), byDefault, problemWith);
}

} // namespace

TEST(Verdict, modesHaveNames) {
  EXPECT_EQ(modeOf("off"), Mode::off);
  EXPECT_EQ(modeOf("cached-only"), Mode::cachedOnly);
  EXPECT_EQ(modeOf("assert-hit"), Mode::assertHit);
  EXPECT_EQ(modeOf("auto"), Mode::automatic);
  EXPECT_FALSE(modeOf("on"));
}

TEST(Verdict, nearShapesCountAndFarOnesDoNot) {
  EXPECT_EQ(judged({sampleEntry(8192)}, 8192).at(0).schedule, sampleEntry().best[0].schedule);
  EXPECT_TRUE(judged({sampleEntry(8192)}, 32768).at(0).schedule);
  Verdict far = judged({sampleEntry(8192)}, 65536).at(0);
  EXPECT_FALSE(far.schedule);
  EXPECT_EQ(far.reason, "too far: its sizes differ by a factor of 8; at most 4 is accepted");
}

TEST(Verdict, anotherCompilersDefaultMustBeThisOnes) {
  Entry entry = sampleEntry(8192);
  entry.fingerprint.toolchain["codegen"] = "other";
  EXPECT_TRUE(judged({entry}, 8192).at(0).schedule);
  entry.defaultSchedule = byDefault;
  EXPECT_TRUE(judged({entry}, 8192).at(0).schedule);
  entry.defaultSchedule["tokens"] = "32";
  const Verdict verdict = judged({entry}, 8192).at(0);
  EXPECT_FALSE(verdict.schedule);
  EXPECT_TRUE(verdict.reason.starts_with("measured with another compiler, beside another default")) << verdict.reason;
  // Of this compiler, sizes may have decided the default.
  entry.fingerprint.toolchain = sampleEntry().fingerprint.toolchain;
  EXPECT_TRUE(judged({entry}, 4096).at(0).schedule);
}

TEST(Verdict, requestsCountPerCpu) {
  Entry entry = sampleEntry();
  entry.fingerprint.silicon["cpus"] = 8;
  entry.fingerprint.silicon["l3"] = "1K";
  entry.key.shape.requests = 4;
  std::vector<Verdict> verdicts = judged({entry}, 8192);
  EXPECT_EQ(verdicts.at(0).answer.match, Match::otherCount);
  EXPECT_EQ(verdicts.at(0).answer.distance, 0);
  EXPECT_TRUE(verdicts.at(0).schedule);
  entry.fingerprint.silicon["cpu"] = "b";
  EXPECT_FALSE(judged({entry}, 8192).at(0).schedule);
}

TEST(Verdict, takesTheFastestThatIsLegalAndNoSlowOne) {
  Entry entry = sampleEntry();
  auto isFirst = [&](const nlohmann::json &schedule) { return schedule == entry.best[0].schedule ? "tokens: no" : ""; };
  EXPECT_EQ(judged({entry}, 8192, isFirst).at(0).schedule, entry.best[1].schedule);
  // Slower than the default, it is not used.
  entry.best[1].medianUs = 13;
  Verdict verdict = judged({entry}, 8192, isFirst).at(0);
  EXPECT_FALSE(verdict.schedule);
  EXPECT_EQ(verdict.reason, "not legal here: tokens: no");
  // A default that won is a result, too.
  entry.best[0].schedule = byDefault;
  EXPECT_EQ(judged({entry}, 8192).at(0).schedule, byDefault);
}

TEST(Verdict, namesOfEntriesTellQuestionsApart) {
  Entry entry = sampleEntry(), measuredAgain = entry, other = sampleEntry(1024), warm = entry;
  measuredAgain.best[0].medianUs = 1;
  warm.policy["cold"] = false;
  EXPECT_EQ(idOf(entry).size(), 16u);
  EXPECT_EQ(idOf(entry), idOf(measuredAgain));
  EXPECT_NE(idOf(entry), idOf(other));
  EXPECT_NE(idOf(entry), idOf(warm));
  // Manifests keep names: they must not change from version to version.
  EXPECT_EQ(idOf(entry), "8e97d03ac78060d2");
}

} // namespace tpac::records
