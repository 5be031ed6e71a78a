// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Kernels.h"

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

Kernels::Kernels(const std::string &path, Machine &machine) : where(machine) {
  tpac_pack *opened = nullptr;
  requireSuccess(tpac_pack_open(path.c_str(), &opened));
  Handle<tpac_pack> pack(opened, tpac_pack_close);
  packName = tpac_pack_name(opened);
  manifest = nlohmann::json::parse(tpac_pack_manifest(opened));
  const tpac_kernels_config config = machine.kernelsConfig();
  tpac_kernels *created = nullptr;
  requireSuccess(tpac_kernels_create(opened, &config, &created));
  kernels.reset(created);
  layout.struct_size = sizeof(layout);
  requireSuccess(tpac_kernels_cache_layout(created, &layout));

  // As much as all threads can use.
  if (machine.executor())
    scratchBytes = manifest.value("thread_scratch", int64_t{0}) * machine.executor()->concurrency;
  if (scratchBytes > 0)
    scratch = machine.allocate(scratchBytes);

  const std::map<std::string, int32_t> numbers = {
      {"append", TPAC_APPEND}, {"decode", TPAC_DECODE}, {"prefill", TPAC_PREFILL}, {"merge", TPAC_MERGE}};
  for (const nlohmann::json &description : manifest.at("phases")) {
    Phase phase;
    const std::string phaseName = description.at("name");
    phase.number = numbers.at(phaseName);
    phase.sizes = description.at("sizes").get<std::vector<std::string>>();
    for (const nlohmann::json &tensor : description.at("tensors"))
      phase.tensors.push_back(
          {tensor.at("name"), tensor.at("type"), tensor.at("shape"), tensor.value("optional", false)});
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
  // executor, workspace and scratch, both with their sizes.
  std::vector<int64_t> words = {0};
  auto add = [&](const void *pointer) { words.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(pointer))); };
  for (const std::string &size : phase.sizes)
    words.push_back(size == "listed_pages" ? 0 : sizes.at(size));
  for (const TensorInfo &tensor : phase.tensors) {
    // Pages are found by tables: there is no list of them.
    add(tensor.isOptional ? nullptr : data.at(tensor.name));
    add(nullptr);
  }
  int64_t bytes = 0;
  if (sizes.contains("capacity"))
    requireSuccess(tpac_kernels_workspace_size(kernels.get(), phase.number, sizes.at("tokens"), sizes.at("batch"),
                                               sizes.at("capacity"), &bytes));
  const Memory workspace = bytes > 0 ? where.allocate(bytes) : Memory();
  add(where.executor());
  add(workspace.get());
  words.push_back(bytes);
  add(scratch.get());
  words.push_back(scratchBytes);
  words.front() = static_cast<int64_t>(words.size() * sizeof(int64_t));
  requireSuccess(tpac_kernels_launch(kernels.get(), phase.number, words.data(), where.stream()));
}

} // namespace t6
