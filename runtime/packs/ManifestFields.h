// SPDX-License-Identifier: Apache-2.0
//
// Reads fields of manifests. Functions throw Failure, which names the field, what was found and what is expected.

#ifndef TPAC_RUNTIME_PACKS_MANIFESTFIELDS_H
#define TPAC_RUNTIME_PACKS_MANIFESTFIELDS_H

#include "runtime/Failure.h"
#include "runtime/packs/PackManifest.h"

#include <nlohmann/json.hpp>

namespace tpac::runtime {

/// A field of the manifest: at(json) throws with a message that names the key alone. `where` stands before the key.
template <typename T> T field(const nlohmann::json &object, const char *key, const std::string &where) {
  if (!object.is_object() || !object.contains(key))
    refuse("manifest: " + where + key + " is missing");
  try {
    return object[key].get<T>();
  } catch (const nlohmann::json::exception &) {
    refuse("manifest: " + where + key + " is " + object[key].dump() + ", which is of the wrong type");
  }
}

/// A list.
inline const nlohmann::json &list(const nlohmann::json &object, const char *key, const std::string &where) {
  if (!object.is_object() || !object.contains(key))
    refuse("manifest: " + where + key + " is missing");
  if (!object[key].is_array())
    refuse("manifest: " + where + key + " is " + object[key].dump() + "; expected a list");
  return object[key];
}

/// A number of `low` .. `high`.
inline int64_t bounded(const nlohmann::json &object, const char *key, const std::string &where, int64_t low,
                       int64_t high) {
  const auto value = field<int64_t>(object, key, where);
  if (value < low || value > high)
    refuse("manifest: " + where + key + " is " + std::to_string(value) + "; expected " + std::to_string(low) + " .. " +
           std::to_string(high));
  return value;
}

/// The argument block of a phase.
PhaseArguments readArguments(const nlohmann::json &phase, const std::string &where);

/// Section "gpu". `phases` are those of the manifest, import and export included.
GpuPart readGpuPart(const nlohmann::json &gpu, const std::vector<PackManifest::Phase> &phases);

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_MANIFESTFIELDS_H
