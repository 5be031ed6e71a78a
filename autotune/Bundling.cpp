// SPDX-License-Identifier: Apache-2.0

#include "autotune/Bundling.h"

#include "autotune/search/Race.h"
#include "bench/measure/Statistics.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tuple>

namespace tpac::autotune {

using nlohmann::json;
using nlohmann::ordered_json;
using search::Index;
using search::Point;

namespace {

/// Knobs in which two points differ.
int changes(const Point &a, const Point &b) {
  int count = 0;
  for (size_t knob = 0; knob < a.size(); ++knob)
    count += a[knob] != b[knob];
  return count;
}

/// The file of results: what it has, and where lines are added.
class Results {
public:
  Results(const std::filesystem::path &file, const std::string &bundle) : file(file), bundle(bundle) {
    std::error_code error;
    if (!std::filesystem::exists(file, error))
      return;
    std::ostringstream all;
    all << std::ifstream(file, std::ios::binary).rdbuf();
    const std::string text = all.str();
    // A line whose writer was killed is no line.
    const size_t end = text.rfind('\n') + 1;
    std::istringstream stream(text.substr(0, end));
    for (std::string line; std::getline(stream, line);)
      lines.push_back(lineOf(line));
    if (!lines.empty() && lines.front().value("bundle", "") != bundle)
      throw std::runtime_error(file.string() + ": line 1: bundle: found " +
                               lines.front().value("bundle", json()).dump() + "; expected \"" + bundle +
                               "\": results of another bundle need a file of their own");
    if (lines.empty() && !text.starts_with("{\"bundle\"") && !text.empty())
      throw std::runtime_error(file.string() + ": line 1: found '" + text.substr(0, 40) +
                               "'; expected results of a bundle, or a new file");
    // Only now is it sure whose file this is.
    if (end != text.size())
      std::filesystem::resize_file(file, end);
  }

  /// Says which machine measures; throws where it is not the one that has.
  void begin(const json &machine) {
    if (lines.empty())
      add({{"bundle", bundle}, {"silicon", machine.at("silicon")}, {"device", machine.at("device")}});
    else if (lines.front().at("silicon") != machine.at("silicon"))
      throw std::runtime_error(file.string() + ": line 1: silicon: found " + lines.front().at("silicon").dump() +
                               "; expected this machine's, " + machine.at("silicon").dump());
  }

  void add(const ordered_json &line) {
    std::ofstream stream(file, std::ios::app);
    stream << line.dump() << std::endl;
    if (!stream)
      throw std::runtime_error(file.string() + ": cannot be written");
    lines.push_back(line);
  }

  const std::vector<json> &all() const { return lines; }

private:
  json lineOf(const std::string &line) const {
    json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object())
      throw std::runtime_error(file.string() + ": line " + std::to_string(lines.size() + 1) + ": found '" +
                               line.substr(0, 40) + "'; expected a JSON object");
    return value;
  }

  std::filesystem::path file;
  std::string bundle;
  std::vector<json> lines;
};

/// Measures one question.
class QuestionRun {
public:
  QuestionRun(const Bundle &bundle, const std::filesystem::path &file, size_t number, Results &results,
              const RunOptions &options)
      : bundle(bundle), question(bundle.questions()[number]), number(number), results(results), options(options),
        worker({question.row, bundle.target(), options.poolBytes, options.runSeconds,
                std::filesystem::absolute(file).string(), number},
               workerOptions()) {}

  void run() {
    for (const json &line : results.all())
      if (line.value("question", json()) == number && !take(line))
        return;
    machine = worker.machine();
    results.begin(machine);
    for (size_t i = 0; i < question.candidates.size() && !options.isStopped(); ++i) {
      if (!known.contains(i))
        measure(i);
      options.onProgress(question, i + 1, question.candidates.size());
    }
    if (!options.isStopped())
      finish();
  }

private:
  Worker::Options workerOptions() const {
    Worker::Options result = options.worker;
    for (const auto &[candidate, fault] : options.faults)
      if (candidate < question.candidates.size())
        result.faults[question.candidates[candidate].text] = fault;
    return result;
  }

  /// Takes what a line says of this question; false: that it is finished.
  bool take(const json &line) {
    if (!line.contains("candidate"))
      return false;
    const size_t candidate = line.at("candidate");
    known.insert(candidate);
    if (line.contains("problem"))
      ++rejects[kindOf(line.at("problem"))];
    if (line.contains("us"))
      note(candidate, bench::median(line.at("us").get<std::vector<double>>()) * 1e-6);
    if (!question.candidates.at(candidate).code.empty())
      codes.emplace(codeOf(candidate), candidate);
    return true;
  }

  std::string codeOf(size_t candidate) const {
    auto fault = options.faults.find(candidate);
    return question.candidates[candidate].code + (fault == options.faults.end() ? "" : fault->second);
  }
  const std::string &textOf(size_t candidate) const { return question.candidates[candidate].text; }

  void note(size_t candidate, double seconds) {
    times[candidate] = seconds;
    best = std::min(best.value_or(seconds), seconds);
  }

  std::optional<double> runOf(Index candidate) {
    std::optional<double> seconds = worker.run(textOf(candidate));
    if (seconds)
      samples.push_back(*seconds * 1e6);
    return seconds;
  }

  void measure(size_t i) {
    ordered_json line = {{"question", number}, {"candidate", i}};
    std::string problem = question.candidates[i].problem;
    if (!problem.empty()) {
      problem.insert(0, "does not compile: ");
    } else if (auto [twin, isNew] = codes.emplace(codeOf(i), i); !isNew) {
      line["as"] = twin->second;
    } else if (problem = worker.check(textOf(i)); problem.empty()) {
      samples.clear();
      if (std::optional<double> seconds = search::probe([&](Index point) { return runOf(point); }, i, best)) {
        note(i, *seconds);
        line["us"] = samples;
      } else {
        problem = worker.problem();
      }
    }
    if (!problem.empty()) {
      line["problem"] = problem;
      ++rejects[kindOf(problem)];
    }
    results.add(line);
  }

  void finish() {
    ordered_json line = {{"question", number}, {"rejects", rejects}};
    if (!times.contains(0)) {
      line["problem"] = "the default schedule has no time, and nothing can be compared with it";
      results.add(line);
      return;
    }
    std::vector<std::pair<double, Index>> order;
    for (const auto &[candidate, seconds] : times)
      order.emplace_back(seconds, candidate);
    std::ranges::sort(order);
    std::vector<Index> finalists;
    for (const auto &[seconds, candidate] : order)
      if (finalists.size() < records::mostCandidates)
        finalists.push_back(candidate);
    if (std::ranges::find(finalists, 0) == finalists.end())
      finalists.push_back(0);
    const std::vector<search::Finalist> finals =
        search::runFinal([&](Index point) { return runOf(point); }, finalists, [&] { return !options.isStopped(); });
    auto byDefault = std::ranges::find(finals, 0, &search::Finalist::point);
    if (byDefault == finals.end()) {
      line["problem"] = "the default schedule was lost in the final: " + worker.problem();
      results.add(line);
      return;
    }
    ordered_json fastest = ordered_json::array();
    for (const search::Finalist &finalist : finals)
      if (fastest.size() < records::mostCandidates)
        fastest.push_back({{"schedule", question.candidates[finalist.point].fields},
                           {"median_us", finalist.median * 1e6},
                           {"mad_us", finalist.medianAbsoluteDeviation * 1e6},
                           {"runs", finalist.runs}});
    line["drift"] = byDefault->median / times.at(0) - 1;
    line["record"] = {{"key", question.key},
                      {"fingerprint", {{"silicon", machine.at("silicon")}, {"toolchain", bundle.toolchain()}}},
                      {"policy", policyOf(bundle.target(), question.row.threads)},
                      {"effort", question.effort},
                      {"evaluations", question.candidates.size()},
                      {"default_us", byDefault->median * 1e6},
                      {"default", question.candidates[0].fields},
                      {"best", fastest},
                      {"time", timeOfNow()}};
    if (!machine.at("device").empty())
      line["record"]["device"] = machine.at("device");
    results.add(line);
  }

  const Bundle &bundle;
  const BundleQuestion &question;
  const size_t number;
  Results &results;
  const RunOptions &options;
  Worker worker;
  json machine;
  std::set<size_t> known;
  std::map<size_t, double> times;
  /// The first candidate of each.
  std::map<std::string, size_t> codes;
  std::map<std::string, int> rejects;
  std::optional<double> best;
  std::vector<double> samples;
};

} // namespace

std::vector<Index> bundled(const Candidates &candidates, const BundleOptions &options) {
  const Point &centre = candidates.space.points[candidates.byDefault.value()];
  std::vector<Index> order = {*candidates.byDefault};
  for (const json &schedule : options.portfolio)
    if (std::optional<Index> point = candidates.find(schedule))
      order.push_back(*point);
  order.insert(order.end(), candidates.promising.begin(), candidates.promising.end());
  std::mt19937_64 random(options.seed);
  std::vector<std::tuple<int, uint64_t, Index>> rest;
  for (Index i = 0; i < candidates.texts.size(); ++i)
    rest.emplace_back(changes(candidates.space.points[i], centre), random(), i);
  std::ranges::sort(rest);
  for (const auto &[distance, draw, point] : rest)
    order.push_back(point);
  std::vector<Index> result;
  std::set<Index> taken;
  for (Index point : order)
    if (result.size() < evaluationsOf(options.effort) && taken.insert(point).second)
      result.push_back(point);
  return result;
}

void addToBundle(BundleWriter &writer, const Question &question, const Candidates &candidates, const json &key,
                 MadeArtifacts &made, const BundleOptions &options) {
  const std::vector<Index> points = bundled(candidates, options);
  BundleQuestion result{question.row, key, std::string(records::effortName(options.effort)), {}, 0, ""};
  std::vector<std::shared_ptr<const Artifact>> artifacts;
  // What is lowered, apart from the schedule.
  const std::string lowered = question.row.variant.dump() + std::string(phaseName(question.row.phase)) +
                              std::to_string(question.row.tokens) + question.target;
  // Several for each thread, so that few wait for the last one.
  const size_t group = 4 * options.compiledTogether;
  for (size_t begin = 0; begin < points.size() && !options.isStopped(); begin += group) {
    const size_t end = std::min(points.size(), begin + group);
    std::vector<std::string> texts;
    for (size_t i = begin; i < end; ++i)
      if (!made.contains(lowered + candidates.texts[points[i]]))
        texts.push_back(candidates.texts[points[i]]);
    const std::vector<Compilation> compiled =
        compileAll(texts, options.compiledTogether, nullptr,
                   [&](const std::string &text) { return compileArtifact(question.row, text, question.target); });
    std::map<std::string, std::string> problems;
    for (size_t i = 0; i < texts.size(); ++i)
      if (compiled[i].problem.empty())
        made[lowered + texts[i]] = std::make_shared<Artifact>(compiled[i].artifact);
      else
        problems[texts[i]] = compiled[i].problem;
    for (size_t i = begin; i < end; ++i) {
      const Index point = points[i];
      BundleCandidate candidate{candidates.fields[point], candidates.texts[point], "", "", {}};
      auto found = made.find(lowered + candidate.text);
      artifacts.push_back(found == made.end() ? nullptr : found->second);
      if (artifacts.back()) {
        candidate.code = artifacts.back()->code;
        result.pageSize = artifacts.back()->memory.storage.pageSize;
      } else {
        candidate.problem = problems.at(candidate.text);
      }
      result.candidates.push_back(std::move(candidate));
    }
    options.onProgress(result.candidates.size(), points.size());
  }
  if (options.isStopped())
    throw std::runtime_error("stopped: no bundle was written");
  if (!artifacts.front())
    throw std::runtime_error("the default schedule does not compile: " + result.candidates.front().problem);
  ReferenceCalls calls(question.row, result.pageSize);
  calls.compute();
  writer.add(std::move(result), artifacts, calls);
}

void runBundle(const std::filesystem::path &file, const std::filesystem::path &resultsFile, const RunOptions &options) {
  const Bundle bundle = Bundle::open(file);
  Results results(resultsFile, bundle.id());
  for (size_t number = 0; number < bundle.questions().size() && !options.isStopped(); ++number)
    QuestionRun(bundle, file, number, results, options).run();
}

std::vector<records::Entry> recordsOfResults(const std::filesystem::path &file) {
  std::ifstream stream(file);
  if (!stream)
    throw std::runtime_error(file.string() + ": cannot be read; expected results that tpac tune --run-bundle wrote");
  std::vector<records::Entry> entries;
  size_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const std::string where = file.string() + ": line " + std::to_string(number) + ": ";
    const json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
    // The last line of a run that was killed may be half a line.
    if (!value.is_object() && stream.peek() == EOF)
      break;
    if (!value.is_object() || (number == 1 && !value.contains("bundle")))
      throw std::runtime_error(where + "found '" + line.substr(0, 40) + "'; expected " +
                               (number == 1 ? "an object with the member bundle" : "a JSON object"));
    if (!value.contains("record"))
      continue;
    try {
      entries.push_back(records::entryOf(value.at("record")));
    } catch (const std::exception &error) {
      throw std::runtime_error(where + "record: " + error.what());
    }
  }
  return entries;
}

} // namespace tpac::autotune
