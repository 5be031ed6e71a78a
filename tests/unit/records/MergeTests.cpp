// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Merge.h"
#include "tests/unit/records/Entries.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tpac::records {

// Shards of a search come back in any order, and some of them twice.
TEST(Merging, doesNotDependOnTheOrder) {
  std::mt19937 random(1);
  for (MergePolicy policy : {MergePolicy::faster, MergePolicy::newer, MergePolicy::effort}) {
    int64_t truncated = 0;
    for (int i = 0; i < 2000; ++i) {
      Entry a = randomEntry(random), b = randomEntry(random), c = randomEntry(random);
      Entry ab = mergeEntries(a, b, policy);
      EXPECT_EQ(ab, mergeEntries(b, a, policy));
      EXPECT_EQ(mergeEntries(ab, b, policy), ab);
      EXPECT_EQ(mergeEntries(ab, c, policy), mergeEntries(a, mergeEntries(b, c, policy), policy));
      EXPECT_EQ(entryOf(toJson(ab)), ab);
      truncated += a.best.size() + b.best.size() > mostCandidates + 2;
    }
    EXPECT_GT(truncated, 0);
  }
}

TEST(Merging, keepsTheFastest) {
  Entry a = sampleEntry(), b = sampleEntry();
  b.best = {{{{"tokens", "128"}}, 9, 0.1, 15}, {a.best.front().schedule, 12, 0.1, 3}};
  b.evaluations = 300;
  b.defaultUs = 13;
  Entry merged = mergeEntries(a, b, MergePolicy::faster);
  ASSERT_EQ(merged.best.size(), 3u);
  EXPECT_EQ(merged.best[0], b.best[0]);
  EXPECT_EQ(merged.best[1], a.best[0]);
  EXPECT_EQ(merged.best[2], a.best[1]);
  EXPECT_EQ(merged.evaluations, 300);
  EXPECT_EQ(merged.defaultUs, 12.5);
}

TEST(Merging, policiesChooseWholeEntries) {
  Entry a = sampleEntry(), b = sampleEntry();
  b.time = "2026-11-23T00:00:00Z";
  b.effort = Effort::quick;
  EXPECT_EQ(mergeEntries(a, b, MergePolicy::newer), b);
  EXPECT_EQ(mergeEntries(a, b, MergePolicy::effort), a);
  EXPECT_EQ(mergeEntries(a, a, MergePolicy::fail), a);
  EXPECT_THROW(mergeEntries(a, b, MergePolicy::fail), std::runtime_error);
  for (std::string_view name : {"faster", "newer", "effort", "fail"})
    EXPECT_TRUE(mergePolicyOf(name)) << name;
  EXPECT_FALSE(mergePolicyOf("best"));
}

TEST(Merging, otherQuestionsStayApart) {
  std::vector<Entry> entries = {sampleEntry(8192)};
  Entry other = sampleEntry(8192);
  other.policy["threads"] = 1;
  mergeInto(entries, {sampleEntry(16384), other, sampleEntry(8192)}, MergePolicy::faster);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0], sampleEntry(8192));
  EXPECT_EQ(entries[1], sampleEntry(16384));
  EXPECT_EQ(entries[2], other);
}

TEST(Merging, tellsConflictingTimes) {
  Entry a = sampleEntry(), b = sampleEntry();
  b.best[0].medianUs *= 1.05;
  EXPECT_TRUE(conflictsOf(a, b).empty());
  b.best[1].medianUs *= 1.2;
  std::vector<TimingConflict> conflicts = conflictsOf(a, b);
  ASSERT_EQ(conflicts.size(), 1u);
  EXPECT_EQ(conflicts[0].schedule, a.best[1].schedule);
  EXPECT_EQ(conflicts[0].us, 11);
}

} // namespace tpac::records
