// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>

namespace tpac::records {

using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 4> effortNames = {"none", "quick", "normal", "full"};

[[noreturn]] void refuse(const std::string &field, const json *found, const std::string &accepted) {
  throw std::runtime_error(field + ": found " + (found ? found->dump() : "nothing") + "; expected " + accepted);
}

/// An object whose members are taken one by one, so that those nobody asked for are left.
class Members {
public:
  Members(const json &object, std::string path) : path(std::move(path)) {
    if (!object.is_object())
      refuse(this->path.empty() ? "entry" : this->path, &object, "an object");
    rest = object;
  }

  json take(const std::string &name, const std::string &accepted, bool (*accepts)(const json &)) {
    auto found = rest.find(name);
    if (found == rest.end() || !accepts(*found))
      refuse(path.empty() ? name : path + "." + name, found == rest.end() ? nullptr : &*found, accepted);
    json value = std::move(*found);
    rest.erase(found);
    return value;
  }

  json object(const std::string &name) {
    return take(name, "an object", [](const json &value) { return value.is_object(); });
  }
  std::string text(const std::string &name) {
    return take(name, "a text", [](const json &value) { return value.is_string(); });
  }
  int64_t count(const std::string &name) {
    return take(name, "an integer >= 0",
                [](const json &value) { return value.is_number_integer() && value.get<int64_t>() >= 0; });
  }
  double microseconds(const std::string &name) {
    return take(name, "a number of microseconds, >= 0 and finite", [](const json &value) {
      return value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() >= 0;
    });
  }

  std::string path;
  json rest;
};

/// Texts and integers alone: what compares the same everywhere.
json plainObject(Members &members, const std::string &name) {
  return members.take(name, "an object of texts, integers and booleans", [](const json &value) {
    return value.is_object() && std::ranges::all_of(value, [](const json &member) {
             return member.is_string() || member.is_number_integer() || member.is_boolean();
           });
  });
}

json scheduleOf(Members &members, const std::string &name) {
  return members.take(name, "an object of texts by knob", [](const json &schedule) {
    return schedule.is_object() && !schedule.empty() &&
           std::ranges::all_of(schedule, [](const json &knob) { return knob.is_string(); });
  });
}

Candidate candidateOf(const json &value, const std::string &path) {
  Members members(value, path);
  Candidate candidate;
  candidate.schedule = scheduleOf(members, "schedule");
  candidate.medianUs = members.microseconds("median_us");
  candidate.madUs = members.microseconds("mad_us");
  candidate.runs = members.count("runs");
  return candidate;
}

} // namespace

int64_t bucketed(int64_t size) {
  if (size < 1)
    return 0;
  // Powers of sqrt(2) are 2^(i/2): i is the nearest integer.
  double i = std::round(2 * std::log2(static_cast<double>(size)));
  return static_cast<int64_t>(std::exp2(i / 2) + 1e-9);
}

Shape bucketed(Shape shape) { return {bucketed(shape.requests), bucketed(shape.tokens), bucketed(shape.cached)}; }

std::string_view effortName(Effort effort) { return effortNames.at(static_cast<size_t>(effort)); }

std::optional<Effort> effortOf(std::string_view name) {
  auto named = std::ranges::find(effortNames, name);
  return named == effortNames.end() ? std::nullopt : std::optional(static_cast<Effort>(named - effortNames.begin()));
}

bool isSameQuestion(const Entry &a, const Entry &b) {
  return a.key == b.key && a.fingerprint == b.fingerprint && a.policy == b.policy;
}

std::string idOf(const Entry &entry) {
  const json whole = toJson(entry);
  // FNV-1a: the same in every build and on every machine, as members of objects come in order of their names.
  uint64_t hash = 0xcbf29ce484222325;
  for (char byte : json({whole.at("key"), whole.at("fingerprint"), whole.at("policy")}).dump())
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

/// What is within half a percent of the fastest is as fast.
static constexpr double tie = 0.005;

const Candidate &chosenOf(const Entry &entry, const json &defaultSchedule) {
  const Candidate &fastest = entry.best.front();
  const double limit = fastest.medianUs * (1 + tie);
  const Candidate *chosen = &fastest;
  for (const Candidate &candidate : entry.best) {
    if (candidate.medianUs > limit)
      break;
    if (candidate.schedule == defaultSchedule)
      return candidate;
    if (candidate.schedule.dump() < chosen->schedule.dump())
      chosen = &candidate;
  }
  return *chosen;
}

json toJson(const Entry &entry) {
  json result = entry.unknown;
  json best = json::array();
  for (const Candidate &candidate : entry.best)
    best.push_back({{"schedule", candidate.schedule},
                    {"median_us", candidate.medianUs},
                    {"mad_us", candidate.madUs},
                    {"runs", candidate.runs}});
  const Key &key = entry.key;
  result["key"] = {{"phase", key.phase},        {"variant", key.variant},         {"value_block", key.valueBlock},
                   {"page_size", key.pageSize}, {"requests", key.shape.requests}, {"tokens", key.shape.tokens},
                   {"cached", key.shape.cached}};
  result["fingerprint"] = {{"silicon", entry.fingerprint.silicon}, {"toolchain", entry.fingerprint.toolchain}};
  result["policy"] = entry.policy;
  result["effort"] = effortName(entry.effort);
  result["evaluations"] = entry.evaluations;
  result["default_us"] = entry.defaultUs;
  if (!entry.defaultSchedule.is_null())
    result["default"] = entry.defaultSchedule;
  result["best"] = std::move(best);
  result["time"] = entry.time;
  return result;
}

Entry entryOf(const json &value) {
  Members members(value, "");
  Entry entry;
  Members key(members.object("key"), "key");
  entry.key.phase = key.text("phase");
  entry.key.variant = key.object("variant");
  entry.key.valueBlock = key.count("value_block");
  entry.key.pageSize = key.count("page_size");
  entry.key.shape = {key.count("requests"), key.count("tokens"), key.count("cached")};
  if (entry.key.shape != bucketed(entry.key.shape))
    throw std::runtime_error("key: requests, tokens, cached: found " + std::to_string(entry.key.shape.requests) + ", " +
                             std::to_string(entry.key.shape.tokens) + ", " + std::to_string(entry.key.shape.cached) +
                             "; expected powers of the square root of 2, rounded down to integers");
  // A field that decides and that this version does not know makes it another question.
  if (!key.rest.empty())
    refuse("key." + key.rest.begin().key(), &*key.rest.begin(), "nothing: this version of tpac does not know it");
  Members fingerprint(members.object("fingerprint"), "fingerprint");
  entry.fingerprint.silicon = plainObject(fingerprint, "silicon");
  entry.fingerprint.toolchain = plainObject(fingerprint, "toolchain");
  entry.policy = plainObject(members, "policy");
  const std::string effort = members.text("effort");
  std::optional<Effort> named = effortOf(effort);
  if (!named)
    throw std::runtime_error("effort: found \"" + effort + "\"; expected none, quick, normal or full");
  entry.effort = *named;
  entry.evaluations = members.count("evaluations");
  entry.defaultUs = members.microseconds("default_us");
  if (members.rest.contains("default"))
    entry.defaultSchedule = scheduleOf(members, "default");
  entry.time = members.text("time");
  static const std::regex utc("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z");
  if (!std::regex_match(entry.time, utc))
    throw std::runtime_error("time: found \"" + entry.time + "\"; expected UTC as 2026-11-22T20:40:00Z");
  json best = members.take("best", "1 to 8 measured schedules", [](const json &list) {
    return list.is_array() && !list.empty() && list.size() <= mostCandidates;
  });
  std::set<json> schedules;
  for (const json &item : best) {
    const std::string path = "best[" + std::to_string(entry.best.size()) + "]";
    entry.best.push_back(candidateOf(item, path));
    if (!schedules.insert(entry.best.back().schedule).second)
      throw std::runtime_error(path + ".schedule: found one that stands before; expected each schedule once");
    if (entry.best.size() > 1 && entry.best.back().medianUs < entry.best[entry.best.size() - 2].medianUs)
      throw std::runtime_error(path + ".median_us: found less than the one before; expected the fastest first");
  }
  entry.unknown = std::move(members.rest);
  return entry;
}

} // namespace tpac::records
