// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/tune/RecordedSweep.h"

#include "bench/measure/Statistics.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace tpac::search {

using nlohmann::json;

namespace {

std::string textOf(const std::filesystem::path &path) {
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  std::string text;
  char buffer[1 << 16];
  int count = 0;
  while (file && (count = gzread(file.get(), buffer, sizeof(buffer))) > 0)
    text.append(buffer, static_cast<size_t>(count));
  if (!file || count < 0)
    throw std::runtime_error(path.string() + ": cannot be read");
  return text;
}

} // namespace

RecordedSweep::RecordedSweep(const std::filesystem::path &file) : name(file.filename().string()) {
  name.resize(name.find('.'));
  std::istringstream stream(textOf(file));
  std::string line;
  std::getline(stream, line);
  const json head = json::parse(line);
  for (const json &knob : head.at("knobs"))
    knobs.emplace_back(knob.at("name"), knob.at("values"));
  std::map<Point, Index> numbers;
  json promisingPoints, final;
  while (std::getline(stream, line)) {
    const json one = json::parse(line);
    if (one.contains("promising"))
      promisingPoints = one.at("promising");
    if (one.contains("final"))
      final = one;
    if (!one.contains("point"))
      continue;
    numbers[one.at("point")] = space.points.size();
    space.points.push_back(one.at("point"));
    twins.push_back(one.contains("as") ? numbers.at(one.at("as").get<Point>()) : space.points.size() - 1);
    samples.push_back(one.value("us", std::vector<double>()));
  }
  if (final.is_null())
    throw std::runtime_error(file.string() + ": found no final; expected a sweep that went to its end");
  byDefault = numbers.at(head.at("default").get<Point>());
  for (const json &point : promisingPoints)
    promising.push_back(numbers.at(point.get<Point>()));
  best = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < final.at("final").size(); ++i) {
    const Index point = twins.at(numbers.at(final.at("final")[i].get<Point>()));
    rounds[point] = final.at("us")[i].get<std::vector<double>>();
    best = std::min(best, bench::median(rounds[point]));
  }
}

json RecordedSweep::schedule(Index point) const {
  json fields = json::object();
  for (size_t knob = 0; knob < knobs.size(); ++knob)
    fields[knobs[knob].first] = knobs[knob].second.at(static_cast<size_t>(space.points.at(point)[knob]));
  return fields;
}

RecordedSweep RecordedSweep::withDefault(const std::string &knob) const {
  const auto number = static_cast<size_t>(
      std::ranges::find(knobs, knob, [](const auto &known) { return known.first; }) - knobs.begin());
  RecordedSweep part = *this;
  part.space.points.clear();
  part.twins.clear();
  part.samples.clear();
  part.rounds.clear();
  part.promising.clear();
  part.best = std::numeric_limits<double>::infinity();
  // Of each kept point, and of each code whose first point is left out: its new number.
  std::map<Index, Index> numbers, firsts;
  for (Index point = 0; point < space.points.size(); ++point) {
    if (space.points[point].at(number) != space.points[byDefault].at(number))
      continue;
    const Index now = part.space.points.size(), twin = firsts.emplace(twins[point], now).first->second;
    numbers[point] = now;
    part.space.points.push_back(space.points[point]);
    part.twins.push_back(twin);
    part.samples.push_back(twin == now ? samples[twins[point]] : std::vector<double>());
    if (auto final = rounds.find(twins[point]); twin == now && final != rounds.end()) {
      part.rounds.insert({now, final->second});
      part.best = std::min(part.best, bench::median(final->second));
    }
  }
  part.byDefault = numbers.at(byDefault);
  for (Index point : promising)
    if (auto kept = numbers.find(point); kept != numbers.end())
      part.promising.push_back(kept->second);
  return part;
}

std::optional<double> RecordedSweep::median(Index point) const {
  auto final = rounds.find(twins[point]);
  const std::vector<double> &us = final == rounds.end() ? samples[twins[point]] : final->second;
  return us.empty() ? std::nullopt : std::optional(bench::median(us));
}

double RecordedSweep::uncertainty() const {
  const std::vector<double> &us =
      std::ranges::min_element(rounds, {}, [](const auto &point) { return bench::median(point.second); })->second;
  std::vector<double> deviations;
  for (double sample : us)
    deviations.push_back(std::abs(sample - best));
  // Of a median of normal samples: 1.25 standard deviations by the root of their number; a deviation is 1.48 times the
  // median absolute one.
  return 1.25 * 1.48 * bench::median(deviations) / std::sqrt(static_cast<double>(us.size())) / best;
}

} // namespace tpac::search
