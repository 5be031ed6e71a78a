// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/RecordFile.h"
#include "tests/unit/records/Entries.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <random>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace tpac::records {

using nlohmann::json;

namespace {

std::string first(const std::vector<std::string> &texts) { return texts.empty() ? "" : texts.front(); }

} // namespace

TEST(RecordFiles, holdWhatWasWritten) {
  TemporaryFolder folder;
  const auto file = folder / "new/folder/records.json";
  EXPECT_TRUE(readRecords(file).entries.empty());
  EXPECT_TRUE(readRecords(file).problems.empty());
  updateRecords(file, {sampleEntry(8192)});
  Contents contents = updateRecords(file, {sampleEntry(16384), sampleEntry(8192)});
  EXPECT_EQ(contents.entries, (std::vector{sampleEntry(8192), sampleEntry(16384)}));
  EXPECT_EQ(readRecords(file).entries, contents.entries);
  EXPECT_EQ(pruneRecords(file, [](const Entry &entry) { return entry.key.shape.cached > 10000; }), 1u);
  EXPECT_EQ(readRecords(file).entries, std::vector{sampleEntry(16384)});
}

TEST(RecordFiles, aDamagedEntryCostsItselfAlone) {
  TemporaryFolder folder;
  const auto file = folder / "records.json";
  updateRecords(file, {sampleEntry(8192), sampleEntry(16384)});
  json text = json::parse(readText(file));
  text["entries"][0]["effort"] = "some";
  text["origin"] = "a fleet";
  writeText(file, text.dump());
  Contents contents = readRecords(file);
  EXPECT_EQ(contents.entries, std::vector{sampleEntry(16384)});
  EXPECT_EQ(first(contents.problems),
            file.string() + ": entries[0]: effort: found \"some\"; expected none, quick, normal or full");
  // Nothing of it is lost by writing.
  updateRecords(file, {sampleEntry(32)});
  json after = json::parse(readText(file));
  EXPECT_EQ(after["origin"], "a fleet");
  EXPECT_EQ(after["entries"].size(), 3u);
  EXPECT_EQ(after["entries"][2], text["entries"][0]);
}

TEST(RecordFiles, aDamagedFileIsKeptBeside) {
  TemporaryFolder folder;
  const auto file = folder / "records.json";
  writeText(file, "{\"schema\": {\"major\": 1");
  EXPECT_NE(first(readRecords(file).problems).find("is not JSON"), std::string::npos);
  Contents contents = updateRecords(file, {sampleEntry()});
  EXPECT_NE(first(contents.problems).find("; kept as " + file.string() + ".damaged"), std::string::npos);
  EXPECT_EQ(readText(folder / "records.json.damaged"), "{\"schema\": {\"major\": 1");
  EXPECT_EQ(readRecords(file).entries, std::vector{sampleEntry()});
  EXPECT_TRUE(readRecords(file).problems.empty());
}

TEST(RecordFiles, anotherMajorVersionIsLeftAlone) {
  TemporaryFolder folder;
  const auto file = folder / "records.json";
  const std::string text = R"({"schema": {"major": 2, "minor": 0}, "entries": {}})";
  writeText(file, text);
  Contents contents = readRecords(file);
  EXPECT_TRUE(contents.entries.empty());
  EXPECT_EQ(first(contents.problems),
            file.string() + ": schema.major: found 2; expected 1: its records are not used, and it is not written");
  EXPECT_THROW(updateRecords(file, {sampleEntry()}), std::runtime_error);
  EXPECT_EQ(readText(file), text);
}

TEST(RecordFiles, sayWhereTheyCannotBeWritten) {
  TemporaryFolder folder;
  writeText(folder / "file", "");
  try {
    updateRecords(folder / "file/records.json", {sampleEntry()});
    FAIL() << "expected an error";
  } catch (const std::exception &error) {
    EXPECT_NE(std::string(error.what()).find("file"), std::string::npos) << error.what();
  }
}

// Writers that are killed at any moment, all into one file. What a writer reported as written must be there at the end,
// and the file must be whole whenever somebody looks.
TEST(RecordFiles, surviveKilledWriters) {
  const char *effort = std::getenv("TPAC_TEST_EFFORT");
  const auto lasting = std::chrono::seconds(effort && std::string_view(effort) == "full" ? 60 : 2);
  constexpr int writers = 32;
  TemporaryFolder folder;
  const auto file = folder / "records.json";
  // Each writer's reports: the numbers of what it has written, a line each.
  auto reports = [&](int writer) { return folder / ("reports." + std::to_string(writer)); };
  auto entryOfNumber = [](int64_t number) {
    Entry entry = sampleEntry();
    // Few questions, so that the file stays small enough to be written often.
    entry.policy["threads"] = number % 8;
    entry.key.pageSize = number % 4;
    // Above 0, however often writers are killed.
    entry.best = {{{{"number", std::to_string(number)}}, 1e15 - static_cast<double>(number), 0, 1}};
    return entry;
  };
  auto write = [&](int writer, int64_t from) {
    int log = open(reports(writer).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    for (int64_t number = from;; number += writers) {
      updateRecords(file, {entryOfNumber(number)});
      std::string line = std::to_string(number) + "\n";
      if (::write(log, line.data(), line.size()) < 0)
        _exit(3);
    }
  };
  std::map<pid_t, int> running;
  std::vector<int64_t> next(writers);
  auto start = [&](int writer) {
    pid_t child = fork();
    if (child == 0) {
      try {
        write(writer, next[static_cast<size_t>(writer)] * writers + writer);
      } catch (...) {
        _exit(4);
      }
    }
    ASSERT_GT(child, 0);
    running[child] = writer;
    // Numbers that no later incarnation takes again.
    next[static_cast<size_t>(writer)] += 1000000;
  };
  for (int writer = 0; writer < writers; ++writer)
    start(writer);
  // A busy machine may take longer for as many results as prove anything.
  constexpr int64_t fewestReports = 20;
  constexpr auto longest = std::chrono::minutes(2);
  auto countReports = [&] {
    int64_t lines = 0;
    for (int writer = 0; writer < writers; ++writer)
      lines += std::ranges::count(readText(reports(writer)), '\n');
    return lines;
  };
  std::mt19937 random(1);
  int64_t killed = 0, looks = 0;
  const auto begin = std::chrono::steady_clock::now();
  auto lasted = [&] { return std::chrono::steady_clock::now() - begin; };
  while (lasted() < lasting || (lasted() < longest && countReports() <= fewestReports)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 10));
    auto victim = std::next(running.begin(), static_cast<std::ptrdiff_t>(random() % running.size()));
    const int writer = victim->second;
    kill(victim->first, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(victim->first, &status, 0), victim->first);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "a writer failed by itself: " << status;
    running.erase(victim);
    ++killed;
    start(writer);
    Contents contents = readRecords(file);
    EXPECT_TRUE(contents.problems.empty()) << first(contents.problems);
    looks += !contents.entries.empty();
  }
  for (const auto &[child, writer] : running) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  EXPECT_GT(killed, 10);
  EXPECT_GT(looks, 0);
  Contents contents = readRecords(file);
  EXPECT_TRUE(contents.problems.empty()) << first(contents.problems);
  // Of each question the file keeps the highest numbers; a reported one is there, or beaten by eight that are.
  int64_t reported = 0;
  for (int writer = 0; writer < writers; ++writer) {
    std::istringstream lines(readText(reports(writer)));
    for (int64_t number = 0; lines >> number; ++reported) {
      Entry wanted = entryOfNumber(number);
      auto entry = std::ranges::find_if(contents.entries, [&](const Entry &e) { return isSameQuestion(e, wanted); });
      ASSERT_NE(entry, contents.entries.end()) << number;
      bool isThere = std::ranges::find(entry->best, wanted.best[0]) != entry->best.end();
      bool isBeaten = entry->best.size() == mostCandidates && entry->best.back().medianUs < wanted.best[0].medianUs;
      EXPECT_TRUE(isThere || isBeaten) << number;
    }
  }
  EXPECT_GT(reported, fewestReports);
}

} // namespace tpac::records
