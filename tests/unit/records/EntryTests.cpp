// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/records/Entries.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>

namespace tpac::records {

using nlohmann::json;

TEST(Buckets, arePowersOfTheRootOfTwo) {
  EXPECT_EQ(bucketed(0), 0);
  std::set<int64_t> buckets;
  for (int64_t size = 1; size <= 64; ++size)
    buckets.insert(bucketed(size));
  EXPECT_EQ(buckets, (std::set<int64_t>{1, 2, 4, 5, 8, 11, 16, 22, 32, 45, 64}));
  for (int64_t size : {1, 3, 8192, 11585, 100000, 1 << 20}) {
    EXPECT_EQ(bucketed(bucketed(size)), bucketed(size)) << size;
    EXPECT_LT(std::abs(std::log2(static_cast<double>(bucketed(size)) / static_cast<double>(size))), 0.6) << size;
  }
}

TEST(Entries, surviveJson) {
  Entry entry = sampleEntry();
  EXPECT_EQ(entryOf(toJson(entry)), entry);
  EXPECT_EQ(entryOf(json::parse(toJson(entry).dump())), entry);
}

TEST(Entries, keepWhatTheyDoNotKnow) {
  json text = toJson(sampleEntry());
  text["power_watts"] = 250;
  Entry entry = entryOf(text);
  EXPECT_EQ(entry.unknown, json({{"power_watts", 250}}));
  EXPECT_EQ(toJson(entry), text);
}

// The published schema and this reader name the same members.
TEST(Entries, haveTheMembersOfTheSchema) {
  std::ifstream stream(TPAC_SOURCE_ROOT "/docs/records.schema.json");
  Entry sample = sampleEntry();
  sample.defaultSchedule = sample.best[0].schedule;
  EXPECT_EQ(entryOf(toJson(sample)), sample);
  json definitions = json::parse(stream).at("$defs"), entry = toJson(sample);
  // Entries of older versions lack the default.
  definitions.at("entry").at("required").push_back("default");
  auto compare = [&](const char *definition, const json &object) {
    std::set<std::string> wanted, found;
    for (const auto &[name, schema] : definitions.at(definition).at("properties").items())
      wanted.insert(name);
    for (const auto &[name, value] : object.items())
      found.insert(name);
    EXPECT_EQ(found, wanted) << definition;
    EXPECT_EQ(definitions.at(definition).at("required").size(), wanted.size()) << definition;
  };
  compare("entry", entry);
  compare("key", entry.at("key"));
  compare("candidate", entry.at("best").at(0));
}

TEST(Entries, ofEqualSchedulesTheDefaultOrTheFirstByTextIsChosen) {
  Entry entry = sampleEntry();
  const json a = {{"tokens", "16"}}, b = {{"tokens", "32"}}, c = {{"tokens", "64"}}, d = {{"tokens", "8"}};
  entry.best = {{b, 100, 0.1, 15}, {a, 100.3, 2, 15}, {c, 100.4, 0.1, 15}, {d, 103, 0.1, 15}};
  EXPECT_EQ(chosenOf(entry, d).schedule, a);
  EXPECT_EQ(chosenOf(entry, c).schedule, c);
  // Noise makes no ties: what is slower in the median is likelier slower.
  entry.best[0].madUs = 2;
  EXPECT_EQ(chosenOf(entry, d).schedule, a);
}

// Field, what was found, what is accepted.
TEST(Entries, sayWhatIsWrongWithThem) {
  auto messageOf = [](const std::function<void(json &)> &damage) {
    json text = toJson(sampleEntry());
    damage(text);
    try {
      entryOf(text);
    } catch (const std::runtime_error &error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(messageOf([](json &) {}), "accepted");
  EXPECT_EQ(messageOf([](json &entry) { entry = 3; }), "entry: found 3; expected an object");
  EXPECT_EQ(messageOf([](json &entry) { entry.erase("key"); }), "key: found nothing; expected an object");
  EXPECT_EQ(messageOf([](json &entry) { entry["key"]["cached"] = "many"; }),
            "key.cached: found \"many\"; expected an integer >= 0");
  EXPECT_EQ(messageOf([](json &entry) { entry["key"]["cached"] = 8000; }),
            "key: requests, tokens, cached: found 1, 1, 8000; expected powers of the square root of 2, rounded down to "
            "integers");
  EXPECT_EQ(messageOf([](json &entry) { entry["key"]["graph"] = true; }),
            "key.graph: found true; expected nothing: this version of tpac does not know it");
  EXPECT_EQ(
      messageOf([](json &entry) { entry["fingerprint"]["silicon"]["caches"] = json::array({1, 2}); }),
      "fingerprint.silicon: found {\"caches\":[1,2],\"cpu\":\"a 6/143\",\"cpus\":2}; expected an object of texts, "
      "integers and booleans");
  EXPECT_EQ(messageOf([](json &entry) { entry["effort"] = "some"; }),
            "effort: found \"some\"; expected none, quick, normal or full");
  EXPECT_EQ(messageOf([](json &entry) { entry["default_us"] = -1; }),
            "default_us: found -1; expected a number of microseconds, >= 0 and finite");
  EXPECT_EQ(messageOf([](json &entry) { entry["best"] = json::array(); }),
            "best: found []; expected 1 to 8 measured schedules");
  EXPECT_EQ(messageOf([](json &entry) { entry["best"][0]["schedule"]["tokens"] = 32; }),
            "best[0].schedule: found {\"heads\":\"4\",\"tokens\":32}; expected an object of texts by knob");
  EXPECT_EQ(messageOf([](json &entry) { entry["best"][1]["schedule"] = entry["best"][0]["schedule"]; }),
            "best[1].schedule: found one that stands before; expected each schedule once");
  EXPECT_EQ(messageOf([](json &entry) { entry["best"][1]["median_us"] = 1; }),
            "best[1].median_us: found less than the one before; expected the fastest first");
  EXPECT_EQ(messageOf([](json &entry) { entry["time"] = "yesterday"; }),
            "time: found \"yesterday\"; expected UTC as 2026-11-22T20:40:00Z");
}

} // namespace tpac::records
