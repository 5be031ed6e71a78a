// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Lookup.h"
#include "tests/unit/records/Entries.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace tpac::records {

namespace {

Key asked(int64_t cached) { return sampleEntry(cached).key; }
const Fingerprint machine = sampleEntry().fingerprint;

Layer layerOf(std::vector<Entry> entries, const char *file = "records.json") {
  Layer layer{file, {}};
  layer.contents.entries = std::move(entries);
  return layer;
}

} // namespace

TEST(Lookup, nearestFirst) {
  Entry exact = sampleEntry(8192), near = sampleEntry(16384), far = sampleEntry(262144), oldTools = sampleEntry(8192),
        otherMachine = sampleEntry(8192), otherVariant = sampleEntry(8192);
  oldTools.fingerprint.toolchain["llvm"] = "21";
  otherMachine.fingerprint.silicon["cpu"] = "b";
  otherVariant.key.variant["heads"] = 8;
  std::vector<Answer> answers =
      answersFor({layerOf({far, otherMachine, otherVariant, near, oldTools, exact})}, asked(8192), machine);
  ASSERT_EQ(answers.size(), 5u);
  EXPECT_EQ(answers[0].entry, exact);
  EXPECT_EQ(answers[0].match, Match::exact);
  EXPECT_EQ(answers[1].entry, oldTools);
  EXPECT_EQ(answers[1].match, Match::otherToolchain);
  EXPECT_EQ(answers[2].entry, near);
  EXPECT_EQ(answers[2].match, Match::otherShape);
  EXPECT_EQ(answers[2].distance, 1);
  EXPECT_EQ(answers[3].entry, far);
  EXPECT_EQ(answers[3].distance, 5);
  EXPECT_EQ(answers[4].match, Match::otherSilicon);
}

// Who asks for a GPU's architecture need not have the device.
TEST(Lookup, anyDeviceAnswersForItsArchitecture) {
  Entry h100 = sampleEntry(8192), a100 = sampleEntry(8192);
  h100.fingerprint.silicon = {{"isa", "sm_90a"}, {"gpu", "H100"}, {"multiprocessors", 132}};
  a100.fingerprint.silicon = {{"isa", "sm_80"}, {"gpu", "A100"}, {"multiprocessors", 108}};
  Fingerprint asks = h100.fingerprint;
  asks.silicon = {{"isa", "sm_90a"}};
  EXPECT_EQ(matchOf(h100, asked(8192), asks), Match::exact);
  EXPECT_TRUE(differences(h100, asked(8192), asks).empty());
  EXPECT_EQ(matchOf(h100, asked(16384), asks), Match::otherShape);
  EXPECT_EQ(matchOf(a100, asked(8192), asks), Match::otherSilicon);
  asks.silicon = {{"isa", "sm_90a"}, {"gpu", "H200"}, {"multiprocessors", 132}};
  EXPECT_EQ(matchOf(h100, asked(8192), asks), Match::otherSilicon);
}

TEST(Lookup, earlierLayersFirst) {
  Entry mine = sampleEntry(), shipped = sampleEntry();
  mine.policy["threads"] = 1;
  std::vector<Answer> answers =
      answersFor({layerOf({mine}, "user.json"), layerOf({shipped}, "shipped.json")}, asked(8192), machine);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].file, "user.json");
  EXPECT_EQ(answers[0].entry, mine);
}

TEST(Lookup, saysWhatKeepsAnEntryFromMatching) {
  Entry entry = sampleEntry(8192);
  EXPECT_TRUE(differences(entry, asked(8192), machine).empty());
  entry.key.variant["q"]["rank"] = 6;
  entry.key.pageSize = 64;
  entry.fingerprint.toolchain["ptxas"] = "13.0";
  EXPECT_EQ(differences(entry, asked(65536), machine),
            (std::vector<std::string>{"key.cached: 8192, asked for 65536", "key.page_size: 64, asked for 0",
                                      "key.variant.q.rank: 6, asked for 2",
                                      "fingerprint.toolchain.ptxas: \"13.0\", asked for null"}));
}

TEST(Lookup, filesOfTheEnvironment) {
  TemporaryFolder folder;
  const std::filesystem::path named = folder / "named.json", data = folder / "data", home = folder / "home";
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directories(folder / "work");
  std::filesystem::current_path(folder / "work");
  setenv("HOME", home.c_str(), 1);
  unsetenv("XDG_DATA_HOME");
  unsetenv("TPAC_RECORDS");
  EXPECT_TRUE(recordFiles("").empty());
  EXPECT_EQ(recordFileToWrite(""), home / ".local/share/tpac/records.json");
  updateRecords(recordFileToWrite(""), {sampleEntry()});
  EXPECT_EQ(recordFiles(""), std::vector{home / ".local/share/tpac/records.json"});

  setenv("XDG_DATA_HOME", data.c_str(), 1);
  EXPECT_TRUE(recordFiles("").empty());
  EXPECT_EQ(recordFileToWrite(""), data / "tpac/records.json");

  updateRecords("tpac-records.json", {sampleEntry()});
  EXPECT_EQ(recordFiles(""), std::vector<std::filesystem::path>{"tpac-records.json"});
  EXPECT_EQ(recordFileToWrite(""), "tpac-records.json");

  setenv("TPAC_RECORDS", named.c_str(), 1);
  EXPECT_TRUE(recordFiles("").empty());
  EXPECT_EQ(recordFileToWrite(""), named);
  EXPECT_EQ(recordFileToWrite("given.json"), "given.json");
  unsetenv("TPAC_RECORDS");

  std::filesystem::remove("tpac-records.json");
  unsetenv("XDG_DATA_HOME");
  unsetenv("HOME");
  EXPECT_THROW(recordFileToWrite(""), std::runtime_error);
  std::filesystem::current_path(before);
}

} // namespace tpac::records
