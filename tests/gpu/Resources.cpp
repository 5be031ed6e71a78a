// SPDX-License-Identifier: Apache-2.0
//
// Assembles the kernels that packs hold - all phases under the shipped schedules - for every generation of GPUs and
// says what they take of a multiprocessor:
//
//   GpuResources [-o TABLE.json] [--chips sm_80,...] [--configs NAME,...] [--page-sizes 0,16] [-j THREADS]
//
// Exit code 1 where a kernel has anything in local memory (spilled registers, a stack frame).

#include "lowering/Compiler.h"
#include "lowering/GpuPack.h"
#include "lowering/emit/Assembler.h"
#include "tests/gpu/Members.h"

#include "mlir/IR/MLIRContext.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

namespace tpac::gputest {
namespace {

struct Options {
  std::string output;
  std::vector<std::string> chips = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_103a", "sm_120a"};
  std::vector<std::string> configs;
  std::vector<int64_t> pageSizes = {0, 16};
  unsigned threads = 1;
};

/// One variant with one size of pages, for all chips.
struct Job {
  std::string member;
  int64_t pageSize;

  std::string name() const { return member + (pageSize != 0 ? " page " + std::to_string(pageSize) : ""); }
};

class Assembling {
public:
  explicit Assembling(const Options &options) : options(options) {
    const std::optional<std::string> found = findPtxas();
    if (!found)
      throw std::runtime_error("ptxas is not found: put it on the PATH, or run ./dev setup --gpu");
    ptxas = *found;
    mlir::DialectRegistry registry;
    registerCompilerDialects(registry);
    mlir::MLIRContext context(registry);
    for (const auto &[name, variant] : readMembers(context, options.configs))
      for (int64_t pageSize : options.pageSizes)
        jobs.push_back({name, pageSize});
  }

  /// The number of kernels with something in local memory, and of jobs that failed.
  int run() {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < options.threads; ++i)
      threads.emplace_back([this] { work(); });
    for (std::thread &thread : threads)
      thread.join();
    int kernels = 0;
    for (const Job &job : jobs)
      kernels += print(job);
    for (const std::string &failure : failures)
      std::cout << "FAILED " << failure << "\n";
    std::cout << kernels << " kernels of " << jobs.size() << " packs, " << failures.size() << " failures\n";
    if (!options.output.empty())
      std::ofstream(options.output) << table.dump(1) << "\n";
    return static_cast<int>(failures.size());
  }

private:
  void work() {
    mlir::DialectRegistry registry;
    registerCompilerDialects(registry);
    mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
    for (size_t number; (number = next++) < jobs.size();) {
      const Job &job = jobs[number];
      try {
        assemble(job, readMembers(context, {job.member}).front().second);
      } catch (const std::exception &error) {
        const std::lock_guard lock(mutex);
        failures.push_back(job.name() + ": " + error.what());
      }
    }
  }

  void assemble(const Job &job, mlir::tpa::VariantAttr variant) {
    std::vector<CodeTarget> targets;
    for (const std::string &chip : options.chips)
      targets.push_back(take(findTarget(chip)));
    const GpuPart part = take(buildGpuPart(variant, targets, {job.pageSize, ptxas}));
    const nlohmann::json manifest = nlohmann::json::parse(part.json);
    for (const auto &[chip, log] : part.assemblerLogs) {
      const std::vector<KernelResources> resources = take(kernelResources(log));
      const auto image =
          std::ranges::find_if(manifest.at("images"), [&](const auto &entry) { return entry.at("target") == chip; });
      for (const nlohmann::json &phase : image->at("phases"))
        for (const nlohmann::json &kernel : phase.at("kernels"))
          add(job, chip, phase, kernel, resources);
    }
  }

  void add(const Job &job, const std::string &chip, const nlohmann::json &phase, const nlohmann::json &kernel,
           const std::vector<KernelResources> &resources) {
    const std::string entry = kernel.at("entry");
    const auto found = std::ranges::find(resources, entry, &KernelResources::entry);
    const std::lock_guard lock(mutex);
    if (found == resources.end()) {
      failures.push_back(job.name() + ", " + chip + ": ptxas does not name " + entry);
      return;
    }
    nlohmann::json row = {{"member", job.member},
                          {"page_size", job.pageSize},
                          {"target", chip},
                          {"kernel", entry},
                          {"threads", kernel.at("threads")},
                          {"shared_bytes", kernel.at("shared_bytes")},
                          {"registers", found->registers},
                          {"local_bytes", found->localBytes},
                          {"spill_store_bytes", found->spillStoreBytes},
                          {"spill_load_bytes", found->spillLoadBytes},
                          {"schedule", phase.at("schedule")}};
    table.push_back(std::move(row));
    cells[job.name()][entry][chip] = std::to_string(found->registers) + "/" +
                                     std::to_string((kernel.at("shared_bytes").get<int64_t>() + 1023) / 1024);
    if (found->localBytes + found->spillStoreBytes + found->spillLoadBytes != 0) {
      cells[job.name()][entry][chip] += "!";
      failures.push_back(job.name() + ", " + chip + ", " + entry + ": " + std::to_string(found->localBytes) +
                         " bytes of local memory, " + std::to_string(found->spillStoreBytes) + " spilled; " +
                         phase.at("schedule").get<std::string>());
    }
  }

  /// Registers per thread and KiB of shared memory, chip by chip; the kernels.
  int print(const Job &job) {
    constexpr int nameWidth = 20, cellWidth = 10;
    auto pad = [](std::string text, size_t width) {
      text.resize(std::max(width, text.size() + 1), ' ');
      return text;
    };
    std::cout << job.name() << " (registers/KiB)\n" << pad("", nameWidth);
    for (const std::string &chip : options.chips)
      std::cout << pad(chip, cellWidth);
    std::cout << "\n";
    int kernels = 0;
    for (auto &[entry, row] : cells[job.name()]) {
      std::cout << pad(entry, nameWidth);
      for (const std::string &chip : options.chips) {
        std::cout << pad(row.contains(chip) ? row[chip] : "-", cellWidth);
        kernels += static_cast<int>(row.contains(chip));
      }
      std::cout << "\n";
    }
    return kernels;
  }

  const Options &options;
  std::string ptxas;
  std::vector<Job> jobs;
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  nlohmann::json table = nlohmann::json::array();
  /// By job, kernel and chip.
  std::map<std::string, std::map<std::string, std::map<std::string, std::string>>> cells;
  std::vector<std::string> failures;
};

} // namespace
} // namespace tpac::gputest

int main(int argc, char **argv) {
  CLI::App app("Says what the kernels of packs take of a GPU's multiprocessor.");
  tpac::gputest::Options options;
  app.add_option("-o,--output", options.output, "JSON to write");
  app.add_option("--chips", options.chips, "default: all")->delimiter(',');
  app.add_option("--configs", options.configs, "default: all")->delimiter(',');
  app.add_option("--page-sizes", options.pageSizes, "tokens per page; 0: none")->delimiter(',')->capture_default_str();
  app.add_option("-j", options.threads, "variants at the same time")->capture_default_str()->check(CLI::Range(1, 256));
  CLI11_PARSE(app, argc, argv);
  try {
    return tpac::gputest::Assembling(options).run() == 0 ? 0 : 1;
  } catch (const std::exception &error) {
    std::cerr << "GpuResources: " << error.what() << "\n";
    return 1;
  }
}
