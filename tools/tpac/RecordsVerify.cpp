// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/RecordsVerify.h"

#include "autotune/Tuner.h"
#include "autotune/records/Lookup.h"
#include "autotune/records/Machine.h"
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

struct Verified {
  std::vector<std::string> problems;
  records::Entry measured;
  bool isSlower = false;
};

Verified verify(const Entry &entry, const VerifyOptions &options) {
  json variantJson = entry.key.variant;
  variantJson["name"] = "recorded";
  const VariantFile file(variantJson.dump(), "record " + idOf(entry));
  const std::string level = entry.fingerprint.silicon.at("isa");
  const CodeTarget target = take(findTarget(level));
  const CacheStorage storage = {entry.key.valueBlock, entry.key.pageSize};
  const int threads = entry.policy.value("threads", 1);
  // Keys round; threads take whole requests.
  const int64_t requests = (entry.key.shape.requests + threads - 1) / threads * threads;
  std::string shape =
      entry.key.phase + "/tokens:" + std::to_string(entry.key.shape.tokens) + "/requests:" + std::to_string(requests);
  if (entry.key.shape.cached > 0)
    shape += "/cached:" + std::to_string(entry.key.shape.cached);
  const bench::Row row = bench::rowOfShape(shape, "recorded", json::parse(file.json()), threads);
  Verified result;
  const autotune::Candidates candidates = namedBy(entry, file.variant(), row.phase, target, storage, result.problems);
  autotune::TuneOptions how;
  how.effort = records::Effort::full;
  how.worker.command = {"/proc/self/exe", "tune-worker"};
  autotune::Question question;
  question.row = row;
  question.target = level;
  question.poolBytes = options.poolMegabytes << 20;
  autotune::Tuned tuned = autotune::tune(question, candidates, how);
  for (const auto &[schedule, problem] : tuned.problems)
    result.problems.push_back(schedule + ": " + problem);
  result.measured = std::move(tuned.entry);
  Entry &measured = result.measured;
  measured.key = entry.key;
  measured.fingerprint = {entry.fingerprint.silicon, toolchainOfThis(target)};
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
  const std::vector<std::filesystem::path> files = records::recordFiles(options.records);
  for (const records::Layer &layer : records::readLayers(files))
    for (const Entry &entry : layer.contents.entries) {
      const std::string id = idOf(entry);
      if (!options.ids.empty() && std::ranges::find(options.ids, id) == options.ids.end())
        continue;
      if (entry.fingerprint.silicon != records::cpuSilicon(entry.fingerprint.silicon.value("isa", ""))) {
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
        records::updateRecords(files.front(), {now}, records::MergePolicy::newer);
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
