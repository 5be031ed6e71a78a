// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Worker.h"

#include "autotune/measure/Faults.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace tpac::autotune {

using nlohmann::json;

namespace {

json toJson(const Question &question) {
  const bench::Row &row = question.row;
  return {{"phase", phaseName(row.phase)},
          {"config", row.config},
          {"variant", row.variant},
          {"cached", row.cached},
          {"tokens", row.tokens},
          {"requests", row.requests},
          {"threads", row.threads},
          {"target", question.target},
          {"pool_bytes", question.poolBytes},
          {"run_seconds", question.runSeconds},
          {"bundle", question.bundle},
          {"number", question.number}};
}

json toJson(const std::vector<Trial::Compiled> &candidates) {
  json list = json::array();
  for (const Trial::Compiled &candidate : candidates)
    list.push_back({{"problem", candidate.problem}, {"code", candidate.code}});
  return list;
}

Question questionOf(const json &value) {
  Question question;
  bench::Row &row = question.row;
  const std::string phase = value.at("phase");
  for (Phase known : packPhases)
    if (phaseName(known) == phase)
      row.phase = known;
  value.at("config").get_to(row.config);
  row.variant = value.at("variant");
  value.at("cached").get_to(row.cached);
  value.at("tokens").get_to(row.tokens);
  value.at("requests").get_to(row.requests);
  value.at("threads").get_to(row.threads);
  value.at("target").get_to(question.target);
  value.at("pool_bytes").get_to(question.poolBytes);
  value.at("run_seconds").get_to(question.runSeconds);
  value.at("bundle").get_to(question.bundle);
  value.at("number").get_to(question.number);
  row.implementation = "tpac";
  return question;
}

std::string secondsText(std::chrono::milliseconds time) {
  return std::to_string(time.count() / 1000) +
         (time.count() % 1000 ? "." + std::to_string(time.count() % 1000 / 100) : "") + " s";
}

} // namespace

void serveTrials(std::istream &input, std::ostream &output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Ctrl-C goes to the whole group; the tuner ends the worker when it has what it wants.
  std::signal(SIGINT, SIG_IGN);
  // Candidates may crash; nobody looks at the remains.
  const rlimit noCore = {0, 0};
  setrlimit(RLIMIT_CORE, &noCore);
  std::unique_ptr<Trial> trial;
  auto made = [&]() -> Trial & {
    if (!trial)
      throw std::runtime_error("no question was asked");
    return *trial;
  };
  for (std::string line; std::getline(input, line);) {
    json reply;
    try {
      json request = json::parse(line);
      if (request.contains("question"))
        trial = Trial::make(questionOf(request.at("question")));
      else if (request.contains("compile"))
        reply = toJson(made().compile(request.at("compile"), request.at("faults")));
      else if (request.contains("machine"))
        reply = made().machine();
      else if (request.contains("check"))
        reply["problem"] = made().check(request.at("check"));
      else
        reply["seconds"] = made().run(request.at("run"));
    } catch (const TrialLost &lost) {
      output << json{{"lost", lost.what()}}.dump() << std::endl;
      return;
    } catch (const std::exception &error) {
      reply["error"] = error.what();
    }
    output << reply.dump() << std::endl;
  }
}

/// The worker's process and the pipes to it.
struct Worker::Process {
  explicit Process(const std::vector<std::string> &command) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
      throw std::runtime_error(std::string("worker: no pipe: ") + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char *> arguments;
    for (const std::string &argument : command)
      arguments.push_back(const_cast<char *>(argument.c_str()));
    arguments.push_back(nullptr);
    int error = posix_spawnp(&id, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    toWorker = in[1];
    fromWorker = out[0];
    if (error != 0)
      throw std::runtime_error("worker: " + command.front() + " cannot be started: " + std::strerror(error));
  }
  ~Process() {
    close(toWorker);
    close(fromWorker);
    kill(id, SIGKILL);
    waitpid(id, nullptr, 0);
  }

  /// How it ended. It has closed its output, so it is about to.
  std::string ending() {
    siginfo_t info{};
    for (int i = 0; i < 1000 && info.si_pid == 0; ++i) {
      if (waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        break;
      if (info.si_pid == 0)
        usleep(10000);
    }
    if (info.si_pid == 0)
      return "it closed its output";
    return info.si_code == CLD_EXITED ? "exit code " + std::to_string(info.si_status)
                                      : "signal " + std::to_string(info.si_status);
  }

  pid_t id = 0;
  int toWorker = -1, fromWorker = -1;
  std::string received;
};

Worker::Worker(const Question &question, Options itsOptions) : question(question), options(std::move(itsOptions)) {
  // A worker that died shows in what it does not answer.
  std::signal(SIGPIPE, SIG_IGN);
}

Worker::~Worker() = default;

void Worker::start() {
  compiled.clear();
  checked.clear();
  process = std::make_unique<Process>(options.command);
  std::optional<json> reply = ask({{"question", toJson(question)}}, std::chrono::seconds(30));
  if (!reply)
    throw std::runtime_error("worker: " + lastProblem);
}

std::optional<json> Worker::ask(const json &request, std::chrono::milliseconds timeout) {
  const std::string line = request.dump() + "\n";
  bool isSent = write(process->toWorker, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (isSent) {
    if (size_t end = process->received.find('\n'); end != std::string::npos) {
      json reply = json::parse(process->received.substr(0, end));
      process->received.erase(0, end + 1);
      if (reply.is_object() && reply.contains("lost")) {
        lastProblem = "crashed: " + reply.at("lost").get<std::string>();
        process.reset();
        return std::nullopt;
      }
      if (reply.is_object() && reply.contains("error"))
        throw std::runtime_error("worker: " + reply.at("error").get<std::string>());
      return reply;
    }
    if (options.isStopped() || std::chrono::steady_clock::now() > deadline) {
      lastProblem = options.isStopped() ? "stopped" : "timed out after " + secondsText(timeout);
      process.reset();
      return std::nullopt;
    }
    pollfd readable = {process->fromWorker, POLLIN, 0};
    if (poll(&readable, 1, 50) <= 0)
      continue;
    char buffer[4096];
    ssize_t count = read(process->fromWorker, buffer, sizeof(buffer));
    if (count <= 0)
      break;
    process->received.append(buffer, static_cast<size_t>(count));
  }
  lastProblem = "crashed: " + process->ending();
  process.reset();
  return std::nullopt;
}

std::optional<std::vector<Trial::Compiled>> Worker::compileTogether(const std::vector<std::string> &schedules) {
  if (!process)
    start();
  json faults = json::object();
  for (const std::string &schedule : schedules)
    if (auto fault = options.faults.find(schedule); fault != options.faults.end())
      faults[schedule] = fault->second;
  std::optional<json> reply =
      ask({{"compile", schedules}, {"faults", faults}}, options.compileTimeout * static_cast<int>(schedules.size()));
  if (!reply)
    return std::nullopt;
  std::vector<Trial::Compiled> result;
  for (size_t i = 0; i < schedules.size(); ++i) {
    const json &one = reply->at(i);
    std::string problem = one.at("problem");
    if (problem.empty())
      compiled.insert(schedules[i]);
    else
      problem.insert(0, "does not compile: ");
    result.push_back({problem, one.at("code")});
  }
  return result;
}

std::vector<Trial::Compiled> Worker::compile(const std::vector<std::string> &schedules) {
  if (auto together = compileTogether(schedules))
    return *together;
  // One of them took the process along; alone it shows which.
  std::vector<Trial::Compiled> result;
  for (const std::string &schedule : schedules) {
    auto alone = schedules.size() > 1 ? compileTogether({schedule}) : std::nullopt;
    result.push_back(alone ? alone->front() : Trial::Compiled{lastProblem, ""});
  }
  return result;
}

std::string Worker::check(const std::string &schedule) {
  // A new process knows nothing of what the one before it had compiled.
  if (!process || !compiled.contains(schedule))
    if (std::string problem = compile({schedule}).front().problem; !problem.empty())
      return problem;
  std::optional<json> reply = ask({{"check", schedule}}, options.checkTimeout);
  if (!reply)
    return lastProblem;
  if (std::string found = reply->at("problem"); !found.empty())
    return "wrong: " + found;
  checked.insert(schedule);
  return "";
}

json Worker::machine() {
  if (!process)
    start();
  std::optional<json> reply = ask({{"machine", true}}, std::chrono::seconds(30));
  if (!reply)
    throw std::runtime_error("worker: " + lastProblem);
  return *reply;
}

std::optional<double> Worker::run(const std::string &schedule) {
  if (!process || !checked.contains(schedule))
    if (lastProblem = check(schedule); !lastProblem.empty())
      return std::nullopt;
  std::optional<json> reply = ask({{"run", schedule}}, options.runTimeout);
  return reply ? std::optional(reply->at("seconds").get<double>()) : std::nullopt;
}

} // namespace tpac::autotune
