// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/ArgumentBlock.h"

#include "runtime/Failure.h"

#include <cstring>
#include <limits>

namespace tpac::runtime {

namespace {

constexpr int64_t largestSize = std::numeric_limits<int32_t>::max();
/// A row of the cache is copied in pieces of 16 bytes.
constexpr uint64_t cacheAlignment = 16, workspaceAlignment = 64;
constexpr int64_t wordsOfTensor = 2;
/// Words behind the last tensor: executor, workspace, workspace_size.
constexpr int64_t workspaceWord = 1, workspaceSizeWord = 2;

/// The 8-byte words of a block.
class Words {
public:
  explicit Words(const void *args) : bytes(static_cast<const char *>(args)) {}
  int64_t operator[](int64_t index) const {
    int64_t word;
    std::memcpy(&word, bytes + index * static_cast<int64_t>(sizeof(word)), sizeof(word));
    return word;
  }

private:
  const char *bytes;
};

int64_t extentOf(const Dimension &dimension, const ArgumentBlock &block) {
  return dimension.size ? block[*dimension.size] / dimension.divisor + dimension.offset : dimension.offset;
}

[[noreturn]] void refuseTensor(const PhaseTensor &tensor, const char *part, const std::string &found,
                               const std::string &expected) {
  refuse("args." + tensor.name + "." + part + " " + found + "; expected " + expected + " for " + tensor.text);
}

std::string number(int64_t value) { return std::to_string(value); }

void readStrides(const PhaseTensor &tensor, const ArgumentBlock &block, const int64_t *given,
                 ArgumentBlock::Tensor &read) {
  const size_t rank = tensor.shape.size();
  int64_t contiguous = 1;
  for (size_t i = rank; i-- > 0;) {
    read.strides[i] = given ? given[i] : contiguous;
    contiguous *= extentOf(tensor.shape[i], block);
    if (read.strides[i] < 0)
      refuseTensor(tensor, "strides", "holds " + number(given[i]) + " for dimension " + number(static_cast<int64_t>(i)),
                   "0 or more for each dimension, or NULL,");
  }
  if (rank == 1 && read.strides[0] != 1)
    refuseTensor(tensor, "strides", "holds " + number(read.strides[0]), "1, or NULL,");
  // Kernels address what one token has by 32 bits.
  const size_t tokenDimensions = rank > 3 ? 2 : 1;
  int64_t last = 0;
  for (size_t i = tokenDimensions; i < rank; ++i) {
    const int64_t steps = extentOf(tensor.shape[i], block) - 1;
    if (steps > 0 && read.strides[i] > (largestSize - last) / steps)
      refuseTensor(tensor, "strides",
                   "holds " + number(read.strides[i]) + " for dimension " + number(static_cast<int64_t>(i)),
                   "elements of one token less than 2^31 apart");
    last += steps > 0 ? steps * read.strides[i] : 0;
  }
}

bool isEmpty(const PhaseTensor &tensor, const ArgumentBlock &block) {
  for (const Dimension &dimension : tensor.shape)
    if (extentOf(dimension, block) == 0)
      return true;
  return false;
}

} // namespace

void checkHolds(const PhaseArguments &phase) {
  if (phase.tensors.size() > ArgumentBlock::mostTensors)
    refuse("manifest: phase " + phase.name + " has " + std::to_string(phase.tensors.size()) +
           " tensors; this library runs phases of at most " + std::to_string(ArgumentBlock::mostTensors));
  for (const PhaseTensor &tensor : phase.tensors)
    if (tensor.shape.empty() || (!tensor.isCache && tensor.shape.size() > ArgumentBlock::mostDimensions))
      refuse("manifest: " + tensor.name + " of phase " + phase.name + " is " + tensor.text +
             "; this library runs phases with tensors of 1 to " + std::to_string(ArgumentBlock::mostDimensions) +
             " dimensions");
}

void ArgumentBlock::read(const PhaseArguments &phase, const GpuCache &layout, const void *args) {
  const Words words(args);
  const int64_t structSize = words[0];
  // Also what keeps the block of another phase from being taken for this one's.
  if (structSize < phase.bytes)
    refuse("args.struct_size is " + number(structSize) + "; expected the size of the block of phase " + phase.name +
           ", at least " + number(phase.bytes));
  int64_t next = 1;
  for (const Size size : phase.sizes) {
    const int64_t value = words[next++];
    if (value < 0 || value > largestSize)
      refuse("args." + std::string(sizeName(size)) + " is " + number(value) + "; expected 0 .. " + number(largestSize));
    if (size == Size::capacity && value % layout.capacityUnit != 0)
      refuse("args.capacity is " + number(value) + "; expected a multiple of " + number(layout.capacityUnit) +
             (layout.pageSize != 0 ? ", the tokens of a page" : ", as kernels for GPUs need it"));
    sizes[static_cast<size_t>(size)] = value;
  }
  // Where requests' pages start in one list of all: the list takes the table's place.
  const bool hasPageList =
      phase.pageStarts && words[next + wordsOfTensor * static_cast<int64_t>(*phase.pageStarts)] != 0;
  const PhaseTensor *firstCache = nullptr;
  for (size_t i = 0; i < phase.tensors.size(); ++i) {
    const PhaseTensor &tensor = phase.tensors[i];
    Tensor &own = tensors[i];
    own.data = static_cast<uint64_t>(words[next++]);
    const auto *strides = reinterpret_cast<const int64_t *>(words[next++]);
    const bool isPageList = hasPageList && i == phase.blockTable;
    const bool isAbsent = isPageList ? (*this)[Size::listedPages] == 0 : tensor.isOptional || isEmpty(tensor, *this);
    if (own.data == 0 && !isAbsent)
      refuseTensor(tensor, "data", "is NULL", "an address on the device");
    const uint64_t alignment = tensor.isCache ? cacheAlignment : static_cast<uint64_t>(tensor.elementBytes);
    if (own.data % alignment != 0)
      refuseTensor(tensor, "data", "is no multiple of " + std::to_string(alignment),
                   "an address aligned to so many bytes");
    if (!tensor.isCache) {
      readStrides(tensor, *this, strides, own);
      // A row begins with each entry.
      if (isPageList)
        own.strides[0] = own.strides[1];
      continue;
    }
    if (strides)
      refuseTensor(tensor, "strides", "is given", "NULL, since caches on GPUs have a layout of their own,");
    if (firstCache && own.data != cache)
      refuseTensor(tensor, "data", "differs from that of " + firstCache->name,
                   "the address of the one cache that holds all cache tensors");
    firstCache = firstCache ? firstCache : &tensor;
    cache = own.data;
  }
  const int64_t words8 = structSize / static_cast<int64_t>(sizeof(int64_t));
  if (next + workspaceSizeWord < words8) {
    workspace = static_cast<uint64_t>(words[next + workspaceWord]);
    workspaceBytes = words[next + workspaceSizeWord];
  }
}

void ArgumentBlock::checkWorkspace(int64_t bytes) const {
  if (workspace == 0)
    refuse("args.workspace is NULL; expected " + number(bytes) + " bytes on the device");
  if (workspace % workspaceAlignment != 0)
    refuse("args.workspace is no multiple of " + std::to_string(workspaceAlignment) +
           "; expected an address aligned to so many bytes");
  if (workspaceBytes < bytes)
    refuse("args.workspace_size is " + number(workspaceBytes) + "; expected at least " + number(bytes) +
           ", as tpac_kernels_workspace_size says");
}

} // namespace tpac::runtime
