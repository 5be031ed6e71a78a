// SPDX-License-Identifier: Apache-2.0
//
// Compiles kernels of the configurations to cubins and writes, for the machine with the GPU, the cases that GpuCheck
// compares and what GpuBench times: all configurations, 1 to 65536 cached tokens, ragged batches, pages, several query
// tokens. Inputs and what is expected of them are computed there.
//
//   GpuCases -o FOLDER [--chip sm_90a] [--configs NAME,...] [--points FILE.json] [--no-cases] [--kernels-only] [--ptx]
//
// --points: kernels and shapes to time (bench/gpu/points.json). --ptx: PTX in place of cubins, which needs no ptxas and
// which a driver without a GPU can execute (tests/cuda).

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/GpuPack.h"
#include "lowering/emit/Assembler.h"
#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/GpuPrograms.h"
#include "lowering/gpu/GpuSchedule.h"
#include "lowering/phases/BuildPhases.h"
#include "tests/gpu/Case.h"
#include "tests/gpu/Elements.h"
#include "tests/gpu/Members.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

namespace tpac::gputest {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string folder, chip = "sm_90a", points;
  std::vector<std::string> configs;
  bool noCases = false, kernelsOnly = false, ptx = false;
};

class Writer {
public:
  explicit Writer(const Options &options)
      : options(options), folder(options.folder), target(take(findTarget(options.chip))), context(registry()) {
    fs::create_directories(folder);
    if (!options.ptx) {
      const std::optional<std::string> found = findPtxas();
      if (!found)
        throw std::runtime_error("ptxas is not found: put it on the PATH, or run ./dev setup --gpu");
      ptxas = *found;
    }
    plan["chip"] = options.chip;
    plan["kernels"] = nlohmann::json::object();
    plan["cases"] = nlohmann::json::array();
    plan["points"] = nlohmann::json::array();
    plan["elements"] = nlohmann::json::object();
    plan["element_cases"] = nlohmann::json::array();
  }

  void run() {
    if (!options.noCases)
      writeCases();
    if (!options.points.empty())
      writePoints(nlohmann::json::parse(readText(options.points)));
    std::ofstream(folder / "cases.json") << plan.dump(1) << "\n";
    std::cout << plan["kernels"].size() + plan["elements"].size() << " kernels, "
              << plan["cases"].size() + plan["element_cases"].size() << " cases, " << plan["points"].size()
              << " points in " << folder.string() << "\n";
    if (spills > 0)
      throw std::runtime_error(std::to_string(spills) + " kernels spill registers");
  }

private:
  static mlir::DialectRegistry registry() {
    mlir::DialectRegistry result;
    registerCompilerDialects(result);
    return result;
  }

  // --- Kernels

  /// A file of the folder, and what the assembler says of its kernels.
  struct Report {
    std::string image;
    std::vector<int64_t> registers;
    /// Whether a kernel spills registers or has anything else in local memory.
    bool isSpilling = false;
  };

  /// Writes `NAME.cubin`, or `NAME.ptx`.
  Report assemble(mlir::ModuleOp module, const std::string &name) {
    const std::string ptx = take(emitAssembly(module, target));
    Report report;
    report.image = name + (options.ptx ? ".ptx" : ".cubin");
    std::ofstream stream(folder / report.image, std::ios::binary);
    if (options.ptx) {
      // The driver knows where it ends by the null character.
      stream << ptx << '\0';
      return report;
    }
    const Cubin cubin = take(assemblePtx(ptxas, ptx, options.chip));
    stream << cubin.bytes;
    for (const KernelResources &kernel : take(kernelResources(cubin.log))) {
      report.registers.push_back(kernel.registers);
      report.isSpilling |= kernel.localBytes != 0;
    }
    spills += report.isSpilling;
    return report;
  }

  nlohmann::json describe(mlir::LLVM::LLVMFuncOp kernel) {
    auto integer = [&](llvm::StringRef attribute) {
      return kernel->getAttrOfType<mlir::IntegerAttr>(attribute).getInt();
    };
    if (int64_t most = GpuLimits::of(options.chip).sharedBytes; integer("tpac.shared_bytes") > most)
      throw std::runtime_error(kernel.getSymName().str() + " takes " + std::to_string(integer("tpac.shared_bytes")) +
                               " bytes of shared memory, more than the chip's " + std::to_string(most));
    return {{"name", kernel.getSymName().str()},
            {"threads", integer("tpac.threads")},
            {"shared_bytes", integer("tpac.shared_bytes")}};
  }

  static void print(const std::string &name, const Report &report, const std::string &rest) {
    std::cout << name << ": ";
    if (!report.registers.empty()) {
      std::cout << "registers";
      for (int64_t count : report.registers)
        std::cout << " " << count;
      std::cout << ", ";
    }
    std::cout << (report.isSpilling ? "SPILLS, " : "") << rest << "\n";
  }

  /// Compiles `phase` of attention under `schedule` unless it is there; the kernel's name.
  std::string addKernel(mlir::tpa::VariantAttr variant, mlir::tpa::ScheduleAttr schedule, const std::string &name,
                        Phase phase = Phase::decode) {
    if (plan["kernels"].contains(name))
      return name;
    ScheduledPhase scheduled = {phase, schedule};
    auto module = take(lowerScheduled(variant, scheduled, target));
    Report report = assemble(*module, name);
    nlohmann::json entry = {{"variant", nlohmann::json::parse(mlir::tpa::writeVariant(variant))},
                            {"member", member},
                            {"image", report.image},
                            {"registers", report.registers},
                            {"spills", report.isSpilling},
                            {"overlaps", schedule.getBulk()},
                            {"rows", schedule.getQueries() * schedule.getHeads()},
                            {"queries", schedule.getQueries()},
                            {"tokens_of_block", schedule.getTokens()},
                            {"head_tiles", llvm::divideCeil(variant.getHeads().getLocal(), schedule.getHeads())},
                            {"cache", gpuLayoutJson(variant, schedule.getPageSize())}};
    std::string text;
    llvm::raw_string_ostream(text) << schedule;
    entry["schedule"] = text;
    GpuCacheLayout layout = gpuCacheLayout(variant);
    for (const PhaseTensor &tensor : getPhaseSignature(variant, phase, storageOf(schedule)).tensors)
      if (!layout.find(tensor.name))
        entry["tensors"].push_back(tensor.name);
    for (auto kernel : module->getOps<mlir::LLVM::LLVMFuncOp>()) {
      bool isMerge = kernel.getSymName().ends_with("_merge");
      entry[isMerge ? "merge" : "parts"] = describe(kernel);
      for (const char *name : {"record_bytes", "products_of_block"})
        if (!isMerge)
          entry[name] = kernel->getAttrOfType<mlir::IntegerAttr>(std::string("tpac.") + name).getInt();
    }
    print(name, report, "shared " + entry["parts"]["shared_bytes"].dump() + ", " + text);
    plan["kernels"][name] = std::move(entry);
    return name;
  }

  /// Compiles append, import, export and merge of a configuration.
  std::string addElements(mlir::tpa::VariantAttr variant, const std::string &config, int64_t pageSize = 0) {
    std::string name = config + "-elements" + pageSuffix(pageSize);
    std::vector<ScheduledPhase> phases;
    for (Phase phase : {Phase::append, Phase::merge})
      phases.push_back(
          {phase, take(defaultGpuSchedule(variant, phase, GpuLimits::of(options.chip), /*queries=*/1, pageSize))});
    auto module = take(lowerScheduled(variant, phases, target));
    Report report = assemble(*module, name);
    nlohmann::json kernels;
    std::string shared = "shared";
    GpuCacheLayout layout = gpuCacheLayout(variant);
    for (auto kernel : module->getOps<mlir::LLVM::LLVMFuncOp>()) {
      nlohmann::json entry = describe(kernel);
      bool isMove = kernel.getSymName() == "import" || kernel.getSymName() == "export";
      Phase phase = kernel.getSymName() == "merge" ? Phase::merge : Phase::append;
      for (const PhaseTensor &tensor : getPhaseSignature(variant, phase, {0, pageSize}).tensors)
        if (isMove ? layout.find(tensor.name) != nullptr : !layout.find(tensor.name))
          entry["tensors"].push_back(isMove ? plainName(tensor.name) : tensor.name);
      if (isMove)
        entry["tensors"].push_back("lengths");
      if (isMove && pageSize != 0)
        for (std::string_view name : {blockTableName, pageStartsName})
          entry["tensors"].push_back(std::string(name));
      shared += " " + entry["shared_bytes"].dump();
      kernels[kernel.getSymName().str()] = std::move(entry);
    }
    print(name, report, shared);
    plan["elements"][name] = {{"variant", nlohmann::json::parse(mlir::tpa::writeVariant(variant))},
                              {"image", report.image},
                              {"registers", report.registers},
                              {"spills", report.isSpilling},
                              {"cache", gpuLayoutJson(variant, pageSize)},
                              {"kernels", kernels}};
    return name;
  }

  void addElementCase(const std::string &kernels, const std::string &shape, std::vector<int64_t> lengths,
                      std::vector<int64_t> added, bool isStrided) {
    if (!options.kernelsOnly)
      plan["element_cases"].push_back(
          ElementCase{kernels + "/" + shape, kernels, std::move(lengths), std::move(added), ++seed, isStrided});
  }

  // --- Cases

  void addCase(const std::string &kernel, const std::string &shape, std::vector<int64_t> lengths,
               std::vector<int64_t> queries, double gain, bool isStrided = false, int64_t sharedTokens = 0) {
    if (options.kernelsOnly)
      return;
    Case item;
    item.name = kernel + "/" + shape;
    item.kernel = kernel;
    item.capacity = CacheMap(plan["kernels"][kernel]["cache"]).capacityFor(*std::ranges::max_element(lengths));
    item.sharedTokens = sharedTokens;
    item.lengths = std::move(lengths);
    item.queries = std::move(queries);
    item.seed = ++seed;
    item.gain = gain;
    item.isStrided = isStrided;
    plan["cases"].push_back(item);
  }

  void writeCases() {
    GpuLimits limits = GpuLimits::of(options.chip);
    GpuLimits small = limits;
    small.hasBulk = false;
    size_t number = 0;
    for (const auto &[name, variant] : readMembers(context, options.configs)) {
      llvm::Expected<mlir::tpa::ScheduleAttr> schedule = defaultGpuSchedule(variant, Phase::decode, limits);
      if (!schedule) {
        std::cout << "left out: " << llvm::toString(schedule.takeError()) << "\n";
        continue;
      }
      member = name;
      std::string elements = addElements(variant, name);
      addElementCase(elements, "new", {0, 0, 0}, {1, 0, 70}, false);
      addElementCase(elements, "behind", {5, 130, 0, 63}, {3, 1, 0, 66}, true);
      std::string one = addKernel(variant, *schedule, name + "-q1");
      std::string four = addKernel(variant, take(defaultGpuSchedule(variant, Phase::decode, limits, 4)), name + "-q4");
      // Typical logits of a few units, and of tens.
      constexpr double flat = 16, peaked = 256;
      std::string eight = addKernel(variant, take(defaultGpuSchedule(variant, Phase::decode, limits, 8)), name + "-q8");
      addCase(one, "ragged", {1, 7, 16, 63, 64, 65, 1000, 4096}, std::vector<int64_t>(8, 1), flat);
      addCase(one, "65536", {65536}, {1}, flat);
      addCase(one, "peaked", {700}, {1}, peaked);
      addCase(one, "queries", {3, 0, 64, 130, 517}, {4, 1, 1, 2, 3}, flat, /*isStrided=*/true);
      addCase(four, "queries", {3, 0, 7, 16, 63, 64, 65, 130, 1000, 4096}, {4, 1, 4, 3, 4, 5, 1, 2, 4, 3}, flat);
      addCase(four, "65536", {65536}, {4}, flat);
      addCase(eight, "queries", {9, 1, 64, 130, 517, 1000}, {8, 1, 5, 8, 7, 8}, flat, /*isStrided=*/true);
      if (limits.hasBulk) {
        llvm::Expected<mlir::tpa::ScheduleAttr> byThreads = defaultGpuSchedule(variant, Phase::decode, small);
        if (byThreads)
          addCase(addKernel(variant, *byThreads, name + "-copies"), "ragged", {1, 65, 1000}, {1, 1, 1}, flat);
        else
          std::cout << "left out: " << llvm::toString(byThreads.takeError()) << "\n";
      }
      if (auto other = otherScore(variant, *schedule, limits))
        addCase(addKernel(variant, other, name + "-q1-order"), "ragged", {1, 7, 16, 63, 64, 65, 1000, 4096},
                std::vector<int64_t>(8, 1), peaked);
      if (auto other = otherScore(variant, take(defaultGpuSchedule(variant, Phase::decode, limits, 4)), limits))
        addCase(addKernel(variant, other, name + "-q4-order"), "queries", {3, 0, 16, 63, 130, 1000}, {4, 1, 4, 3, 5, 4},
                flat, /*isStrided=*/true);
      std::string prefill = addKernel(variant, take(defaultGpuSchedule(variant, Phase::prefill, limits, 4096)),
                                      name + "-prefill", Phase::prefill);
      addCase(prefill, "ragged", {17, 1, 50, 1000, 4096}, {17, 1, 9, 40, 24}, flat, /*isStrided=*/true);
      writeTokensOnRows(name, variant, limits, small);
      // Where a window begins within a block, and within a run of the swizzle.
      if (variant.getWindow())
        addCase(one, "window", {*variant.getWindow() + 1, *variant.getWindow() + 45, 3000}, {1, 1, 1}, flat);
      writePagedCases(number++, name, variant, limits, small);
      // The oracle computes many rows of few heads only.
      if (variant.getHeads().getLocal() <= 3) {
        addCase(prefill, "whole", {4096}, {4096}, flat);
        addCase(prefill, "chunk", {3001, 512}, {512, 300}, flat);
      }
    }
  }

  /// `schedule` with another order of the score, other rows and as many groups as are legal, at most `groups`; null
  /// where none are.
  static mlir::tpa::ScheduleAttr changed(mlir::tpa::VariantAttr variant, mlir::tpa::ScheduleAttr schedule,
                                         mlir::tpa::ScoreOrder score, mlir::tpa::TileRows rows, int64_t tokens,
                                         int64_t groups, const GpuLimits &limits) {
    for (; groups >= 1; --groups) {
      auto other = mlir::tpa::ScheduleAttr::get(
          variant.getContext(), tokens, schedule.getQueries(), schedule.getHeads(), score, schedule.getValue(), rows,
          schedule.getOperands(), schedule.getQueryParts(), schedule.getItemHeads(), schedule.getSplit(),
          schedule.getValueBlock(), schedule.getPageSize(), groups, schedule.getStages(), schedule.getBulk());
      llvm::Error error = checkGpuSchedule(variant, Phase::decode, other, limits);
      bool isLegal = !error;
      llvm::consumeError(std::move(error));
      if (isLegal)
        return other;
    }
    return {};
  }

  /// `schedule` with another order of the score than it has; null where that is not legal.
  static mlir::tpa::ScheduleAttr otherScore(mlir::tpa::VariantAttr variant, mlir::tpa::ScheduleAttr schedule,
                                            const GpuLimits &limits) {
    using mlir::tpa::ScoreOrder;
    auto score = schedule.getScore() == ScoreOrder::merged ? ScoreOrder::factored : ScoreOrder::merged;
    // What the default is not chosen for may need registers that two groups, or long blocks, of several query tokens do
    // not leave.
    const bool isOne = schedule.getQueries() == 1;
    return changed(variant, schedule, score, schedule.getRows(), isOne ? schedule.getTokens() : 16,
                   isOne ? schedule.getGroups() : 1, limits);
  }

  /// Where cached tokens may be on rows: one and several query tokens, copies by threads, pages, prefill.
  void writeTokensOnRows(const std::string &name, mlir::tpa::VariantAttr variant, const GpuLimits &limits,
                         const GpuLimits &small) {
    using mlir::tpa::ScoreOrder, mlir::tpa::TileRows;
    constexpr double flat = 16, peaked = 256;
    auto kernel = [&](const std::string &suffix, Phase phase, const GpuLimits &its, int64_t queries,
                      int64_t pageSize = 0) -> std::optional<std::string> {
      llvm::Expected<mlir::tpa::ScheduleAttr> base = defaultGpuSchedule(variant, phase, its, queries, pageSize);
      if (!base) {
        llvm::consumeError(base.takeError());
        return std::nullopt;
      }
      auto schedule = changed(variant, *base, ScoreOrder::merged, TileRows::tokens,
                              std::min<int64_t>(base->getTokens(), 32), base->getGroups(), its);
      return schedule ? std::optional(addKernel(variant, schedule, name + suffix, phase)) : std::nullopt;
    };
    const int64_t window = variant.getWindow().value_or(0);
    if (auto one = kernel("-q1-tokens", Phase::decode, limits, 1)) {
      addCase(*one, "ragged", {1, 7, 16, 63, 64, 65, 1000, 4096}, std::vector<int64_t>(8, 1), flat);
      addCase(*one, "peaked", {700, window + 45}, {1, 1}, peaked);
      addCase(*one, "queries", {3, 0, 64, 130, 517}, {4, 1, 1, 2, 3}, flat, /*isStrided=*/true);
    }
    if (auto eight = kernel("-q8-tokens", Phase::decode, limits, 8))
      addCase(*eight, "queries", {9, 1, 64, 130, 517, 1000}, {8, 1, 5, 8, 7, 8}, flat, /*isStrided=*/true);
    if (auto copies = limits.hasBulk ? kernel("-copies-tokens", Phase::decode, small, 2) : std::nullopt)
      addCase(*copies, "ragged", {2, 65, 1000}, {2, 1, 2}, peaked);
    if (auto paged = kernel("-q4-page48-tokens", Phase::decode, limits, 4, 48))
      addCase(*paged, "queries", {600, 577, 1, 0, 130}, {4, 1, 1, 3, 5}, flat, /*isStrided=*/true,
              /*sharedTokens=*/512);
    if (auto prefill = kernel("-prefill-tokens", Phase::prefill, limits, 4096))
      addCase(*prefill, "ragged", {17, 1, 50, 1000}, {17, 1, 9, 40}, flat, /*isStrided=*/true);
  }

  /// Pages that hold halves of blocks (16), blocks and halves of them (48), and blocks: one of them for each member,
  /// and other kernels for some. Two requests share a prefix.
  void writePagedCases(size_t number, const std::string &name, mlir::tpa::VariantAttr variant, const GpuLimits &limits,
                       const GpuLimits &small) {
    constexpr double flat = 16;
    constexpr int64_t sizes[] = {16, 48, 256};
    int64_t pageSize = sizes[number % 3], window = variant.getWindow().value_or(0);
    std::string kernel = addKernel(variant, take(defaultGpuSchedule(variant, Phase::decode, limits, 1, pageSize)),
                                   name + "-q1" + pageSuffix(pageSize));
    addCase(kernel, "ragged", {600, 577, 1, 0, 7, 16, 63, 64, 65, 1000, 4096, window + 45}, std::vector<int64_t>(12, 1),
            flat, /*isStrided=*/true, /*sharedTokens=*/512);
    addCase(kernel, "65536", {65536}, {1}, flat);
    if (number % 4 != 0)
      return;
    addElementCase(addElements(variant, name, pageSize), "behind", {5, 130, 0, 63}, {3, 1, 0, 66}, true);
    std::string four =
        addKernel(variant, take(defaultGpuSchedule(variant, Phase::decode, limits, 4, 64)), name + "-q4-page64");
    addCase(four, "queries", {3, 0, 64, 130, 517}, {4, 1, 5, 2, 3}, flat);
    llvm::Expected<mlir::tpa::ScheduleAttr> byThreads = defaultGpuSchedule(variant, Phase::decode, small, 1, 16);
    if (limits.hasBulk && byThreads)
      addCase(addKernel(variant, *byThreads, name + "-copies-page16"), "ragged", {1, 65, 1000}, {1, 1, 1}, flat);
    else if (!byThreads)
      std::cout << "left out: " << llvm::toString(byThreads.takeError()) << "\n";
  }

  static std::string pageSuffix(int64_t pageSize) { return pageSize == 0 ? "" : "-page" + std::to_string(pageSize); }

  // --- Points

  void writePoints(const nlohmann::json &points) {
    for (const nlohmann::json &group : points.at("groups")) {
      nlohmann::json json = nlohmann::json::parse(
          readText(fs::path(TPAC_SOURCE_ROOT) / "configs" / (group.at("config").get<std::string>() + ".json")));
      if (group.contains("patch"))
        json.merge_patch(group.at("patch"));
      auto variant = take(mlir::tpa::readVariant(json.dump(), "points", context));
      GpuLimits limits = GpuLimits::of(options.chip);
      std::vector<std::string> kernels;
      if (group.contains("elements")) {
        addPoints(group, {addElements(variant, group.at("name"), group.at("elements").value("page_size", 0))});
        continue;
      }
      Phase phase = group.value("phase", "decode") == "prefill" ? Phase::prefill : Phase::decode;
      auto base = take(defaultGpuSchedule(variant, phase, limits, group.value("queries", 1)));
      for (const nlohmann::json &change : group.at("schedules")) {
        auto number = [&](const char *name, int64_t value) { return change.value(name, value); };
        auto rows = mlir::tpa::symbolizeTileRows(change.value("rows", stringifyTileRows(base.getRows()).str()));
        if (!rows)
          throw std::runtime_error(group.at("name").get<std::string>() + ": rows: expected heads or tokens");
        bool bulk = change.value("bulk", base.getBulk());
        auto score = mlir::tpa::symbolizeScoreOrder(
            change.value("score", mlir::tpa::stringifyScoreOrder(base.getScore()).str()));
        if (!score)
          throw std::runtime_error(group.at("name").get<std::string>() + ": score: expected merged or factored");
        auto schedule = mlir::tpa::ScheduleAttr::get(
            &context, number("tokens", base.getTokens()), number("queries", base.getQueries()),
            number("heads", base.getHeads()), *score, base.getValue(), *rows, base.getOperands(),
            number("query_parts", base.getQueryParts()), base.getItemHeads(), base.getSplit(), /*value_block=*/0,
            number("page_size", 0), number("groups", base.getGroups()), number("stages", base.getStages()), bulk);
        if (llvm::Error error = checkGpuSchedule(variant, phase, schedule, limits)) {
          std::cout << "left out: " << llvm::toString(std::move(error)) << "\n";
          continue;
        }
        std::string name = group.at("name").get<std::string>() + "-t" + std::to_string(schedule.getTokens()) + "-n" +
                           std::to_string(schedule.getQueries()) + "-g" + std::to_string(schedule.getGroups()) + "-s" +
                           std::to_string(schedule.getStages()) + (bulk ? "" : "-copies") + "-p" +
                           std::to_string(schedule.getQueryParts()) + pageSuffix(schedule.getPageSize()) +
                           (score == mlir::tpa::ScoreOrder::factored ? "-factored" : "") +
                           (schedule.getHeads() == base.getHeads() ? "" : "-h" + std::to_string(schedule.getHeads())) +
                           (rows == mlir::tpa::TileRows::tokens ? "-tokens" : "");
        kernels.push_back(addKernel(variant, schedule, name, phase));
      }
      addPoints(group, kernels);
    }
  }

  void addPoints(const nlohmann::json &group, const std::vector<std::string> &kernels) {
    for (const nlohmann::json &shape : group.at("shapes")) {
      nlohmann::json point = shape;
      point["group"] = group.at("name");
      point["kernels"] = kernels;
      plan["points"].push_back(point);
    }
  }

  const Options &options;
  fs::path folder;
  CodeTarget target;
  mlir::MLIRContext context;
  std::string ptxas;
  nlohmann::json plan;
  /// Whose kernels are compiled.
  std::string member;
  uint64_t seed = 0;
  int spills = 0;
};

} // namespace
} // namespace tpac::gputest

int main(int argc, char **argv) {
  CLI::App app("Writes kernels and cases for a machine with a GPU.");
  tpac::gputest::Options options;
  app.add_option("-o,--output", options.folder, "folder to write")->required();
  app.add_option("--chip", options.chip, "sm_80, sm_90a, ...")->capture_default_str();
  app.add_option("--configs", options.configs, "configurations; default: all")->delimiter(',');
  app.add_option("--points", options.points, "what to time (JSON)");
  app.add_flag("--no-cases", options.noCases, "kernels to time only");
  app.add_flag("--kernels-only", options.kernelsOnly, "compile the configurations' kernels, without cases");
  app.add_flag("--ptx", options.ptx, "PTX in place of cubins");
  CLI11_PARSE(app, argc, argv);
  try {
    tpac::gputest::Writer(options).run();
  } catch (const std::exception &error) {
    std::cerr << "GpuCases: " << error.what() << "\n";
    return 1;
  }
}
