// SPDX-License-Identifier: Apache-2.0
//
// Section "gpu" of manifests: what is launched later must not need another look.

#include "runtime/packs/ManifestFields.h"

#include <algorithm>
#include <limits>

namespace tpac::runtime {

using nlohmann::json;

namespace {

constexpr int64_t largest = std::numeric_limits<int32_t>::max();

/// The value that is called `found` among `named`.
template <typename T, size_t N>
T oneOf(const std::pair<const char *, T> (&named)[N], const std::string &found, const std::string &what) {
  std::string names;
  for (const auto &[name, value] : named) {
    if (found == name)
      return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  refuse("manifest: " + what + " is " + found + "; expected one of " + names);
}

constexpr std::pair<const char *, Grid> grids[] = {{"parts", Grid::parts},
                                                   {"rows", Grid::rows},
                                                   {"tokens", Grid::tokens},
                                                   {"cached_tokens", Grid::cachedTokens},
                                                   {"states", Grid::states}};

constexpr std::pair<const char *, Parameter> parameters[] = {{"cache", Parameter::cache},
                                                             {"workspace", Parameter::workspace},
                                                             {"tokens", Parameter::tokens},
                                                             {"batch", Parameter::batch},
                                                             {"capacity", Parameter::capacity},
                                                             {"parts", Parameter::parts},
                                                             {"warps_of_row", Parameter::warpsOfRow}};

bool hasSize(const PhaseArguments &phase, Size size) {
  return std::ranges::find(phase.sizes, size) != phase.sizes.end();
}

GpuKernel::Argument argument(const std::string &name, const PhaseArguments &phase, bool isAttention,
                             const std::string &where) {
  const auto tensor = std::ranges::find(phase.tensors, name, &PhaseTensor::name);
  if (tensor != phase.tensors.end() && !tensor->isCache)
    return {Parameter::tensor, static_cast<size_t>(tensor - phase.tensors.begin())};
  const Parameter kind = oneOf(parameters, name, where + "parameters[]");
  const bool isKnown = kind == Parameter::cache      ? std::ranges::any_of(phase.tensors, &PhaseTensor::isCache)
                       : kind == Parameter::tokens   ? hasSize(phase, Size::tokens)
                       : kind == Parameter::batch    ? hasSize(phase, Size::batch)
                       : kind == Parameter::capacity ? hasSize(phase, Size::capacity)
                                                     : isAttention;
  if (!isKnown)
    refuse("manifest: " + where + "parameters[] is " + name + ", which phase " + phase.name + " does not have");
  return {kind, 0};
}

GpuKernel readKernel(const json &kernel, const PhaseArguments &phase, bool isAttention) {
  const std::string where = "gpu.images[].phases[" + phase.name + "].kernels[].";
  constexpr int64_t mostThreads = 1024, mostSharedBytes = 1 << 20;
  GpuKernel result;
  result.entry = field<std::string>(kernel, "entry", where);
  result.grid = oneOf(grids, field<std::string>(kernel, "grid", where), where + "grid");
  result.threads = bounded(kernel, "threads", where, 1, mostThreads);
  result.sharedBytes = bounded(kernel, "shared_bytes", where, 0, mostSharedBytes);
  result.overlaps = field<bool>(kernel, "overlaps", where);
  for (const json &name : list(kernel, "parameters", where))
    result.arguments.push_back(
        argument(name.is_string() ? name.get<std::string>() : name.dump(), phase, isAttention, where));
  const bool fits = result.grid == Grid::parts || result.grid == Grid::rows ? isAttention
                    : result.grid == Grid::cachedTokens ? hasSize(phase, Size::tokens) && hasSize(phase, Size::batch)
                                                        : hasSize(phase, Size::tokens);
  if (!fits)
    refuse("manifest: " + where + "grid is " + kernel["grid"].dump() + ", which phase " + phase.name +
           " has no sizes for");
  return result;
}

GpuPhase readPhase(const json &phase, const std::vector<PackManifest::Phase> &phases) {
  std::string where = "gpu.images[].phases[].";
  GpuPhase result;
  result.name = field<std::string>(phase, "name", where);
  const auto arguments = std::ranges::find_if(
      phases, [&](const PackManifest::Phase &known) { return known.arguments.name == result.name; });
  if (arguments == phases.end())
    refuse("manifest: " + where + "name is " + result.name + "; expected one of phases or gpu.moves");
  where = "gpu.images[].phases[" + result.name + "].";
  const bool isAttention = phase.contains("work");
  if (isAttention) {
    const json &work = phase["work"];
    const std::string ofWork = where + "work.";
    result.queries = bounded(phase, "queries", where, 1, largest);
    result.tileQueries = bounded(work, "tile_queries", ofWork, 1, largest);
    result.tileHeads = bounded(work, "tile_heads", ofWork, 1, largest);
    result.headTiles = bounded(work, "head_tiles", ofWork, 1, largest);
    result.blockTokens = bounded(work, "block_tokens", ofWork, 1, largest);
    result.recordBytes = bounded(work, "record_bytes", ofWork, 1, largest);
  }
  for (const json &kernel : list(phase, "kernels", where))
    result.kernels.push_back(readKernel(kernel, arguments->arguments, isAttention));
  if (result.kernels.empty())
    refuse("manifest: " + where + "kernels is empty; expected one or more");
  return result;
}

bool isTarget(const std::string &name) {
  if (!name.starts_with("sm_"))
    return false;
  const size_t end = name.find_first_not_of("0123456789", 3);
  const size_t digits = (end == std::string::npos ? name.size() : end) - 3;
  return digits >= 2 && digits <= 4 && (end == std::string::npos || name.substr(end) == "a");
}

} // namespace

GpuPart readGpuPart(const json &gpu, const std::vector<PackManifest::Phase> &phases) {
  GpuPart result;
  const auto cache = field<json>(gpu, "cache", "gpu.");
  const std::string ofCache = "gpu.cache.";
  result.cache = {
      bounded(cache, "planes", ofCache, 1, largest),       bounded(cache, "row_bytes", ofCache, 1, largest),
      bounded(cache, "page_size", ofCache, 0, largest),    bounded(cache, "capacity_unit", ofCache, 1, largest),
      bounded(cache, "swizzle_mask", ofCache, 0, largest), bounded(cache, "swizzle_shift", ofCache, 0, 31)};
  for (const json &entry : list(gpu, "images", "gpu.")) {
    constexpr const char *where = "gpu.images[].";
    constexpr std::pair<const char *, bool> kinds[] = {{"cubin", true}, {"ptx", false}};
    GpuImage image;
    image.target = field<std::string>(entry, "target", where);
    if (!isTarget(image.target))
      refuse("manifest: gpu.images[].target is " + image.target + "; expected a name as sm_80 or sm_90a");
    image.isCubin = oneOf(kinds, field<std::string>(entry, "kind", where), std::string(where) + "kind");
    image.file = field<std::string>(entry, "file", where);
    for (const json &phase : list(entry, "phases", where))
      image.phases.push_back(readPhase(phase, phases));
    result.images.push_back(std::move(image));
  }
  if (result.images.empty())
    refuse("manifest: gpu.images is empty; expected one or more");
  return result;
}

} // namespace tpac::runtime
