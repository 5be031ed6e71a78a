// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/PackManifest.h"

#include "runtime/packs/ManifestFields.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace tpac::runtime {

using nlohmann::json;

namespace {

constexpr const char *formatField = "tpac_pack";
constexpr int64_t knownFormat = 1;
constexpr int64_t wordSize = 8, wordsOfTensor = 2;

constexpr std::array<const char *, sizeCount> sizeNames = {"tokens", "batch", "capacity", "pages", "listed_pages"};

std::optional<Size> sizeOf(std::string_view name) {
  for (size_t i = 0; i < sizeNames.size(); ++i)
    if (name == sizeNames[i])
      return static_cast<Size>(i);
  return std::nullopt;
}

int64_t bytesOf(std::string_view type) {
  struct Bytes {
    const char *type;
    int64_t count;
  };
  constexpr Bytes known[] = {{"f64", 8}, {"f32", 4}, {"i32", 4}, {"bf16", 2}, {"f16", 2}, {"f8E4M3FN", 1}, {"i8", 1}};
  const auto *found = std::ranges::find_if(known, [&](const Bytes &entry) { return type == entry.type; });
  return found == std::end(known) ? 0 : found->count;
}

/// Reads a number from the front of `text`.
bool take(std::string_view &text, int64_t &number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc())
    return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view &text, std::string_view token) {
  if (!text.starts_with(token))
    return false;
  text.remove_prefix(token.size());
  return true;
}

/// "47", "batch", "batch + 1", "capacity / 32".
Dimension dimension(const std::string &written, const std::string &where) {
  Dimension result;
  std::string_view rest = written;
  const std::string_view name = rest.substr(0, rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz"));
  bool isValid = true;
  if (name.empty()) {
    isValid = take(rest, result.offset);
  } else {
    result.size = sizeOf(name);
    rest.remove_prefix(name.size());
    isValid = result.size.has_value();
    if (take(rest, " / "))
      isValid &= take(rest, result.divisor) && result.divisor > 0;
    if (take(rest, " + "))
      isValid &= take(rest, result.offset);
  }
  if (!isValid || !rest.empty())
    refuse("manifest: " + where + "shape holds '" + written + "'; expected a number or a size, as \"batch + 1\"");
  return result;
}

} // namespace

const char *sizeName(Size size) { return sizeNames[static_cast<size_t>(size)]; }

PhaseArguments readArguments(const json &phase, const std::string &where) {
  PhaseArguments result;
  result.name = field<std::string>(phase, "name", where);
  for (const json &size : list(phase, "sizes", where)) {
    const auto known = size.is_string() ? sizeOf(size.get<std::string>()) : std::nullopt;
    if (!known)
      refuse("manifest: " + where + "sizes holds " + size.dump() +
             "; expected tokens, batch, capacity, pages or "
             "listed_pages");
    result.sizes.push_back(*known);
  }
  for (const json &entry : list(phase, "tensors", where)) {
    const std::string of = where + "tensors[].";
    PhaseTensor tensor;
    tensor.name = field<std::string>(entry, "name", of);
    tensor.isCache = tensor.name.ends_with("_cache");
    tensor.isOptional = entry.value("optional", false);
    if (tensor.name == "block_table")
      result.blockTable = result.tensors.size();
    if (tensor.name == "page_starts")
      result.pageStarts = result.tensors.size();
    tensor.type = field<std::string>(entry, "type", of);
    tensor.elementBytes = bytesOf(tensor.type);
    if (tensor.elementBytes == 0)
      refuse("manifest: " + of + "type is " + tensor.type + "; expected f64, f32, bf16, f16, f8E4M3FN, i8 or i32");
    for (const json &extent : list(entry, "shape", of)) {
      const std::string text = extent.is_string() ? extent.get<std::string>() : extent.dump();
      tensor.text += (tensor.shape.empty() ? "" : ", ") + text;
      tensor.shape.push_back(dimension(text, of));
    }
    tensor.text = tensor.type + " [" + tensor.text + "]";
    result.tensors.push_back(std::move(tensor));
  }
  result.bytes = wordSize * (1 + static_cast<int64_t>(result.sizes.size()) +
                             wordsOfTensor * static_cast<int64_t>(result.tensors.size()));
  return result;
}

const PackManifest::Phase *PackManifest::find(std::string_view phase) const {
  for (const Phase &candidate : phases)
    if (candidate.arguments.name == phase)
      return &candidate;
  return nullptr;
}

std::string PackManifest::sharedLibrary() const {
  for (const File &file : files)
    if (file.path.ends_with(".so"))
      return file.path;
  return "";
}

PackManifest PackManifest::parse(const std::string &text) {
  const json manifest = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (manifest.is_discarded())
    refuse("manifest: found text that is not JSON");
  const auto format = field<int64_t>(manifest, formatField, "");
  if (format != knownFormat)
    refuse("manifest: " + std::string(formatField) + " is " + std::to_string(format) + "; this library reads format " +
           std::to_string(knownFormat));
  PackManifest result;
  result.name = field<std::string>(manifest, "name", "");
  for (const json &file : list(manifest, "files", ""))
    result.files.push_back({field<std::string>(file, "path", "files[]."), field<int64_t>(file, "bytes", "files[].")});
  const bool hasLibrary = !result.sharedLibrary().empty();
  if (hasLibrary)
    result.cpuLevelFunction = field<std::string>(manifest, "cpu_level_function", "");
  for (const json &target : list(manifest, "targets", ""))
    result.targets.push_back(field<std::string>(target, "name", "targets[]."));
  for (const json &phase : list(manifest, "phases", "")) {
    constexpr const char *where = "phases[].";
    Phase read;
    read.arguments = readArguments(phase, where);
    if (hasLibrary)
      read.function = field<std::string>(phase, "function", where);
    if (phase.contains("workspace_size_function"))
      read.workspaceSizeFunction = field<std::string>(phase, "workspace_size_function", where);
    result.phases.push_back(std::move(read));
  }
  result.cacheBytesPerToken =
      field<int64_t>(field<json>(manifest, "cache_bytes_per_token", ""), "total", "cache_bytes_per_token.");
  result.pageSize = field<int64_t>(manifest, "page_size", "");
  result.valueBlock = field<int64_t>(manifest, "value_block", "");
  if (manifest.contains("gpu")) {
    for (const json &move : list(manifest["gpu"], "moves", "gpu."))
      result.phases.push_back({readArguments(move, "gpu.moves[]."), "", ""});
    result.gpu = readGpuPart(manifest["gpu"], result.phases);
    for (const GpuImage &image : result.gpu->images)
      if (std::ranges::none_of(result.files, [&](const File &file) { return file.path == image.file; }))
        refuse("manifest: gpu.images[].file is " + image.file + "; expected one of files");
  }
  return result;
}

} // namespace tpac::runtime
