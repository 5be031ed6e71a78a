// SPDX-License-Identifier: Apache-2.0
//
// Prefetch of what the next iteration of a loop loads. Asked for all at once, lines fill the few buffers of the L1
// cache and stall the loads behind them; spread over multiply-adds, they cost nothing.

#include "lowering/cpu/Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

static constexpr int64_t lineBits = 64 * 8;

PagePlace PagePlace::find(ImplicitLocOpBuilder &b, Value table, int64_t size, Value row, Value element) {
  Value pageSize = arith::ConstantIndexOp::create(b, size);
  Value entry = arith::DivUIOp::create(b, element, pageSize);
  Value page = memref::LoadOp::create(b, table, ValueRange{row, entry});
  return {arith::IndexCastOp::create(b, b.getIndexType(), page), arith::RemUIOp::create(b, element, pageSize)};
}

PagePlace PagePlace::findNext(ImplicitLocOpBuilder &b, tile::LoadOp op, scf::ForOp loop) {
  Value next = arith::AddIOp::create(b, op.getIndices()[1], loop.getStep());
  Value last = arith::SubIOp::create(b, loop.getUpperBound(), arith::ConstantIndexOp::create(b, 1));
  return find(b, op.getTable(), op.getPageSize(), op.getIndices()[0], arith::MinSIOp::create(b, next, last));
}

std::optional<size_t> Emitter::streamedDimension(tile::LoadOp op, scf::ForOp loop) {
  // Rows of several pages follow no stream.
  if (op.getTable() && !op.isWithinPage())
    return std::nullopt;
  for (auto [dimension, index] : llvm::enumerate(op.getIndices()))
    if (index == loop.getInductionVar())
      return dimension;
  return std::nullopt;
}

std::optional<std::pair<StringAttr, int64_t>> Emitter::streamedAxis(tile::LoadOp op, scf::ForOp loop) {
  std::optional<size_t> dimension = streamedDimension(op, loop);
  if (!dimension)
    return std::nullopt;
  auto axis = cast<StringAttr>(op.getAxes()[*dimension]);
  if (axis.empty() || op.getBlockOfAxis(axis) != 0)
    return std::nullopt;
  return std::pair(axis, op.getType().sizeOf(axis));
}

SmallVector<Emitter::Line> Emitter::linesOf(tile::LoadOp op, scf::ForOp loop) {
  TileType type = op.getType();
  size_t dimension = *streamedDimension(op, loop);
  auto axes = llvm::to_vector(op.getAxes().getAsRange<StringAttr>());
  SmallVector<Line> lines = {{op, dimension, SmallVector<int64_t>(axes.size(), 0)}};
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (axis.empty() || i == dimension)
      continue;
    int64_t step = i + 1 == axes.size() ? lineBits / type.getElementType().getIntOrFloatBitWidth() : 1;
    SmallVector<Line> more;
    for (const Line &line : lines)
      for (int64_t offset = 0; offset < type.sizeOf(axis); offset += step) {
        more.push_back(line);
        more.back().offsets[i] = offset;
      }
    lines = std::move(more);
  }
  return lines;
}

void Emitter::enterLoop(scf::ForOp loop) {
  Prefetches &next = prefetches.emplace_back();
  next.loop = loop;
  llvm::MapVector<Value, SmallVector<Line>> tensors;
  size_t lines = 0;
  for (auto load : loop.getOps<tile::LoadOp>()) {
    auto axis = streamedAxis(load, loop);
    if (!axis || (lines != 0 && axis != next.axis))
      continue;
    next.axis = *axis;
    SmallVector<Line> more = linesOf(load, loop);
    lines += more.size();
    llvm::append_range(tensors[load.getMemory()], more);
  }
  int64_t blocks = 0;
  for (auto dot : loop.getOps<tile::DotOp>())
    if (std::optional<DotBlocks> dotBlocks = blocksAlong(next.axis, dot)) {
      int64_t columns = dotBlocks->takingColumns(next.axis.second);
      next.takers += columns * dotBlocks->share(next.axis.second).together;
      blocks += columns * dotBlocks->rowBlocks();
    }
  // At most one prefetch per step of a product. Few blocks are behind a mask: not worth much code.
  constexpr size_t mostBehindMask = 4;
  bool isTooLong = !loop.getOps<tile::MaskOp>().empty() && next.takers > mostBehindMask;
  next.isSpread = lines != 0 && static_cast<int64_t>(lines) <= blocks && !isTooLong;
  if (!next.isSpread)
    return;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  for (auto &[memory, all] : tensors) {
    llvm::append_range(next.lines, all);
    if (tile::LoadOp load = all.front().load; load.getTable())
      if (auto [place, isNew] = next.pages.try_emplace({load.getTable(), load.getIndices()[0]}); isNew)
        place->second = PagePlace::findNext(b, load, loop);
  }
}

void Emitter::leaveLoop() { prefetches.pop_back(); }

bool Emitter::isSpread(tile::LoadOp op) const {
  if (prefetches.empty() || !prefetches.back().isSpread || op->getParentOp() != prefetches.back().loop)
    return false;
  return streamedAxis(op, prefetches.back().loop) == prefetches.back().axis;
}

bool Emitter::hasLines(std::pair<StringAttr, int64_t> axis) const {
  return !prefetches.empty() && prefetches.back().isSpread && prefetches.back().axis == axis;
}

SmallVector<Emitter::Line> Emitter::takeLines() {
  Prefetches &all = prefetches.back();
  ArrayRef<Line> lines = all.lines;
  size_t first = lines.size() * all.taken / all.takers, end = lines.size() * (all.taken + 1) / all.takers;
  ++all.taken;
  return llvm::to_vector(lines.slice(first, end - first));
}

void Emitter::prefetch(const Line &line, Value element) {
  tile::LoadOp load = line.load;
  SmallVector<Value> at;
  for (auto [i, index] : llvm::enumerate(load.getIndices()))
    at.push_back(plus(index, line.offsets[i]));
  Value next;
  if (load.getTable()) {
    PagePlace place = prefetches.back().pages.lookup({load.getTable(), load.getIndices()[0]});
    at[0] = place.page;
    next = place.slot;
  } else {
    next = arith::AddIOp::create(b, at[line.dimension], prefetches.back().loop.getStep());
  }
  at[line.dimension] = arith::AddIOp::create(b, next, element);
  memref::PrefetchOp::create(b, load.getMemory(), at, /*isWrite=*/false,
                             /*localityHint=*/3, /*isDataCache=*/true);
}
