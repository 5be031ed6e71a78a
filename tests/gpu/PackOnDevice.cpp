// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/PackOnDevice.h"

#include <algorithm>
#include <limits>

namespace tpac::gputest {

void PackOnDevice::check(int32_t status) {
  if (status != TPAC_SUCCESS)
    throw std::runtime_error(tpac_runtime_status_message(status));
}

int32_t PackOnDevice::numberOf(const std::string &phase) {
  static const char *const names[] = {"append", "decode", "prefill", "merge", "import", "export"};
  return static_cast<int32_t>(std::ranges::find(names, phase) - std::begin(names));
}

PackOnDevice::PackOnDevice(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description,
                           int64_t partTokens)
    : driver(driver), parsed(oracle::parseVariant(description.at("variant"))) {
  tpac_pack *pack = nullptr;
  check(tpac_pack_open(folder.c_str(), &pack));
  manifest = nlohmann::json::parse(tpac_pack_manifest(pack));
  const tpac_kernels_config config = {sizeof(config), TPAC_CUDA, 0, partTokens};
  const int32_t status = tpac_kernels_create(pack, &config, &kernels);
  tpac_pack_close(pack);
  check(status);
  tpac_cache_layout layout = {};
  layout.struct_size = sizeof(layout);
  check(tpac_kernels_cache_layout(kernels, &layout));
  const nlohmann::json &written = cacheLayout();
  if (layout.is_one_piece != 1 || layout.page_size != written.at("page_size") ||
      layout.token_bytes != written.at("planes").get<int64_t>() * written.at("row_bytes").get<int64_t>())
    throw std::runtime_error("tpac_kernels_cache_layout says other than the manifest");
}

PackOnDevice::~PackOnDevice() { tpac_kernels_destroy(kernels); }

PackOnDevice::Block PackOnDevice::block(const std::string &phase, const Tensors &tensors, DevicePointer cache,
                                        const Sizes &sizes, DevicePointer workspace, size_t workspaceBytes) const {
  const std::map<std::string, int64_t> known = {{"tokens", sizes.tokens},
                                                {"batch", sizes.batch},
                                                {"capacity", sizes.capacity},
                                                {"pages", sizes.pages},
                                                {"listed_pages", sizes.listed}};
  const nlohmann::json &entry = description(phase);
  Block block = {0};
  for (const std::string size : entry.at("sizes"))
    block.push_back(known.at(size));
  for (const nlohmann::json &tensor : entry.at("tensors")) {
    const std::string name = tensor.at("name");
    if (name.ends_with("_cache")) {
      block.insert(block.end(), {static_cast<int64_t>(cache), 0});
      continue;
    }
    const DeviceTensor &own = tensors.at(name);
    block.push_back(static_cast<int64_t>(own.pointer));
    block.push_back(reinterpret_cast<int64_t>(own.strides.data()));
  }
  block.insert(block.end(), {0, static_cast<int64_t>(workspace), static_cast<int64_t>(workspaceBytes)});
  block.front() = static_cast<int64_t>(block.size() * sizeof(int64_t));
  return block;
}

const nlohmann::json &PackOnDevice::description(const std::string &phase) const {
  for (const nlohmann::json *list : {&manifest.at("phases"), &manifest.at("gpu").at("moves")})
    for (const nlohmann::json &entry : *list)
      if (entry.at("name") == phase)
        return entry;
  throw std::runtime_error("the pack has no phase " + phase);
}

std::vector<std::string> PackOnDevice::constantTensors(const std::string &phase) const {
  std::vector<std::string> names;
  for (const nlohmann::json &tensor : description(phase).at("tensors")) {
    auto isNumber = [](const std::string &extent) { return extent.find_first_not_of("0123456789") == extent.npos; };
    if (std::ranges::all_of(tensor.at("shape").get<std::vector<std::string>>(), isNumber))
      names.push_back(tensor.at("name"));
  }
  return names;
}

void PackOnDevice::runBound(const std::string &phase, Block block, const Tensors &tensors,
                            const std::vector<std::string> &constants) const {
  std::vector<tpac_binding> bindings;
  for (const std::string &name : constants) {
    const DeviceTensor &tensor = tensors.at(name);
    bindings.push_back({name.c_str(), reinterpret_cast<const void *>(tensor.pointer), tensor.strides.data()});
  }
  const nlohmann::json &entry = description(phase);
  size_t word = 1 + entry.at("sizes").size();
  for (const nlohmann::json &tensor : entry.at("tensors")) {
    if (std::ranges::find(constants, tensor.at("name").get<std::string>()) != constants.end())
      block[word] = block[word + 1] = 0;
    word += 2;
  }
  tpac_kernels *bound = nullptr;
  check(tpac_kernels_bind(kernels, bindings.data(), static_cast<int64_t>(bindings.size()), &bound));
  const int32_t status = tpac_kernels_launch(bound, numberOf(phase), block.data(), driver.cudaStream());
  tpac_kernels_destroy(bound);
  check(status);
}

void PackOnDevice::run(const std::string &phase, const Block &block) const {
  check(tpac_kernels_launch(kernels, numberOf(phase), block.data(), driver.cudaStream()));
}

size_t PackOnDevice::workspaceBytes(const std::string &phase, const Sizes &sizes) const {
  int64_t bytes = 0;
  check(tpac_kernels_workspace_size(kernels, numberOf(phase), sizes.tokens, sizes.batch, sizes.capacity, &bytes));
  return static_cast<size_t>(bytes);
}

void PackOnDevice::launch(const Call &call) const {
  const int64_t pageSize = cacheLayout().at("page_size");
  // The pool's pages are not counted by anybody.
  const int64_t pages = pageSize != 0 ? call.batch * call.capacity / pageSize : 0;
  // Nor are those of a list: more than there are is enough.
  run(call.kernel, block(call.kernel, call.tensors, call.cache,
                         {call.tokens, call.batch, call.capacity, pages, std::numeric_limits<int32_t>::max()}));
}

} // namespace tpac::gputest
