// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/Questions.h"

#include "autotune/records/Machine.h"
#include "bench/measure/ThreadTeam.h"
#include "dialect/json/VariantJson.h"
#include "lowering/emit/Take.h"

#include "tpac/CodegenHash.h"
#include "tpac/Version.h"

#include "llvm/TargetParser/Triple.h"

namespace tpac {

nlohmann::json toolchainOfThis(const CodeTarget &target) {
  return {{"tpac", TPAC_VERSION},
          {"llvm", TPAC_LLVM_VERSION},
          {"codegen", isGpu(target) ? TPAC_GPU_CODEGEN_HASH : TPAC_CPU_CODEGEN_HASH}};
}

std::string levelOf(const CodeTarget &target) {
  std::string level = target.name;
  if (target.name != "host")
    return level;
  // Targets come in ascending order of their levels.
  const int most = tpac_best_cpu_level(~0u, TPAC_CPU_LEVEL_AMX);
  const llvm::Triple::ArchType architecture = llvm::Triple(target.triple).getArch();
  for (const std::string &name : acceptedTargets()) {
    const CodeTarget other = take(findTarget(name));
    if (name != "host" && llvm::Triple(other.triple).getArch() == architecture && other.level <= most)
      level = name;
  }
  return level;
}

QuestionKey questionKeyOf(mlir::tpa::VariantAttr variant, const bench::Row &row, CacheStorage storage,
                          const CodeTarget &target) {
  nlohmann::json json = nlohmann::json::parse(mlir::tpa::writeVariant(variant));
  json.erase("name");
  return {{std::string(phaseName(row.phase)), json, storage.valueBlock, storage.pageSize,
           records::bucketed(records::Shape{row.requests, row.tokens, row.cached})},
          {isGpu(target) ? nlohmann::json{{"isa", target.name}} : records::cpuSilicon(levelOf(target)),
           toolchainOfThis(target)}};
}

bench::Row questionRow(const std::string &shape, mlir::tpa::VariantAttr variant, bool onGpu) {
  const bool givesRequests = shape.find("/requests:") != std::string::npos;
  return bench::rowOfShape(shape, variant.getName().str(), nlohmann::json::parse(mlir::tpa::writeVariant(variant)),
                           givesRequests || onGpu ? 1 : static_cast<int>(bench::allowedCpus().size()));
}

std::string changesOf(const nlohmann::json &schedule, const nlohmann::json &byDefault) {
  std::string text;
  for (const auto &[knob, value] : schedule.items())
    if (value != byDefault.value(knob, nlohmann::json()))
      text += (text.empty() ? "" : ", ") + knob + " " + value.get<std::string>();
  return text.empty() ? "as by default" : text;
}

static std::string shapeText(std::string_view phase, int64_t cached, int64_t tokens, int64_t requests) {
  return std::string(phase) + "/cached:" + std::to_string(cached) + "/tokens:" + std::to_string(tokens) +
         "/requests:" + std::to_string(requests);
}

std::string shapeOf(const bench::Row &row) {
  return shapeText(phaseName(row.phase), row.cached, row.tokens, row.requests);
}

std::string shapeOf(const records::Entry &entry) {
  const records::Shape &shape = entry.key.shape;
  return shapeText(entry.key.phase, shape.cached, shape.tokens, shape.requests);
}

} // namespace tpac
