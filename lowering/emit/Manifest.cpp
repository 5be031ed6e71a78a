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

#include <regex>
#include <stdexcept>

namespace tpac {

using nlohmann::ordered_json;

namespace {

constexpr const char *formatField = "tpac_pack";

ordered_json schedulesJson(const Pack &pack, Phase phase) {
  ordered_json schedules = ordered_json::array();
  for (const PhaseSchedule &schedule : pack.schedules) {
    if (schedule.phase != phase)
      continue;
    schedules.push_back({{"target", schedule.target}, {"origin", schedule.origin}});
    if (!schedule.text.empty())
      schedules.back()["text"] = schedule.text;
    if (!schedule.record.empty()) {
      schedules.back()["record"] = schedule.record;
      schedules.back()["match"] = schedule.match;
    }
  }
  return schedules;
}

void addSignature(ordered_json &phase, const PhaseSignature &signature) {
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
    if (tensor.isOptional)
      entry["optional"] = true;
    phase["tensors"].push_back(entry);
  }
}

ordered_json phaseJson(const std::string &prefix, const Pack &pack, const PhaseSignature &signature) {
  ordered_json phase;
  phase["name"] = phaseName(signature.phase);
  if (!pack.targets.empty())
    phase["function"] = functionName(prefix, signature.phase);
  addSignature(phase, signature);
  if (signature.split > 0)
    phase["workspace_size_function"] = workspaceSizeName(prefix, signature.phase);
  phase["schedules"] = schedulesJson(pack, signature.phase);
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
  if (!pack.targets.empty())
    manifest["cpu_level_function"] = cpuLevelName(prefix);
  int64_t scratch = 0;
  for (const PhaseSignature &signature : pack.signatures)
    scratch = std::max(scratch, signature.scratch);
  if (!pack.targets.empty())
    manifest["thread_scratch"] = scratch;

  const CacheStorage storage = storageOf(pack.signatures);
  manifest["value_block"] = storage.valueBlock;
  manifest["page_size"] = storage.pageSize;

  manifest["phases"] = ordered_json::array();
  for (const PhaseSignature &signature : pack.signatures)
    manifest["phases"].push_back(phaseJson(prefix, pack, signature));

  const CacheBytes bytes = cacheBytesPerToken(pack.signatures);
  manifest["cache_bytes_per_token"] = {{"head", bytes.head},
                                       {"token", bytes.token},
                                       {"scale", bytes.scale},
                                       {"position", bytes.position},
                                       {"total", bytes.total()}};

  if (pack.gpu) {
    manifest["gpu"] = ordered_json::parse(pack.gpu->json);
    manifest["gpu"]["moves"] = ordered_json::array();
    for (const PhaseSignature &move : pack.gpu->moves) {
      manifest["gpu"]["moves"].push_back({{"name", phaseName(move.phase)}});
      addSignature(manifest["gpu"]["moves"].back(), move);
    }
  }

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

namespace {

/// Reads fields; throws std::invalid_argument naming the one that is wrong.
class ManifestReader {
public:
  explicit ManifestReader(const ordered_json &manifest) : manifest(manifest) {}

  PackContent read() const {
    if (!manifest.is_object() || !manifest.contains(formatField) || manifest[formatField] != packFormatVersion)
      fail(formatField, "expected " + std::to_string(packFormatVersion));
    PackContent content;
    content.name = text(manifest, "name", "name");
    content.variantJson = field(manifest, "variant", "variant").dump();
    for (const ordered_json &target : list(manifest, "targets", "targets"))
      content.targets.push_back(text(target, "name", "targets[].name"));
    for (const ordered_json &phase : list(manifest, "phases", "phases"))
      content.signatures.push_back(signature(phase));
    for (PhaseSignature &signature : content.signatures)
      signature.scratch = threadScratch();
    for (const ordered_json &file : list(manifest, "files", "files"))
      if (std::string path = text(file, "path", "files[].path"); path.ends_with(".so"))
        content.library = path;
    if (content.library.empty() && !manifest.contains("gpu"))
      fail("files", "expected a shared library among them");
    return content;
  }

private:
  [[noreturn]] static void fail(const std::string &name, const std::string &what) {
    throw std::invalid_argument("manifest: " + name + ": " + what);
  }

  static const ordered_json &field(const ordered_json &object, const char *key, const std::string &name) {
    if (!object.is_object() || !object.contains(key))
      fail(name, "is missing");
    return object[key];
  }
  static const ordered_json &list(const ordered_json &object, const char *key, const std::string &name) {
    const ordered_json &value = field(object, key, name);
    if (!value.is_array())
      fail(name, "found " + value.dump() + "; expected a list");
    return value;
  }
  static std::string text(const ordered_json &object, const char *key, const std::string &name) {
    const ordered_json &value = field(object, key, name);
    if (!value.is_string())
      fail(name, "found " + value.dump() + "; expected a string");
    return value.get<std::string>();
  }

  /// Enough for every phase; manifests of before have none.
  int64_t threadScratch() const {
    if (!manifest.contains("thread_scratch"))
      return 0;
    const ordered_json &value = manifest["thread_scratch"];
    if (!value.is_number_integer() || value < 0)
      fail("thread_scratch", "found " + value.dump() + "; expected a number of bytes");
    return value.get<int64_t>();
  }

  /// The one of `accepted` that is called `found`.
  template <typename T>
  static T named(const std::string &found, const std::string &name, std::initializer_list<T> accepted,
                 std::string_view (*nameOf)(T)) {
    std::string names;
    for (T value : accepted) {
      if (nameOf(value) == found)
        return value;
      names += (names.empty() ? "" : ", ") + std::string(nameOf(value));
    }
    fail(name, "found '" + found + "'; expected one of " + names);
  }

  /// What dimensionText wrote.
  static Dimension dimension(const std::string &written, const std::string &name) {
    static const std::regex pattern("([a-z]+)?(?: / ([0-9]+))?(?: ([+-]) )?([0-9]+)?");
    std::smatch parts;
    if (written.empty() || !std::regex_match(written, parts, pattern))
      fail(name, "found '" + written + "'; expected a number or a size, as \"batch + 1\"");
    Dimension result{parts[1], 0};
    if (parts[2].matched)
      result.divisor = std::stoll(parts[2]);
    if (parts[4].matched)
      result.size = std::stoll(parts[4]) * (parts[3] == "-" ? -1 : 1);
    return result;
  }

  static PhaseSignature signature(const ordered_json &phase) {
    PhaseSignature result;
    const std::string where = "phases[" + text(phase, "name", "phases[].name") + "].";
    result.phase = named(text(phase, "name", where + "name"), where + "name",
                         {Phase::append, Phase::decode, Phase::prefill, Phase::merge}, phaseName);
    for (const ordered_json &size : list(phase, "sizes", where + "sizes"))
      result.sizes.push_back(size.is_string() ? size.get<std::string>() : size.dump());
    for (const ordered_json &tensor : list(phase, "tensors", where + "tensors")) {
      PhaseTensor read;
      read.name = text(tensor, "name", where + "tensors[].name");
      const std::string of = where + read.name + ".";
      read.elementType = named(text(tensor, "type", of + "type"), of + "type",
                               {ElementType::f64, ElementType::f32, ElementType::bf16, ElementType::f16,
                                ElementType::f8E4M3FN, ElementType::i8, ElementType::i32},
                               elementTypeName);
      read.access = named(text(tensor, "access", of + "access"), of + "access",
                          {Access::in, Access::inout, Access::out}, accessName);
      for (const ordered_json &extent : list(tensor, "shape", of + "shape"))
        read.shape.push_back(dimension(extent.is_string() ? extent.get<std::string>() : "", of + "shape"));
      read.isOptional = tensor.contains("optional") && tensor["optional"] == true;
      result.tensors.push_back(std::move(read));
    }
    return result;
  }

  const ordered_json &manifest;
};

} // namespace

llvm::Expected<PackContent> readManifest(const std::string &text) {
  try {
    return ManifestReader(ordered_json::parse(text)).read();
  } catch (const std::exception &error) {
    return llvm::createStringError(llvm::inconvertibleErrorCode(), error.what());
  }
}

} // namespace tpac
