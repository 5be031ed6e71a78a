// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/RecordsVerify.h"

#include "autotune/Tuner.h"
#include "autotune/records/Machine.h"
#include "autotune/shipped/Shipped.h"
#include "lowering/emit/Take.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Questions.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/VariantFile.h"

#include <algorithm>
#include <iostream>

namespace tpac {
namespace {

using nlohmann::json;
using records::Entry;

/// The candidates that an entry names and the default; those that are not legal here are added to `problems`.
autotune::Candidates namedBy(const Entry &entry, mlir::tpa::VariantAttr variant, Phase phase, const CodeTarget &target,
                             CacheStorage storage, std::vector<std::string> &problems) {
  autotune::Candidates named;
  auto add = [&](const json &fields, mlir::tpa::ScheduleAttr schedule) {
    // No search, so where points lie in their space does not matter.
    named.space.points.push_back({static_cast<int>(named.fields.size())});
    named.fields.push_back(fields);
    named.texts.push_back(autotune::textOf(schedule));
  };
  const mlir::tpa::ScheduleAttr byDefault =
      take(defaultSchedule(variant, phase, target, storage, entry.key.shape.tokens));
  add(autotune::fieldsOf(byDefault), byDefault);
  named.byDefault = 0;
  for (const records::Candidate &candidate : entry.best) {
    if (named.find(candidate.schedule))
      continue;
    auto schedule = autotune::scheduleOf(candidate.schedule, variant, phase, target, storage);
    if (schedule)
      add(candidate.schedule, *schedule);
    else
      problems.push_back(candidate.schedule.dump() + ": not legal: " + llvm::toString(schedule.takeError()));
  }
  return named;
}

/// What an entry was measured with. Throws std::runtime_error where this compiler does not know it.
struct Recalled {
  Recalled(const Entry &entry, const VerifyOptions &options)
      : file(namedVariant(entry).dump(), "record " + idOf(entry)),
        target(take(findTarget(entry.fingerprint.silicon.at("isa")))),
        storage{entry.key.valueBlock, entry.key.pageSize} {
    const int threads = entry.policy.value("threads", 1);
    // Keys round; threads take whole requests.
    const int64_t requests = (entry.key.shape.requests + threads - 1) / threads * threads;
    std::string shape =
        entry.key.phase + "/tokens:" + std::to_string(entry.key.shape.tokens) + "/requests:" + std::to_string(requests);
    if (entry.key.shape.cached > 0)
      shape += "/cached:" + std::to_string(entry.key.shape.cached);
    question.row = bench::rowOfShape(shape, "recorded", json::parse(file.json()), threads);
    question.target = target.name;
    question.poolBytes = options.poolMegabytes << 20;
  }

  static json namedVariant(const Entry &entry) {
    json variant = entry.key.variant;
    variant["name"] = "recorded";
    return variant;
  }

  VariantFile file;
  CodeTarget target;
  CacheStorage storage;
  autotune::Question question;
};

autotune::Worker::Options workerOptions() {
  autotune::Worker::Options options;
  options.command = {"/proc/self/exe", "tune-worker"};
  return options;
}

/// The silicon here at the level of entries.
class Here {
public:
  explicit Here(const VerifyOptions &options) : options(options) {}

  bool measured(const Entry &entry) {
    const json &silicon = entry.fingerprint.silicon;
    const std::string isa = silicon.value("isa", "");
    return silicon == (silicon.contains("gpu") ? gpuOf(isa, entry) : records::cpuSilicon(isa));
  }

private:
  /// Asked of a worker, once: null where there is no such device.
  const json &gpuOf(const std::string &isa, const Entry &entry) {
    auto [known, isNew] = gpus.emplace(isa, json());
    if (isNew)
      try {
        known->second = autotune::Worker(Recalled(entry, options).question, workerOptions()).machine().at("silicon");
      } catch (const std::exception &) {
        // No driver, or no device.
      }
    return known->second;
  }

  const VerifyOptions &options;
  std::map<std::string, json> gpus;
};

struct Verified {
  std::vector<std::string> problems;
  records::Entry measured;
  bool isSlower = false;
};

Verified verify(const Entry &entry, const VerifyOptions &options) {
  const Recalled recalled(entry, options);
  const bench::Row &row = recalled.question.row;
  Verified result;
  const autotune::Candidates candidates =
      namedBy(entry, recalled.file.variant(), row.phase, recalled.target, recalled.storage, result.problems);
  autotune::TuneOptions how;
  how.effort = records::Effort::full;
  how.worker = workerOptions();
  autotune::Tuned tuned = autotune::tune(recalled.question, candidates, how);
  for (const auto &[schedule, problem] : tuned.problems)
    result.problems.push_back(schedule + ": " + problem);
  result.measured = std::move(tuned.entry);
  Entry &measured = result.measured;
  measured.key = entry.key;
  measured.fingerprint = {entry.fingerprint.silicon, toolchainOfThis(recalled.target)};
  measured.policy = entry.policy;
  measured.effort = entry.effort;
  measured.evaluations = entry.evaluations;
  // The winner of old may have lost to another one; what counts is whether builds would be slower for it.
  const records::Candidate &winner = entry.best.front();
  for (const records::Candidate &now : measured.best)
    if (now.schedule == winner.schedule)
      result.isSlower = now.medianUs > measured.defaultUs * 1.02 + 2 * now.madUs;
  return result;
}

} // namespace

void verifyRecords(const VerifyOptions &options) {
  Table table({{"id"},
               {"entry"},
               {"best us", Table::Align::right},
               {"now us", Table::Align::right},
               {"default us", Table::Align::right},
               {"now us", Table::Align::right},
               {"verdict"}});
  json all = json::array();
  bool fails = false;
  size_t others = 0;
  Here here(options);
  for (const records::Layer &layer : records::allLayers(options.records))
    for (const Entry &entry : layer.contents.entries) {
      const std::string id = idOf(entry);
      if (!options.ids.empty() && std::ranges::find(options.ids, id) == options.ids.end())
        continue;
      if (!here.measured(entry)) {
        ++others;
        continue;
      }
      Verified verified;
      try {
        verified = verify(entry, options);
      } catch (const std::exception &error) {
        // One that cannot be timed at all (threads that are not there, say) costs itself alone.
        verified.measured = entry;
        verified.problems.push_back(error.what());
      }
      const Entry &now = verified.measured;
      const std::string verdict = !verified.problems.empty() ? verified.problems.front()
                                  : verified.isSlower        ? "its winner is slower than the default"
                                                             : "good";
      fails |= verdict != "good";
      table.addRow({id, entry.key.phase + "/cached:" + std::to_string(entry.key.shape.cached),
                    format("%.1f", entry.best.front().medianUs), format("%.1f", now.best.front().medianUs),
                    format("%.1f", entry.defaultUs), format("%.1f", now.defaultUs), verdict});
      all.push_back({{"id", id}, {"verdict", verdict}, {"problems", verified.problems}, {"now", toJson(now)}});
      if (options.write && verified.problems.empty())
        records::updateRecords(records::recordFileToWrite(options.records), {now}, records::MergePolicy::newer);
    }
  if (options.json)
    std::cout << json{{"entries", all}, {"of_other_machines", others}}.dump(2) << '\n';
  else {
    table.print(std::cout);
    if (others)
      std::cout << others << " entries of other machines are left out\n";
  }
  if (fails)
    throw CheckFailed();
}

} // namespace tpac
