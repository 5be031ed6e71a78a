// SPDX-License-Identifier: Apache-2.0
//
// Trials in a process of their own, which may crash, hang or be killed without harm to the tuner. Requests and replies
// are lines of JSON on its standard input and output.

#ifndef TPAC_AUTOTUNE_MEASURE_WORKER_H
#define TPAC_AUTOTUNE_MEASURE_WORKER_H

#include "autotune/measure/Trial.h"

#include <chrono>
#include <functional>
#include <iosfwd>
#include <set>

namespace tpac::autotune {

/// The worker's side: answers requests until `input` ends. Dies with its parent.
void serveTrials(std::istream &input, std::ostream &output);

/// The tuner's side.
class Worker {
public:
  struct Options {
    /// The program and its arguments that serve trials.
    std::vector<std::string> command;
    /// Until a candidate is compiled; with others, until all are, one after another.
    std::chrono::milliseconds compileTimeout = std::chrono::seconds(60);
    /// Until its small calls are over.
    std::chrono::milliseconds checkTimeout = std::chrono::seconds(10);
    /// Until a timed run is over.
    std::chrono::milliseconds runTimeout = std::chrono::seconds(20);
    /// Asked while waiting: whether to give up, as on ctrl-C.
    std::function<bool()> isStopped = [] { return false; };
    /// For tests: what is wrong with a schedule's kernel (Faults.h).
    std::map<std::string, std::string> faults;
  };

  Worker(const Question &question, Options options);
  ~Worker();

  /// Compiles candidates at the same time. Problems: "does not compile: ...", "crashed: signal 11", "timed out after 60
  /// s". Throws std::runtime_error where no worker can be started, or it does not understand the question.
  std::vector<Trial::Compiled> compile(const std::vector<std::string> &schedules);
  /// Why a candidate that compiles cannot win: "wrong: ...", "crashed: signal 11", "timed out after 10 s"; "" where it
  /// may.
  std::string check(const std::string &schedule);
  /// Trial::machine. Throws std::runtime_error where there is none.
  nlohmann::json machine();
  /// Seconds, or nothing where the worker is lost; `problem` says why then.
  std::optional<double> run(const std::string &schedule);
  const std::string &problem() const { return lastProblem; }

private:
  struct Process;
  /// The reply, or nothing where the worker is lost: lastProblem.
  std::optional<nlohmann::json> ask(const nlohmann::json &request, std::chrono::milliseconds timeout);
  void start();
  std::optional<std::vector<Trial::Compiled>> compileTogether(const std::vector<std::string> &schedules);

  Question question;
  Options options;
  std::unique_ptr<Process> process;
  /// What this process, which may not be the first one, has compiled and checked.
  std::set<std::string> compiled, checked;
  std::string lastProblem;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_WORKER_H
