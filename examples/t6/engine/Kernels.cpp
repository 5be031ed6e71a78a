// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Kernels.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <sstream>
#include <stdexcept>

namespace t6 {

namespace {

/// A dimension of a manifest: "47", "tokens", "batch + 1", "capacity / 32".
int64_t extent(const std::string &dimension, const Sizes &sizes) {
  std::istringstream words(dimension);
  std::string first, sign;
  int64_t number = 0;
  words >> first;
  auto size = sizes.find(first);
  int64_t value = size != sizes.end() ? size->second : std::stoll(first);
  while (words >> sign >> number)
    value = sign == "/" ? value / number : sign == "-" ? value - number : value + number;
  return value;
}

} // namespace

void requireSuccess(int32_t status) {
  if (status != TPAC_SUCCESS)
    throw std::runtime_error(tpac_runtime_status_message(status));
}

int64_t sizeOf(Type type) { return type == Type::f32 ? 4 : 2; }

void store(std::span<const float> values, Type type, void *to) {
  if (type == Type::f32) {
    std::memcpy(to, values.data(), values.size_bytes());
    return;
  }
  auto *bits = static_cast<uint16_t *>(to);
  for (float value : values) {
    const auto word = std::bit_cast<uint32_t>(value);
    *bits++ = static_cast<uint16_t>(std::isnan(value) ? 0x7fc0 : (word + 0x7fff + (word >> 16 & 1)) >> 16);
  }
}

void load(const void *from, Type type, std::span<float> values) {
  if (type == Type::f32) {
    std::memcpy(values.data(), from, values.size_bytes());
    return;
  }
  const auto *bits = static_cast<const uint16_t *>(from);
  for (float &value : values)
    value = std::bit_cast<float>(uint32_t{*bits++} << 16);
}

Type TensorInfo::elementType() const {
  if (type == "f32")
    return Type::f32;
  if (type == "bf16")
    return Type::bf16;
  throw std::runtime_error("the pack's tensor " + name + " is of type " + type + "; this engine handles f32 and bf16");
}

int64_t TensorInfo::elements(const Sizes &sizes) const {
  int64_t count = 1;
  for (const std::string &dimension : shape)
    count *= extent(dimension, sizes);
  return count;
}

int64_t TensorInfo::elementsPerToken() const {
  int64_t count = 1;
  for (size_t i = 1; i < shape.size(); ++i)
    count *= extent(shape[i], {});
  return count;
}

Kernels::Kernels(const std::string &path, int threads) {
  tpac_thread_pool_config poolConfig = {};
  poolConfig.struct_size = sizeof(poolConfig);
  poolConfig.threads = threads;
  tpac_thread_pool *createdPool = nullptr;
  requireSuccess(tpac_thread_pool_create(&poolConfig, &createdPool));
  pool.reset(createdPool);
  executor = tpac_thread_pool_executor(createdPool);

  tpac_pack *opened = nullptr;
  requireSuccess(tpac_pack_open(path.c_str(), &opened));
  Handle<tpac_pack> pack(opened, tpac_pack_close);
  packName = tpac_pack_name(opened);
  manifest = nlohmann::json::parse(tpac_pack_manifest(opened));
  const tpac_kernels_config config = {sizeof(config), TPAC_CPU, 0};
  tpac_kernels *created = nullptr;
  requireSuccess(tpac_kernels_create(opened, &config, &created));
  kernels.reset(created);

  const std::map<std::string, int32_t> numbers = {
      {"append", TPAC_APPEND}, {"decode", TPAC_DECODE}, {"prefill", TPAC_PREFILL}, {"merge", TPAC_MERGE}};
  for (const nlohmann::json &description : manifest.at("phases")) {
    Phase phase;
    const std::string phaseName = description.at("name");
    phase.number = numbers.at(phaseName);
    phase.sizes = description.at("sizes").get<std::vector<std::string>>();
    for (const nlohmann::json &tensor : description.at("tensors"))
      phase.tensors.push_back({tensor.at("name"), tensor.at("type"), tensor.at("shape")});
    phases[phaseName] = std::move(phase);
  }
}

const TensorInfo &Kernels::tensor(const std::string &phase, const std::string &name) const {
  for (const TensorInfo &tensor : tensors(phase))
    if (tensor.name == name)
      return tensor;
  throw std::runtime_error("the pack's phase " + phase + " has no tensor " + name);
}

void Kernels::run(const std::string &phaseName, const Sizes &sizes, const std::map<std::string, void *> &data) const {
  const Phase &phase = phases.at(phaseName);
  // The argument block of the pack's header, word by word: its own size, sizes, (data, strides) of each tensor, then
  // executor, workspace and the workspace's size.
  std::vector<int64_t> words = {0};
  auto add = [&](const void *pointer) { words.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(pointer))); };
  for (const std::string &size : phase.sizes)
    words.push_back(sizes.at(size));
  for (const TensorInfo &tensor : phase.tensors) {
    add(data.at(tensor.name));
    add(nullptr);
  }
  int64_t bytes = 0;
  if (sizes.contains("capacity"))
    requireSuccess(tpac_kernels_workspace_size(kernels.get(), phase.number, sizes.at("tokens"), sizes.at("batch"),
                                               sizes.at("capacity"), &bytes));
  constexpr size_t alignment = 64;
  if (workspace.size() < static_cast<size_t>(bytes) + alignment)
    workspace.resize(static_cast<size_t>(bytes) + alignment);
  void *aligned = workspace.data();
  size_t space = workspace.size();
  std::align(alignment, static_cast<size_t>(bytes), aligned, space);
  add(executor);
  add(bytes > 0 ? aligned : nullptr);
  words.push_back(bytes);
  words.front() = static_cast<int64_t>(words.size() * sizeof(int64_t));
  requireSuccess(tpac_kernels_run(kernels.get(), phase.number, words.data()));
}

} // namespace t6
