// SPDX-License-Identifier: Apache-2.0
//
// tile.dot: contractions, in blocks of the result that stay in registers.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

void Emitter::dot(const Tile &lhs, const Tile &rhs, std::optional<Tile> accumulator, const Tile &result) {
  StringAttr lane = laneAxis(result.type);
  StringAttr left = laneAxis(lhs.type);
  StringAttr right = laneAxis(rhs.type);
  if (left && left == right && !result.type.hasAxis(left))
    return dotByReduction(lhs, rhs, accumulator, result);
  // Where both have the lane axis, both are vectors.
  bool fromLeft = lane && lhs.type.hasAxis(lane);
  dotByBroadcast(fromLeft ? lhs : rhs, fromLeft ? rhs : lhs, accumulator, result);
}

/// Rows of a register block of `vectorsPerRow` vectors each: `spare` registers are for operands. A divisor of `rows`
/// where a large one exists, so that there is no smaller block at the end.
int64_t Emitter::rowBlock(int64_t rows, int64_t vectorsPerRow, int64_t spare) const {
  int64_t most = std::clamp<int64_t>((registers - spare) / vectorsPerRow, 1, std::min<int64_t>(rows, 12));
  for (int64_t block = most; 2 * block > most; --block)
    if (rows % block == 0)
      return block;
  return most;
}

/// Each element of `scalars` times a vector of `vectors`. A block is some rows (of the axis that `vectors` lacks, if
/// there is one) by some vectors; its sums are carried through the loops over the contracted axes.
void Emitter::dotByBroadcast(const Tile &vectors, const Tile &scalars, std::optional<Tile> accumulator,
                             const Tile &result) {
  StringAttr lane = laneAxis(result.type);
  int64_t width = commonWidth(result, {vectors, scalars});
  Type element = storedType(result.type);
  auto type = VectorType::get({width}, element);
  if (!accumulator)
    clearPadding(result, width);

  // The rows: the longest axis along which vectors are used again, else the longest axis.
  StringAttr row;
  int64_t rows = 1;
  bool reused = false;
  for (auto [axis, size] : axesWithout(result.type, {lane})) {
    bool reuses = !vectors.type.hasAxis(axis);
    if (size > 1 && (!row || (reuses && !reused) || (reuses == reused && size > rows))) {
      row = axis;
      rows = size;
      reused = reuses;
    }
  }
  SmallVector<std::pair<StringAttr, int64_t>> contracted;
  for (auto [axis, size] : axesWithout(vectors.type, {}))
    if (!result.type.hasAxis(axis))
      contracted.push_back({axis, size});

  int64_t laneExtent = width == 1 ? laneSize(result.type) : padded(laneSize(result.type));
  int64_t vectorCount = laneExtent / width;
  int64_t columns = std::min<int64_t>(vectorCount, 3);
  if (vectorCount > 3 && vectorCount % 3 != 0 && vectorCount % 2 == 0)
    columns = 2;
  int64_t block = rowBlock(rows, columns, columns + 1);

  Point point;
  auto kernel = [&](Value firstLane, int64_t laneCount, Value firstRow, int64_t rowCount) {
    auto place = [&](int64_t i, int64_t j) {
      if (row)
        point[row] = plus(firstRow, i);
      if (lane)
        point[lane] = plus(firstLane, j * width);
    };
    SmallVector<Value> sums;
    for (int64_t i = 0; i < rowCount; ++i)
      for (int64_t j = 0; j < laneCount; ++j) {
        place(i, j);
        sums.push_back(accumulator ? read(*accumulator, point, lane, width, element) : splat(b, type, 0.0));
      }
    std::function<SmallVector<Value>(size_t, ValueRange)> contract = [&](size_t depth, ValueRange carried) {
      if (depth < contracted.size()) {
        auto [axis, size] = contracted[depth];
        return loop(index(0), index(size), 1, carried, [&, axis = axis](Value k, ValueRange arguments) {
          point[axis] = k;
          return contract(depth + 1, arguments);
        });
      }
      SmallVector<Value> next(carried);
      SmallVector<Value> columnVectors;
      for (int64_t i = 0; i < rowCount; ++i) {
        if (i == 0 || !reused) {
          columnVectors.clear();
          for (int64_t j = 0; j < laneCount; ++j) {
            place(i, j);
            columnVectors.push_back(read(vectors, point, lane, width, element));
          }
        }
        Value broadcast;
        for (int64_t j = 0; j < laneCount; ++j) {
          place(i, j);
          if (!broadcast || (lane && scalars.type.hasAxis(lane)))
            broadcast = read(scalars, point, lane, width, element);
          Value &sum = next[i * laneCount + j];
          sum = vector::FMAOp::create(b, broadcast, columnVectors[j], sum);
        }
      }
      return next;
    };
    SmallVector<Value> totals = contract(0, sums);
    for (int64_t i = 0; i < rowCount; ++i)
      for (int64_t j = 0; j < laneCount; ++j) {
        place(i, j);
        write(result, point, totals[i * laneCount + j]);
      }
  };

  SmallVector<StringAttr> blocked;
  if (row)
    blocked.push_back(row);
  loops(axesWithout(result.type,
                    [&] {
                      SmallVector<StringAttr> except(blocked);
                      except.push_back(lane);
                      return except;
                    }()),
        point, [&] {
          groups(laneExtent, columns * width, [&](Value firstLane, int64_t laneCount) {
            groups(rows, block,
                   [&](Value firstRow, int64_t rowCount) { kernel(firstLane, laneCount / width, firstRow, rowCount); });
          });
        });
}

/// Both operands' vectors run along the same contracted axis: they are multiplied vector by vector, and lanes summed at
/// last.
void Emitter::dotByReduction(const Tile &lhs, const Tile &rhs, std::optional<Tile> accumulator, const Tile &result) {
  StringAttr lane = laneAxis(lhs.type);
  int64_t size = laneSize(lhs.type);
  Type element = storedType(result.type);
  int64_t bits = std::max({storedType(lhs.type).getIntOrFloatBitWidth(), storedType(rhs.type).getIntOrFloatBitWidth(),
                           element.getIntOrFloatBitWidth()});
  int64_t width = std::min(vectorLength(size), std::max<int64_t>(1, lanes * 32 / bits));
  auto type = VectorType::get({width}, element);
  if (!accumulator)
    clearPadding(result, 1);

  // The rows: the longest axis that one operand lacks, so that its vectors are used again.
  StringAttr row;
  int64_t rows = 1;
  for (auto [axis, extent] : axesWithout(result.type, {}))
    if (extent > rows && (!lhs.type.hasAxis(axis) || !rhs.type.hasAxis(axis))) {
      row = axis;
      rows = extent;
    }
  bool reusesLhs = row && !lhs.type.hasAxis(row);
  const Tile &shared = reusesLhs ? lhs : rhs;
  const Tile &perRow = reusesLhs ? rhs : lhs;
  SmallVector<std::pair<StringAttr, int64_t>> contracted;
  for (auto [axis, extent] : axesWithout(lhs.type, {lane}))
    if (!result.type.hasAxis(axis))
      contracted.push_back({axis, extent});
  int64_t block = std::min<int64_t>(8, rowBlock(rows, 1, 2));

  // The last vector without its padding.
  auto inside = [&](Value vector, int64_t count) -> Value {
    if (count == width)
      return vector;
    return arith::SelectOp::create(b, lanesBelow(b, width, index(0), index(count)), vector, splat(b, type, 0.0));
  };

  Point point;
  auto kernel = [&](Value firstRow, int64_t rowCount) {
    auto step = [&](Value k, ValueRange carried, int64_t count) {
      point[lane] = k;
      Value common;
      SmallVector<Value> next(carried);
      for (int64_t i = 0; i < rowCount; ++i) {
        if (row)
          point[row] = plus(firstRow, i);
        if (!common)
          common = inside(read(shared, point, lane, width, element), count);
        Value own = inside(read(perRow, point, lane, width, element), count);
        next[i] = vector::FMAOp::create(b, common, own, next[i]);
      }
      return next;
    };
    std::function<SmallVector<Value>(size_t, ValueRange)> contract = [&](size_t depth, ValueRange carried) {
      if (depth < contracted.size()) {
        auto [axis, extent] = contracted[depth];
        return loop(index(0), index(extent), 1, carried, [&, axis = axis](Value k, ValueRange arguments) {
          point[axis] = k;
          return contract(depth + 1, arguments);
        });
      }
      SmallVector<Value> sums(carried);
      int64_t whole = size / width * width;
      if (whole == width)
        sums = step(index(0), sums, width);
      else if (whole != 0)
        sums = loop(index(0), index(whole), width, sums,
                    [&](Value k, ValueRange arguments) { return step(k, arguments, width); });
      if (whole != size)
        sums = step(index(whole), sums, size - whole);
      return sums;
    };
    SmallVector<Value> sums = contract(0, SmallVector<Value>(rowCount, splat(b, type, 0.0)));
    for (int64_t i = 0; i < rowCount; ++i) {
      if (row)
        point[row] = plus(firstRow, i);
      Value sum = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums[i], arith::FastMathFlags::reassoc);
      auto single = VectorType::get({1}, element);
      Value value = vector::BroadcastOp::create(b, single, sum);
      if (accumulator)
        value = arith::AddFOp::create(b, read(*accumulator, point, lane, 1, element), value);
      write(result, point, value);
    }
  };
  SmallVector<StringAttr> blocked;
  if (row)
    blocked.push_back(row);
  loops(axesWithout(result.type, blocked), point, [&] { groups(rows, block, kernel); });
}
