// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/Members.h"

#include "dialect/json/VariantJson.h"

#include <algorithm>
#include <fstream>

namespace tpac::gputest {

namespace fs = std::filesystem;

std::string readText(const fs::path &path) {
  std::ifstream stream(path);
  if (!stream)
    throw std::runtime_error(path.string() + " cannot be read");
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

mlir::tpa::VariantAttr readConfig(mlir::MLIRContext &context, const std::string &config, const nlohmann::json &patch,
                                  const std::string &name) {
  fs::path path = fs::path(TPAC_SOURCE_ROOT) / "configs" / (config + ".json");
  nlohmann::json json = nlohmann::json::parse(readText(path));
  if (!patch.is_null()) {
    json.merge_patch(patch);
    json["name"] = name;
  }
  return take(mlir::tpa::readVariant(json.dump(), path.native(), context));
}

std::vector<std::pair<std::string, mlir::tpa::VariantAttr>> readMembers(mlir::MLIRContext &context,
                                                                        std::vector<std::string> names) {
  const nlohmann::json f16 = {{"activation", "f16"}, {"head", "f16"}, {"token", "f16"}, {"output", "f16"}};
  const nlohmann::json fp8 = {{"activation", "bf16"}, {"head", "bf16"}, {"token", "f8E4M3FN"}, {"output", "bf16"}};
  nlohmann::json int8 = fp8;
  int8["token"] = "i8";
  auto sizes = [](std::initializer_list<int64_t> all) {
    nlohmann::json factors = nlohmann::json::array();
    for (int64_t size : all)
      factors.push_back({{"source", "contextual"}, {"size", size}});
    return nlohmann::json{{"token", factors}};
  };
  // Entries that are no pairs; a first factor of fewer features than a tensor core instruction contracts.
  const nlohmann::json odd = {
      {"types", f16}, {"q", sizes({48})}, {"k", sizes({16, 3})}, {"v", sizes({16, 3})}, {"rope", {{"d_rot", 16}}}};
  const nlohmann::json small = {{"k", sizes({8, 8})}, {"v", sizes({8, 8})}, {"rope", {{"d_rot", 8}}}};
  const nlohmann::json interleaved = {{"rope", {{"layout", "interleaved"}, {"direction", 1}}}};
  // fp16; quantised tokens under other head factors; heads that do not fill a tile; keys and values that are joined or
  // rotated on read in other ways than those of the configurations.
  const std::tuple<const char *, const char *, nlohmann::json> patches[] = {
      {"t6-mini-f16", "t6-mini", {{"types", f16}}},
      {"llama-mini-gqa-f16", "llama-mini-gqa", {{"types", f16}}},
      {"mha-32x64-fp8", "mha-32x64", {{"types", fp8}}},
      {"mla-16-int8", "mla-16", {{"types", int8}}},
      {"tpa-learned-a-int8", "tpa-learned-a", {{"types", int8}}},
      {"tpa3-16x4-fp8", "tpa3-16x4", {{"types", fp8}}},
      {"t6-mini-3-heads", "t6-mini", {{"heads", 3}}},
      {"tpa3-16x3-f16", "tpa3-16x4", odd},
      {"tpa3-8x8", "tpa3-16x4", small},
      {"tpa-learned-b-interleaved", "tpa-learned-b", interleaved},
      {"tpa-shared-token-unrotated-interleaved", "tpa-shared-token-unrotated", interleaved},
      {"tpa-shared-token-unrotated-partial", "tpa-shared-token-unrotated", {{"rope", {{"d_rot", 32}}}}},
  };
  if (names.empty()) {
    for (const auto &file : fs::directory_iterator(fs::path(TPAC_SOURCE_ROOT) / "configs"))
      if (file.path().extension() == ".json")
        names.push_back(file.path().stem());
    for (const auto &patch : patches)
      names.emplace_back(std::get<0>(patch));
  }
  std::ranges::sort(names);
  std::vector<std::pair<std::string, mlir::tpa::VariantAttr>> result;
  for (const std::string &name : names) {
    const auto *patch = std::ranges::find_if(patches, [&](const auto &entry) { return name == std::get<0>(entry); });
    result.emplace_back(name, patch == std::end(patches)
                                  ? readConfig(context, name)
                                  : readConfig(context, std::get<1>(*patch), std::get<2>(*patch), name));
  }
  return result;
}

} // namespace tpac::gputest
