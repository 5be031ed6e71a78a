// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/MemoryAccess.h"

#include "lowering/tile/ElementConversion.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

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

/// Elements of a tile and of memory, in steps: loops over them with offsets into both.
struct MemoryBlock {
  AxisLoops<2> loops;
  /// Of the first element.
  AxisLoops<2>::Offsets start = {};
};

} // namespace

/// An axis in blocks from element `index` on, `count` of them, along `dimension` and `within`: each of `blocks` becomes
/// one per block of the axis.
static llvm::Error addBlockedAxis(SmallVectorImpl<MemoryBlock> &blocks, const MemoryView &memory, size_t dimension,
                                  size_t within, int64_t index, int64_t count, int64_t tileStride) {
  int64_t size = memory.shape[within];
  int64_t first = llvm::divideFloorSigned(index, size), last = llvm::divideFloorSigned(index + count - 1, size);
  if (llvm::Error error = checkRange(memory, dimension, first, last - first + 1))
    return error;
  SmallVector<MemoryBlock> parts;
  for (const MemoryBlock &block : blocks)
    for (int64_t number = first; number <= last; ++number) {
      int64_t begin = std::max(index, number * size), end = std::min(index + count, (number + 1) * size);
      MemoryBlock &part = parts.emplace_back(block);
      part.start[0] += (begin - index) * tileStride;
      part.start[1] += number * memory.strides[dimension] + (begin - number * size) * memory.strides[within];
      part.loops.add(end - begin, {tileStride, memory.strides[within]});
    }
  blocks = std::move(parts);
  return llvm::Error::success();
}

/// Adds the elements with `counts` of each axis of the tile, from `indices` on, to `blocks`. The tile's part begins at
/// element `offset` of the tile.
template <typename Op>
static llvm::Error addBlocks(SmallVectorImpl<MemoryBlock> &result, Op op, TileType tile, const MemoryView &memory,
                             ArrayRef<int64_t> indices, ArrayRef<int64_t> counts, int64_t offset) {
  SmallVector<MemoryBlock> blocks(1);
  blocks.front().start[0] = offset;
  auto axes = llvm::to_vector(op.getAxes().template getAsValueRange<StringAttr>());
  for (auto [i, axis] : llvm::enumerate(axes)) {
    int64_t count = axis.empty() ? 1 : counts[tile.indexOf(axis)];
    if (!axis.empty() && op.getBlockOfAxis(axis) != 0) {
      if (static_cast<int64_t>(i) != op.getDimOfAxis(axis)) {
        if (indices[i] != 0)
          return llvm::createStringError(
              llvm::formatv("dimension {0}: expected index 0, the place within a block, got {1}", i, indices[i]));
        continue;
      }
      size_t within = std::distance(axes.begin(), std::find(axes.begin() + i + 1, axes.end(), axis));
      if (llvm::Error error = addBlockedAxis(blocks, memory, i, within, indices[i], count, strideOf(tile, axis)))
        return error;
      continue;
    }
    if (llvm::Error error = checkRange(memory, i, indices[i], count))
      return error;
    for (MemoryBlock &block : blocks) {
      block.start[1] += indices[i] * memory.strides[i];
      if (!axis.empty())
        block.loops.add(count, {strideOf(tile, axis), memory.strides[i]});
    }
  }
  llvm::append_range(result, blocks);
  return llvm::Error::success();
}

/// The elements that exist, none where a limit is 0.
template <typename Op>
static llvm::Expected<SmallVector<MemoryBlock>> blocksOf(Op op, TileType tile, const MemoryView &memory,
                                                         ArrayRef<int64_t> indices, ArrayRef<int64_t> limits,
                                                         const MemoryView *table) {
  SmallVector<int64_t> counts(tile.getSizes());
  for (auto [axis, limit] : llvm::zip(op.getLimited().template getAsValueRange<StringAttr>(), limits)) {
    int64_t &count = counts[tile.indexOf(axis)];
    count = std::min(count, limit);
  }
  SmallVector<MemoryBlock> blocks;
  if (llvm::any_of(counts, [](int64_t count) { return count <= 0; }))
    return blocks;
  if (!table) {
    if (llvm::Error error = addBlocks(blocks, op, tile, memory, indices, counts, /*offset=*/0))
      return std::move(error);
    return blocks;
  }
  // Page by page.
  const int64_t pageSize = op.getPageSize(), first = indices[1], run = *op.getRun();
  const StringRef axis = op.getPagedAxis();
  if (first % run != 0)
    return llvm::createStringError(
        llvm::formatv("expected a multiple of runs = {0} as second index, got {1}", run, first));
  const int64_t end = first + counts[tile.indexOf(axis)];
  for (int64_t begin = first; begin < end;) {
    const int64_t next = std::min(end, (llvm::divideFloorSigned(begin, pageSize) + 1) * pageSize);
    llvm::Expected<double> page = loadElement(*table, {indices[0], llvm::divideFloorSigned(begin, pageSize)});
    if (!page)
      return llvm::createStringError("the table of pages: " + llvm::toString(page.takeError()));
    SmallVector<int64_t> inPage(indices);
    inPage[0] = static_cast<int64_t>(*page);
    inPage[1] = begin % pageSize;
    counts[tile.indexOf(axis)] = next - begin;
    if (llvm::Error error = addBlocks(blocks, op, tile, memory, inPage, counts, (begin - first) * strideOf(tile, axis)))
      return std::move(error);
    begin = next;
  }
  return blocks;
}

llvm::Expected<TileValue> tpac::loadTile(LoadOp op, const MemoryView &memory, ArrayRef<int64_t> indices,
                                         ArrayRef<int64_t> limits, const MemoryView *table) {
  TileValue result(op.getType());
  auto blocks = blocksOf(op, op.getType(), memory, indices, limits, table);
  if (!blocks)
    return blocks.takeError();
  for (const MemoryBlock &block : *blocks)
    block.loops.forEach(
        [&](const auto &at) { result.elements[at[0]] = readElement(memory.elementType, memory.at(at[1])); },
        block.start);
  return result;
}

llvm::Error tpac::storeTile(StoreOp op, const TileValue &value, const MemoryView &memory, ArrayRef<int64_t> indices,
                            ArrayRef<int64_t> limits, const MemoryView *table) {
  auto blocks = blocksOf(op, value.type, memory, indices, limits, table);
  if (!blocks)
    return blocks.takeError();
  for (const MemoryBlock &block : *blocks)
    block.loops.forEach(
        [&](const auto &at) { writeElement(memory.elementType, memory.at(at[1]), value.elements[at[0]]); },
        block.start);
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
