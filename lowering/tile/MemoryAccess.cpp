// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/MemoryAccess.h"

#include "lowering/tile/ElementConversion.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::tpa::tile;
using namespace tpac;

/// Elements `index`, `index + step`, .. (`count` of them, at least one) of a dimension.
static llvm::Error checkRange(const MemoryView &memory, size_t dimension, int64_t index, int64_t count,
                              int64_t step = 1) {
  int64_t last = index + (count - 1) * step;
  if (index >= 0 && last >= 0 && index < memory.shape[dimension] && last < memory.shape[dimension])
    return llvm::Error::success();
  return llvm::createStringError(
      llvm::formatv("out of bounds: dimension {0} has elements 0 to {1}, accessed are {2} to {3}", dimension,
                    memory.shape[dimension] - 1, index, last));
}

namespace {

/// The elements of a block of memory that exist: loops over them with offsets into the tile and, in elements, the
/// memory.
struct MemoryBlock {
  AxisLoops<2> loops;
  int64_t start = 0;
  bool isEmpty = false;
};

} // namespace

template <typename Op>
static llvm::Expected<MemoryBlock> blockOf(Op op, TileType tile, const MemoryView &memory, ArrayRef<int64_t> indices,
                                           ArrayRef<int64_t> limits) {
  SmallVector<int64_t> counts(tile.getSizes());
  for (auto [axis, limit] : llvm::zip(op.getLimited().template getAsValueRange<StringAttr>(), limits)) {
    int64_t &count = counts[tile.indexOf(axis)];
    count = std::min(count, limit);
  }
  MemoryBlock block;
  block.isEmpty = llvm::any_of(counts, [](int64_t count) { return count <= 0; });
  if (block.isEmpty)
    return block;
  for (auto [i, axis] : llvm::enumerate(op.getAxes().template getAsValueRange<StringAttr>())) {
    int64_t count = axis.empty() ? 1 : counts[tile.indexOf(axis)];
    if (llvm::Error error = checkRange(memory, i, indices[i], count))
      return std::move(error);
    block.start += indices[i] * memory.strides[i];
    if (!axis.empty())
      block.loops.add(count, {strideOf(tile, axis), memory.strides[i]});
  }
  return block;
}

llvm::Expected<TileValue> tpac::loadTile(LoadOp op, const MemoryView &memory, ArrayRef<int64_t> indices,
                                         ArrayRef<int64_t> limits) {
  TileValue result(op.getType());
  llvm::Expected<MemoryBlock> block = blockOf(op, op.getType(), memory, indices, limits);
  if (!block)
    return block.takeError();
  if (!block->isEmpty)
    block->loops.forEach(
        [&](const auto &at) { result.elements[at[0]] = readElement(memory.elementType, memory.at(at[1])); },
        {0, block->start});
  return result;
}

llvm::Error tpac::storeTile(StoreOp op, const TileValue &value, const MemoryView &memory, ArrayRef<int64_t> indices,
                            ArrayRef<int64_t> limits) {
  llvm::Expected<MemoryBlock> block = blockOf(op, value.type, memory, indices, limits);
  if (!block)
    return block.takeError();
  if (!block->isEmpty)
    block->loops.forEach(
        [&](const auto &at) { writeElement(memory.elementType, memory.at(at[1]), value.elements[at[0]]); },
        {0, block->start});
  return llvm::Error::success();
}

llvm::Expected<double> tpac::loadElement(const MemoryView &memory, ArrayRef<int64_t> indices) {
  int64_t offset = 0;
  for (auto [i, index] : llvm::enumerate(indices)) {
    if (llvm::Error error = checkRange(memory, i, index, 1))
      return std::move(error);
    offset += index * memory.strides[i];
  }
  return readElement(memory.elementType, memory.at(offset));
}

llvm::Expected<MemoryView> tpac::subview(const MemoryView &memory, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                                         ArrayRef<int64_t> strides, const llvm::SmallBitVector &dropped) {
  MemoryView result{memory.elementType, memory.data, {}, {}};
  bool isEmpty = llvm::any_of(sizes, [](int64_t size) { return size <= 0; });
  int64_t start = 0;
  for (size_t i = 0; i < memory.shape.size(); ++i) {
    if (sizes[i] < 0)
      return llvm::createStringError(llvm::formatv("dimension {0}: expected a size >= 0, got {1}", i, sizes[i]));
    if (!isEmpty)
      if (llvm::Error error = checkRange(memory, i, offsets[i], sizes[i], strides[i]))
        return std::move(error);
    start += offsets[i] * memory.strides[i];
    if (dropped.test(i))
      continue;
    result.shape.push_back(sizes[i]);
    result.strides.push_back(memory.strides[i] * strides[i]);
  }
  if (!isEmpty)
    result.data = memory.at(start);
  return result;
}

llvm::Error tpac::checkMemory(const MemoryView &memory, MemRefType type) {
  std::string expected;
  llvm::raw_string_ostream(expected) << type;
  auto differs = [&](const std::string &got) {
    return llvm::createStringError(llvm::formatv("expected memory of type {0}, got {1}", expected, got));
  };
  if (elementTypeOf(type.getElementType()) != memory.elementType)
    return differs("elements of type " + std::string(elementTypeName(memory.elementType)));
  if (static_cast<size_t>(type.getRank()) != memory.shape.size() || memory.strides.size() != memory.shape.size())
    return differs(llvm::formatv("{0} sizes and {1} strides", memory.shape.size(), memory.strides.size()));
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (!ShapedType::isDynamic(size) && size != memory.shape[i])
      return differs(llvm::formatv("size {0} in dimension {1}", memory.shape[i], i));
  return llvm::Error::success();
}
