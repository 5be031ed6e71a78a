// SPDX-License-Identifier: Apache-2.0
//
// Tiles of a block of cached tokens as tensor core fragments. A warp has one or more tiles of rows (heads, of one or
// more query tokens); FragmentLayout says of which rows and columns a lane has values.

#include "lowering/gpu/Emitter.h"

#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

bool mlir::tpa::gpu::isRowAxis(StringAttr name) { return name.getValue() == "n" || name.getValue() == "h"; }

StringAttr Emitter::columnAxis(TileType type) {
  for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes()))
    if (!isRowAxis(name))
      return name;
  return {};
}

int64_t Emitter::columnsOf(TileType type) {
  StringAttr column = columnAxis(type);
  int64_t size = type.sizeOf(column);
  return column.getValue() == "e" ? size / plan.columnParts : size;
}

Value Emitter::firstColumn(TileType type) {
  return columnAxis(type).getValue() == "e" ? isa.mul(columnWarp, columnsOf(type)) : isa.i32(0);
}

// --- Operands in shared memory ---

/// The row of an 8x8 matrix whose address this lane gives, in the four matrices of a load: the second pair of matrices,
/// or the second of each pair, is 8 rows down.
Value Emitter::laneRowOf(bool byHalves) {
  Value low = isa.bitAnd(lane, 7);
  Value down = isa.bitAnd(isa.shiftRight(lane, byHalves ? 1 : 0), 8);
  return isa.add(low, down);
}

Value Emitter::chunkAddress(const SharedTile &tile, Value laneRow, int64_t row, int64_t chunk, Value laneChunk) {
  Value number;
  int64_t aligned = 0;
  if (auto first = Isa::constantOf(tile.chunk)) {
    // The part of the chunk number that the swizzle leaves alone is a constant of the address.
    aligned = (*first + chunk) & ~tile.swizzle.mask;
    int64_t rest = (*first + chunk) & tile.swizzle.mask;
    number = isa.add(laneChunk, rest);
  } else {
    number = isa.add(isa.add(tile.chunk, chunk), laneChunk);
  }
  if (tile.swizzle.mask != 0) {
    Value turn = isa.bitAnd(isa.shiftRight(laneRow, tile.swizzle.shift), tile.swizzle.mask);
    number = isa.bitXor(number, turn);
  }
  Value offset = isa.add(isa.mul(laneRow, tile.rowBytes), isa.mul(number, chunkBytes));
  return isa.shared(isa.shared(tile.rows, offset), row * tile.rowBytes + aligned * chunkBytes);
}

std::optional<Emitter::SharedTile> Emitter::staged(Value tile) {
  if (auto slice = tile.getDefiningOp<tile::SliceOp>()) {
    if (slice.getOffset())
      return std::nullopt;
    auto input = staged(slice.getInput());
    if (!input || input->columnAxis != slice.getFromAttr())
      return std::nullopt;
    input->columnAxis = slice.getToAttr();
    return input;
  }
  auto load = tile.getDefiningOp<tile::LoadOp>();
  if (!load)
    return std::nullopt;
  auto found = memories.find(load.getMemory());
  if (found == memories.end() || found->second.kind != Memory::Kind::cached || load.getIndices().size() != 4 ||
      !stageRows)
    return std::nullopt;
  auto type = cast<TileType>(load.getType());
  auto last = cast<StringAttr>(load.getAxes()[3]);
  auto rankAxis = cast<StringAttr>(load.getAxes()[2]);
  unsigned width = type.getElementType().getIntOrFloatBitWidth();
  if ((width != 16 && width != 8) || last.empty() || Isa::constantOf(scalars.lookup(load.getIndices()[3])) != 0 ||
      found->second.segment.pitch % chunkBytes != 0 || (!rankAxis.empty() && type.sizeOf(rankAxis) != 1))
    return std::nullopt;
  SharedTile shared;
  shared.rows = stageRows;
  shared.rowBytes = plan.rowBytes;
  Value rank = plan.planes > 1 ? isa.i32(0) : scalars.lookup(load.getIndices()[2]);
  shared.chunk =
      isa.add(isa.mul(rank, found->second.segment.pitch / chunkBytes), found->second.segment.offset / chunkBytes);
  shared.swizzle = Swizzle::of(plan.rowBytes / chunkBytes);
  shared.rowAxis = axis("m");
  shared.columnAxis = last;
  shared.elementType = type.getElementType();
  return shared;
}

std::optional<Emitter::SharedTile> Emitter::stagedOperand(Value tile) {
  // What a product reads is in the operands' type already, or is rounded to it here.
  auto known = staged(tile);
  if (!known && cast<TileType>(tile.getType()).getElementType() == operandType)
    known = staged(throughConversions(tile));
  return known && isWidened(tile) ? std::nullopt : known;
}

bool Emitter::isCachedNarrow(Value tile) {
  tile = throughConversions(tile);
  if (auto slice = tile.getDefiningOp<tile::SliceOp>())
    return isCachedNarrow(slice.getInput());
  auto load = tile.getDefiningOp<tile::LoadOp>();
  return load && load.getType().getElementType().getIntOrFloatBitWidth() == 8 &&
         memories.lookup(load.getMemory()).kind == Memory::Kind::cached;
}

void Emitter::syncGroup() {
  if (plan.groups == 1)
    isa.syncThreads();
  else if (plan.warpsOfGroup() == 1)
    isa.syncWarp();
  else
    isa.syncNamed(isa.add(group, 1), plan.warpsOfGroup() * warpSize);
}

void Emitter::meetGroup() {
  if (!countsReaders())
    return syncGroup();
  isa.arriveAndWait(isa.shared(isa.shared(sharedMemory, meetingOffset), isa.mul(group, 8)));
}

Emitter::SharedTile Emitter::sharedTile(Value tile) {
  if (auto found = setupTiles.find(tile); found != setupTiles.end())
    return found->second;
  for (auto &scope : tileScopes)
    if (auto found = scope.find(tile); found != scope.end())
      return found->second;
  if (auto known = stagedOperand(tile))
    return tileScopes.back()[tile] = *known;
  computeBlockTiles(tile);
  return tileScopes.back().lookup(tile);
}

// --- Fragments ---

SmallVector<Value> Emitter::fragment(Value tile) {
  for (auto &scope : fragmentScopes)
    if (auto found = scope.find(tile); found != scope.end())
      return found->second;
  Values values = computeFragment(tile);
  fragmentScopes.back()[tile] = values;
  return values;
}

void Emitter::assign(Value tile, ValueRange values) { fragmentScopes.back()[tile] = Values(values); }

/// The values of `tile` at the places of a fragment: its own fragment, or what it has along rows or columns alone.
std::function<Value(size_t)> Emitter::fragmentOperand(Value tile, size_t count) {
  auto type = cast<TileType>(tile.getType());
  StringAttr column = columnAxis(type);
  if (!column) {
    Values rows = fragment(tile);
    return [this, rows, count](size_t i) { return rows[layout.rowOf(i, count)]; };
  }
  Values values = fragment(tile);
  return [values](size_t i) { return values[i]; };
}

SmallVector<Value> Emitter::packedHeadFactors(Value tile) {
  auto shared = staged(tile);
  auto type = cast<TileType>(tile.getType());
  if (!shared || shared->isNarrow() || shared->columnAxis.getValue() != "h" ||
      (plan.rows.queries > 1 && plan.rows.heads == 1))
    return {};
  if (layout.hasTokensOnRows())
    return transposedHeadFactors(*shared, type.sizeOf("m"));
  // Matrices: heads 0-7 and 8-15 of the warp's rows, for 8 tokens and for the next 8.
  int64_t headChunks = llvm::divideCeil(plan.rows.heads, 8);
  Value chunk = isa.add(isa.mul(rowWarp, 2), isa.bitAnd(isa.shiftRight(lane, 3), 1));
  chunk = plan.rows.queries == 1 ? isa.min(chunk, isa.i32(headChunks - 1)) : isa.rem(chunk, headChunks);
  Value laneRow = laneRowOf(/*byHalves=*/true);
  Values matrices;
  // The chunk is the lane's: the address has no constant part.
  SharedTile lanes = *shared;
  lanes.chunk = isa.add(lanes.chunk, chunk);
  for (int64_t token = 0; token < type.sizeOf("m"); token += 16)
    llvm::append_range(matrices, isa.loadMatrices(chunkAddress(lanes, laneRow, token, 0, isa.i32(0)),
                                                  /*transposed=*/true));
  return matrices;
}

SmallVector<Value> Emitter::headFactorFragment(Value tile) {
  Values values;
  for (Value packed : packedHeadFactors(tile)) {
    auto [low, high] = isa.unpack(packed, cast<TileType>(tile.getType()).getElementType());
    values.append({low, high});
  }
  if (layout.hasTokensOnRows())
    return values;
  // Each 16 rows of the warp are of the same heads.
  Values all;
  for (int64_t i = 0; i < plan.rows.tiles; ++i)
    llvm::append_range(all, values);
  return all;
}

SmallVector<Value> Emitter::computeFragment(Value tile) {
  using namespace tile;
  auto type = cast<TileType>(tile.getType());
  StringAttr column = columnAxis(type);
  auto elements = [&] {
    Values values;
    if (!column) {
      for (int64_t i = 0; i < layout.laneRows(); ++i)
        values.push_back(element(tile, rowPoint(i)));
      return values;
    }
    Value lanes = isa.add(laneColumn, firstColumn(type));
    for (size_t i = 0, count = valuesOf(type); i < count; ++i) {
      Point point = rowPoint(static_cast<int64_t>(layout.rowOf(i, count)));
      point[column] = isa.add(lanes, layout.columnOf(i, count));
      values.push_back(element(tile, point));
    }
    return values;
  };
  auto mapped = [&](Value input, llvm::function_ref<Value(Value)> map) {
    Values values;
    for (Value value : fragment(input))
      values.push_back(map(value));
    return values;
  };
  size_t count = column ? valuesOf(type) : static_cast<size_t>(layout.laneRows());
  bool hasRows = llvm::any_of(type.getAxes(), isRowAxis);
  Operation *op = tile.getDefiningOp();
  if (auto dot = dyn_cast_or_null<DotOp>(op); dot && isRankProduct(dot))
    return rankFragment(dot);
  if (!op || !hasRows)
    return elements();
  return llvm::TypeSwitch<Operation *, Values>(op)
      .Case([&](LoadOp) {
        Values values = headFactorFragment(tile);
        return values.empty() ? elements() : values;
      })
      .Case([&](ConvertOp convert) -> Values {
        Type narrow = type.getElementType();
        return mapped(convert.getInput(), [&](Value value) {
          return narrow.isF32() ? value : isa.widen(isa.narrow(value, narrow), narrow);
        });
      })
      .Case([&](FillOp fill) {
        Value value = isa.f32(fill.getValue().convertToDouble());
        return Values(count, value);
      })
      .Case([&](DotOp dot) -> Values {
        // A product without columns, or one that no tensor core takes, is summed row by row.
        return !column ? elements() : sumsRankProducts(dot) ? headFragment(dot) : dotFragment(dot);
      })
      .Case([&](MulOp mul) -> Values {
        auto lhs = fragmentOperand(mul.getLhs(), count), rhs = fragmentOperand(mul.getRhs(), count);
        auto product = [&] {
          Values values;
          for (size_t i = 0; i < count; ++i)
            values.push_back(isa.fmul(lhs(i), rhs(i)));
          return values;
        };
        Value condition = isMoved.lookup(mul.getRhs());
        if (!condition)
          return product();
        // A correction that is 1 for every row of the warp is no work.
        auto branch = scf::IfOp::create(
            isa.b, condition, [&](OpBuilder &, Location) { scf::YieldOp::create(isa.b, product()); },
            [&](OpBuilder &, Location) {
              Values values;
              for (size_t i = 0; i < count; ++i)
                values.push_back(lhs(i));
              scf::YieldOp::create(isa.b, values);
            });
        return Values(branch.getResults());
      })
      .Case([&](AddOp add) {
        Values lhs = fragment(add.getLhs()), rhs = fragment(add.getRhs()), values;
        for (auto [x, y] : llvm::zip(lhs, rhs))
          values.push_back(isa.fadd(x, y));
        return values;
      })
      .Case([&](ConstantMulOp mul) {
        Value factor = isa.f32(mul.getFactor().convertToDouble());
        return mapped(mul.getInput(), [&](Value value) { return isa.fmul(value, factor); });
      })
      .Case([&](SoftcapOp softcap) {
        double cap = softcap.getCap().convertToDouble();
        return mapped(softcap.getInput(), [&](Value value) { return softcapOf(value, cap); });
      })
      .Case([&](MaskOp op) { return mask(op, fragment(op.getInput())); })
      .Case([&](SoftmaxStepOp step) {
        softmaxStep(step);
        return fragment(tile);
      })
      .Case([&](FinishOp finish) {
        Values acc = fragment(finish.getAccumulator()), max = fragment(finish.getMax()),
               sum = fragment(finish.getSum());
        Values inverse, lse, out;
        for (auto [itsMax, itsSum] : llvm::zip(max, sum)) {
          Value isEmpty = arith::CmpFOp::create(isa.b, arith::CmpFPredicate::OEQ, itsSum, isa.f32(0.0));
          inverse.push_back(isa.select(isEmpty, isa.f32(0.0), isa.fdiv(isa.f32(1.0), itsSum)));
          Value logarithm = isa.fmul(isa.fadd(itsMax, isa.log2(itsSum)), isa.f32(0.693147180559945309));
          lse.push_back(isa.select(isEmpty, isa.f32(-std::numeric_limits<double>::infinity()), logarithm));
        }
        for (auto [i, value] : llvm::enumerate(acc))
          out.push_back(isa.fmul(value, inverse[layout.rowOf(i, acc.size())]));
        fragmentScopes.back()[finish.getOut()] = out;
        fragmentScopes.back()[finish.getLse()] = lse;
        return fragment(tile);
      })
      .Default([&](Operation *) { return elements(); });
}

// --- Softmax ---

SmallVector<Value> Emitter::mask(tile::MaskOp op, Values values) {
  Value token = scalars.lookup(op.getToken()), limit = scalars.lookup(op.getLimit()), end = scalars.lookup(op.getEnd());
  Value infinity = isa.f32(-std::numeric_limits<double>::infinity());
  for (auto [number, query] : llvm::enumerate(rowQuery)) {
    Value last = op.getCausal() ? isa.add(limit, query) : limit;
    // Relative to the lane's first column.
    Value origin = isa.add(token, laneColumn);
    Value high = isa.sub(isa.min(last, end), origin);
    Value low = op.getWindow() ? isa.sub(isa.sub(last, isa.i32(*op.getWindow())), origin) : Value();
    for (auto [i, value] : llvm::enumerate(values)) {
      if (layout.rowOf(i, values.size()) != number)
        continue;
      Value column = isa.i32(layout.columnOf(i, values.size()));
      Value isSeen = isa.less(column, high);
      if (low)
        isSeen = isa.both(isSeen, isa.compare(arith::CmpIPredicate::sge, column, low));
      value = isa.select(isSeen, value, infinity);
    }
  }
  return values;
}

/// Logits as products that are added up, as far as the program makes them so: what is subtracted from them is then one
/// more term.
struct Emitter::Logits {
  struct Term {
    std::function<Value(size_t)> lhs, rhs;
  };
  SmallVector<Term> terms;
  size_t count = 0;

  Logits(Emitter &emitter, Value tile) : emitter(emitter) {
    type = cast<TileType>(tile.getType());
    count = emitter.valuesOf(type);
    collect(tile, 1.0);
  }

  Value at(size_t i) const { return sum(i, Value()); }
  Value minus(size_t i, Value negatedReference) const { return sum(i, negatedReference); }

private:
  Value sum(size_t i, Value value) const {
    Isa &isa = emitter.isa;
    for (const Term &term : terms) {
      Value lhs = term.lhs(i), rhs = term.rhs ? term.rhs(i) : Value();
      if (value)
        value = rhs ? isa.fma(lhs, rhs, value) : isa.fadd(lhs, value);
      else
        value = rhs ? isa.fmul(lhs, rhs) : lhs;
    }
    return value;
  }

  void collect(Value tile, double factor) {
    Isa &isa = emitter.isa;
    Operation *op = tile.hasOneUse() && tile.getType() == type ? tile.getDefiningOp() : nullptr;
    if (auto scaled = dyn_cast_or_null<tile::ConstantMulOp>(op))
      return collect(scaled.getInput(), factor * scaled.getFactor().convertToDouble());
    if (auto add = dyn_cast_or_null<tile::AddOp>(op)) {
      collect(add.getLhs(), factor);
      return collect(add.getRhs(), factor);
    }
    auto mul = dyn_cast_or_null<tile::MulOp>(op);
    Term term = {emitter.fragmentOperand(mul ? mul.getLhs() : tile, count), nullptr};
    if (mul) {
      // Head factors: the same for all rows of a head, so that few are multiplied.
      auto rhs = emitter.fragmentOperand(mul.getRhs(), count);
      term.rhs = [&isa, rhs, factor](size_t i) { return factor == 1.0 ? rhs(i) : isa.fmul(rhs(i), isa.f32(factor)); };
    } else if (factor != 1.0) {
      term.rhs = [&isa, factor](size_t) { return isa.f32(factor); };
    }
    terms.push_back(term);
  }

  Emitter &emitter;
  TileType type;
};

/// The maximum that is subtracted stays where it is as long as no row's probabilities of the block sum up to more than
/// 2^8 in a lane: f32 and the operands of the second product hold them, most blocks need no rescaling, and none of
/// those looks for its maximum. Else, and where there is none yet (-infinity), the probabilities are computed again.
void Emitter::softmaxStep(tile::SoftmaxStepOp step) {
  Logits logits(*this, step.getLogits());
  Values max = fragment(step.getMax()), sum = fragment(step.getSum());
  Value infinity = isa.f32(-std::numeric_limits<double>::infinity());
  constexpr double mostOfBlock = 256.0;
  size_t rows = max.size();
  // Each lane sums its own columns; those of a row meet at the end.
  auto powers = [&](ArrayRef<Value> reference, Values &sums) {
    Values negated, probabilities;
    for (Value value : reference)
      negated.push_back(isa.fsub(isa.f32(-0.0), value));
    sums.assign(rows, Value());
    for (size_t i = 0; i < logits.count; ++i) {
      size_t row = layout.rowOf(i, logits.count);
      Value value = isa.exp2(logits.minus(i, negated[row]));
      probabilities.push_back(value);
      sums[row] = sums[row] ? isa.fadd(sums[row], value) : value;
    }
    return probabilities;
  };
  Values blockSum, fast = powers(max, blockSum);
  Value moves;
  for (Value value : blockSum) {
    // NaN, where there is no maximum, is above.
    Value isAbove = arith::CmpFOp::create(isa.b, arith::CmpFPredicate::UGT, value, isa.f32(mostOfBlock));
    moves = moves ? Value(arith::OrIOp::create(isa.b, moves, isAbove)) : isAbove;
  }
  Value moved = isa.any(moves);
  auto branch = scf::IfOp::create(
      isa.b, moved,
      [&](OpBuilder &, Location) {
        Values largest(rows), corrections, reference, sums;
        for (size_t i = 0; i < logits.count; ++i) {
          Value &own = largest[layout.rowOf(i, logits.count)];
          own = own ? isa.fmax(own, logits.at(i)) : logits.at(i);
        }
        for (auto [own, before] : llvm::zip(largest, max)) {
          for (int64_t laneMask : layout.lanesOfRow())
            own = isa.fmax(own, isa.exchange(own, laneMask));
          own = isa.fmax(before, own);
          Value isEmpty = arith::CmpFOp::create(isa.b, arith::CmpFPredicate::OEQ, own, infinity);
          reference.push_back(isa.select(isEmpty, isa.f32(0.0), own));
          corrections.push_back(isa.select(isEmpty, isa.f32(1.0), isa.exp2(isa.fsub(before, own))));
        }
        Values yielded = powers(reference, sums);
        for (auto [own, before, correction] : llvm::zip(sums, sum, corrections))
          own = isa.fma(before, correction, own);
        for (const Values &values : {largest, corrections, sums})
          llvm::append_range(yielded, values);
        scf::YieldOp::create(isa.b, yielded);
      },
      [&](OpBuilder &, Location) {
        Values yielded = fast;
        llvm::append_range(yielded, max);
        yielded.append(rows, isa.f32(1.0));
        for (auto [own, before] : llvm::zip(blockSum, sum))
          yielded.push_back(isa.fadd(before, own));
        scf::YieldOp::create(isa.b, yielded);
      });
  ValueRange results = branch.getResults();
  auto rowsFrom = [&](size_t number) { return results.slice(logits.count + number * rows, rows); };
  assign(step.getProbabilities(), results.take_front(logits.count));
  assign(step.getNewMax(), rowsFrom(0));
  assign(step.getCorrection(), rowsFrom(1));
  assign(step.getNewSum(), rowsFrom(2));
  isMoved[step.getCorrection()] = moved;
}
