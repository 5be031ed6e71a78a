// SPDX-License-Identifier: Apache-2.0
//
// What all blocks of cached tokens share, computed before the loops over them: queries as A operands, factors that no
// token has.

#include "lowering/gpu/Emitter.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

/// Whether `tile` is the same for every block of `loop`.
static bool isInvariant(Value tile, scf::ForOp loop, const llvm::DenseMap<Value, Memory> &memories) {
  Operation *op = tile.getDefiningOp();
  if (!op)
    return loop.getBody() != tile.getParentBlock();
  if (!loop->isProperAncestor(op))
    return true;
  if (auto load = dyn_cast<tile::LoadOp>(op))
    if (memories.lookup(load.getMemory()).kind == Memory::Kind::cached)
      return false;
  return llvm::all_of(op->getOperands(), [&](Value operand) {
    return llvm::isa<tile::TileType>(operand.getType()) ? isInvariant(operand, loop, memories)
                                                        : !loop.getRegion().isAncestor(operand.getParentRegion());
  });
}

SmallVector<Value> Emitter::loadQuery(int64_t offset, int64_t step, int64_t rowTile) {
  const int64_t registers = layout.operandRegisters(), bytes = layout.operandBytes();
  auto type = VectorType::get({registers}, isa.b.getI32Type());
  int64_t steps = querySteps.lookup(offset);
  Value place = isa.add(isa.mul(rowWarp, steps * bytes), isa.mul(lane, 4 * registers));
  Value pointer = isa.shared(isa.shared(sharedMemory, offset), place);
  Value vector =
      isa.load(type, isa.shared(pointer, bytes * (rowTile * plan.rows.warps() * steps + step)), 4 * registers);
  Values values;
  for (int64_t i = 0; i < registers; ++i)
    values.push_back(LLVM::ExtractElementOp::create(isa.b, vector, isa.i32(i)));
  return values;
}

bool Emitter::keepsQueries(int64_t registers, ArrayRef<scf::ForOp> loops) {
  // A scheduler has a quarter of a multiprocessor's registers and of the warps.
  constexpr int64_t ofScheduler = 16384, schedulers = 4, largest = 255, granule = 8;
  const int64_t lanes = llvm::divideCeil(plan.warps(), schedulers) * warpSize;
  const int64_t ofLane = std::min(largest, int64_t(llvm::alignDown(ofScheduler / lanes, granule)));
  const int64_t rows = plan.rows.rowsOfTile() * plan.rows.tiles;
  const int64_t accumulators = rows * plan.features / plan.columnParts / warpSize;
  const int64_t scores = rows * plan.tokens * plan.scores / warpSize;
  // By what kernels took (ptxas 13.0): with a score its head factor, unpacked, and half a weight; all else; and beside
  // operands that are computed, or joined from entries that take registers as well.
  constexpr int64_t mostOfQueries = 40, ofAllElse = 36, ofComputing = 12, ofJoining = 32;
  int64_t others = 5 * scores / 2 + ofAllElse;
  if (llvm::any_of(loops, [](scf::ForOp loop) { return !loop.getBody()->getOps<tile::OuterOp>().empty(); }))
    others += ofJoining;
  else if (llvm::any_of(loops, [&](scf::ForOp loop) { return !computedTiles(loop.getBody()).empty(); }))
    others += ofComputing;
  return registers <= mostOfQueries && accumulators + registers + others <= ofLane;
}

bool Emitter::dependsOnKept(Value tile) {
  if (kept.contains(tile))
    return true;
  Operation *op = tile.getDefiningOp();
  return op && llvm::any_of(op->getOperands(), [&](Value operand) {
           return llvm::isa<TileType>(operand.getType()) && dependsOnKept(operand);
         });
}

Emitter::ColumnPairs Emitter::operandColumns(Value step, bool isPermuted) {
  // As multiplyWide and multiplyNarrow give the other operand.
  Value first = isa.add(isa.mul(step, 16), isPermuted ? isa.mul(lanePair, 2) : lanePair);
  int64_t distance = isPermuted ? 1 : 8, next = isPermuted ? 2 : 1;
  return {std::pair(first, isa.add(first, next)), std::pair(isa.add(first, distance), isa.add(first, distance + next))};
}

tile::DotOp Emitter::rankSum(Value operand) {
  Operation *op = operand.getDefiningOp();
  while (op && llvm::isa<tile::ConvertOp, tile::SplitOp, tile::ConstantMulOp>(op))
    op = op->getOperand(0).getDefiningOp();
  auto dot = dyn_cast_or_null<tile::DotOp>(op);
  if (!dot || dot.getAccumulator() || !plan.rows.hasOneQueryPerTile() || !operandType.isBF16())
    return {};
  auto heads = dot.getLhs().getType(), tokens = dot.getRhs().getType();
  StringAttr rank = axis("r");
  bool isPlain = heads.getElementType().isBF16() && heads.hasAxis(rank) && tokens.hasAxis(rank) &&
                 !dot.getType().hasAxis(rank) && heads.sizeOf(rank) % 16 == 0 && !tokens.hasAxis(axis("h"));
  return isPlain ? dot : tile::DotOp();
}

SmallVector<Value> Emitter::rankOperands(tile::DotOp dot) {
  Values operands;
  StringAttr rank = axis("r");
  for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
    for (int64_t first = 0; first < dot.getLhs().getType().sizeOf(rank); first += 16)
      for (int64_t columns : {0, 8})
        for (int64_t half : {0, 1}) {
          // A tile of 8 rows is there twice; nobody takes what becomes of the second.
          if (half == layout.operandRows()) {
            operands.push_back(operands.back());
            break;
          }
          Point point = operandPoint(rowTile, half);
          Value pair[2];
          for (int64_t i : {0, 1}) {
            point[rank] = isa.add(lanePair, first + columns + i);
            pair[i] = element(dot.getLhs(), point);
          }
          operands.push_back(isa.pack(pair[0], pair[1], operandType));
        }
  return operands;
}

void Emitter::sumRanks(tile::DotOp dot, ArrayRef<Value> heads, StringAttr feature, Value step, bool isPermuted,
                       const ColumnPairs &columns) {
  // What is left of a number after three roundings to bf16 is less than f32 has.
  constexpr int parts = 3;
  StringAttr rank = axis("r");
  int64_t rankSteps = dot.getLhs().getType().sizeOf(rank) / 16;
  Point known = operandPoint(0, 0);
  known[feature] = columns[0].first;
  if (elementScopes.back().contains(keyOf(dot, indicesOf(dot.getType(), known))))
    return;
  for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
    for (auto [number, pair] : llvm::enumerate(columns)) {
      // Column lane / 4 of this operand comes back as the lanes' pairs of `columns`.
      auto pairNumber = static_cast<int64_t>(number);
      Point point = operandPoint(rowTile, 0);
      point[feature] = isa.add(isa.mul(step, 16), isPermuted ? isa.add(isa.mul(laneGroup, 2), pairNumber)
                                                             : isa.add(laneGroup, 8 * pairNumber));
      Values sums(4, isa.f32(0.0));
      for (int64_t rankStep = 0; rankStep < rankSteps; ++rankStep) {
        std::array<Values, parts> tokens;
        for (int64_t half : {0, 8}) {
          Value left[2];
          for (int64_t i : {0, 1}) {
            point[rank] = isa.add(lanePair, 16 * rankStep + half + i);
            left[i] = element(dot.getRhs(), point);
          }
          for (Values &part : tokens) {
            part.push_back(isa.pack(left[0], left[1], operandType));
            auto [low, high] = isa.unpack(part.back(), operandType);
            left[0] = isa.fsub(left[0], low);
            left[1] = isa.fsub(left[1], high);
          }
        }
        auto a = heads.slice(4 * (rowTile * rankSteps + rankStep), 4);
        for (const Values &part : llvm::reverse(tokens))
          sums = isa.multiply(a, part[0], part[1], sums, operandType);
      }
      for (int64_t half = 0; half < layout.operandRows(); ++half) {
        Point result = operandPoint(rowTile, half);
        for (int64_t i : {0, 1}) {
          result[feature] = i == 0 ? pair.first : pair.second;
          elementScopes.back()[keyOf(dot, indicesOf(dot.getType(), result))] = sums[2 * half + i];
        }
      }
    }
}

void Emitter::prepareQueries(ArrayRef<scf::ForOp> loops) {
  queryFragments.clear();
  queryRegisters.clear();
  setupTiles.clear();
  kept.clear();
  // Rotations and softmaxes are computed once per element, and what products of the setup read is loaded once, all of
  // it at the same time.
  scf::ForOp front = loops.front();
  llvm::SmallSetVector<Value, 4> wanted;
  for (Operation &op : *front->getBlock()) {
    if (isKeptOp(&op))
      wanted.insert(op.getResult(0));
    if (auto dot = dyn_cast<tile::DotOp>(op))
      for (Value operand : {dot.getLhs(), dot.getRhs()})
        if (operand.getDefiningOp<tile::LoadOp>())
          wanted.insert(operand);
  }
  for (scf::ForOp loop : loops)
    for (Operation &op : loop.getBody()->without_terminator())
      if (isKeptOp(&op) && isInvariant(op.getResult(0), loop, memories))
        wanted.insert(op.getResult(0));
      // What each block rotates anew.
      else if (auto rope = dyn_cast<tile::RopeOp>(op); rope && isInvariant(rope.getInput(), loop, memories))
        wanted.insert(rope.getInput());
  keepAll(wanted.getArrayRef());

  llvm::SmallSetVector<Value, 4> operands, narrowOperands;
  for (scf::ForOp loop : loops)
    for (auto dot : loop.getBody()->getOps<tile::DotOp>()) {
      if (!columnAxis(dot.getType()) || isRankProduct(dot) || sumsRankProducts(dot) || isDeferred(dot))
        continue;
      if (isInvariant(dot.getLhs(), loop, memories))
        (isNarrow(dot.getRhs()) ? narrowOperands : operands).insert(dot.getLhs());
      if (isInvariant(dot.getRhs(), loop, memories) && !setupTiles.contains(dot.getRhs()))
        setupTiles[dot.getRhs()] = computeSetupTile(dot.getRhs());
    }
  int64_t registers = 0;
  for (Value operand : narrowOperands)
    if (!operands.insert(operand))
      fail(operand.getDefiningOp(), "this target multiplies an operand with 8-bit or with wider elements, not both");
  if (!operands.empty()) {
    auto type = cast<TileType>(operands.front().getType());
    StringAttr contracted = columnAxis(type);
    int64_t steps = type.sizeOf(contracted) / 16;
    SmallVector<int64_t> offsets;
    for (Value operand : operands) {
      offsets.push_back(reserve(plan.rows.rows() / plan.rows.rowsOfTile() * steps * layout.operandBytes()));
      queryFragments[operand] = offsets.back();
      querySteps[offsets.back()] = steps;
      registers += layout.operandRegisters() * steps * plan.rows.tiles;
    }
    llvm::DenseMap<Operation *, Values> rankHeads;
    for (Value operand : operands)
      if (tile::DotOp dot = rankSum(operand); dot && !rankHeads.contains(dot))
        rankHeads[dot] = rankOperands(dot);
    Value end = isa.i32(steps), increment = isa.i32(plan.groups * plan.columnParts);
    Value own = isa.add(isa.mul(group, plan.columnParts), columnWarp);
    scf::ForOp::create(isa.b, own, end, increment, ValueRange(), [&](OpBuilder &, Location, Value step, ValueRange) {
      Scope scope(*this);
      const int64_t laneBytes = 4 * layout.operandRegisters(), bytes = layout.operandBytes();
      Value place = isa.add(isa.mul(isa.add(isa.mul(rowWarp, steps), step), bytes), isa.mul(lane, laneBytes));
      // The same values for all operands, so that what they have in common is computed once.
      const ColumnPairs columns = operandColumns(step, /*isPermuted=*/false);
      const ColumnPairs permutedColumns = operandColumns(step, /*isPermuted=*/true);
      for (auto [operand, offset] : llvm::zip(operands, offsets)) {
        bool isPermuted = narrowOperands.contains(operand);
        const ColumnPairs &itsColumns = isPermuted ? permutedColumns : columns;
        if (tile::DotOp dot = rankSum(operand))
          sumRanks(dot, rankHeads[dot], contracted, step, isPermuted, itsColumns);
        for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile) {
          auto type = VectorType::get({layout.operandRegisters()}, isa.b.getI32Type());
          Value vector = LLVM::PoisonOp::create(isa.b, type);
          int64_t number = 0;
          for (auto [lowColumn, highColumn] : itsColumns)
            for (int64_t half = 0; half < layout.operandRows(); ++half) {
              Point point = operandPoint(rowTile, half);
              point[contracted] = lowColumn;
              Value low = element(operand, point);
              point[contracted] = highColumn;
              Value packed = isa.pack(low, element(operand, point), operandType);
              vector = LLVM::InsertElementOp::create(isa.b, vector, packed, isa.i32(number++));
            }
          int64_t itsOffset = offset + rowTile * plan.rows.warps() * steps * bytes;
          isa.store(vector, isa.shared(isa.shared(sharedMemory, itsOffset), place), laneBytes);
        }
      }
      scf::YieldOp::create(isa.b);
    });
  }
  prepareRanks(loops);
  isa.syncThreads();
  loadRanks(loops);
  if (keepsQueries(registers, loops))
    for (Value operand : operands) {
      Values values;
      int64_t offset = queryFragments[operand];
      for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
        for (int64_t step = 0; step < querySteps[offset]; ++step)
          llvm::append_range(values, loadQuery(offset, step, rowTile));
      queryRegisters[operand] = values;
    }
  // Head factors that no token has, and what else the rows alone decide.
  for (scf::ForOp loop : loops)
    for (Operation &op : *loop.getBody())
      for (Value result : op.getResults())
        if (auto type = dyn_cast<TileType>(result.getType());
            type && !columnAxis(type) && type.getRank() > 0 && isInvariant(result, loop, memories))
          fragment(result);
}
