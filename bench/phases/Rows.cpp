// SPDX-License-Identifier: Apache-2.0
//
// Reads bench/shapes.json (docs/benchmarks.md, "What is measured").

#include "bench/phases/Rows.h"

#include "bench/phases/Work.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <stdexcept>

namespace tpac::bench {

namespace {

using nlohmann::json;

json readJson(const std::string &path) {
  std::ifstream file(path);
  if (!file)
    throw std::runtime_error(path + ": cannot be read");
  try {
    return json::parse(file);
  } catch (const json::exception &error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

class Reader {
public:
  Reader(const std::string &path, std::string configs, int cpus)
      : path(path), configs(std::move(configs)), cpus(cpus), file(readJson(path)) {}

  std::vector<Row> read(const std::string &list) {
    where = path;
    checkKeys(file, {"lists", "variants"});
    if (!file.value("lists", json::object()).contains(list))
      fail("lists." + list, "nothing", "a list of entries");
    for (size_t index = 0; index < file["lists"][list].size(); ++index) {
      where = path + ": lists." + list + "[" + std::to_string(index) + "]";
      readEntry(file["lists"][list][index]);
    }
    return std::move(rows);
  }

private:
  [[noreturn]] void fail(const std::string &field, const std::string &found, const std::string &accepted) const {
    throw std::runtime_error(where + ": " + field + ": found " + found + "; accepted: " + accepted);
  }

  void checkKeys(const json &object, const std::set<std::string> &accepted) const {
    if (!object.is_object())
      fail("entry", object.type_name(), "an object");
    std::string names;
    for (const std::string &name : accepted)
      names += (names.empty() ? "" : ", ") + name;
    for (const auto &[name, value] : object.items())
      if (!accepted.contains(name))
        fail("field", "'" + name + "'", names);
  }

  std::vector<int64_t> numbers(const json &entry, const char *field, std::vector<int64_t> otherwise) const {
    if (!entry.contains(field))
      return otherwise;
    std::vector<int64_t> values;
    for (const json &value : entry[field].is_array() ? entry[field] : json::array({entry[field]})) {
      if (!value.is_number_integer() || value.get<int64_t>() < 0)
        fail(field, value.dump(), "integers >= 0");
      values.push_back(value.get<int64_t>());
    }
    return values;
  }

  std::vector<std::string> strings(const json &entry, const char *field) const {
    std::vector<std::string> values;
    for (const json &value : entry.value(field, json::array())) {
      if (!value.is_string())
        fail(field, value.dump(), "a list of strings");
      values.push_back(value);
    }
    return values;
  }

  Phase phaseOf(const json &entry) const {
    for (Phase phase : packPhases)
      if (entry.contains("phase") && entry["phase"] == phaseName(phase))
        return phase;
    fail("phase", entry.contains("phase") ? entry["phase"].dump() : "nothing", "append, decode, prefill, merge");
  }

  /// A file of configs/, or one of "variants": a file with a JSON merge patch.
  json variantOf(const std::string &name) const {
    json variants = file.value("variants", json::object());
    if (!variants.contains(name))
      return readJson(configs + "/" + name + ".json");
    checkKeys(variants[name], {"base", "patch"});
    json variant = readJson(configs + "/" + variants[name].at("base").get<std::string>() + ".json");
    variant.merge_patch(variants[name].at("patch"));
    variant["name"] = name;
    return variant;
  }

  void readEntry(const json &entry) {
    checkKeys(entry, {"phase", "configs", "cached", "tokens", "requests", "threads", "rivals"});
    Phase phase = phaseOf(entry);
    std::vector<std::string> rivals = strings(entry, "rivals");
    for (const std::string &rival : rivals)
      if (rival != "materialised" && rival != "torch-mha" && rival != "torch-gqa4")
        fail("rivals", "'" + rival + "'", "materialised, torch-mha, torch-gqa4");
    for (const std::string &config : strings(entry, "configs"))
      for (int64_t cached : numbers(entry, "cached", {0}))
        for (int64_t tokens : numbers(entry, "tokens", {1}))
          for (int64_t requests : numbers(entry, "requests", {1}))
            for (int64_t threads : numbers(entry, "threads", {cpus})) {
              if (threads > cpus)
                continue;
              if (threads < 1 || tokens < 1 || requests < 1)
                fail("threads, tokens or requests", "0", "1 or more");
              // Threads take whole requests.
              int64_t rounded = (requests + threads - 1) / threads * threads;
              int64_t atEnd = phase == Phase::merge    ? 0
                              : phase == Phase::append ? cached + tokens
                                                       : std::max(cached, tokens);
              rows.push_back(
                  {phase, config, variantOf(config), atEnd, tokens, rounded, static_cast<int>(threads), "tpac"});
              if (std::find(rivals.begin(), rivals.end(), "materialised") == rivals.end())
                continue;
              Row rival = rows.back();
              rival.variant = materialised(rival.variant);
              rival.implementation = "materialised";
              rows.push_back(std::move(rival));
            }
  }

  std::string path, configs;
  int cpus;
  json file;
  std::string where;
  std::vector<Row> rows;
};

} // namespace

std::string Row::name() const {
  return std::string(phaseName(phase)) + "/" + config + "/cached:" + std::to_string(cached) +
         "/tokens:" + std::to_string(tokens) + "/requests:" + std::to_string(requests) +
         "/threads:" + std::to_string(threads) + "/impl:" + implementation;
}

std::vector<Row> readRows(const std::string &path, const std::string &list, const std::string &configs, int cpus) {
  return Reader(path, configs, cpus).read(list);
}

Row rowOfShape(const std::string &shape, const std::string &config, const nlohmann::json &variant, int threads) {
  static const std::regex form("(append|decode|prefill|merge)((?:/(?:cached|tokens|requests):[0-9]{1,9})*)");
  static const std::regex field("/([a-z]+):([0-9]+)");
  std::smatch parts;
  if (!std::regex_match(shape, parts, form))
    throw std::runtime_error("--shape: found '" + shape + "'; expected " + shapeHelp);
  int64_t cached = 0, tokens = 1, requests = threads;
  const std::string fields = parts[2];
  for (auto match = std::sregex_iterator(fields.begin(), fields.end(), field); match != std::sregex_iterator(); ++match)
    ((*match)[1] == "cached" ? cached : (*match)[1] == "tokens" ? tokens : requests) = std::stoll((*match)[2]);
  if (tokens < 1 || requests < 1 || requests % threads != 0)
    throw std::runtime_error("--shape " + shape + ": expected 1 token or more, and requests divisible by the " +
                             std::to_string(threads) + " threads, which take whole ones");
  Row row{Phase::merge, config, variant, 0, tokens, requests, threads, "tpac"};
  for (Phase phase : packPhases)
    if (parts[1].str() == phaseName(phase))
      row.phase = phase;
  if (row.phase != Phase::merge)
    row.cached = std::max(cached, tokens);
  return row;
}

} // namespace tpac::bench
