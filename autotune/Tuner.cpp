// SPDX-License-Identifier: Apache-2.0

#include "autotune/Tuner.h"

#include "autotune/search/Hunt.h"

#include <ctime>
#include <limits>
#include <stdexcept>

namespace tpac::autotune {

using search::Index;

namespace {

class Tuning {
public:
  Tuning(const Question &question, const Candidates &candidates, const TuneOptions &options)
      : candidates(candidates), options(options), worker(question, options.worker) {}

  Tuned run() {
    search::HuntOptions how;
    how.byDefault = candidates.byDefault;
    for (const nlohmann::json &schedule : options.portfolio)
      if (std::optional<Index> point = candidates.find(schedule))
        how.portfolio.push_back(*point);
    how.portfolio.insert(how.portfolio.end(), candidates.promising.begin(), candidates.promising.end());
    how.mostEvaluations = evaluationsOf(options.effort);
    how.together = options.compiledTogether;
    how.finalists = records::mostCandidates;
    how.seed = options.seed;
    // A median's error of a thousandth takes some thousand calls, which many calls are short enough for.
    how.furtherSeconds = 3;
    how.isOver = [&] { return options.isStopped() || elapsed() > options.mostSeconds; };
    how.isStopped = options.isStopped;
    how.onProgress = [&](size_t evaluations, size_t most, std::optional<double> best, std::optional<double> byDefault) {
      options.onProgress({evaluations, most, best, byDefault, result.rejects, elapsed()});
    };
    const search::Workbench bench = {[&](const std::vector<Index> &points) { return compile(points); },
                                     [&](Index point) { return check(point); },
                                     [&](Index point) { return runOf(point); }};
    finish(search::hunt(candidates.space, bench, how));
    return std::move(result);
  }

private:
  double elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }

  std::vector<std::string> compile(const std::vector<Index> &points) {
    std::vector<std::string> texts, codes;
    for (Index point : points)
      texts.push_back(candidates.texts[point]);
    for (const Trial::Compiled &compiled : worker.compile(texts)) {
      if (!compiled.problem.empty())
        reject(texts[codes.size()], compiled.problem);
      codes.push_back(compiled.code);
    }
    return codes;
  }

  bool check(Index point) {
    const std::string problem = worker.check(candidates.texts[point]);
    if (!problem.empty())
      reject(candidates.texts[point], problem);
    return problem.empty();
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

  void finish(const search::Outcome &outcome) {
    if (outcome.finalists.empty())
      throw std::runtime_error("no schedule could be timed: " +
                               (result.problems.empty() ? "none was tried" : result.problems.begin()->second));
    records::Entry &entry = result.entry;
    for (const search::Finalist &finalist : outcome.finalists) {
      if (entry.best.size() < records::mostCandidates)
        entry.best.push_back({candidates.fields[finalist.point], finalist.median * 1e6,
                              finalist.medianAbsoluteDeviation * 1e6, finalist.runs});
      if (finalist.point == candidates.byDefault) {
        entry.defaultUs = finalist.median * 1e6;
        entry.defaultSchedule = candidates.fields[finalist.point];
        result.drift = finalist.median / outcome.firstDefault.value() - 1;
      }
    }
    result.identical = outcome.identical;
    result.machine = worker.machine();
    entry.effort = options.effort;
    entry.evaluations = static_cast<int64_t>(outcome.evaluations);
    entry.time = timeOfNow();
    result.seconds = elapsed();
  }

  const Candidates &candidates;
  const TuneOptions &options;
  Worker worker;
  Tuned result;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

} // namespace

std::string kindOf(const std::string &problem) { return problem.substr(0, problem.find(':')); }

nlohmann::json policyOf(const std::string &target, int threads) {
  if (isGpuTarget(target))
    return {{"cold", true}, {"graph", true}};
  return {{"cold", true}, {"threads", threads}};
}

std::string timeOfNow() {
  std::time_t time = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

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
