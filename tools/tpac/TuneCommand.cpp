// SPDX-License-Identifier: Apache-2.0
//
// tpac tune: searches schedules on this machine and keeps the fastest in tuning records; tpac tune-worker: the process
// that compiles and runs them.

#include "autotune/Bundling.h"
#include "autotune/Sweep.h"
#include "autotune/Tuner.h"
#include "autotune/shipped/Shipped.h"
#include "bench/measure/ThreadTeam.h"
#include "dialect/json/VariantJson.h"
#include "lowering/emit/Take.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Progress.h"
#include "tools/tpac/Questions.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/VariantFile.h"

#include <csignal>
#include <iostream>
#include <stdexcept>

namespace tpac {
namespace {

struct TuneOptions {
  std::vector<std::string> variants;
  std::vector<std::string> shapes = {"decode/cached:8192"};
  std::string target = "host";
  std::optional<int64_t> valueBlock;
  int64_t pageSize = 0;
  int threads = 0;
  std::string effort = "quick";
  double seconds = 1e9;
  uint64_t seed = 1;
  int64_t poolMegabytes = 1024;
  std::vector<std::string> pins;
  std::string records;
  std::string shard;
  std::string sweep;
  std::string bundle, runBundle, mergeBundle, results;
  std::vector<std::string> faults;
  bool json = false;
};

/// How often the user asked to stop: once, what was found is kept; twice, the run at hand is given up, too.
volatile std::sig_atomic_t interrupts = 0;
void interrupt(int) { interrupts = interrupts + 1; }

autotune::Pins pinsOf(const std::vector<std::string> &texts) {
  autotune::Pins pins;
  for (const std::string &text : texts) {
    size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw std::runtime_error("--pin: found '" + text + "'; expected KNOB=VALUE");
    pins[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return pins;
}

/// The schedules of the nearest records, each once.
std::vector<nlohmann::json> portfolioOf(const std::vector<records::Answer> &answers) {
  constexpr size_t most = 16;
  std::vector<nlohmann::json> schedules;
  for (const records::Answer &answer : answers)
    for (const records::Candidate &candidate : answer.entry.best)
      if (schedules.size() < most && std::ranges::find(schedules, candidate.schedule) == schedules.end())
        schedules.push_back(candidate.schedule);
  return schedules;
}

/// "2/8": the second of eight parts.
std::pair<size_t, size_t> shardOf(const std::string &text) {
  size_t number = 1, count = 1;
  int end = 0;
  if (!text.empty() && (std::sscanf(text.c_str(), "%zu/%zu%n", &number, &count, &end) != 2 ||
                        static_cast<size_t>(end) != text.size() || number < 1 || number > count))
    throw std::runtime_error("--shard: found '" + text + "'; expected I/N with I from 1 to N");
  return {number, count};
}

/// Every count-th candidate from the number-th on, and the default, which all others are compared with.
void keepShard(autotune::Candidates &candidates, std::pair<size_t, size_t> shard) {
  auto [number, count] = shard;
  autotune::Candidates kept;
  kept.knobs = candidates.knobs;
  std::map<size_t, size_t> numbers;
  for (size_t i = 0; i < candidates.texts.size(); ++i) {
    if (i == candidates.byDefault)
      kept.byDefault = kept.texts.size();
    else if (i % count != number - 1)
      continue;
    numbers[i] = kept.texts.size();
    kept.space.points.push_back(std::move(candidates.space.points[i]));
    kept.texts.push_back(std::move(candidates.texts[i]));
    kept.fields.push_back(std::move(candidates.fields[i]));
  }
  for (size_t point : candidates.promising)
    if (auto number = numbers.find(point); number != numbers.end())
      kept.promising.push_back(number->second);
  candidates = std::move(kept);
}

std::string rejectsOf(const std::map<std::string, int> &rejects) {
  std::string text;
  for (const auto &[reason, count] : rejects)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + reason;
  return text.empty() ? "none" : text;
}

class TuneRun {
public:
  TuneRun(const TuneOptions &options, const std::string &variant) : options(options), file(variant) {
    const int cpus = static_cast<int>(bench::allowedCpus().size());
    target = take(findTarget(options.target));
    // A GPU's calls come from one thread, and a bundle's go to a machine that is not known yet.
    const bool isAlone = isGpu(target) || !options.bundle.empty();
    threads = options.threads != 0 ? options.threads : isAlone ? 1 : cpus;
    if (isGpu(target) ? threads != 1 : threads < 1 || (options.bundle.empty() && threads > cpus))
      throw std::runtime_error(
          "--threads: found " + std::to_string(threads) + "; expected " +
          (isGpu(target) ? "1 for a GPU" : "1 to " + std::to_string(cpus) + ", the CPUs of this process"));
    storage = {options.valueBlock.value_or(defaultValueBlock(file.variant(), target, options.pageSize)),
               options.pageSize};
    for (const std::string &shape : options.shapes)
      rows.push_back(
          bench::rowOfShape(shape, file.variant().getName().str(), nlohmann::json::parse(file.json()), threads));
    pins = pinsOf(options.pins);
    shard = shardOf(options.shard);
    for (const bench::Row &row : rows)
      if (isGpu(target) && !isAttention(row.phase))
        throw std::runtime_error("--shape: found " + std::string(phaseName(row.phase)) +
                                 "; expected decode or prefill: GPUs compute other phases by one schedule");
    if (!options.sweep.empty() && rows.size() != 1)
      throw std::runtime_error("--sweep: found " + std::to_string(rows.size()) + " shapes; expected one per file");
  }

  void run() {
    const std::filesystem::path written = records::recordFileToWrite(options.records);
    std::signal(SIGINT, interrupt);
    Table table({{"shape"},
                 {"tried", Table::Align::right},
                 {"rejected"},
                 {"s", Table::Align::right},
                 {"default us", Table::Align::right},
                 {"best us", Table::Align::right},
                 {"gain", Table::Align::right},
                 {"schedule"}});
    nlohmann::ordered_json results = nlohmann::ordered_json::array();
    for (const bench::Row &row : rows) {
      if (interrupts)
        break;
      const autotune::Candidates candidates = candidatesOf(row);
      if (!options.sweep.empty()) {
        sweep(row, candidates);
        return;
      }
      const autotune::Tuned tuned = tune(row, candidates);
      records::Contents contents = records::updateRecords(written, {tuned.entry});
      for (const std::string &problem : contents.problems)
        std::cerr << "tpac: " << problem << '\n';
      const nlohmann::json &byDefault = candidates.fields[*candidates.byDefault];
      const records::Candidate &chosen = records::chosenOf(tuned.entry, byDefault);
      table.addRow({shapeOf(row),
                    std::to_string(tuned.entry.evaluations) + " of " + std::to_string(candidates.texts.size()),
                    rejectsOf(tuned.rejects), format("%.0f", tuned.seconds), format("%.1f", tuned.entry.defaultUs),
                    format("%.1f", chosen.medianUs), format("%.3f", tuned.entry.defaultUs / chosen.medianUs),
                    changesOf(chosen.schedule, byDefault)});
      results.push_back({{"shape", shapeOf(row)},
                         {"candidates", candidates.texts.size()},
                         {"rejects", tuned.rejects},
                         {"problems", tuned.problems},
                         {"seconds", tuned.seconds},
                         {"drift", tuned.drift},
                         {"identical", tuned.identical},
                         {"chosen", chosen.schedule},
                         {"entry", records::toJson(tuned.entry)}});
      if (std::abs(tuned.drift) > 0.03 && !options.json)
        std::cerr << "tpac: " << shapeOf(row) << ": the default schedule took " << format("%+.0f", tuned.drift * 100)
                  << " % longer in the final than at first: this machine is not steady\n";
    }
    if (options.json) {
      std::cout << nlohmann::ordered_json{{"variant", file.variant().getName().str()},
                                          {"records", written.string()},
                                          {"results", results}}
                       .dump(2)
                << '\n';
      return;
    }
    table.print(std::cout);
    std::cout << "Records: " << written.string() << '\n';
  }

  /// Adds the questions to a bundle, in place of measuring them.
  void addTo(autotune::BundleWriter &writer, autotune::MadeArtifacts &made) {
    for (const bench::Row &row : rows) {
      autotune::Candidates candidates = candidatesOf(row);
      const QuestionKey question = questionKeyOf(file.variant(), row, storage, target);
      autotune::BundleOptions how;
      how.effort = records::effortOf(options.effort).value();
      how.seed = options.seed;
      how.compiledTogether = bench::allowedCpus().size();
      how.portfolio = portfolioOf(question);
      how.isStopped = [] { return interrupts > 0; };
      ProgressLine line;
      const auto start = std::chrono::steady_clock::now();
      how.onProgress = [&](size_t done, size_t all) {
        line.show(done, all, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                  "compiled, " + file.variant().getName().str() + " " + shapeOf(row));
      };
      records::Entry entry;
      entry.key = question.key;
      addToBundle(writer, questionOf(row), candidates, records::toJson(entry).at("key"), made, how);
    }
  }

private:
  /// Threads of a measurement take whole requests, so splits would not be measured: their default stays.
  autotune::Pins pinsFor(const bench::Row &row) const {
    autotune::Pins result = pins;
    mlir::tpa::ScheduleAttr byDefault = take(defaultSchedule(file.variant(), row.phase, target, storage, row.tokens));
    result.emplace("split", std::to_string(byDefault.getSplit()));
    return result;
  }

  autotune::Candidates candidatesOf(const bench::Row &row) const {
    autotune::Candidates candidates = autotune::candidatesFor(file.variant(), row.phase, target, storage, pinsFor(row),
                                                              {row.requests, row.tokens, row.cached});
    if (!candidates.byDefault)
      throw std::runtime_error("--pin: the default schedule of " + row.name() +
                               " has other values, and nothing can be compared with it; expected pins that it obeys");
    keepShard(candidates, shard);
    return candidates;
  }

  /// Winners of nearby questions.
  std::vector<nlohmann::json> portfolioOf(const QuestionKey &question) const {
    return tpac::portfolioOf(answersFor(records::allLayers(options.records), question.key, question.fingerprint));
  }

  autotune::Question questionOf(const bench::Row &row) const {
    autotune::Question question;
    question.row = row;
    question.target = options.target;
    question.poolBytes = options.poolMegabytes << 20;
    return question;
  }

  void sweep(const bench::Row &row, const autotune::Candidates &candidates) const {
    autotune::SweepOptions how;
    // Several for each CPU, so that few wait for the last one.
    how.group = std::max(how.group, 4 * bench::allowedCpus().size());
    how.worker.command = {"/proc/self/exe", "tune-worker"};
    how.worker.isStopped = [] { return interrupts > 1; };
    const auto start = std::chrono::steady_clock::now();
    auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    how.isStopped = [&] { return interrupts > 0 || elapsed() > options.seconds; };
    ProgressLine line;
    how.onProgress = [&](size_t done, size_t all) { line.show(done, all, elapsed(), shapeOf(row)); };
    const QuestionKey question = questionKeyOf(file.variant(), row, storage, target);
    autotune::sweep(questionOf(row), candidates,
                    {{"variant", file.variant().getName().str()},
                     {"shape", shapeOf(row)},
                     {"threads", threads},
                     {"silicon", question.fingerprint.silicon}},
                    options.sweep, how);
  }

  autotune::Tuned tune(const bench::Row &row, const autotune::Candidates &candidates) {
    const QuestionKey question = questionKeyOf(file.variant(), row, storage, target);
    autotune::TuneOptions how;
    how.effort = records::effortOf(options.effort).value();
    how.mostSeconds = options.seconds;
    how.seed = options.seed;
    how.compiledTogether = bench::allowedCpus().size();
    how.portfolio = portfolioOf(question);
    how.worker.command = {"/proc/self/exe", "tune-worker"};
    how.worker.isStopped = [] { return interrupts > 1; };
    how.isStopped = [] { return interrupts > 0; };
    ProgressLine line;
    how.onProgress = [&](const autotune::Progress &progress) {
      std::string text = shapeOf(row);
      if (progress.best && progress.byDefault)
        text += ": " + format("%.1f", *progress.best * 1e6) + " us, default " +
                format("%.1f", *progress.byDefault * 1e6) + ", rejected: " + rejectsOf(progress.rejects);
      line.show(progress.evaluations, progress.mostEvaluations, progress.seconds, text);
    };
    autotune::Tuned tuned = autotune::tune(questionOf(row), candidates, how);
    tuned.entry.key = question.key;
    tuned.entry.fingerprint = question.fingerprint;
    tuned.entry.policy = autotune::policyOf(target.name, threads);
    if (isGpu(target)) {
      tuned.entry.fingerprint.silicon = tuned.machine.at("silicon");
      tuned.entry.unknown["device"] = tuned.machine.at("device");
    }
    return tuned;
  }

  const TuneOptions &options;
  VariantFile file;
  CodeTarget target;
  CacheStorage storage;
  int threads;
  std::vector<bench::Row> rows;
  autotune::Pins pins;
  /// Which of how many parts of the candidates.
  std::pair<size_t, size_t> shard;
};

void writeBundle(const TuneOptions &options) {
  if (options.target == "host")
    throw std::runtime_error(
        "--target: found host; expected a CPU level or a GPU by name: a bundle is for other machines");
  if (!options.sweep.empty())
    throw std::runtime_error("--sweep: expected no --bundle beside it");
  std::signal(SIGINT, interrupt);
  autotune::BundleWriter writer(options.bundle, options.target, toolchainOfThis(take(findTarget(options.target))));
  autotune::MadeArtifacts made;
  for (const std::string &variant : options.variants)
    TuneRun(options, variant).addTo(writer, made);
  writer.finish();
  std::cout << "Bundle: " << options.bundle << " (" << (std::filesystem::file_size(options.bundle) >> 10) << " KiB)\n";
}

void runBundle(const TuneOptions &options) {
  std::signal(SIGINT, interrupt);
  autotune::RunOptions how;
  how.poolBytes = options.poolMegabytes << 20;
  how.worker.command = {"/proc/self/exe", "tune-worker"};
  how.worker.isStopped = [] { return interrupts > 1; };
  how.isStopped = [] { return interrupts > 0; };
  for (const auto &[candidate, fault] : pinsOf(options.faults))
    how.faults[std::stoul(candidate)] = fault;
  ProgressLine line;
  const auto start = std::chrono::steady_clock::now();
  how.onProgress = [&](const autotune::BundleQuestion &question, size_t done, size_t all) {
    line.show(done, all, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
              question.row.config + " " + shapeOf(question.row));
  };
  const std::string results = options.results.empty() ? options.runBundle + ".results.jsonl" : options.results;
  autotune::runBundle(options.runBundle, results, how);
  std::cout << "Results: " << results << '\n';
}

void mergeBundle(const TuneOptions &options) {
  const std::vector<records::Entry> entries = autotune::recordsOfResults(options.mergeBundle);
  const std::filesystem::path written = records::recordFileToWrite(options.records);
  const records::Contents contents = records::updateRecords(written, entries);
  for (const std::string &problem : contents.problems)
    std::cerr << "tpac: " << problem << '\n';
  std::cout << written.string() << ": " << entries.size() << " entries merged, " << contents.entries.size()
            << " in all\n";
}

/// Searches, or one of the steps of tuning with a bundle.
void tuneOrBundle(const TuneOptions &options) {
  const bool takesVariants = options.runBundle.empty() && options.mergeBundle.empty();
  if (takesVariants == options.variants.empty() || (options.bundle.empty() && options.variants.size() > 1))
    throw std::runtime_error("VARIANT: found " + std::to_string(options.variants.size()) + "; expected " +
                             (!takesVariants           ? "none: the bundle knows them"
                              : options.bundle.empty() ? "one"
                                                       : "one or more"));
  if (!options.mergeBundle.empty())
    mergeBundle(options);
  else if (!options.runBundle.empty())
    runBundle(options);
  else if (!options.bundle.empty())
    writeBundle(options);
  else
    TuneRun(options, options.variants.front()).run();
}

} // namespace

void addTuneCommand(CLI::App &app) {
  CLI::App *command = app.add_subcommand(
      "tune", "Search schedules on this machine and keep the fastest in tuning records (docs/autotuning.md).");
  auto options = std::make_shared<TuneOptions>();
  command->add_option("VARIANT", options->variants, "variant file (JSON); with --bundle one or more");
  command->add_option("--shape", options->shapes, bench::shapeHelp)->allow_extra_args(false)->capture_default_str();
  command
      ->add_option("--target", options->target,
                   "host, or a CPU level or GPU that this machine has; with --bundle any target but host")
      ->capture_default_str();
  command
      ->add_option("--effort", options->effort,
                   "schedules to measure at most: none (the default alone), quick (32), normal (200), full (all)")
      ->check(CLI::IsMember({"none", "quick", "normal", "full"}))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "of a search at most; ctrl-C, too, keeps what was found")
      ->check(CLI::PositiveNumber);
  command->add_option("--pin", options->pins, "KNOB=VALUE: only schedules with this value; repeatable")
      ->allow_extra_args(false);
  command->add_option("--shard", options->shard,
                      "I/N: only the I-th of N parts of the schedules (and the default); records of the parts merge");
  command->add_option("--sweep", options->sweep,
                      "no search: time all schedules of one shape and add their samples to this file, where they are "
                      "missing");
  command->add_option("--threads", options->threads, "threads, each with requests of its own; default: one per CPU");
  command->add_option("--pool", options->poolMegabytes, "MiB that timed calls rotate through, so that caches are cold")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the search")->capture_default_str();
  command->add_option("--value-block", options->valueBlock, valueBlockHelp);
  command->add_option("--page-size", options->pageSize, pageSizeHelp)->capture_default_str();
  command->add_option("--records", options->records, recordsHelp);
  command->add_flag("--json", options->json, "print JSON");
  CLI::Option *bundle = command->add_option("--bundle", options->bundle,
                                            "no search: write the candidates, compiled, and all that measuring them on "
                                            "another machine takes to this file");
  CLI::Option *runBundle = command->add_option(
      "--run-bundle", options->runBundle,
      "measure the candidates of this bundle on this machine; what is measured already is not measured again");
  CLI::Option *mergeBundle =
      command->add_option("--merge-bundle", options->mergeBundle, "put the records of these results where records are");
  bundle->excludes(runBundle)->excludes(mergeBundle);
  runBundle->excludes(mergeBundle);
  command
      ->add_option("--results", options->results,
                   "of --run-bundle, a line of JSON each; default: the bundle's name "
                   "and .results.jsonl")
      ->needs(runBundle);
  command->add_option("--fault", options->faults, "for tests: CANDIDATE=FAULT")->group("")->needs(runBundle);
  command->callback([options] { tuneOrBundle(*options); });

  CLI::App *worker = app.add_subcommand("tune-worker", "What tpac tune starts: compiles and runs candidates.");
  worker->group("");
  worker->callback([] { autotune::serveTrials(std::cin, std::cout); });
}

} // namespace tpac
