// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Artifact.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/GpuPack.h"
#include "lowering/TargetSchedule.h"
#include "lowering/emit/Assembler.h"
#include "lowering/emit/Manifest.h"
#include "lowering/emit/Take.h"
#include "lowering/execute/Executable.h"
#include "lowering/gpu/CacheLayout.h"
#include "lowering/phases/BuildPhases.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TarWriter.h"

#include <atomic>
#include <thread>

namespace tpac::autotune {

using namespace mlir;

namespace {

DialectRegistry compilerDialects() {
  DialectRegistry registry;
  registerCompilerDialects(registry);
  return registry;
}

/// A tar archive of `files`.
std::string archiveOf(const std::vector<PackFile> &files) {
  SmallString<128> path;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("tpac", "tar", path))
    throw std::runtime_error("no temporary file: " + error.message());
  llvm::FileRemover remover(path);
  {
    auto writer = take(llvm::TarWriter::create(path, "."));
    for (const PackFile &file : files)
      writer->append(file.path, file.content);
  }
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    throw std::runtime_error(path.str().str() + ": " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

Artifact compileForGpu(const bench::Row &row, const std::string &schedule, const CodeTarget &target) {
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  tpa::VariantAttr variant = take(tpa::readVariant(row.variant.dump(), "variant", context));
  const tpa::ScheduleAttr attribute = take(parseSchedule(schedule, context));
  const CacheStorage storage = storageOf(attribute);
  Pack pack{variant.getName().str(), row.variant.dump(), {getPhaseSignature(variant, row.phase, storage)}, {}};
  pack.gpu = take(buildGpuPhase(variant, target, {row.phase, attribute}, gpuQueriesFor(row.phase, row.tokens),
                                {storage.pageSize, findPtxas().value_or(""), {}}));
  std::vector<PackFile> files = pack.gpu->files;
  // How a pack calls its schedule is no part of what runs.
  nlohmann::json plan = nlohmann::json::parse(pack.gpu->json);
  for (nlohmann::json &phase : plan.at("images").at(0).at("phases"))
    phase.erase("schedule");
  const std::string code = sha256(sha256(files.front().content) + plan.dump());
  files.push_back({"pack.json", take(manifestText(pack, {}, files))});
  return {archiveOf(files), code, {.storage = storage}};
}

} // namespace

Artifact compileArtifact(const bench::Row &row, const std::string &schedule, const std::string &target) {
  if (const CodeTarget codeTarget = take(findTarget(target)); isGpu(codeTarget))
    return compileForGpu(row, schedule, codeTarget);
  CompiledPhase compiled = Executable::compileObject(row.variant.dump(), row.phase, schedule, target);
  std::string code = sha256(compiled.object);
  return {std::move(compiled.object), std::move(code), compiled.memory};
}

std::vector<Compilation> compileAll(const std::vector<std::string> &schedules, size_t together, const cpu_set_t *cpus,
                                    const std::function<Artifact(const std::string &)> &compile) {
  std::vector<Compilation> result(schedules.size());
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(schedules.size(), together); ++i)
    threads.emplace_back([&] {
      // The caller may be pinned, and threads begin as their makers are.
      if (cpus)
        sched_setaffinity(0, sizeof(*cpus), cpus);
      for (size_t i = next++; i < schedules.size(); i = next++)
        try {
          result[i].artifact = compile(schedules[i]);
        } catch (const std::exception &error) {
          result[i].problem = error.what();
        }
    });
  for (std::thread &thread : threads)
    thread.join();
  return result;
}

bool isGpuTarget(const std::string &target) { return isGpu(take(findTarget(target))); }

PhaseSignature signatureOf(const bench::Row &row, CacheStorage storage) {
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  return getPhaseSignature(take(tpa::readVariant(row.variant.dump(), "variant", context)), row.phase, storage);
}

GpuCacheLayout cacheLayoutOf(const bench::Row &row) {
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  return gpuCacheLayout(take(tpa::readVariant(row.variant.dump(), "variant", context)));
}

} // namespace tpac::autotune
