// SPDX-License-Identifier: Apache-2.0

#include "Kernels.h"

#include "Errors.h"
#include "Tensors.h"

#include <algorithm>
#include <array>
#include <optional>

namespace tpac::python {

namespace nb = nanobind;

namespace {

/// What a pack asks of its workspace.
constexpr size_t workspaceAlignment = 64;
constexpr const char *capacityName = "capacity";

int64_t word(const void *pointer) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(pointer)); }

} // namespace

ThreadPool::ThreadPool(int32_t threads, bool pin, int64_t spinMicroseconds) {
  const tpac_thread_pool_config config = {sizeof(config), threads, pin ? 1 : 0, spinMicroseconds};
  tpac_thread_pool *created = nullptr;
  check(tpac_thread_pool_create(&config, &created));
  pool.reset(created);
}

void *WorkspaceCache::Piece::aligned(int64_t bytes) {
  if (bytes == 0)
    return nullptr;
  size_t space = static_cast<size_t>(bytes) + workspaceAlignment;
  if (memory.size() < space) {
    memory.clear();
    memory.resize(space);
  }
  void *address = memory.data();
  return std::align(workspaceAlignment, static_cast<size_t>(bytes), address, space);
}

WorkspaceCache::Piece WorkspaceCache::take() {
  const std::lock_guard lock(mutex);
  if (pieces.empty())
    return {};
  Piece piece = std::move(pieces.back());
  pieces.pop_back();
  return piece;
}

void WorkspaceCache::giveBack(Piece piece) {
  const std::lock_guard lock(mutex);
  pieces.push_back(std::move(piece));
}

Kernels::Kernels(const std::string &path, nb::object pool, int32_t deviceType, int32_t device)
    : deviceType(deviceType), device(device), pool(std::move(pool)) {
  tpac_pack *opened = nullptr;
  check(tpac_pack_open(path.c_str(), &opened));
  pack.reset(opened);
  load();
}

Kernels::Kernels(nb::bytes archive, nb::object pool, int32_t deviceType, int32_t device)
    : deviceType(deviceType), device(device), pool(std::move(pool)) {
  tpac_pack *opened = nullptr;
  check(tpac_pack_open_memory(archive.c_str(), static_cast<int64_t>(archive.size()), &opened));
  pack.reset(opened);
  load();
}

void Kernels::load() {
  const tpac_kernels_config config = {sizeof(config), deviceType, device, 0};
  tpac_kernels *created = nullptr;
  check(tpac_kernels_create(pack.get(), &config, &created));
  kernels.reset(created);
  layout.struct_size = sizeof(layout);
  check(tpac_kernels_cache_layout(created, &layout));
  phases = readPhases(manifest(), deviceType, layout);
  if (!pool.is_none())
    executor = nb::cast<ThreadPool &>(pool).executor();
  if (deviceType == TPAC_CPU)
    scratchBytes = readThreadScratch(manifest()) * (executor ? executor->concurrency : 1);
}

const PhaseDescription &Kernels::find(const std::string &name) const {
  const auto found = std::ranges::find(phases, name, &PhaseDescription::name);
  if (found == phases.end())
    refuse("the pack has no phase '" + name + "'");
  return *found;
}

int64_t Kernels::workspaceSize(const std::string &phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  int64_t bytes = 0;
  check(tpac_kernels_workspace_size(kernels.get(), find(phase).number, tokens, batch, capacity, &bytes));
  return bytes;
}

void Kernels::run(const std::string &name, nb::dict tensors, nb::object workspace, uintptr_t stream,
                  nb::object exporter) {
  const PhaseDescription &phase = find(name);
  const Place place = {deviceType, device, stream, exporter};
  auto isGiven = [&](const char *key) { return tensors.contains(key) && !tensors[key].is_none(); };
  // A list of pages in place of a table, which says nothing of the capacity.
  const bool hasPageList = phase.pageList && isGiven("page_starts");
  CallSizes sizes(phase);
  if (isGiven(capacityName))
    sizes.give(capacityName, nb::cast<int64_t>(tensors[capacityName]));
  else if (hasPageList)
    refuse(name +
           ": capacity is not given; expected, with page_starts, the tokens that a request may have, a multiple "
           "of " +
           std::to_string(layout.capacity_unit));
  if (phase.pageList && !hasPageList)
    sizes.give("listed_pages", 0);
  std::vector<std::optional<BorrowedTensor>> borrowed(phase.tensors.size());
  for (size_t i = 0; i < borrowed.size(); ++i) {
    const bool isPageList = hasPageList && phase.tensors[i].name == phase.pageList->name;
    const TensorDescription &described = isPageList ? *phase.pageList : phase.tensors[i];
    const char *key = described.name.c_str();
    if (described.isOptional && !isGiven(key))
      continue;
    if (!tensors.contains(key))
      throw nb::type_error((name + ": the tensor " + described.name + " is missing").c_str());
    sizes.add(described, borrowed[i].emplace(name, described, tensors[key], place).shape());
  }
  for (const auto &[key, value] : tensors) {
    const std::string given = nb::str(key).c_str();
    if (given != capacityName &&
        std::ranges::find(phase.tensors, given, &TensorDescription::name) == phase.tensors.end())
      throw nb::type_error((name + " takes no tensor " + given).c_str());
  }

  // The argument block of the pack's header, word by word: its own size, sizes, (data, strides) of each tensor, then
  // executor, workspace and scratch, both with their sizes.
  std::vector<int64_t> words = {0};
  words.insert(words.end(), sizes.all().begin(), sizes.all().end());
  std::array<int64_t, 2> listStrides;
  for (size_t argument : phase.arguments) {
    if (!borrowed[argument]) {
      words.insert(words.end(), {0, 0});
      continue;
    }
    const BorrowedTensor &tensor = *borrowed[argument];
    const int64_t *strides = phase.tensors[argument].isPiece ? nullptr : tensor.strides().data();
    if (hasPageList && phase.tensors[argument].name == phase.pageList->name) {
      listStrides.fill(tensor.strides().front());
      strides = listStrides.data();
    }
    words.push_back(word(tensor.data()));
    words.push_back(word(strides));
  }
  words.push_back(word(executor));

  std::optional<WorkspaceTensor> given;
  WorkspaceCache::Piece piece;
  const bool isCached = workspace.is(nb::handle(Py_True));
  if (phase.hasWorkspace) {
    void *memory = nullptr;
    int64_t bytes = 0;
    const bool isMade = PyCallable_Check(workspace.ptr()) != 0;
    if (isCached || isMade)
      bytes = workspaceSize(name, sizes.at("tokens"), sizes.at("batch"), sizes.at("capacity"));
    if (isCached) {
      piece = workspaces.take();
      memory = piece.aligned(bytes);
    } else if (!workspace.is(nb::handle(Py_False))) {
      given.emplace(name, isMade ? workspace(bytes) : workspace, place);
      memory = given->data;
      bytes = given->bytes;
    }
    words.push_back(word(memory));
    words.push_back(bytes);
  }
  WorkspaceCache::Piece scratch;
  if (scratchBytes > 0) {
    if (!phase.hasWorkspace)
      words.insert(words.end(), {0, 0});
    scratch = scratchPieces.take();
    words.push_back(word(scratch.aligned(scratchBytes)));
    words.push_back(scratchBytes);
  }
  words.front() = static_cast<int64_t>(words.size() * sizeof(int64_t));

  {
    nb::gil_scoped_release released;
    check(tpac_kernels_launch(kernels.get(), phase.number, words.data(), reinterpret_cast<void *>(stream)));
  }
  if (isCached)
    workspaces.giveBack(std::move(piece));
  if (scratchBytes > 0)
    scratchPieces.giveBack(std::move(scratch));
}

} // namespace tpac::python
