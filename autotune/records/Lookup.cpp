// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Lookup.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <tuple>

namespace tpac::records {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 6> matchNames = {
    "exact", "other toolchain", "other shape", "other number of CPUs", "other silicon", "none"};

/// The value of an environment variable; empty where it is not set.
std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

const char *const projectFile = "tpac-records.json";

/// Empty where the environment names no place.
fs::path userFile() {
  if (std::string data = environment("XDG_DATA_HOME"); !data.empty())
    return fs::path(data) / "tpac" / "records.json";
  if (std::string home = environment("HOME"); !home.empty())
    return fs::path(home) / ".local" / "share" / "tpac" / "records.json";
  return {};
}

/// |log2| of the ratio of two sizes.
double apart(int64_t x, int64_t y) {
  return std::abs(std::log2(static_cast<double>(std::max<int64_t>(x, 1))) -
                  std::log2(static_cast<double>(std::max<int64_t>(y, 1))));
}

/// Whether a question names an architecture of GPUs and no device, as those do that are asked without one: entries of
/// any device of the architecture answer it.
bool namesNoDevice(const json &entry, const json &machine) {
  return machine.size() == 1 && machine.contains("isa") && entry.contains("gpu") &&
         entry.value("isa", json()) == machine.at("isa");
}

/// Machines of one kind of CPU may have any number of them; how much of the last cache they have a share in differs
/// with it, and virtual machines report what the host has.
bool isSameKind(json a, json b) {
  for (json *silicon : {&a, &b})
    for (const char *field : {"cpus", "l3"})
      silicon->erase(field);
  return a == b && a.contains("cpu");
}

void compare(std::vector<std::string> &result, const std::string &path, const json &found, const json &wanted) {
  if (found == wanted)
    return;
  if (!found.is_object() || !wanted.is_object()) {
    result.push_back(path + ": " + found.dump() + ", asked for " + wanted.dump());
    return;
  }
  for (const auto &[name, value] : found.items())
    compare(result, path + "." + name, value, wanted.value(name, json()));
  for (const auto &[name, value] : wanted.items())
    if (!found.contains(name))
      compare(result, path + "." + name, json(), value);
}

} // namespace

std::string_view matchName(Match match) { return matchNames.at(static_cast<size_t>(match)); }

Match matchOf(const Entry &entry, const Key &key, const Fingerprint &machine) {
  const Key &its = entry.key;
  if (std::tie(its.phase, its.variant, its.valueBlock, its.pageSize) !=
      std::tie(key.phase, key.variant, key.valueBlock, key.pageSize))
    return Match::none;
  if (entry.fingerprint.silicon != machine.silicon && !namesNoDevice(entry.fingerprint.silicon, machine.silicon))
    return isSameKind(entry.fingerprint.silicon, machine.silicon) ? Match::otherCount : Match::otherSilicon;
  if (its.shape != key.shape)
    return Match::otherShape;
  return entry.fingerprint.toolchain == machine.toolchain ? Match::exact : Match::otherToolchain;
}

double distance(Shape a, Shape b) {
  return apart(a.requests, b.requests) + apart(a.tokens, b.tokens) + apart(a.cached, b.cached);
}

double distance(const Entry &entry, const Key &key, const Fingerprint &machine) {
  Shape its = entry.key.shape, asked = key.shape;
  if (matchOf(entry, key, machine) == Match::otherCount) {
    its.requests *= machine.silicon.value("cpus", int64_t(1));
    asked.requests *= entry.fingerprint.silicon.value("cpus", int64_t(1));
  }
  return distance(its, asked);
}

std::vector<fs::path> recordFiles(const std::string &given) {
  std::vector<fs::path> files;
  if (std::string named = given.empty() ? environment("TPAC_RECORDS") : given; !named.empty())
    files = {named};
  else
    files = {projectFile, userFile()};
  std::erase_if(files, [](const fs::path &file) {
    std::error_code error;
    return file.empty() || !fs::exists(file, error);
  });
  return files;
}

fs::path recordFileToWrite(const std::string &given) {
  if (!given.empty())
    return given;
  if (std::string named = environment("TPAC_RECORDS"); !named.empty())
    return named;
  if (fs::exists(projectFile))
    return projectFile;
  if (fs::path file = userFile(); !file.empty())
    return file;
  throw std::runtime_error("no place for records: TPAC_RECORDS, XDG_DATA_HOME and HOME are not set; expected one of "
                           "them, or --records FILE");
}

std::vector<Layer> readLayers(const std::vector<fs::path> &files) {
  std::vector<Layer> layers;
  for (const fs::path &file : files)
    layers.push_back({file, readRecords(file), false});
  return layers;
}

std::vector<Answer> answersFor(const std::vector<Layer> &layers, const Key &key, const Fingerprint &machine) {
  std::vector<Answer> answers;
  for (const Layer &layer : layers)
    for (const Entry &entry : layer.contents.entries)
      if (Match match = matchOf(entry, key, machine); match != Match::none)
        answers.push_back({match, distance(entry, key, machine), entry.fingerprint.toolchain != machine.toolchain,
                           answers.size(), entry, layer.file});
  std::ranges::sort(answers, {},
                    [](const Answer &answer) { return std::tuple(answer.match, answer.distance, answer.position); });
  return answers;
}

std::vector<std::string> differences(const Entry &entry, const Key &key, const Fingerprint &machine) {
  Entry wanted;
  wanted.key = key;
  wanted.fingerprint = machine;
  if (namesNoDevice(entry.fingerprint.silicon, machine.silicon))
    wanted.fingerprint.silicon = entry.fingerprint.silicon;
  const json found = toJson(entry), asked = toJson(wanted);
  std::vector<std::string> result;
  compare(result, "key", found.at("key"), asked.at("key"));
  compare(result, "fingerprint", found.at("fingerprint"), asked.at("fingerprint"));
  return result;
}

} // namespace tpac::records
