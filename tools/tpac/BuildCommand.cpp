// SPDX-License-Identifier: Apache-2.0
//
// tpac build: a kernel pack of a variant.

#include "lowering/Compiler.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/Take.h"
#include "tools/tpac/VariantFile.h"

#include "llvm/ADT/StringExtras.h"

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
  bool json = false;
};

void build(const BuildOptions &options) {
  auto start = std::chrono::steady_clock::now();
  VariantFile file(options.variant);
  CodePath path = options.reference ? CodePath::reference : CodePath::fused;
  std::vector<CodeTarget> targets = take(findPackTargets(options.targets));
  for (const CodeTarget &target : targets)
    if (isGpu(target))
      throw std::runtime_error("--target: packs hold code of CPUs, found " + target.name + ", accepted: " +
                               llvm::join(acceptedTargets(), ", ") + "; tpac show prints a GPU's kernels");
  // Levels share their caches, which the highest one's kernels like best.
  CacheStorage storage = {
      options.valueBlock.value_or(defaultValueBlock(file.variant(), path, targets.back(), options.pageSize)),
      options.pageSize};
  Pack pack{file.variant().getName().str(), file.json(), {}};
  for (Phase phase : packPhases)
    pack.signatures.push_back(getPhaseSignature(file.variant(), phase, storage));
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
  std::vector<TargetModule> levels;
  std::vector<std::string> targetNames;
  for (CodeTarget &target : targets) {
    modules.push_back(take(lowerPhases(file.variant(), packPhases, Stage::target, path, target, storage)));
    targetNames.push_back(target.name);
    levels.push_back({*modules.back(), std::move(target)});
  }
  if (llvm::Error error = writePack(levels, pack, options.directory))
    throw std::runtime_error(llvm::toString(std::move(error)));
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double secondsPerKernel = seconds / static_cast<double>(targets.size() * pack.signatures.size());

  std::string name = symbolName(std::string_view(pack.name));
  std::vector<std::string> files = {"include/" + name + ".h",
                                    "lib/lib" + name + ".a",
                                    "lib/lib" + name + ".so",
                                    "lib/pkgconfig/" + name + ".pc",
                                    "lib/cmake/" + name + "/" + name + "Config.cmake",
                                    name + ".json"};
  if (options.json) {
    nlohmann::ordered_json json = {{"name", pack.name},
                                   {"targets", targetNames},
                                   {"directory", options.directory},
                                   {"files", files},
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
                   "x86-64-v4, x86-64-amx; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  command->add_option("-o,--output", options->directory, "directory of the pack; a pack there is replaced")->required();
  command->add_option("--value-block", options->valueBlock, valueBlockHelp);
  command->add_option("--page-size", options->pageSize, pageSizeHelp)->capture_default_str();
  command->add_flag("--reference", options->reference, "kernels of the reference path in place of fused ones");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { build(*options); });
}

} // namespace tpac
