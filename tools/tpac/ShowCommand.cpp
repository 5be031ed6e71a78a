// SPDX-License-Identifier: Apache-2.0
//
// tpac show: the IR of a variant's phases at a stage.

#include "lowering/Compiler.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Take.h"
#include "tools/tpac/VariantFile.h"

#include "llvm/Support/raw_ostream.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <map>
#include <optional>

namespace tpac {
namespace {

const std::map<std::string, Stage> irStages = {
    {"variant", Stage::variant}, {"tiles", Stage::tiles}, {"reference", Stage::reference}, {"target", Stage::target}};

struct ShowOptions {
  std::string variant;
  std::string stage = "variant";
  std::vector<std::string> phases;
  std::string target = "host";
  std::optional<int64_t> valueBlock;
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

std::string textOf(const ShowOptions &options, const VariantFile &file, const std::vector<Phase> &phases,
                   const CodeTarget &target) {
  auto ir = irStages.find(options.stage);
  Stage stage = ir == irStages.end() ? Stage::target : ir->second;
  CodePath path = options.reference || stage == Stage::reference ? CodePath::reference : CodePath::fused;
  if (options.reference && stage == Stage::tiles)
    throw std::runtime_error("--stage tiles: the reference path has no tile programs; leave --reference out");
  int64_t valueBlock = options.valueBlock.value_or(defaultValueBlock(file.variant(), path, target));
  mlir::OwningOpRef<mlir::ModuleOp> module = take(lowerPhases(file.variant(), phases, stage, path, target, valueBlock));
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
    signatures.push_back(getPhaseSignature(file.variant(), phase, valueBlock));
  std::string prefix = symbolName(std::string_view(file.variant().getName().getValue()));
  if (failed(addCInterface(*module, prefix, signatures)))
    throw std::runtime_error("the C interface of " + prefix + " could not be made");
  return take(emit(*module, target));
}

void show(const ShowOptions &options) {
  // Before the work, and for stages without a target too.
  CodeTarget target = take(findTarget(options.target));
  VariantFile file(options.variant);
  std::vector<Phase> phases = selectedPhases(options.phases);
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
          "variant: tpa dialect; tiles: tile programs; reference: linalg and scf; target: LLVM dialect; llvm: LLVM IR; "
          "asm: assembly")
      ->check(CLI::IsMember({"variant", "tiles", "reference", "target", "llvm", "asm"}))
      ->capture_default_str();
  command->add_option("--phase", options->phases, "phases to show; default: all")
      ->check(CLI::IsMember({"append", "decode", "prefill", "merge"}));
  command->add_option("--target", options->target, "machine of the stages llvm and asm")->capture_default_str();
  command->add_option("--value-block", options->valueBlock, valueBlockHelp);
  command->add_flag("--reference", options->reference, "the reference path in place of the fused one");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { show(*options); });
}

} // namespace tpac
