// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/PackManifest.h"

#include "runtime/Failure.h"

#include <nlohmann/json.hpp>

namespace tpac::runtime {

using nlohmann::json;

namespace {

constexpr const char *formatField = "tpac_pack";
constexpr int64_t knownFormat = 1;

/// A field of the manifest: at(json) throws with a message that names the key alone.
template <typename T> T field(const json &object, const char *key, const std::string &where) {
  if (!object.is_object() || !object.contains(key))
    refuse("manifest: " + where + key + " is missing");
  try {
    return object[key].get<T>();
  } catch (const json::exception &) {
    refuse("manifest: " + where + key + " is " + object[key].dump() + ", which is of the wrong type");
  }
}

} // namespace

const PackManifest::Phase *PackManifest::find(std::string_view phase) const {
  for (const Phase &candidate : phases)
    if (candidate.name == phase)
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
  result.cpuLevelFunction = field<std::string>(manifest, "cpu_level_function", "");
  for (const json &target : field<json>(manifest, "targets", ""))
    result.targets.push_back(field<std::string>(target, "name", "targets[]."));
  for (const json &phase : field<json>(manifest, "phases", "")) {
    constexpr const char *where = "phases[].";
    constexpr int64_t wordSize = 8, wordsOfTensor = 2;
    Phase read;
    read.name = field<std::string>(phase, "name", where);
    read.function = field<std::string>(phase, "function", where);
    if (phase.contains("workspace_size_function"))
      read.workspaceSizeFunction = field<std::string>(phase, "workspace_size_function", where);
    const auto sizes = field<json>(phase, "sizes", where), tensors = field<json>(phase, "tensors", where);
    read.argumentBytes =
        wordSize * (1 + static_cast<int64_t>(sizes.size()) + wordsOfTensor * static_cast<int64_t>(tensors.size()));
    result.phases.push_back(std::move(read));
  }
  for (const json &file : field<json>(manifest, "files", ""))
    result.files.push_back({field<std::string>(file, "path", "files[]."), field<int64_t>(file, "bytes", "files[].")});
  return result;
}

} // namespace tpac::runtime
