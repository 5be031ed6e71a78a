// SPDX-License-Identifier: Apache-2.0
//
// Builds packs with kernels for GPUs and writes, for the machine with the GPU, what RuntimeGpuCheck runs and compares:
//
//   RuntimeGpuCases -o FOLDER [--chip sm_90a] [--configs NAME,...] [--ptx]
//
// --ptx: images are PTX, as where there is no ptxas, which a driver without a GPU can execute (tests/cuda).

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/GpuPack.h"
#include "lowering/emit/Assembler.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"
#include "tests/gpu/Case.h"
#include "tests/gpu/Elements.h"
#include "tests/gpu/Members.h"

#include "mlir/IR/MLIRContext.h"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

namespace tpac::gputest {
namespace {

namespace fs = std::filesystem;

/// One of each kind: ranks, orders, sources, sharing, cached types, head maps, a window, MLA.
const char *const covering[] = {"t6-mini",
                                "t6-medium",
                                "t6-medium-kvonly",
                                "t6-medium-int8",
                                "t6-medium-fp8",
                                "t6-decode-32",
                                "mha-32x64",
                                "gqa-32x128-g8",
                                "mfa-32",
                                "mla-16",
                                "tpa-learned-a",
                                "tpa-learned-b",
                                "tpa-shared-token-rotated",
                                "tpa-softmax",
                                "tpa-window-softcap",
                                "tpa3-16x4"};

class Writer {
public:
  Writer(fs::path folder, std::string chip, std::vector<std::string> configs, bool ptx)
      : folder(std::move(folder)), chip(std::move(chip)), configs(std::move(configs)), isPtx(ptx), context(registry()) {
    if (this->configs.empty())
      this->configs.assign(std::begin(covering), std::end(covering));
    fs::create_directories(this->folder);
  }

  void run() {
    if (!isPtx) {
      const std::optional<std::string> found = findPtxas();
      if (!found)
        throw std::runtime_error("ptxas is not found: put it on the PATH, or run ./dev setup --gpu");
      ptxas = *found;
    }
    for (const std::string &config : configs)
      writeCases(config);
    // PTX, which the driver compiles: what machine code there is is for another generation.
    const std::string compiled = addPack(readConfig(context, configs.front()), configs.front() + "-ptx", "sm_80", 0);
    addCase("decode", compiled, "ragged", {1, 65, 1000}, {1, 1, 1});
    addElementCase(compiled, "behind", {5, 130, 0, 63}, {3, 1, 0, 66}, true);
    std::ofstream(folder / "cases.json") << plan.dump(1) << "\n";
    std::cout << plan["packs"].size() << " packs, " << plan["cases"].size() + plan["element_cases"].size()
              << " cases in " << folder.string() << "\n";
  }

private:
  static mlir::DialectRegistry registry() {
    mlir::DialectRegistry result;
    registerCompilerDialects(result);
    return result;
  }

  std::string addPack(mlir::tpa::VariantAttr variant, const std::string &name, const std::string &target,
                      int64_t pageSize) {
    const CodeTarget gpus[] = {take(findTarget(target))};
    Pack pack;
    pack.name = variant.getName().str();
    pack.variantJson = mlir::tpa::writeVariant(variant);
    for (Phase phase : packPhases)
      pack.signatures.push_back(getPhaseSignature(variant, phase, {0, pageSize}));
    pack.gpu = take(buildGpuPart(variant, gpus, {pageSize, ptxas}));
    if (llvm::Error error = writePack({}, pack, (folder / "packs" / name).string()))
      throw std::runtime_error(llvm::toString(std::move(error)));
    plan["packs"][name] = {{"variant", nlohmann::json::parse(pack.variantJson)},
                           {"cache", nlohmann::json::parse(pack.gpu->json).at("cache")}};
    std::cout << name << "\n";
    return name;
  }

  void addCase(const char *phase, const std::string &pack, const std::string &shape, std::vector<int64_t> lengths,
               std::vector<int64_t> queries, bool isStrided = false, int64_t sharedTokens = 0) {
    constexpr double gain = 16;
    const nlohmann::json &entry = plan["packs"][pack];
    Case item{pack + "/" + phase + "-" + shape,
              pack,
              std::move(lengths),
              std::move(queries),
              0,
              ++seed,
              gain,
              isStrided,
              sharedTokens};
    item.capacity = CacheMap(entry["cache"]).capacityFor(*std::ranges::max_element(item.lengths));
    plan["cases"].push_back({{"phase", phase}, {"case", item}});
  }

  void addElementCase(const std::string &pack, const std::string &shape, std::vector<int64_t> lengths,
                      std::vector<int64_t> added, bool isStrided) {
    plan["element_cases"].push_back(
        ElementCase{pack + "/elements-" + shape, pack, std::move(lengths), std::move(added), ++seed, isStrided});
  }

  void writeCases(const std::string &config) {
    const mlir::tpa::VariantAttr variant = readConfig(context, config);
    const std::string plain = addPack(variant, config, chip, 0);
    addCase("decode", plain, "ragged", {1, 7, 16, 63, 64, 65, 1000}, std::vector<int64_t>(7, 1));
    addCase("decode", plain, "long", {4096}, {1});
    // Calls of 2, 4 and 8 query tokens per request in the mean.
    addCase("decode", plain, "two", {64, 130}, {2, 1}, /*isStrided=*/true);
    addCase("decode", plain, "queries", {3, 0, 64, 130, 517}, {4, 1, 5, 2, 3}, /*isStrided=*/true);
    addCase("decode", plain, "eight", {130, 517}, {8, 7});
    addCase("prefill", plain, "ragged", {17, 1, 50}, {17, 1, 9}, /*isStrided=*/true);
    addElementCase(plain, "new", {0, 0, 0}, {1, 0, 70}, false);
    addElementCase(plain, "behind", {5, 130, 0, 63}, {3, 1, 0, 66}, true);

    constexpr int64_t sizes[] = {16, 48, 256};
    const int64_t pageSize = sizes[number++ % 3], window = variant.getWindow().value_or(0);
    const std::string paged = addPack(variant, config + "-page" + std::to_string(pageSize), chip, pageSize);
    addCase("decode", paged, "ragged", {600, 577, 1, 0, 16, 63, 64, 65, window + 45}, std::vector<int64_t>(9, 1),
            /*isStrided=*/true, /*sharedTokens=*/512);
    addElementCase(paged, "behind", {5, 130, 0, 63}, {3, 1, 0, 66}, true);
  }

  fs::path folder;
  std::string chip, ptxas;
  std::vector<std::string> configs;
  bool isPtx;
  mlir::MLIRContext context;
  nlohmann::json plan = {{"packs", nlohmann::json::object()},
                         {"cases", nlohmann::json::array()},
                         {"element_cases", nlohmann::json::array()}};
  uint64_t seed = 0;
  size_t number = 0;
};

} // namespace
} // namespace tpac::gputest

int main(int argc, char **argv) {
  CLI::App app("Writes packs and cases for a machine with a GPU.");
  std::string folder, chip = "sm_90a";
  std::vector<std::string> configs;
  bool isPtx = false;
  app.add_option("-o,--output", folder, "folder to write")->required();
  app.add_option("--chip", chip, "sm_80, sm_90a, ...")->capture_default_str();
  app.add_option("--configs", configs, "configurations; default: a covering set")->delimiter(',');
  app.add_flag("--ptx", isPtx, "PTX in place of cubins");
  CLI11_PARSE(app, argc, argv);
  try {
    tpac::gputest::Writer(folder, chip, configs, isPtx).run();
  } catch (const std::exception &error) {
    std::cerr << "RuntimeGpuCases: " << error.what() << "\n";
    return 1;
  }
}
