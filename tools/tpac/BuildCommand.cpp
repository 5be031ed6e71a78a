// SPDX-License-Identifier: Apache-2.0
//
// tpac build: a kernel pack of a variant.

#include "autotune/Candidates.h"
#include "lowering/Compiler.h"
#include "lowering/GpuPack.h"
#include "lowering/TargetSchedule.h"
#include "lowering/emit/Assembler.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/emit/Take.h"
#include "lowering/phases/BuildPhases.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/TunedSchedules.h"
#include "tools/tpac/VariantFile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Program.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>

namespace tpac {
namespace {

struct BuildOptions {
  std::string variant;
  std::vector<std::string> targets = {"host"};
  std::string directory;
  std::optional<int64_t> valueBlock;
  int64_t pageSize = 0;
  bool reference = false;
  std::vector<std::string> tunedFor = {"decode/cached:8192", "prefill/tokens:2048"};
  std::string records;
  std::string mode = "cached-only";
  bool json = false;
};

/// The CPUs among `names`, as findPackTargets orders them, and the GPUs.
std::pair<std::vector<CodeTarget>, std::vector<CodeTarget>> findTargets(const std::vector<std::string> &names) {
  std::vector<std::string> cpus;
  std::vector<CodeTarget> gpus;
  for (const std::string &name : names) {
    CodeTarget target = take(findTarget(name));
    if (!isGpu(target))
      cpus.push_back(name);
    else if (llvm::is_contained(llvm::map_range(gpus, [](const CodeTarget &gpu) { return gpu.name; }), name))
      throw std::runtime_error("target '" + name + "' is given twice; expected each GPU once");
    else
      gpus.push_back(std::move(target));
  }
  return {cpus.empty() ? std::vector<CodeTarget>() : take(findPackTargets(cpus)), std::move(gpus)};
}

/// --mode auto: tunes what no record answers exactly, as `tpac tune` does by itself. What this machine cannot measure
/// is built as records and defaults have it.
void tuneMissing(const BuildOptions &options, const VariantFile &file, const std::vector<CodeTarget> &targets,
                 CacheStorage storage) {
  // The file may be about to be made.
  const bool isMissing = !options.records.empty() && !std::filesystem::exists(options.records);
  const TunedSchedules tuned(options.records, isMissing ? records::Mode::off : records::Mode::cachedOnly);
  for (const std::string &shape : options.tunedFor)
    for (const CodeTarget &target : targets) {
      const bench::Row row = questionRow(shape, file.variant(), isGpu(target));
      if (isGpu(target) && !isAttention(row.phase))
        continue;
      const CacheStorage stored = isGpu(target) ? CacheStorage{0, options.pageSize} : storage;
      const std::optional<records::Answer> answer = tuned.explain(file.variant(), row, target, stored).chosen.answer;
      if (answer && answer->match == records::Match::exact)
        continue;
      std::cerr << "tpac: " << shapeOf(row) << " for " << target.name << ": no record answers exactly, tuning\n";
      const std::string valueBlock = std::to_string(stored.valueBlock), pageSize = std::to_string(stored.pageSize),
                        threads = std::to_string(row.threads);
      std::vector<llvm::StringRef> command = {"tpac",     "tune",          options.variant, "--shape",   shape,
                                              "--target", target.name,     "--effort",      "quick",     "--page-size",
                                              pageSize,   "--value-block", valueBlock,      "--threads", threads};
      if (!options.records.empty())
        command.insert(command.end(), {"--records", options.records});
      // What it prints is no part of this command's output.
      if (llvm::sys::ExecuteAndWait("/proc/self/exe", command, std::nullopt, {std::nullopt, "", std::nullopt}) != 0)
        std::cerr << "tpac: " << shapeOf(row) << " for " << target.name << ": was not tuned\n";
    }
}

/// Chooses the schedules of a pack, and remembers how.
class PackSchedules {
public:
  PackSchedules(const BuildOptions &options, const VariantFile &file)
      : variant(file.variant()), path(options.reference ? CodePath::reference : CodePath::fused),
        tuned(options.records, options.reference ? records::Mode::off : records::modeOf(options.mode).value()) {
    for (const std::string &shape : options.tunedFor) {
      const bench::Row row = questionRow(shape, variant, /*onGpu=*/false);
      if (!rows.emplace(row.phase, row).second)
        throw std::runtime_error("--tuned-for: found two shapes of " + std::string(phaseName(row.phase)) +
                                 "; expected one for each phase, which has one kernel per target");
      gpuRows.emplace(row.phase, questionRow(shape, variant, /*onGpu=*/true));
    }
    for (const std::string &problem : tuned.problems())
      std::cerr << "tpac: " << problem << '\n';
  }

  /// The phases' code for `target`.
  mlir::OwningOpRef<mlir::ModuleOp> lower(const CodeTarget &target, CacheStorage storage) {
    if (path == CodePath::reference) {
      for (Phase phase : packPhases)
        schedules.push_back({phase, target.name, "reference", ""});
      return take(lowerPhases(variant, packPhases, Stage::target, path, target, storage));
    }
    std::vector<ScheduledPhase> phases;
    for (Phase phase : packPhases)
      phases.push_back({phase, choose(phase, target, storage)});
    return take(lowerScheduled(variant, phases, target));
  }

  /// What a record says for calls of `queries` query tokens per request on a GPU; nothing: the default.
  std::optional<GpuChoice> chooseForGpu(const CodeTarget &target, Phase phase, int64_t queries, int64_t pageSize) {
    auto row = gpuRows.find(phase);
    if (row == gpuRows.end() || gpuQueriesFor(phase, row->second.tokens) != queries)
      return std::nullopt;
    const ChosenSchedule chosen = tuned.explain(variant, row->second, target, {0, pageSize}).chosen;
    explain(phase, target, chosen, row->second);
    if (!chosen.answer)
      return std::nullopt;
    return GpuChoice{chosen.schedule, idOf(chosen.answer->entry), std::string(matchName(chosen.answer->match))};
  }

  std::vector<PhaseSchedule> schedules;
  /// As JSON, with notes.
  nlohmann::ordered_json explained = nlohmann::ordered_json::array();

private:
  mlir::tpa::ScheduleAttr choose(Phase phase, const CodeTarget &target, CacheStorage storage) {
    auto row = rows.find(phase);
    ChosenSchedule chosen;
    if (row != rows.end())
      chosen = tuned.explain(variant, row->second, target, storage).chosen;
    else
      chosen.schedule = take(defaultSchedule(variant, phase, target, storage));
    PhaseSchedule schedule = {phase, target.name, "heuristic", autotune::textOf(chosen.schedule)};
    if (chosen.answer) {
      schedule.origin = "tuned";
      schedule.record = idOf(chosen.answer->entry);
      schedule.match = matchName(chosen.answer->match);
    }
    explain(phase, target, chosen, row == rows.end() ? bench::Row() : row->second);
    schedules.push_back(std::move(schedule));
    return chosen.schedule;
  }

  void explain(Phase phase, const CodeTarget &target, const ChosenSchedule &chosen, const bench::Row &row) {
    explained.push_back(
        {{"phase", phaseName(phase)}, {"target", target.name}, {"origin", chosen.answer ? "tuned" : "heuristic"}});
    if (chosen.answer)
      explained.back()["record"] = idOf(chosen.answer->entry);
    // Who keeps no records need not hear that there are none.
    if (!chosen.note.empty() && (chosen.answer || tuned.hasOwnEntries())) {
      explained.back()["note"] = chosen.note;
      std::cerr << "tpac: " << shapeOf(row) << " for " << target.name << ": " << chosen.note << '\n';
    }
  }

  mlir::tpa::VariantAttr variant;
  CodePath path;
  TunedSchedules tuned;
  std::map<Phase, bench::Row> rows, gpuRows;
};

void build(const BuildOptions &options) {
  auto start = std::chrono::steady_clock::now();
  VariantFile file(options.variant);
  CodePath path = options.reference ? CodePath::reference : CodePath::fused;
  auto [targets, gpus] = findTargets(options.targets);
  if (options.reference && !gpus.empty())
    throw std::runtime_error("--reference: expected targets that are CPUs, found " + gpus.front().name);
  if (targets.empty() && options.valueBlock.value_or(0) != 0)
    throw std::runtime_error("--value-block: expected 0 for a pack of GPUs alone, which store tokens as rows, found " +
                             std::to_string(*options.valueBlock));
  // Levels share their caches, which the highest one's kernels like best.
  CacheStorage storage = {
      options.valueBlock.value_or(
          targets.empty() ? 0 : defaultValueBlock(file.variant(), path, targets.back(), options.pageSize)),
      options.pageSize};
  if (options.mode == "auto" && !options.reference) {
    std::vector<CodeTarget> all = targets;
    all.insert(all.end(), gpus.begin(), gpus.end());
    tuneMissing(options, file, all, storage);
  }
  Pack pack{file.variant().getName().str(), file.json(), {}, {}};
  for (Phase phase : packPhases)
    pack.signatures.push_back(getPhaseSignature(file.variant(), phase, storage));
  PackSchedules schedules(options, file);
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
  std::vector<TargetModule> levels;
  std::vector<std::string> targetNames;
  for (CodeTarget &target : targets) {
    modules.push_back(schedules.lower(target, storage));
    targetNames.push_back(target.name);
    levels.push_back({*modules.back(), std::move(target)});
  }
  pack.schedules = schedules.schedules;
  if (!gpus.empty()) {
    pack.gpu = take(buildGpuPart(
        file.variant(), gpus,
        {options.pageSize, findPtxas().value_or(""), [&](const CodeTarget &target, Phase phase, int64_t queries) {
           return schedules.chooseForGpu(target, phase, queries, options.pageSize);
         }}));
    for (const CodeTarget &gpu : gpus)
      targetNames.push_back(gpu.name);
  }
  if (llvm::Error error = writePack(levels, pack, options.directory))
    throw std::runtime_error(llvm::toString(std::move(error)));
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double secondsPerKernel = seconds / static_cast<double>(targetNames.size() * pack.signatures.size());

  std::string name = symbolName(std::string_view(pack.name));
  std::vector<std::string> files = {"include/" + name + ".h"};
  if (!levels.empty())
    files.insert(files.end(), {"lib/lib" + name + ".a", "lib/lib" + name + ".so", "lib/pkgconfig/" + name + ".pc",
                               "lib/cmake/" + name + "/" + name + "Config.cmake"});
  if (pack.gpu)
    for (const PackFile &file : pack.gpu->files)
      files.push_back(file.path);
  files.push_back(name + ".json");
  if (options.json) {
    nlohmann::ordered_json json = {{"name", pack.name},
                                   {"targets", targetNames},
                                   {"directory", options.directory},
                                   {"files", files},
                                   {"schedules", schedules.explained},
                                   {"seconds", seconds},
                                   // Of one phase for one target: generated, compiled, its share of the linking.
                                   {"seconds_per_kernel", secondsPerKernel}};
    std::cout << json.dump(2) << '\n';
    return;
  }
  std::cout << "Pack of " << pack.name << " for " << llvm::join(targetNames, ", ") << " in " << options.directory
            << " (" << format("%.1f", seconds) << " s)\n";
  Table table({{"file"}, {"bytes", Table::Align::right}});
  for (const std::string &path : files)
    table.addRow({path, std::to_string(std::filesystem::file_size(std::filesystem::path(options.directory) / path))});
  table.print(std::cout);
}

} // namespace

void addBuildCommand(CLI::App &app) {
  CLI::App *command = app.add_subcommand("build", "Compile a variant into a kernel pack: header, libraries, manifest.");
  auto options = std::make_shared<BuildOptions>();
  command->add_option("VARIANT", options->variant, "variant file (JSON)")->required();
  command
      ->add_option("--target", options->targets,
                   "host, aarch64, or CPU levels of which the library picks one at run time: x86-64-v2, x86-64-v3, "
                   "x86-64-v4, x86-64-amx; besides or alone GPUs: sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_103a, "
                   "sm_120a; repeatable")
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("-o,--output", options->directory, "directory of the pack; a pack there is replaced")->required();
  command->add_option("--value-block", options->valueBlock, valueBlockHelp);
  command->add_option("--page-size", options->pageSize, pageSizeHelp)->capture_default_str();
  command->add_flag("--reference", options->reference, "kernels of the reference path in place of fused ones");
  command
      ->add_option("--tuned-for", options->tunedFor,
                   "the calls that kernels are chosen for where there are tuning records, one shape for each "
                   "phase; phases without one are as by default: " +
                       std::string(bench::shapeHelp))
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("--records", options->records, recordsHelp);
  command->add_option("--mode", options->mode, recordsModeHelp)
      ->check(CLI::IsMember({"off", "cached-only", "assert-hit", "auto"}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { build(*options); });
}

} // namespace tpac
