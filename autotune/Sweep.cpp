// SPDX-License-Identifier: Apache-2.0

#include "autotune/Sweep.h"

#include "bench/measure/Statistics.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <stdexcept>

namespace tpac::autotune {

using nlohmann::json;
using nlohmann::ordered_json;
using search::Index;
using search::Point;

namespace {

/// Candidates that take so many times as long as the default are slow.
constexpr double slow = 3;

/// Four digits are below the noise.
double rounded(double us) {
  const double unit = std::pow(10, std::floor(std::log10(us)) - 3);
  return std::round(us / unit) * unit;
}

ordered_json headOf(const Candidates &candidates, const ordered_json &about) {
  ordered_json head = about;
  head["knobs"] = ordered_json::array();
  for (const ScheduleSpace::Knob &knob : candidates.knobs)
    head["knobs"].push_back({{"name", knob.name}, {"values", knob.values}});
  head["default"] = candidates.space.points[candidates.byDefault.value()];
  return head;
}

class Sweeping {
public:
  Sweeping(const Question &question, const Candidates &candidates, const std::filesystem::path &file,
           const SweepOptions &options)
      : candidates(candidates), options(options), file(file), worker(question, options.worker) {}

  /// Takes what the file has; makes it where it is missing.
  void open(const ordered_json &head) {
    std::ifstream stream(file);
    std::string line;
    if (!std::getline(stream, line)) {
      write(head);
      return;
    }
    json old = json::parse(line);
    for (const char *member : {"knobs", "default"})
      if (old.at(member) != json(head.at(member)))
        throw std::runtime_error(file.string() + ": found a sweep of another space; expected a new file or one of the "
                                                 "same variant, phase and pins");
    while (std::getline(stream, line)) {
      json one = json::parse(line);
      if (one.contains("reference_us")) {
        reference = one.at("reference_us");
        continue;
      }
      if (one.contains("promising")) {
        known = one.at("promising");
        continue;
      }
      if (one.contains("final")) {
        hasFinal = true;
        continue;
      }
      if (one.contains("us"))
        medians.emplace_back(bench::median(one.at("us").get<std::vector<double>>()), one.at("point").get<Point>());
      done.insert(one.at("point").get<Point>());
      if (one.contains("code"))
        codes.emplace(one.at("code"), one.at("point").get<Point>());
    }
  }

  void run() {
    json promising = json::array();
    for (Index point : candidates.promising)
      promising.push_back(candidates.space.points[point]);
    if (promising != known)
      write({{"promising", promising}});
    std::vector<Index> group;
    for (Index i = 0; i < candidates.texts.size() && !options.isStopped(); ++i) {
      if (!done.contains(candidates.space.points[i]))
        group.push_back(i);
      if (group.size() == options.group || (i + 1 == candidates.texts.size() && !group.empty())) {
        time(group);
        group.clear();
        options.onProgress(done.size(), candidates.texts.size());
      }
    }
    if (done.size() == candidates.texts.size() && !hasFinal && !options.isStopped())
      timeFinal();
  }

private:
  /// The points of a group that are worth timing.
  std::vector<Index> admitted(const std::vector<Index> &group, std::vector<ordered_json> &lines) {
    std::vector<Index> result;
    std::vector<std::string> texts;
    for (Index point : group)
      texts.push_back(candidates.texts[point]);
    const std::vector<Trial::Compiled> compiled = worker.compile(texts);
    for (size_t i = 0; i < group.size(); ++i) {
      ordered_json &line = lines[i];
      line["point"] = candidates.space.points[group[i]];
      std::string problem = compiled[i].problem;
      if (problem.empty()) {
        const std::string code = compiled[i].code.substr(0, 16);
        auto [twin, isNew] = codes.emplace(code, candidates.space.points[group[i]]);
        if (!isNew) {
          line["as"] = twin->second;
          continue;
        }
        line["code"] = code;
        problem = worker.check(texts[i]);
      }
      if (problem.empty())
        result.push_back(group[i]);
      else
        line["problem"] = problem.substr(0, problem.find(':'));
    }
    return result;
  }

  void time(const std::vector<Index> &group) {
    std::vector<ordered_json> lines(group.size());
    std::vector<Index> points = admitted(group, lines);
    const Index byDefault = candidates.byDefault.value();
    std::map<Index, std::vector<double>> times;
    std::vector<double> defaults;
    auto runOf = [&](Index point) {
      std::optional<double> seconds = worker.run(candidates.texts[point]);
      if (!seconds && point == byDefault)
        throw std::runtime_error("the default schedule: " + worker.problem());
      return seconds;
    };
    for (int round = 0; round < options.runs && !points.empty(); ++round) {
      defaults.push_back(runOf(byDefault).value());
      for (Index point : points) {
        const std::vector<double> &sofar = times[point];
        if (round >= options.runsOfSlow && (sofar.empty() || sofar.front() > slow * defaults.front() * 1e6))
          continue;
        if (std::optional<double> seconds = runOf(point))
          times[point].push_back(*seconds * 1e6);
      }
    }
    double scale = 1;
    if (!points.empty()) {
      const double now = bench::median(defaults) * 1e6;
      if (!reference) {
        reference = now;
        write({{"reference_us", now}});
      }
      scale = *reference / now;
    }
    for (size_t i = 0; i < group.size(); ++i) {
      if (auto found = times.find(group[i]); found != times.end() && !found->second.empty()) {
        lines[i]["us"] = ordered_json::array();
        for (double us : found->second)
          lines[i]["us"].push_back(rounded(us * scale));
        medians.emplace_back(bench::median(found->second) * scale, candidates.space.points[group[i]]);
      } else if (!lines[i].contains("as") && !lines[i].contains("problem")) {
        lines[i]["problem"] = "lost";
      }
      write(lines[i]);
      done.insert(candidates.space.points[group[i]]);
    }
  }

  void timeFinal() {
    std::ranges::sort(medians);
    const Point byDefault = candidates.space.points[candidates.byDefault.value()];
    std::vector<Point> points = {byDefault};
    for (const auto &[us, point] : medians)
      if (points.size() < options.finalists && point != byDefault)
        points.push_back(point);
    std::vector<std::string> texts;
    for (const Point &point : points) {
      const Index number =
          static_cast<Index>(std::ranges::find(candidates.space.points, point) - candidates.space.points.begin());
      texts.push_back(candidates.texts.at(number));
    }
    std::vector<std::vector<double>> us(points.size());
    for (int round = 0; round < options.finalRounds; ++round)
      for (size_t i = 0; i < points.size(); ++i) {
        std::optional<double> seconds = worker.run(texts[i]);
        if (!seconds)
          throw std::runtime_error(texts[i] + ": " + worker.problem());
        us[i].push_back(*seconds * 1e6);
      }
    const double scale = reference.value_or(bench::median(us.front())) / bench::median(us.front());
    for (std::vector<double> &samples : us)
      for (double &sample : samples)
        sample = rounded(sample * scale);
    write({{"final", points}, {"us", us}});
  }

  void write(const ordered_json &line) {
    std::ofstream stream(file, std::ios::app);
    if (!(stream << line.dump() << '\n'))
      throw std::runtime_error(file.string() + ": cannot be written");
  }

  const Candidates &candidates;
  const SweepOptions &options;
  std::filesystem::path file;
  Worker worker;
  /// Of what was timed.
  std::vector<std::pair<double, Point>> medians;
  bool hasFinal = false;
  /// The points that this file says are promising.
  json known;
  std::set<Point> done;
  std::map<std::string, Point> codes;
  /// Microseconds of the default in the first group.
  std::optional<double> reference;
};

} // namespace

void sweep(const Question &question, const Candidates &candidates, const ordered_json &about,
           const std::filesystem::path &file, const SweepOptions &options) {
  Sweeping sweeping(question, candidates, file, options);
  sweeping.open(headOf(candidates, about));
  sweeping.run();
}

} // namespace tpac::autotune
