// SPDX-License-Identifier: Apache-2.0
//
// Token factors of order 3 and above, b (x) c (x) .., are never put together. Products read the matrices of b as they
// are cached. Of keys, what each entry of c (x) .. multiplies is a sum of its own over b's features, scaled where it
// is accumulated, in f32: nothing is rounded, so that keys need no second part. Of values, b's matrices are scaled in
// registers, two tokens at a time.
//
// Learned values are the same for all tokens: weights are summed over tokens, and the sums multiplied by them at the
// end.

#include "lowering/gpu/Emitter.h"

#include <numeric>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

static tile::OuterOp outerOf(Value tile) {
  while (Operation *op = tile.getDefiningOp()) {
    if (auto outer = dyn_cast<tile::OuterOp>(op))
      return outer;
    // The first features of it; its parts; its rounding: all stand for the tile itself.
    auto slice = dyn_cast<tile::SliceOp>(op);
    if (!llvm::isa<tile::ConvertOp, tile::SplitOp>(op) && !(slice && !slice.getOffset()))
      return {};
    tile = op->getOperand(0);
  }
  return {};
}

bool mlir::tpa::gpu::isLowPartOf(Value tile, Value other) {
  auto split = other.getDefiningOp<tile::SplitOp>();
  return split && other == split.getHigh() && tile == split.getLow();
}

std::optional<Emitter::JoinedTile> Emitter::joinedTile(Value tile) {
  JoinedTile joined;
  Value first;
  for (tile::OuterOp outer = outerOf(tile); outer; outer = first.getDefiningOp<tile::OuterOp>()) {
    auto load = outer.getRhs().getDefiningOp<tile::LoadOp>();
    first = outer.getLhs();
    if (!load || !stageRows)
      return std::nullopt;
    Memory memory = memories.lookup(load.getMemory());
    auto type = load.getType();
    if (memory.kind != Memory::Kind::cached || type.getElementType() != operandType || load.getIndices().size() != 4 ||
        !type.hasAxis(axis("m")) || Isa::constantOf(scalars.lookup(load.getIndices()[3])) != 0)
      return std::nullopt;
    auto rank = Isa::constantOf(scalars.lookup(load.getIndices()[2]));
    if (!rank || plan.planes > 1 || type.getNumElements() != plan.tokens * type.sizeOf(outer.getSlow()))
      return std::nullopt;
    int64_t bytes = type.sizeOf(outer.getSlow()) * 2, offset = memory.segment.offset + *rank * memory.segment.pitch;
    joined.others.push_back({offset, bytes / 2, std::gcd(std::gcd(bytes, offset), chunkBytes)});
  }
  std::reverse(joined.others.begin(), joined.others.end());
  auto found = first ? staged(first) : std::nullopt;
  if (!found || found->elementType != operandType || plan.columnParts > 1)
    return std::nullopt;
  joined.first = *found;
  joined.features = cast<TileType>(first.getType()).sizeOf(found->columnAxis);
  if (joined.features % 16 != 0)
    return std::nullopt;
  for (StringAttr name : cast<TileType>(tile.getType()).getAxes())
    if (name != found->rowAxis)
      joined.first.columnAxis = name;
  return joined;
}

/// Entries of a factor of token `laneRow` + `next` + `row`, in pairs. `row` is a multiple of 8; where `next` is 1,
/// `laneRow` is even.
SmallVector<Value> Emitter::packedEntries(const JoinedTile &joined, const JoinedTile::Entries &entries, Value laneRow,
                                          int64_t next, int64_t row) {
  // Of the row of the cache, as the first factor is. Where pairs of tokens are swizzled alike, their distance is a
  // constant.
  SharedTile shared = joined.first;
  if (shared.swizzle.mask == 0 || shared.swizzle.shift > 0)
    row += next;
  else
    laneRow = isa.add(laneRow, next);
  Values packed;
  for (int64_t at = 0; at < entries.count * 2; at += entries.unit) {
    int64_t offset = entries.offset + at;
    shared.chunk = isa.i32(offset / chunkBytes);
    Value address = isa.shared(chunkAddress(shared, laneRow, row, 0, isa.i32(0)), offset % chunkBytes);
    Type word = isa.b.getI32Type();
    if (entries.unit == 2) {
      Value half = arith::ExtUIOp::create(isa.b, word, isa.load(isa.b.getI16Type(), address, 2));
      if (at % 4 == 0)
        packed.push_back(half);
      else
        packed.back() = isa.selectHalves(packed.back(), half, /*upper=*/false);
    } else if (entries.unit == 4) {
      packed.push_back(isa.load(word, address, 4));
    } else {
      int64_t words = entries.unit / 4;
      Value vector = isa.load(VectorType::get({words}, word), address, entries.unit);
      for (int64_t i = 0; i < words; ++i)
        packed.push_back(LLVM::ExtractElementOp::create(isa.b, vector, isa.i32(i)));
    }
  }
  return packed;
}

/// The same of all factors but the first one.
SmallVector<SmallVector<Value>> Emitter::packedEntries(const JoinedTile &joined, Value laneRow, int64_t next,
                                                       int64_t row) {
  SmallVector<Values> all;
  for (const auto &entries : joined.others)
    all.push_back(packedEntries(joined, entries, laneRow, next, row));
  return all;
}

/// What the first factor of a token is multiplied by where the tile has it for time `number`; from the token's entries.
Value Emitter::joinedFactor(const JoinedTile &joined, ArrayRef<Values> packed, int64_t number) {
  Value factor;
  for (auto [entries, words] : llvm::zip(joined.others, packed)) {
    int64_t own = number % entries.count;
    auto [low, high] = isa.unpack(words[own / 2], operandType);
    Value entry = own % 2 == 0 ? low : high;
    factor = factor ? isa.fmul(factor, entry) : entry;
    number /= entries.count;
  }
  return factor;
}

/// The same of two tokens, packed and rounded.
Value Emitter::joinedPair(const JoinedTile &joined, ArrayRef<Values> first, ArrayRef<Values> second, int64_t number) {
  Value factor;
  for (auto [entries, left, right] : llvm::zip(joined.others, first, second)) {
    int64_t own = number % entries.count;
    Value pair = isa.selectHalves(left[own / 2], right[own / 2], /*upper=*/own % 2 == 1);
    factor = factor ? isa.multiplyPairs(factor, pair, operandType) : pair;
    number /= entries.count;
  }
  return factor;
}

void Emitter::multiplyJoined(const Products &products, const JoinedTile &joined) {
  int64_t steps = joined.features / 16;
  Value laneRow = laneRowOf(/*byHalves=*/products.isByColumns);
  Value laneChunk = isa.bitAnd(isa.shiftRight(lane, products.isByColumns ? 3 : 4), 1);
  auto matricesOf = [&](int64_t row) {
    SmallVector<Values> matrices;
    for (int64_t step = 0; step < steps; ++step)
      matrices.push_back(isa.loadMatrices(chunkAddress(joined.first, laneRow, row, 2 * step, laneChunk),
                                          /*transposed=*/!products.isByColumns));
    return matrices;
  };
  if (!products.isByColumns) {
    for (int64_t step = 0; step < products.steps; ++step) {
      SmallVector<Values> a = operandsOf(products, step), matrices = matricesOf(16 * step);
      SmallVector<Values> entries[2][2];
      for (int64_t half : {0, 1})
        for (int64_t next : {0, 1})
          entries[half][next] = packedEntries(joined, lanePair, next, 16 * step + 8 * half);
      for (int64_t number = 0; number < products.pairs / steps; ++number) {
        Value factors[2];
        for (int64_t half : {0, 1})
          factors[half] = joinedPair(joined, entries[half][0], entries[half][1], number);
        for (int64_t pair = 0; pair < steps; ++pair)
          for (int64_t columns : {0, 1}) {
            Value b[2];
            for (int64_t half : {0, 1})
              b[half] = isa.multiplyPairs(matrices[pair][2 * columns + half], factors[half], operandType);
            multiplyQuad(products, a, b[0], b[1], 2 * (number * steps + pair) + columns);
          }
      }
    }
    return;
  }
  size_t operands = products.lhs.size(), perTile = products.sums.size() / plan.rows.tiles;
  for (int64_t pair = 0; pair < products.pairs; ++pair) {
    SmallVector<Values> matrices = matricesOf(16 * pair);
    for (int64_t half : {0, 1}) {
      // Of columns 2t and 2t + 1.
      const SmallVector<Values> entries[2] = {packedEntries(joined, lanePair, 0, 16 * pair + 8 * half),
                                              packedEntries(joined, lanePair, 1, 16 * pair + 8 * half)};
      for (int64_t number = 0; number < products.steps / steps; ++number) {
        const Value factors[2] = {joinedFactor(joined, entries[0], number), joinedFactor(joined, entries[1], number)};
        SmallVector<SmallVector<Values>> a;
        for (int64_t step = 0; step < steps; ++step)
          a.push_back(operandsOf(products, number * steps + step));
        for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile) {
          Values partial(4, isa.f32(0.0));
          for (int64_t step = 0; step < steps; ++step)
            for (size_t operand = 0; operand < operands; ++operand)
              partial = isa.multiply(a[step][rowTile * operands + operand], matrices[step][2 * half],
                                     matrices[step][2 * half + 1], partial, operandType);
          auto sum = products.sums.slice(rowTile * perTile + 4 * (2 * pair + half), 4);
          for (size_t i = 0; i < 4; ++i)
            sum[i] = isa.fma(partial[i], factors[i % 2], sum[i]);
        }
      }
    }
  }
}

// --- Values that are the same for all tokens ---

/// The row that `tile` repeats for each token; null where its rows differ.
static Value repeatedRow(Value tile) {
  auto mul = throughConversions(tile).getDefiningOp<tile::MulOp>();
  auto ones = mul ? mul.getRhs().getDefiningOp<tile::FillOp>() : tile::FillOp();
  bool isRepeated = ones && ones.getValue().convertToDouble() == 1.0 && !mul.getLhs().getType().hasAxis("m") &&
                    llvm::none_of(mul.getLhs().getType().getAxes(), isRowAxis);
  return isRepeated ? mul.getLhs() : Value();
}

/// The products that are added to what the loop carries as number `number`, and its correction.
struct Emitter::DeferredSum {
  SmallVector<tile::DotOp> products;
  tile::MulOp corrected;
};

std::optional<Emitter::DeferredSum> Emitter::deferredSum(scf::ForOp loop, size_t number) {
  DeferredSum sum;
  Value value = loop.getBody()->getTerminator()->getOperand(number);
  while (auto dot = value.getDefiningOp<tile::DotOp>()) {
    if (!dot.getAccumulator() || !repeatedRow(dot.getRhs()))
      return std::nullopt;
    sum.products.push_back(dot);
    value = dot.getAccumulator();
  }
  sum.corrected = value.getDefiningOp<tile::MulOp>();
  if (sum.products.empty() || !sum.corrected || sum.corrected.getLhs() != loop.getRegionIterArg(number))
    return std::nullopt;
  return sum;
}

bool Emitter::isDeferred(tile::DotOp dot) {
  auto loop = dyn_cast<scf::ForOp>(dot->getParentOp());
  return loop && deferred && llvm::is_contained(deferredSum(loop, *deferred)->products, dot);
}

void Emitter::findDeferred(ArrayRef<scf::ForOp> loops) {
  deferred.reset();
  scf::ForOp front = loops.front();
  for (auto [number, init] : llvm::enumerate(front.getInitArgs())) {
    auto zero = init.getDefiningOp<tile::FillOp>();
    if (zero && zero.getValue().isZero() &&
        llvm::all_of(loops, [&, number = number](scf::ForOp loop) { return deferredSum(loop, number).has_value(); }))
      deferred = number;
  }
}

/// For each of the products, sums of weights, of each of the lane's rows: before the first block.
SmallVector<Value> Emitter::firstDeferred(scf::ForOp loop) {
  return Values(deferredSum(loop, *deferred)->products.size() * layout.laneRows(), isa.f32(0.0));
}

/// The same behind a block, from what they are before it.
SmallVector<Value> Emitter::addDeferred(scf::ForOp loop) {
  auto sum = deferredSum(loop, *deferred);
  Values sums = fragment(loop.getRegionIterArg(*deferred)), corrections = fragment(sum->corrected.getRhs());
  for (auto [product, dot] : llvm::enumerate(sum->products)) {
    auto own = MutableArrayRef(sums).slice(product * layout.laneRows(), layout.laneRows());
    for (auto [value, correction] : llvm::zip(own, corrections))
      value = isa.fmul(value, correction);
    Value weights = throughConversions(dot.getLhs());
    size_t count = valuesOf(cast<TileType>(weights.getType()));
    auto mul = weights.getDefiningOp<tile::MulOp>();
    auto lhs = fragmentOperand(mul ? mul.getLhs() : weights, count);
    auto rhs = mul ? fragmentOperand(mul.getRhs(), count) : nullptr;
    for (size_t i = 0; i < count; ++i) {
      Value &value = own[layout.rowOf(i, count)];
      value = rhs ? isa.fma(lhs(i), rhs(i), value) : isa.fadd(value, lhs(i));
    }
  }
  return sums;
}

/// What `sums` stand for: the accumulator's fragment.
SmallVector<Value> Emitter::finishDeferred(scf::ForOp loop, Values sums) {
  auto sum = deferredSum(loop, *deferred);
  for (Value &value : sums)
    for (int64_t laneMask : layout.lanesOfRow())
      value = isa.fadd(value, isa.exchange(value, laneMask));
  auto type = cast<TileType>(loop.getResult(*deferred).getType());
  StringAttr column = columnAxis(type);
  Value lanes = isa.add(laneColumn, firstColumn(type));
  Values all;
  for (size_t i = 0, count = valuesOf(type); i < count; ++i) {
    Point point;
    point[column] = isa.add(lanes, layout.columnOf(i, count));
    Value value = isa.f32(0.0);
    for (auto [product, dot] : llvm::enumerate(sum->products))
      value = isa.fma(sums[product * layout.laneRows() + layout.rowOf(i, count)],
                      element(repeatedRow(dot.getRhs()), point), value);
    all.push_back(value);
  }
  return all;
}
