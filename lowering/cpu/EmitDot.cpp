// SPDX-License-Identifier: Apache-2.0
//
// tile.dot: contractions, in blocks of the result that stay in registers.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

/// How many steps of a loop over a contracted axis of `size` elements one iteration makes.
static int64_t dotUnroll(int64_t size) { return size % 4 == 0 ? 4 : 1; }

bool Emitter::isReduction(const Tile &lhs, const Tile &rhs, const Tile &result) {
  StringAttr lane = laneAxis(lhs.type);
  return lane && lane == laneAxis(rhs.type) && !result.type.hasAxis(lane);
}

/// Where both have the result's lane axis, both are vectors.
bool Emitter::vectorsAreLhs(const Tile &lhs, const Tile &result) {
  StringAttr lane = laneAxis(result.type);
  return lane && lhs.type.hasAxis(lane);
}

bool Emitter::canAdd(tile::DotOp one, tile::DotOp other) {
  auto operands = [](tile::DotOp op) { return std::array{op.getLhs().getType(), op.getRhs().getType(), op.getType()}; };
  Tile lhs{Value(), one.getLhs().getType()}, rhs{Value(), one.getRhs().getType()}, result{Value(), one.getType()};
  return operands(one) == operands(other) && !isReduction(lhs, rhs, result);
}

void Emitter::dot(ArrayRef<std::pair<Tile, Tile>> terms, std::optional<Tile> accumulator, const Tile &result) {
  auto [lhs, rhs] = terms.front();
  if (isReduction(lhs, rhs, result))
    return dotByReduction(lhs, rhs, accumulator, result);
  bool fromLhs = vectorsAreLhs(lhs, result);
  SmallVector<DotFactors> factors;
  for (auto &[left, right] : terms)
    factors.push_back(fromLhs ? DotFactors{left, right} : DotFactors{right, left});
  dotByBroadcast(factors, accumulator, result);
}

/// The axes of a product's operand that its result lacks.
static SmallVector<std::pair<StringAttr, int64_t>> contractedAxes(TileType operand, TileType result) {
  SmallVector<std::pair<StringAttr, int64_t>> axes;
  for (auto [axis, size] : llvm::zip(operand.getAxes(), operand.getSizes()))
    if (!result.hasAxis(axis))
      axes.push_back({axis, size});
  return axes;
}

bool Emitter::canContractWhereRead(tile::DotOp op) {
  constexpr int64_t mostTerms = 32;
  TileType scalars = op.getLhs().getType(), vectors = op.getRhs().getType(), result = op.getType();
  StringAttr lane = laneAxis(result);
  auto contracted = contractedAxes(vectors, result);
  return !op.getAccumulator() && lane && !scalars.hasAxis(lane) && laneAxis(vectors) == lane &&
         contracted.size() == 1 && contracted.front().second <= mostTerms;
}

Tile Emitter::contraction(const Tile &scalars, const Tile &vectors, TileType type) {
  auto computation = std::make_shared<Computation>();
  computation->operands = {scalars, vectors};
  auto [axis, size] = contractedAxes(vectors.type, type).front();
  computation->gather = [this, scalars, vectors, type, axis = axis, size = size](const Point &at, StringAttr lane,
                                                                                 int64_t width) {
    Type element = storedType(type);
    Point point = at;
    Value sum = splat(b, VectorType::get({width}, element), 0.0);
    for (int64_t i = 0; i < size; ++i) {
      point[axis] = index(i);
      sum = vector::FMAOp::create(b, read(scalars, point, lane, width, element),
                                  read(vectors, point, lane, width, element), sum);
    }
    return sum;
  };
  return {Value(), type, computation};
}

/// Rows of a register block of `vectorsPerRow` vectors each: `spare` registers are for operands. A divisor of `rows`
/// where a large one exists, so that there is no smaller block at the end.
int64_t Emitter::rowBlock(int64_t rows, int64_t vectorsPerRow, int64_t spare) const {
  int64_t most = std::clamp<int64_t>((registers - spare) / vectorsPerRow, 1, std::min<int64_t>(rows, 16));
  for (int64_t block = most; 2 * block > most; --block)
    if (rows % block == 0)
      return block;
  return most;
}

Emitter::DotBlocks Emitter::dotBlocks(const Tile &vectors, const Tile &scalars, const Tile &result) const {
  StringAttr lane = laneAxis(result.type);
  DotBlocks blocks{commonWidth(result, {vectors, scalars}), {}, 1, 1, false, 1, 1, {}, {}};

  // The rows: the longest axis along which vectors are used again, else the longest axis.
  for (auto [axis, size] : axesWithout(result.type, {lane})) {
    bool reuses = !vectors.type.hasAxis(axis);
    if (size > 1 && (!blocks.rowAxis || (reuses && !blocks.reusesVectors) ||
                     (reuses == blocks.reusesVectors && size > blocks.rows))) {
      blocks.rowAxis = axis;
      blocks.rows = size;
      blocks.reusesVectors = reuses;
    }
  }
  for (auto [axis, size] : axesWithout(vectors.type, {}))
    if (!result.type.hasAxis(axis))
      blocks.contracted.push_back({axis, size});
  for (auto [axis, size] : axesWithout(result.type, {lane}))
    if (axis != blocks.rowAxis)
      blocks.outer.push_back({axis, size});

  int64_t laneExtent = blocks.width == 1 ? laneSize(result.type) : padded(laneSize(result.type));
  blocks.vectorCount = laneExtent / blocks.width;
  blocks.columnsPerBlock = std::min<int64_t>(blocks.vectorCount, 3);
  if (blocks.vectorCount > 3 && blocks.vectorCount % 3 != 0 && blocks.vectorCount % 2 == 0)
    blocks.columnsPerBlock = 2;
  blocks.rowsPerBlock = rowBlock(blocks.rows, blocks.columnsPerBlock, blocks.columnsPerBlock + 1);
  if (blocks.rowAxis && !blocks.reusesVectors && blocks.vectorCount <= 8) {
    // Each row has vectors of its own: read in the order of memory.
    blocks.columnsPerBlock = blocks.vectorCount;
    blocks.rowsPerBlock = std::min(blocks.rowsPerBlock, std::max<int64_t>(1, 8 / blocks.vectorCount));
  }
  return blocks;
}

bool Emitter::DotBlocks::passThrough(std::pair<StringAttr, int64_t> axis) const {
  // MLA of 128 heads by 512 features has hundreds: LLVM would take hours for them.
  constexpr int64_t mostPieces = 8;
  bool isRepeated = llvm::any_of(outer, [](auto axis) { return axis.second > 1; });
  return contracted.size() == 1 && contracted.front() == axis && !isRepeated && rowBlocks() > 0 && axis.second >= 4 &&
         llvm::isPowerOf2_64(axis.second) && columnBlocks() * share(axis.second).together <= mostPieces;
}

Emitter::DotBlocks::Sharing Emitter::DotBlocks::share(int64_t size) const {
  // Four elements or more, because a block then is a loop of so many iterations: LLVM unrolls shorter ones, loads the
  // factors that blocks have in common ahead of all of them, and spills them.
  int64_t together = llvm::divideCeil(rowBlocks(), size / 4);
  int64_t iterations = rowBlocks() / together;
  return {iterations, together, static_cast<int64_t>(llvm::PowerOf2Ceil(llvm::divideCeil(size, iterations)))};
}

int64_t Emitter::DotBlocks::takingColumns(int64_t size) const {
  // Enough to spread prefetches; with code for all columns, LLVM took up to twice its time (docs/cpu.md).
  constexpr int64_t enoughPieces = 4;
  return std::clamp<int64_t>(enoughPieces / share(size).together, 1, columnBlocks());
}

std::optional<Emitter::DotBlocks> Emitter::blocksAlong(std::pair<StringAttr, int64_t> axis, tile::DotOp op) const {
  Tile lhs{Value(), op.getLhs().getType()}, rhs{Value(), op.getRhs().getType()}, result{Value(), op.getType()};
  if (isReduction(lhs, rhs, result))
    return std::nullopt;
  bool fromLhs = vectorsAreLhs(lhs, result);
  DotBlocks blocks = dotBlocks(fromLhs ? lhs : rhs, fromLhs ? rhs : lhs, result);
  return blocks.passThrough(axis) ? std::optional(blocks) : std::nullopt;
}

/// Each element of `scalars` times a vector of `vectors`. A block is some rows (of the axis that `vectors` lacks, if
/// there is one) by some vectors; its sums are carried through the loops over the contracted axes.
void Emitter::dotByBroadcast(ArrayRef<DotFactors> terms, std::optional<Tile> accumulator, const Tile &result) {
  StringAttr lane = laneAxis(result.type);
  DotBlocks blocks = dotBlocks(terms.front().vectors, terms.front().scalars, result);
  int64_t width = blocks.width;
  StringAttr row = blocks.rowAxis;
  ArrayRef<std::pair<StringAttr, int64_t>> contracted = blocks.contracted;
  Type element = storedType(result.type);
  auto type = VectorType::get({width}, element);
  if (!accumulator)
    clearPadding(result, width);
  bool takesLines = contracted.size() == 1 && blocks.passThrough(contracted.front()) && hasLines(contracted.front());

  Point point;
  // `lines`: per term, what is prefetched meanwhile for `tokens` elements of the contracted axis from `firstToken` on.
  auto kernel = [&](Value firstLane, int64_t laneCount, Value firstRow, int64_t rowCount, LineShares lines) {
    auto place = [&](int64_t i, int64_t j) {
      if (row)
        point[row] = plus(firstRow, i);
      if (lane)
        point[lane] = plus(firstLane, j * width);
    };
    int64_t block = rowCount * laneCount;
    SmallVector<Value> sums;
    for (int64_t i = 0; i < rowCount; ++i)
      for (int64_t j = 0; j < laneCount; ++j) {
        place(i, j);
        sums.push_back(accumulator ? read(*accumulator, point, lane, width, element) : splat(b, type, 0.0));
      }
    // Few sums are each split into several, of every so-many-th step: a multiply-add waits for the one before.
    int64_t unroll = contracted.empty() ? 1 : dotUnroll(contracted.back().second);
    int64_t chains = std::clamp<int64_t>(llvm::bit_floor(static_cast<uint64_t>(12 / block)), 1, unroll);
    sums.resize(block * chains, splat(b, type, 0.0));
    auto step = [&](const DotFactors &factors, int64_t chain, ValueRange carried) {
      SmallVector<Value> next(carried);
      SmallVector<Value> columnVectors;
      for (int64_t i = 0; i < rowCount; ++i) {
        if (i == 0 || !blocks.reusesVectors) {
          columnVectors.clear();
          for (int64_t j = 0; j < laneCount; ++j) {
            place(i, j);
            columnVectors.push_back(read(factors.vectors, point, lane, width, element));
          }
        }
        Value broadcast;
        for (int64_t j = 0; j < laneCount; ++j) {
          place(i, j);
          if (!broadcast || (lane && factors.scalars.type.hasAxis(lane)))
            broadcast = read(factors.scalars, point, lane, width, element);
          Value &sum = next[chain * block + i * laneCount + j];
          sum = vector::FMAOp::create(b, broadcast, columnVectors[j], sum);
        }
      }
      return next;
    };
    // The innermost contracted axis, several steps per iteration; prefetches are spread over them.
    auto innermost = [&](const DotFactors &factors, std::pair<StringAttr, int64_t> axis, ValueRange carried) {
      ArrayRef<Line> share = lines.ofTerms.empty() ? ArrayRef<Line>() : lines.ofTerms[&factors - terms.data()];
      int64_t steps = share.empty() ? unroll : axis.second / lines.count;
      return loop(index(0), index(axis.second / steps), 1, carried, [&](Value k, ValueRange arguments) {
        SmallVector<Value> next(arguments);
        Value asker = share.empty() ? Value() : b.createOrFold<arith::AddIOp>(lines.first, k);
        for (int64_t u = 0, asked = 0; u < steps; ++u) {
          for (; asked * steps < static_cast<int64_t>(share.size()) * (u + 1); ++asked)
            prefetch(share[asked], asker);
          point[axis.first] = plus(b.createOrFold<arith::MulIOp>(k, index(steps)), u);
          next = step(factors, u % chains, next);
        }
        return next;
      });
    };
    std::function<SmallVector<Value>(const DotFactors &, size_t, ValueRange)> contract =
        [&](const DotFactors &factors, size_t depth, ValueRange carried) -> SmallVector<Value> {
      if (depth == contracted.size())
        return step(factors, 0, carried);
      if (depth + 1 == contracted.size())
        return innermost(factors, contracted[depth], carried);
      auto [axis, size] = contracted[depth];
      return loop(index(0), index(size), 1, carried, [&, axis = axis](Value k, ValueRange arguments) {
        point[axis] = k;
        return contract(factors, depth + 1, arguments);
      });
    };
    for (const DotFactors &factors : terms)
      sums = contract(factors, 0, sums);
    for (int64_t i = block; i < block * chains; ++i)
      sums[i % block] = arith::AddFOp::create(b, sums[i % block], sums[i]);
    for (int64_t i = 0; i < rowCount; ++i)
      for (int64_t j = 0; j < laneCount; ++j) {
        place(i, j);
        write(result, point, sums[i * laneCount + j]);
      }
  };

  loops(blocks.outer, point, [&] {
    auto plain = [&](Value firstLane, int64_t laneCount) {
      groups(blocks.rows, blocks.rowsPerBlock,
             [&](Value firstRow, int64_t rowCount) { kernel(firstLane, laneCount / width, firstRow, rowCount, {}); });
    };
    auto taking = [&](Value firstLane, int64_t laneCount) {
      // Blocks of rows in a loop, each of which prefetches for the next elements of the contracted axis.
      auto [iterations, together, elements] = blocks.share(contracted.front().second);
      SmallVector<SmallVector<SmallVector<Line>>> shares(together);
      for (auto &ofTerms : shares)
        for (size_t term = 0; term < terms.size(); ++term)
          ofTerms.push_back(takeLines());
      loop(index(0), index(iterations), 1, [&](Value i) {
        Value first = b.createOrFold<arith::MulIOp>(i, index(elements));
        for (auto [number, ofTerms] : llvm::enumerate(shares)) {
          Value firstRow = b.createOrFold<arith::MulIOp>(i, index(together * blocks.rowsPerBlock));
          firstRow = plus(firstRow, number * blocks.rowsPerBlock);
          kernel(firstLane, laneCount / width, firstRow, blocks.rowsPerBlock, {ofTerms, first, elements});
        }
      });
      int64_t done = iterations * together * blocks.rowsPerBlock;
      groups(blocks.rows - done, blocks.rowsPerBlock, [&](Value firstRow, int64_t rowCount) {
        kernel(firstLane, laneCount / width, plus(firstRow, done), rowCount, {});
      });
    };
    int64_t lanesPerBlock = blocks.columnsPerBlock * width, allLanes = blocks.vectorCount * width;
    int64_t takingLanes = 0;
    if (takesLines)
      takingLanes = std::min(allLanes, blocks.takingColumns(contracted.front().second) * lanesPerBlock);
    groups(takingLanes, lanesPerBlock, taking, /*unrolled=*/true);
    groups(allLanes - takingLanes, lanesPerBlock,
           [&](Value firstLane, int64_t laneCount) { plain(plus(firstLane, takingLanes), laneCount); });
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
