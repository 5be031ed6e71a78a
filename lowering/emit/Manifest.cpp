// SPDX-License-Identifier: Apache-2.0
//
// Writes and recognises manifests. Order of the fields as written here, so that two equal packs have equal manifests.

#include "lowering/emit/Manifest.h"

#include "lowering/emit/SignatureText.h"
#include "tpac/Version.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

#include <nlohmann/json.hpp>

namespace tpac {

using nlohmann::ordered_json;

namespace {

constexpr const char *formatField = "tpac_pack";

ordered_json phaseJson(const std::string &prefix, const PhaseSignature &signature) {
  ordered_json phase;
  phase["name"] = phaseName(signature.phase);
  phase["function"] = functionName(prefix, signature.phase);
  phase["sizes"] = signature.sizes;
  phase["tensors"] = ordered_json::array();
  for (const PhaseTensor &tensor : signature.tensors) {
    ordered_json entry;
    entry["name"] = tensor.name;
    entry["access"] = accessName(tensor.access);
    entry["type"] = elementTypeName(tensor.elementType);
    entry["shape"] = ordered_json::array();
    for (const Dimension &dimension : tensor.shape)
      entry["shape"].push_back(dimensionText(dimension));
    phase["tensors"].push_back(entry);
  }
  if (signature.split > 0)
    phase["workspace_size_function"] = workspaceSizeName(prefix, signature.phase);
  phase["schedule"] = {{"origin", "reference"}};
  return phase;
}

} // namespace

std::string sha256(llvm::StringRef content) {
  const auto bytes = llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(content.data()), content.size());
  return llvm::toHex(llvm::SHA256::hash(bytes), /*LowerCase=*/true);
}

llvm::Expected<std::string> manifestText(const Pack &pack, llvm::ArrayRef<CodeTarget> targets,
                                         const std::vector<PackFile> &files) {
  const std::string prefix = symbolName(pack.name);
  ordered_json manifest;
  manifest[formatField] = packFormatVersion;
  manifest["name"] = prefix;
  manifest["compiler"] = {{"name", "tpac"}, {"version", TPAC_VERSION}, {"llvm", TPAC_LLVM_VERSION}};
  try {
    manifest["variant"] = ordered_json::parse(pack.variantJson);
  } catch (const ordered_json::exception &error) {
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "variant '" + pack.name + "' is not JSON: " + error.what());
  }
  manifest["targets"] = ordered_json::array();
  for (const CodeTarget &target : targets) {
    ordered_json targetJson;
    targetJson["name"] = target.name;
    targetJson["triple"] = target.triple;
    targetJson["cpu"] = target.cpu;
    targetJson["features"] = target.features;
    manifest["targets"].push_back(targetJson);
  }
  manifest["cpu_level_function"] = cpuLevelName(prefix);

  manifest["phases"] = ordered_json::array();
  for (const PhaseSignature &signature : pack.signatures)
    manifest["phases"].push_back(phaseJson(prefix, signature));

  const CacheBytes bytes = cacheBytesPerToken(pack.signatures);
  manifest["cache_bytes_per_token"] = {{"head", bytes.head},
                                       {"token", bytes.token},
                                       {"scale", bytes.scale},
                                       {"position", bytes.position},
                                       {"total", bytes.total()}};

  manifest["files"] = ordered_json::array();
  for (const PackFile &file : files)
    manifest["files"].push_back(
        {{"path", file.path}, {"bytes", file.content.size()}, {"sha256", sha256(file.content)}});
  return manifest.dump(2) + "\n";
}

std::optional<std::vector<std::string>> manifestFiles(const std::string &text) {
  const ordered_json manifest = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains(formatField) || manifest[formatField] != packFormatVersion ||
      !manifest.contains("files") || !manifest["files"].is_array())
    return std::nullopt;
  std::vector<std::string> paths;
  for (const ordered_json &file : manifest["files"]) {
    if (!file.is_object() || !file.contains("path") || !file["path"].is_string())
      return std::nullopt;
    paths.push_back(file["path"].get<std::string>());
  }
  return paths;
}

} // namespace tpac
