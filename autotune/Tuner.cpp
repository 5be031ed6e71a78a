// SPDX-License-Identifier: Apache-2.0

#include "autotune/Tuner.h"

#include "autotune/search/Race.h"
#include "autotune/search/Search.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <stdexcept>

namespace tpac::autotune {

using search::Index;

namespace {

std::string now() {
  std::time_t time = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

/// "wrong: t6: relative error 3" -> "wrong".
std::string kindOf(const std::string &problem) { return problem.substr(0, problem.find(':')); }

class Tuning {
public:
  Tuning(const Question &question, const Candidates &candidates, const TuneOptions &options)
      : candidates(candidates), options(options), worker(question, options.worker) {}

  Tuned run() {
    std::vector<Index> portfolio;
    if (candidates.byDefault)
      portfolio.push_back(*candidates.byDefault);
    for (const nlohmann::json &schedule : options.portfolio)
      if (std::optional<Index> point = candidates.find(schedule))
        portfolio.push_back(*point);
    search::Search search(candidates.space, portfolio, options.seed);
    const size_t most = std::min(evaluationsOf(options.effort), candidates.space.points.size());
    while (search.evaluations() < most && !isOver()) {
      std::optional<Index> point = search.next();
      if (!point)
        break;
      std::optional<double> seconds = timeOf(*point);
      search.report(*point, seconds);
      if (seconds && (!best || *seconds < *best))
        best = seconds;
      if (point == candidates.byDefault)
        firstDefault = seconds;
      options.onProgress({search.evaluations(), most, best, firstDefault, result.rejects, elapsed()});
    }
    finish(search);
    return std::move(result);
  }

private:
  double elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
  bool isOver() const { return options.isStopped() || elapsed() > options.mostSeconds; }

  std::optional<double> timeOf(Index point) {
    const std::string &schedule = candidates.texts[point];
    if (std::string problem = worker.admit(schedule); !problem.empty()) {
      reject(schedule, problem);
      return std::nullopt;
    }
    return search::probe([&](Index) { return runOf(point); }, point, best);
  }

  std::optional<double> runOf(Index point) {
    std::optional<double> seconds = worker.run(candidates.texts[point]);
    if (!seconds)
      reject(candidates.texts[point], worker.problem());
    return seconds;
  }

  void reject(const std::string &schedule, const std::string &problem) {
    ++result.rejects[kindOf(problem)];
    result.problems[schedule] = problem;
  }

  void finish(const search::Search &search) {
    std::vector<Index> points = search.ranking();
    points.resize(std::min(points.size(), records::mostCandidates));
    if (candidates.byDefault && firstDefault && std::ranges::find(points, *candidates.byDefault) == points.end())
      points.push_back(*candidates.byDefault);
    std::vector<search::Finalist> finalists =
        search::runFinal([&](Index point) { return runOf(point); }, points, [&] { return !options.isStopped(); });
    if (finalists.empty())
      throw std::runtime_error("no schedule could be timed: " +
                               (result.problems.empty() ? "none was tried" : result.problems.begin()->second));
    records::Entry &entry = result.entry;
    for (const search::Finalist &finalist : finalists) {
      if (entry.best.size() < records::mostCandidates)
        entry.best.push_back({candidates.fields[finalist.point], finalist.median * 1e6,
                              finalist.medianAbsoluteDeviation * 1e6, finalist.runs});
      if (finalist.point == candidates.byDefault) {
        entry.defaultUs = finalist.median * 1e6;
        result.drift = finalist.median / firstDefault.value() - 1;
      }
    }
    entry.effort = options.effort;
    entry.evaluations = static_cast<int64_t>(search.evaluations());
    entry.time = now();
    result.seconds = elapsed();
  }

  const Candidates &candidates;
  const TuneOptions &options;
  Worker worker;
  Tuned result;
  std::optional<double> best, firstDefault;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

} // namespace

size_t evaluationsOf(records::Effort effort) {
  switch (effort) {
  case records::Effort::none:
    return 1;
  case records::Effort::quick:
    return 32;
  case records::Effort::normal:
    return 200;
  case records::Effort::full:
    break;
  }
  return std::numeric_limits<size_t>::max();
}

Tuned tune(const Question &question, const Candidates &candidates, const TuneOptions &options) {
  return Tuning(question, candidates, options).run();
}

} // namespace tpac::autotune
