// SPDX-License-Identifier: Apache-2.0
//
// tpac records: what files of tuning records hold, and what becomes of it.

#include "autotune/Candidates.h"
#include "autotune/records/Machine.h"
#include "autotune/shipped/Shipped.h"
#include "lowering/emit/Take.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/RecordsVerify.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/TunedSchedules.h"
#include "tools/tpac/VariantFile.h"

#include <iostream>
#include <set>

namespace tpac {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using records::Entry;
using Align = Table::Align;

/// The layers that --records names or that are found without it; says on standard error what is wrong with them.
std::vector<records::Layer> layersOf(const std::string &file) {
  if (!file.empty() && !std::filesystem::exists(file))
    throw std::runtime_error("--records: found no file '" + file + "'; expected one that tpac tune wrote");
  std::vector<records::Layer> layers = records::allLayers(file);
  for (const records::Layer &layer : layers)
    for (const std::string &problem : layer.contents.problems)
      std::cerr << "tpac: " << problem << '\n';
  return layers;
}

/// The entries of one file, which must exist.
std::vector<Entry> entriesOf(const std::string &file) {
  std::vector<Entry> entries;
  for (records::Layer &layer : layersOf(file))
    entries = std::move(layer.contents.entries);
  return entries;
}

/// "11 heads, ranks 6 2 2": enough to tell variants of one file apart at a glance; dense factors have no rank.
std::string variantOf(const Entry &entry) {
  std::string text = entry.key.variant.value("heads", json()).dump() + " heads, ranks";
  for (const char *factor : {"/q/rank", "/k/rank", "/v/rank"}) {
    const json::json_pointer pointer(factor);
    text += " " + (entry.key.variant.contains(pointer) ? entry.key.variant.at(pointer).dump() : "-");
  }
  return text;
}

std::string machineOf(const Entry &entry) {
  const json &silicon = entry.fingerprint.silicon;
  std::string text;
  for (const char *field : {"cpu", "gpu", "isa"})
    if (auto value = silicon.find(field); value != silicon.end() && value->is_string())
      text += (text.empty() ? "" : " ") + value->get<std::string>();
  if (auto count = silicon.find("cpus"); count != silicon.end())
    text += " x" + count->dump();
  return text;
}

std::string gainOf(const Entry &entry) { return format("%.3f", entry.defaultUs / entry.best.front().medianUs); }

json namedJson(const Entry &entry) {
  json result = toJson(entry);
  result["id"] = idOf(entry);
  return result;
}

struct RecordsOptions {
  std::string records;
  bool json = false;
};

void list(const RecordsOptions &options) {
  Table table({{"id"},
               {"shape"},
               {"variant"},
               {"machine"},
               {"effort"},
               {"tried", Align::right},
               {"default us", Align::right},
               {"best us", Align::right},
               {"gain", Align::right},
               {"time"},
               {"file"}});
  json all = json::array();
  for (const records::Layer &layer : layersOf(options.records))
    for (const Entry &entry : layer.contents.entries) {
      table.addRow({idOf(entry), shapeOf(entry), variantOf(entry), machineOf(entry),
                    std::string(effortName(entry.effort)), std::to_string(entry.evaluations),
                    format("%.1f", entry.defaultUs), format("%.1f", entry.best.front().medianUs), gainOf(entry),
                    entry.time, layer.file.string()});
      all.push_back(namedJson(entry));
      all.back()["file"] = layer.file.string();
    }
  if (options.json)
    std::cout << all.dump(2) << '\n';
  else
    table.print(std::cout);
}

struct MergeOptions {
  std::string into;
  std::vector<std::string> from;
  std::string policy = "faster";
  bool json = false;
};

void merge(const MergeOptions &options) {
  const records::MergePolicy policy = records::mergePolicyOf(options.policy).value();
  std::vector<Entry> entries;
  json conflicts = json::array();
  std::vector<Entry> before;
  if (std::filesystem::exists(options.into))
    before = entriesOf(options.into);
  for (const std::string &file : options.from)
    for (const Entry &entry : entriesOf(file)) {
      for (const std::vector<Entry> *others : {&before, &entries})
        for (const Entry &other : *others)
          if (isSameQuestion(other, entry))
            for (const records::TimingConflict &conflict : conflictsOf(other, entry))
              conflicts.push_back({{"id", idOf(entry)},
                                   {"file", file},
                                   {"schedule", conflict.schedule},
                                   {"us", conflict.us},
                                   {"other_us", conflict.otherUs}});
      records::mergeInto(entries, {entry}, policy);
    }
  const records::Contents written = records::updateRecords(options.into, entries, policy);
  for (const std::string &problem : written.problems)
    std::cerr << "tpac: " << problem << '\n';
  if (options.json) {
    std::cout << json{{"file", options.into},
                      {"merged", entries.size()},
                      {"entries", written.entries.size()},
                      {"conflicts", conflicts}}
                     .dump(2)
              << '\n';
    return;
  }
  for (const json &conflict : conflicts)
    std::cerr << "tpac: " << conflict.at("id").get<std::string>() << ": " << conflict.at("schedule").dump() << " took "
              << format("%.1f", conflict.at("us").get<double>()) << " us and "
              << format("%.1f", conflict.at("other_us").get<double>())
              << " us: machines or states that are not the same\n";
  std::cout << options.into << ": " << entries.size() << " entries merged, " << written.entries.size() << " in all\n";
}

struct DiffOptions {
  std::string a, b;
  bool json = false;
};

void diff(const DiffOptions &options) {
  const std::vector<Entry> left = entriesOf(options.a), right = entriesOf(options.b);
  auto find = [](const std::vector<Entry> &entries, const Entry &wanted) {
    auto found = std::ranges::find_if(entries, [&](const Entry &entry) { return isSameQuestion(entry, wanted); });
    return found == entries.end() ? nullptr : &*found;
  };
  Table table({{"id"}, {"shape"}, {"best us", Align::right}, {"other us", Align::right}, {"what"}});
  json all = json::array();
  auto add = [&](const Entry *a, const Entry *b, const std::string &what) {
    const Entry &entry = a ? *a : *b;
    auto us = [](const Entry *it) { return it ? format("%.1f", it->best.front().medianUs) : std::string("-"); };
    table.addRow({idOf(entry), shapeOf(entry), us(a), us(b), what});
    json row = {{"id", idOf(entry)}, {"shape", shapeOf(entry)}, {"what", what}};
    if (a)
      row["best_us"] = a->best.front().medianUs;
    if (b)
      row["other_us"] = b->best.front().medianUs;
    all.push_back(row);
  };
  for (const Entry &entry : left) {
    const Entry *other = find(right, entry);
    if (!other)
      add(&entry, nullptr, "only in the first");
    else if (other->best.front().schedule != entry.best.front().schedule)
      add(&entry, other, "another winner");
    else if (!(*other == entry))
      add(&entry, other, "the same winner, measured anew");
  }
  for (const Entry &entry : right)
    if (!find(left, entry))
      add(nullptr, &entry, "only in the second");
  if (options.json)
    std::cout << all.dump(2) << '\n';
  else
    table.print(std::cout);
}

struct ExplainOptions {
  std::string variant;
  std::string shape = "decode/cached:8192";
  std::string target = "host";
  std::optional<int64_t> valueBlock;
  int64_t pageSize = 0;
  std::string records;
  bool json = false;
};

void explain(const ExplainOptions &options) {
  VariantFile file(options.variant);
  const CodeTarget target = take(findTarget(options.target));
  const CacheStorage storage = {
      options.valueBlock.value_or(defaultValueBlock(file.variant(), target, options.pageSize)), options.pageSize};
  const bench::Row row = questionRow(options.shape, file.variant(), isGpu(target));
  if (isGpu(target) && !isAttention(row.phase))
    throw std::runtime_error("--shape: found " + std::string(phaseName(row.phase)) +
                             "; expected decode or prefill: GPUs compute other phases by one schedule");
  TunedSchedules tuned(options.records, records::Mode::cachedOnly);
  for (const std::string &problem : tuned.problems())
    std::cerr << "tpac: " << problem << '\n';
  const Explanation explanation = tuned.explain(file.variant(), row, target, storage);
  const json byDefault = autotune::fieldsOf(explanation.byDefault);
  const json chosen = autotune::fieldsOf(explanation.chosen.schedule);

  Table table({{"record"},
               {"of shape"},
               {"match"},
               {"default us", Align::right},
               {"best us", Align::right},
               {"schedule"},
               {"what becomes of it"},
               {"file"}});
  json rows = json::array();
  int usable = 0;
  for (const records::Verdict &verdict : explanation.verdicts) {
    const Entry &entry = verdict.answer.entry;
    std::string fate = "not used: " + verdict.reason;
    if (verdict.schedule)
      fate = ++usable == 1 ? "used" : usable == 2 ? "would be used without the first" : "farther than another";
    std::string schedule = verdict.schedule ? changesOf(*verdict.schedule, byDefault) : "-";
    table.addRow({idOf(entry), shapeOf(entry), std::string(matchName(verdict.answer.match)),
                  format("%.1f", entry.defaultUs), format("%.1f", entry.best.front().medianUs), schedule, fate,
                  verdict.answer.file.string()});
    rows.push_back({{"id", idOf(entry)},
                    {"shape", shapeOf(entry)},
                    {"match", matchName(verdict.answer.match)},
                    {"distance", verdict.answer.distance},
                    {"differences", differences(entry, explanation.question.key, explanation.question.fingerprint)},
                    {"fate", fate},
                    {"file", verdict.answer.file.string()}});
    if (verdict.schedule)
      rows.back()["schedule"] = *verdict.schedule;
  }
  if (options.json) {
    ordered_json result = {
        {"shape", shapeOf(row)}, {"target", target.name}, {"origin", explanation.chosen.answer ? "tuned" : "heuristic"},
        {"schedule", chosen},    {"default", byDefault},  {"note", explanation.chosen.note},
        {"records", rows}};
    std::cout << result.dump(2) << '\n';
    return;
  }
  std::cout << shapeOf(row) << " of " << file.variant().getName().str() << " for " << target.name << ": "
            << (explanation.chosen.answer
                    ? "record " + idOf(explanation.chosen.answer->entry) + ", " + changesOf(chosen, byDefault)
                    : std::string("the default"))
            << '\n';
  if (!explanation.chosen.note.empty())
    std::cout << explanation.chosen.note << '\n';
  if (!explanation.chosen.answer || explanation.chosen.answer->match != records::Match::exact)
    std::cout << "To tune it: tpac tune " << options.variant << " --shape " << shapeOf(row)
              << (options.target == "host" ? "" : " --target " + options.target)
              << (options.pageSize ? " --page-size " + std::to_string(options.pageSize) : "") << '\n';
  if (explanation.verdicts.empty())
    return;
  std::cout << '\n';
  table.print(std::cout);
}

struct PruneOptions {
  std::string records;
  std::string before;
  bool otherSilicon = false, otherToolchain = false;
  std::vector<std::string> ids;
  bool dryRun = false;
  bool json = false;
};

void prune(const PruneOptions &options) {
  if (options.before.empty() && !options.otherSilicon && !options.otherToolchain && options.ids.empty())
    throw std::runtime_error("prune: found no rule; expected --before, --other-silicon, --other-toolchain or --id");
  std::set<std::string> unknown(options.ids.begin(), options.ids.end());
  auto isPruned = [&](const Entry &entry) {
    const std::string id = idOf(entry);
    unknown.erase(id);
    // Of machines, this process knows its CPU at the level that an entry was measured at.
    const std::string isa = entry.fingerprint.silicon.value("isa", "");
    const json here = records::cpuSilicon(isa);
    llvm::Expected<CodeTarget> target = findTarget(isa);
    const bool isOfThis = target && entry.fingerprint.toolchain == toolchainOfThis(*target);
    if (!target)
      llvm::consumeError(target.takeError());
    return (!options.before.empty() && entry.time < options.before) ||
           (options.otherSilicon && entry.fingerprint.silicon != here) || (options.otherToolchain && !isOfThis) ||
           std::ranges::find(options.ids, id) != options.ids.end();
  };
  std::vector<std::string> gone;
  for (const Entry &entry : entriesOf(options.records))
    if (isPruned(entry))
      gone.push_back(idOf(entry));
  if (!unknown.empty())
    throw std::runtime_error("--id: found " + *unknown.begin() + "; expected one that tpac records list shows of " +
                             options.records);
  size_t count = gone.size();
  if (!options.dryRun)
    count = records::pruneRecords(options.records, [&](const Entry &entry) { return !isPruned(entry); });
  if (options.json)
    std::cout << json{{"file", options.records}, {"pruned", gone}, {"written", !options.dryRun}}.dump(2) << '\n';
  else
    std::cout << options.records << ": " << count << (options.dryRun ? " entries would go\n" : " entries gone\n");
}

void exportLines(const RecordsOptions &options) {
  for (const records::Layer &layer : layersOf(options.records))
    for (const Entry &entry : layer.contents.entries)
      for (size_t rank = 0; rank < entry.best.size(); ++rank) {
        const records::Candidate &candidate = entry.best[rank];
        std::cout << ordered_json{{"id", idOf(entry)},
                                  {"shape", shapeOf(entry)},
                                  {"machine", machineOf(entry)},
                                  {"rank", rank},
                                  {"schedule", candidate.schedule},
                                  {"median_us", candidate.medianUs},
                                  {"mad_us", candidate.madUs},
                                  {"runs", candidate.runs},
                                  {"default_us", entry.defaultUs},
                                  {"key", toJson(entry).at("key")}}
                         .dump()
                  << '\n';
      }
}

template <typename Options>
CLI::App *addCommand(CLI::App &parent, const char *name, const char *what, std::shared_ptr<Options> options,
                     void (*run)(const Options &)) {
  CLI::App *command = parent.add_subcommand(name, what);
  command->callback([options, run] { run(*options); });
  return command;
}

template <typename Options> void addJson(CLI::App *command, std::shared_ptr<Options> options) {
  command->add_flag("--json", options->json, "print JSON");
}

} // namespace

void addRecordsCommand(CLI::App &app) {
  CLI::App *group = app.add_subcommand("records", "Look at tuning records, merge and prune them (docs/autotuning.md).");
  group->require_subcommand(1);

  auto listed = std::make_shared<RecordsOptions>();
  CLI::App *command = addCommand(*group, "list", "All entries.", listed, list);
  command->add_option("--records", listed->records, recordsHelp);
  addJson(command, listed);

  auto merged = std::make_shared<MergeOptions>();
  command = addCommand(*group, "merge", "Merge files into one, in any order.", merged, merge);
  command->add_option("--into", merged->into, "file that is written; what it holds is kept")->required();
  command->add_option("FILE", merged->from, "files to merge into it")->required()->check(CLI::ExistingFile);
  command
      ->add_option("--policy", merged->policy,
                   "of two entries of one question: faster (the fastest schedules of both), newer, effort (the longer "
                   "search), fail")
      ->check(CLI::IsMember({"faster", "newer", "effort", "fail"}))
      ->capture_default_str();
  addJson(command, merged);

  auto compared = std::make_shared<DiffOptions>();
  command = addCommand(*group, "diff", "What differs between two files.", compared, diff);
  command->add_option("A", compared->a, "file of records")->required()->check(CLI::ExistingFile);
  command->add_option("B", compared->b, "file of records")->required()->check(CLI::ExistingFile);
  addJson(command, compared);

  auto explained = std::make_shared<ExplainOptions>();
  command = addCommand(*group, "explain", "Which record a build uses for a shape, why, and what it would use without.",
                       explained, explain);
  command->add_option("VARIANT", explained->variant, "variant file (JSON)")->required();
  command->add_option("--shape", explained->shape, bench::shapeHelp)->capture_default_str();
  command->add_option("--target", explained->target, "host, a CPU level or a GPU")->capture_default_str();
  command->add_option("--value-block", explained->valueBlock, valueBlockHelp);
  command->add_option("--page-size", explained->pageSize, pageSizeHelp)->capture_default_str();
  command->add_option("--records", explained->records, recordsHelp);
  addJson(command, explained);

  auto verified = std::make_shared<VerifyOptions>();
  command = addCommand(*group, "verify", "Check and time again what was measured on a machine as this one.", verified,
                       verifyRecords);
  command->add_option("--records", verified->records, recordsHelp);
  command->add_option("--id", verified->ids, "only these entries")->allow_extra_args(false);
  command->add_option("--pool", verified->poolMegabytes, "MiB that timed calls rotate through")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_flag("--write", verified->write,
                    "merge the new times into the file that tpac tune writes (policy newer)");
  addJson(command, verified);

  auto pruned = std::make_shared<PruneOptions>();
  command = addCommand(*group, "prune", "Remove entries from a file.", pruned, prune);
  command->add_option("--records", pruned->records, "file of records")->required()->check(CLI::ExistingFile);
  command->add_option("--before", pruned->before, "UTC, as 2026-11-22T20:40:00Z or its beginning: measured earlier");
  command->add_flag("--other-silicon", pruned->otherSilicon, "not measured on a machine as this one");
  command->add_flag("--other-toolchain", pruned->otherToolchain, "not measured with this compiler");
  command->add_option("--id", pruned->ids, "these entries")->allow_extra_args(false);
  command->add_flag("--dry-run", pruned->dryRun, "only say how many would go");
  addJson(command, pruned);

  auto exported = std::make_shared<RecordsOptions>();
  command = addCommand(*group, "export", "Every measured schedule as a line of JSON.", exported, exportLines);
  command->add_option("--records", exported->records, recordsHelp);
}

} // namespace tpac
