// SPDX-License-Identifier: Apache-2.0

#include "lowering/GpuPack.h"

#include "lowering/Compiler.h"
#include "lowering/TargetSchedule.h"
#include "lowering/emit/Assembler.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/GpuSchedule.h"
#include "lowering/phases/BuildPhases.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <nlohmann/json.hpp>

using namespace mlir;
using nlohmann::ordered_json;

namespace tpac {

namespace {

std::string textOf(Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  return text;
}

/// The kernels of one target, phase by phase.
class ImageBuilder {
public:
  ImageBuilder(tpa::VariantAttr variant, const CodeTarget &target, const GpuLimits &limits, int64_t pageSize)
      : variant(variant), target(target), limits(limits), storage{0, pageSize}, layout(gpuCacheLayout(variant)) {}

  /// All phases; `choose` as GpuPackOptions has it.
  llvm::Error build(const decltype(GpuPackOptions::choose) &choose) {
    std::vector<ScheduledPhase> elements;
    for (Phase phase : {Phase::append, Phase::merge}) {
      auto schedule = defaultGpuSchedule(variant, phase, limits, /*queries=*/1, storage.pageSize);
      if (!schedule)
        return schedule.takeError();
      elements.push_back({phase, *schedule});
    }
    auto module = lowerScheduled(variant, elements, target);
    if (!module)
      return module.takeError();
    whole = std::move(*module);
    for (auto kernel : whole->getOps<LLVM::LLVMFuncOp>())
      if (llvm::Error error = addElementPhase(kernel, elements))
        return error;

    ScheduledPhase last = {};
    for (auto [phase, queries] : attentionPhases()) {
      std::optional<GpuChoice> chosen = choose ? choose(target, phase, queries) : std::nullopt;
      if (!chosen) {
        auto schedule = defaultGpuSchedule(variant, phase, limits, queries, storage.pageSize);
        if (!schedule)
          return schedule.takeError();
        chosen = {*schedule, "", ""};
      }
      // Where no larger tile fits, the one before computes more tokens too.
      if (last.phase == phase && last.schedule == chosen->schedule)
        continue;
      last = {phase, chosen->schedule};
      if (llvm::Error error = addAttention(phase, *chosen, queries))
        return error;
    }
    return llvm::Error::success();
  }

  /// One phase of attention alone.
  llvm::Error buildOne(const ScheduledPhase &scheduled, int64_t queries) {
    return addAttention(scheduled.phase, {scheduled.schedule, "", ""}, queries);
  }

  ModuleOp module() { return *whole; }
  const ordered_json &phases() const { return json; }

private:
  static std::vector<std::pair<Phase, int64_t>> attentionPhases() {
    std::vector<std::pair<Phase, int64_t>> result;
    for (int64_t queries : gpuDecodeQueries)
      result.emplace_back(Phase::decode, queries);
    result.emplace_back(Phase::prefill, gpuPrefillQueries);
    return result;
  }

  /// The parameters of a phase's kernels up to the cache: KernelFrame.
  std::vector<std::string> tensorParameters(Phase phase) const {
    std::vector<std::string> names;
    for (const PhaseTensor &tensor : getPhaseSignature(variant, phase, storage).tensors)
      if (!isCache(tensor))
        names.push_back(tensor.name);
    // Moves take the table behind the lengths, as the signature has them.
    if (phase != Phase::merge)
      names.push_back("cache");
    return names;
  }

  llvm::Expected<ordered_json> kernelJson(LLVM::LLVMFuncOp kernel, const char *grid,
                                          std::vector<std::string> parameters, std::initializer_list<const char *> own,
                                          bool overlaps = false) const {
    auto integer = [&](StringRef name) { return kernel->getAttrOfType<IntegerAttr>(name).getInt(); };
    if (int64_t bytes = integer("tpac.shared_bytes"); bytes > limits.sharedBytes)
      return llvm::createStringError(kernel.getSymName().str() + " takes " + std::to_string(bytes) +
                                     " bytes of shared memory; " + target.name + " has " +
                                     std::to_string(limits.sharedBytes));
    parameters.insert(parameters.end(), own.begin(), own.end());
    return ordered_json{
        {"entry", kernel.getSymName().str()},           {"grid", grid},         {"threads", integer("tpac.threads")},
        {"shared_bytes", integer("tpac.shared_bytes")}, {"overlaps", overlaps}, {"parameters", parameters}};
  }

  llvm::Error addElementPhase(LLVM::LLVMFuncOp kernel, ArrayRef<ScheduledPhase> schedules) {
    StringRef name = kernel.getSymName();
    bool isMerge = name == "merge", isAppend = name == "append";
    Phase phase = isMerge            ? Phase::merge
                  : isAppend         ? Phase::append
                  : name == "import" ? Phase::importCache
                                     : Phase::exportCache;
    std::vector<std::string> parameters = tensorParameters(phase);
    auto entry = isMerge    ? kernelJson(kernel, "states", parameters, {"tokens"})
                 : isAppend ? kernelJson(kernel, "tokens", parameters, {"batch", "capacity"})
                            : kernelJson(kernel, "cached_tokens", parameters, {"batch", "capacity", "tokens"});
    if (!entry)
      return entry.takeError();
    json.push_back({{"name", phaseName(phase)},
                    {"origin", "heuristic"},
                    {"schedule", textOf(schedules[isMerge ? 1 : 0].schedule)},
                    {"kernels", ordered_json::array({*entry})}});
    return llvm::Error::success();
  }

  llvm::Error addAttention(Phase phase, const GpuChoice &chosen, int64_t queries) {
    auto module = lowerScheduled(variant, ScheduledPhase{phase, chosen.schedule}, target);
    if (!module)
      return module.takeError();
    tpa::ScheduleAttr schedule = chosen.schedule;
    const std::string suffix = queries > 1 && phase == Phase::decode ? "_q" + std::to_string(queries) : "";
    ordered_json kernels = ordered_json::array();
    int64_t recordBytes = 0;
    // The parts' kernel comes first, here and when launched.
    for (const char *own : {"_parts", "_merge"}) {
      const std::string name = std::string(phaseName(phase)) + own;
      auto kernel = (*module)->lookupSymbol<LLVM::LLVMFuncOp>(name);
      if (!kernel)
        return llvm::createStringError("lowering for " + target.name + " gave no kernel " + name);
      bool isParts = kernel->hasAttr("tpac.record_bytes");
      if (isParts)
        recordBytes = kernel->getAttrOfType<IntegerAttr>("tpac.record_bytes").getInt();
      kernel.setSymName(name + suffix);
      auto entry = kernelJson(kernel, isParts ? "parts" : "rows", tensorParameters(phase),
                              {"workspace", "batch", "capacity", "parts", "warps_of_row"},
                              /*overlaps=*/!isParts && schedule.getBulk());
      if (!entry)
        return entry.takeError();
      kernels.push_back(*entry);
    }
    if (!whole)
      whole = std::move(*module);
    else if (llvm::Error error = takeOps(**module))
      return error;
    ordered_json entry = {{"name", phaseName(phase)}, {"queries", queries}};
    entry["origin"] = chosen.record.empty() ? "heuristic" : "tuned";
    if (!chosen.record.empty()) {
      entry["record"] = chosen.record;
      entry["match"] = chosen.match;
    }
    entry["schedule"] = textOf(schedule);
    entry["work"] = {{"tile_queries", schedule.getQueries()},
                     {"tile_heads", schedule.getHeads()},
                     {"head_tiles", llvm::divideCeil(variant.getHeads().getLocal(), schedule.getHeads())},
                     {"block_tokens", schedule.getTokens()},
                     {"record_bytes", recordBytes}};
    entry["kernels"] = std::move(kernels);
    json.push_back(std::move(entry));
    return llvm::Error::success();
  }

  /// Moves what `from` holds to the image's module. What both have - shared memory, constants of the same name - is the
  /// same.
  llvm::Error takeOps(ModuleOp from) {
    for (Operation &op : llvm::make_early_inc_range(from.getBody()->getOperations())) {
      StringRef name = cast<SymbolOpInterface>(op).getName();
      Operation *own = whole->lookupSymbol(name);
      if (!own)
        op.moveBefore(whole->getBody(), whole->getBody()->end());
      else if (!OperationEquivalence::isEquivalentTo(own, &op, OperationEquivalence::IgnoreLocations))
        return llvm::createStringError("kernels for " + target.name + " mean different things by " + name.str());
    }
    return llvm::Error::success();
  }

  tpa::VariantAttr variant;
  const CodeTarget &target;
  const GpuLimits limits;
  CacheStorage storage;
  GpuCacheLayout layout;
  OwningOpRef<ModuleOp> whole;
  ordered_json json = ordered_json::array();
};

/// Adds an image to `part`; `file` is its path up to the kind.
llvm::Error addImage(GpuPart &part, ordered_json &images, ImageBuilder &image, const CodeTarget &target,
                     const std::string &file, const std::string &ptxas) {
  auto code = emitAssembly(image.module(), target);
  if (!code)
    return code.takeError();
  std::string kind = "ptx", content = std::move(*code);
  if (!ptxas.empty()) {
    auto cubin = assemblePtx(ptxas, content, target.cpu);
    if (!cubin)
      return cubin.takeError();
    kind = "cubin";
    content = std::move(cubin->bytes);
    part.assemblerLogs.emplace_back(target.cpu, std::move(cubin->log));
  }
  part.files.push_back({file + "." + kind, std::move(content)});
  images.push_back(
      {{"target", target.cpu}, {"kind", kind}, {"file", part.files.back().path}, {"phases", image.phases()}});
  return llvm::Error::success();
}

} // namespace

llvm::Expected<GpuPart> buildGpuPart(tpa::VariantAttr variant, ArrayRef<CodeTarget> targets,
                                     const GpuPackOptions &options) {
  const CacheStorage storage = {0, options.pageSize};
  GpuPart part;
  for (Phase phase : {Phase::importCache, Phase::exportCache})
    part.moves.push_back(getPhaseSignature(variant, phase, storage));
  ordered_json images = ordered_json::array();
  const std::string file = "gpu/" + symbolName(std::string_view(variant.getName().getValue()));
  for (const CodeTarget &target : targets) {
    ImageBuilder image(variant, target, GpuLimits::of(target.cpu), options.pageSize);
    if (llvm::Error error = image.build(options.choose))
      return std::move(error);
    if (llvm::Error error = addImage(part, images, image, target, file + "." + target.name, options.ptxas))
      return std::move(error);
  }
  // What sm_86 holds, every later GPU does.
  auto oldest = findTarget("sm_80");
  if (!oldest)
    return oldest.takeError();
  ImageBuilder fallback(variant, *oldest, GpuLimits::of("sm_86"), options.pageSize);
  if (llvm::Error error = fallback.build(/*choose=*/{})) {
    llvm::consumeError(std::move(error));
  } else if (llvm::Error error = addImage(part, images, fallback, *oldest, file, /*ptxas=*/"")) {
    return std::move(error);
  }
  part.json = ordered_json{{"cache", gpuLayoutJson(variant, options.pageSize)}, {"images", images}}.dump();
  return part;
}

llvm::Expected<GpuPart> buildGpuPhase(tpa::VariantAttr variant, const CodeTarget &target,
                                      const ScheduledPhase &scheduled, int64_t queries, const GpuPackOptions &options) {
  ImageBuilder image(variant, target, GpuLimits::of(target.cpu), options.pageSize);
  if (llvm::Error error = image.buildOne(scheduled, queries))
    return std::move(error);
  GpuPart part;
  ordered_json images = ordered_json::array();
  if (llvm::Error error = addImage(part, images, image, target, "gpu/kernels", options.ptxas))
    return std::move(error);
  part.json = ordered_json{{"cache", gpuLayoutJson(variant, options.pageSize)}, {"images", images}}.dump();
  return part;
}

} // namespace tpac

ordered_json tpac::gpuLayoutJson(tpa::VariantAttr variant, int64_t pageSize) {
  GpuCacheLayout layout = gpuCacheLayout(variant);
  ordered_json segments = ordered_json::array();
  for (const GpuCacheLayout::Segment &segment : layout.segments)
    segments.push_back({{"tensor", segment.tensor},
                        {"type", elementTypeName(segment.elementType)},
                        {"offset", segment.offset},
                        {"ranks", segment.ranks},
                        {"size", segment.size},
                        {"pitch", segment.pitch}});
  return {{"planes", layout.planes},
          {"row_bytes", layout.rowBytes},
          {"page_size", pageSize},
          {"capacity_unit", pageSize != 0 ? pageSize : gpuCapacityUnit},
          {"swizzle_mask", layout.swizzleMask},
          {"swizzle_shift", layout.swizzleShift},
          {"segments", segments}};
}
