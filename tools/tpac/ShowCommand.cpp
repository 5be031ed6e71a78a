// SPDX-License-Identifier: Apache-2.0
//
// tpac show: the IR of a variant's phases at a stage.

#include "lowering/Compiler.h"
#include "lowering/TargetSchedule.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/emit/Take.h"
#include "lowering/phases/BuildPhases.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/VariantFile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <map>
#include <optional>

namespace tpac {
namespace {

const std::map<std::string, Stage> irStages = {{"variant", Stage::variant},
                                               {"schedule", Stage::schedule},
                                               {"tiles", Stage::tiles},
                                               {"reference", Stage::reference},
                                               {"target", Stage::target}};

struct ShowOptions {
  std::string variant;
  std::string stage = "variant";
  std::vector<std::string> phases;
  std::string target = "host";
  std::optional<int64_t> valueBlock;
  int64_t pageSize = 0;
  bool reference = false;
  bool json = false;
};

std::vector<Phase> selectedPhases(const std::vector<std::string> &names) {
  std::vector<Phase> phases;
  for (Phase phase : packPhases)
    if (names.empty() || std::ranges::find(names, phaseName(phase)) != names.end())
      phases.push_back(phase);
  return phases;
}

CacheStorage storageOf(const ShowOptions &options, const VariantFile &file, CodePath path, const CodeTarget &target) {
  return {options.valueBlock.value_or(defaultValueBlock(file.variant(), path, target, options.pageSize)),
          options.pageSize};
}

std::string textOf(const ShowOptions &options, const VariantFile &file, const std::vector<Phase> &phases,
                   const CodeTarget &target) {
  auto ir = irStages.find(options.stage);
  Stage stage = ir == irStages.end() ? Stage::target : ir->second;
  CodePath path = options.reference || stage == Stage::reference ? CodePath::reference : CodePath::fused;
  CacheStorage storage = storageOf(options, file, path, target);
  mlir::OwningOpRef<mlir::ModuleOp> module = take(lowerPhases(file.variant(), phases, stage, path, target, storage));
  if (ir != irStages.end()) {
    std::string text;
    llvm::raw_string_ostream os(text);
    // Arguments carry their names as locations.
    module->print(os, mlir::OpPrintingFlags().printNameLocAsPrefix());
    return text;
  }
  auto emit = options.stage == "llvm" ? emitLlvmIr : emitAssembly;
  if (isGpu(target))
    return take(emit(*module, target));
  std::vector<PhaseSignature> signatures;
  for (Phase phase : phases)
    signatures.push_back(getPhaseSignature(file.variant(), phase, storage));
  std::string prefix = symbolName(std::string_view(file.variant().getName().getValue()));
  if (failed(addCInterface(*module, prefix, signatures)))
    throw std::runtime_error("the C interface of " + prefix + " could not be made");
  return take(emit(*module, target));
}

// --- --stage space

/// What a target may choose for one phase.
struct PhaseSpace {
  Phase phase;
  ScheduleSpace space;
  mlir::tpa::ScheduleAttr chosen;
  /// Combinations of values that are legal.
  int64_t legal = 0;
};

std::vector<PhaseSpace> spacesOf(mlir::tpa::VariantAttr variant, const std::vector<Phase> &phases,
                                 const CodeTarget &target, CacheStorage storage) {
  std::vector<PhaseSpace> spaces;
  for (Phase phase : phases) {
    PhaseSpace result = {phase, take(scheduleSpace(variant, phase, target, storage)),
                         take(defaultSchedule(variant, phase, target, storage))};
    for (int64_t i = 0; i < result.space.size(); ++i)
      if (mlir::tpa::ScheduleAttr schedule = result.space.at(i)) {
        llvm::Error error = checkSchedule(variant, phase, schedule, target);
        result.legal += !error;
        llvm::consumeError(std::move(error));
      }
    spaces.push_back(std::move(result));
  }
  return spaces;
}

void showSpace(const ShowOptions &options, const VariantFile &file, const std::vector<Phase> &phases,
               const CodeTarget &target) {
  CacheStorage storage = storageOf(options, file, CodePath::fused, target);
  std::vector<PhaseSpace> spaces = spacesOf(file.variant(), phases, target, storage);
  if (options.json) {
    nlohmann::ordered_json json = {{"variant", nlohmann::ordered_json::parse(file.json())},
                                   {"stage", options.stage},
                                   {"target", target.name},
                                   {"phases", nlohmann::ordered_json::array()}};
    for (const PhaseSpace &entry : spaces) {
      nlohmann::ordered_json knobs, chosen;
      std::vector<std::string> values = ScheduleSpace::valuesOf(entry.chosen);
      for (const auto &[i, knob] : llvm::enumerate(entry.space.knobs())) {
        knobs[knob.name] = knob.values;
        chosen[knob.name] = values[i];
      }
      json["phases"].push_back({{"phase", phaseName(entry.phase)},
                                {"knobs", knobs},
                                {"default", chosen},
                                {"combinations", entry.space.size()},
                                {"legal", entry.legal}});
    }
    std::cout << json.dump(2) << '\n';
    return;
  }
  for (const PhaseSpace &entry : spaces) {
    std::cout << "Schedules of " << phaseName(entry.phase) << " of " << file.variant().getName().str() << " for "
              << target.name << ": " << entry.legal << " of " << entry.space.size() << " combinations are legal\n";
    Table table({{"knob"}, {"default"}, {"values"}});
    std::vector<std::string> values = ScheduleSpace::valuesOf(entry.chosen);
    for (const auto &[i, knob] : llvm::enumerate(entry.space.knobs()))
      table.addRow({knob.name, values[i], llvm::join(knob.values, " ")});
    table.print(std::cout);
    std::cout << '\n';
  }
}

void show(const ShowOptions &options) {
  // Before the work, and for stages without a target too.
  CodeTarget target = take(findTarget(options.target));
  VariantFile file(options.variant);
  std::vector<Phase> phases = selectedPhases(options.phases);
  for (const char *stage : {"schedule", "space", "tiles"})
    if (options.reference && options.stage == stage)
      throw std::runtime_error("--stage " + options.stage +
                               ": the reference path has neither schedules nor tile programs; leave --reference out");
  if (options.stage == "space")
    return showSpace(options, file, phases, target);
  std::string text = textOf(options, file, phases, target);
  if (!options.json) {
    std::cout << text;
    return;
  }
  nlohmann::ordered_json json = {{"variant", nlohmann::ordered_json::parse(file.json())}, {"stage", options.stage}};
  for (Phase phase : phases)
    json["phases"].push_back(phaseName(phase));
  json["text"] = text;
  std::cout << json.dump(2) << '\n';
}

} // namespace

void addShowCommand(CLI::App &app) {
  CLI::App *command = app.add_subcommand("show", "Print the IR of a variant at a stage of the compiler.");
  auto options = std::make_shared<ShowOptions>();
  command->add_option("VARIANT", options->variant, "variant file (JSON)")->required();
  command
      ->add_option(
          "--stage", options->stage,
          "variant: tpa dialect; schedule: the same with the target's schedules; space: what a schedule may say, as a "
          "table; tiles: tile programs; reference: linalg and scf; target: LLVM dialect; llvm: LLVM IR; "
          "asm: assembly")
      ->check(CLI::IsMember({"variant", "schedule", "space", "tiles", "reference", "target", "llvm", "asm"}))
      ->capture_default_str();
  command->add_option("--phase", options->phases, "phases to show; default: all")
      ->check(CLI::IsMember({"append", "decode", "prefill", "merge"}));
  command->add_option("--target", options->target, "machine of the stages from schedule on")->capture_default_str();
  command->add_option("--value-block", options->valueBlock, valueBlockHelp);
  command->add_option("--page-size", options->pageSize, pageSizeHelp)->capture_default_str();
  command->add_flag("--reference", options->reference, "the reference path in place of the fused one");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { show(*options); });
}

} // namespace tpac
