// SPDX-License-Identifier: Apache-2.0
//
// A MatrixLoop with queries as columns: they pass by a block of keys and values in chunks. While vectors weigh 32
// tokens, the matrix unit forms the scores of the next 32; then it multiplies all of the block's values by the chunk's
// weights. A chunk's queries, scores and weights stay in the L1 cache, past which keys, values and sums stream.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

/// Rows of the scores' buffer: 32 tokens that vectors weigh, the next 32, the first 32 of this chunk and of the next
/// one, and a whole block of those that are weighed one stage after the other.
static constexpr int64_t firstStepRow = 2 * matrixDepth, blockRow = 4 * matrixDepth;

// --- Which columns and tokens

/// Columns that some store keeps.
Value MatrixLoopEmitter::activeColumns() { return e.extent(m.column, m.columns); }

MatrixLoopEmitter::Visible MatrixLoopEmitter::visibleTokens(const Place &place) {
  Value zero = number(0), all = number(m.tokens);
  if (!m.mask)
    return {zero, zero, all, all};
  tile::MaskOp mask = m.mask;
  auto smaller = [&](Value x, Value y) -> Value { return arith::MinSIOp::create(b, x, y); };
  auto larger = [&](Value x, Value y) -> Value { return arith::MaxSIOp::create(b, x, y); };
  auto clamped = [&](Value token) { return smaller(larger(token, zero), all); };
  auto rounded = [&](Value token, int64_t up) -> Value {
    Value steps = arith::DivUIOp::create(b, e.plus(clamped(token), up), number(matrixDepth));
    return arith::MulIOp::create(b, steps, number(matrixDepth));
  };
  // Column n sees the tokens [last(n) - window, last(n)), where last(n) = limit, plus n where the mask is causal.
  Value exists = arith::SubIOp::create(b, mask.getEnd(), place.token);
  Value firstColumn = arith::SubIOp::create(b, mask.getLimit(), place.token), lastColumn = firstColumn;
  if (mask.getCausal()) {
    firstColumn = arith::AddIOp::create(b, firstColumn, place.column);
    lastColumn = e.plus(firstColumn, chunkColumns - 1);
  }
  Value end = rounded(smaller(lastColumn, exists), matrixDepth - 1);
  Value first = zero, wholeFirst = zero, wholeEnd = rounded(smaller(firstColumn, exists), 0);
  if (mask.getWindow()) {
    Value window = number(*mask.getWindow());
    first = smaller(rounded(arith::SubIOp::create(b, firstColumn, window), 0), end);
    wholeFirst = rounded(arith::SubIOp::create(b, lastColumn, window), matrixDepth - 1);
  }
  Value isAny = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, wholeFirst, wholeEnd);
  return {first, arith::SelectOp::create(b, isAny, wholeFirst, first),
          arith::SelectOp::create(b, isAny, wholeEnd, first), end};
}

// --- One block

void MatrixLoopEmitter::emitColumns(const State &state) {
  allocateStages(1, blockRow + m.tokens, 1);
  Place block;
  block.token = m.loop.getInductionVar();
  findPage(block);
  block.parity = number(0);
  Value active = activeTokens(block), columns = activeColumns();
  // What all heads share once; then head by head.
  Place any = block;
  setOuter(any, number(0));
  packOperands(any, active, [&](Value tile) { return !m.differsByOuter(tile); });
  overOuter(block, [&](const Place &head) {
    packOperands(head, active, [&](Value tile) { return m.differsByOuter(tile); });
    e.loop(number(0), columns, chunkColumns, [&](Value column) {
      Place place = head;
      place.column = column;
      Visible visible = visibleTokens(place);
      if (!m.mask)
        return emitChunk(place, visible, columns, state);
      Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, visible.first, visible.end);
      auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(conditional.thenBlock());
      emitChunk(place, visible, columns, state);
    });
  });
}

void MatrixLoopEmitter::emitChunk(Place place, const Visible &visible, Value columns, const State &state) {
  SmallVector<Value> sums(groups, splat(b, f32, 0.0));
  if (m.mask) {
    if (m.mask.getWindow())
      sums = weighMasked(place, visible.first, visible.wholeFirst, sums, state);
    sums = weighMasked(place, visible.wholeEnd, visible.end, sums, state);
  }
  sums = weighWhole(place, visible, columns, sums, state);
  place.firstToken = visible.first;
  place.scoreShift = number(blockRow);
  addSums(place, visible.end, sums, state);
  valueStage(place, visible.end, state);
}

/// Adds the weights of tokens that the mask is evaluated for.
SmallVector<Value> MatrixLoopEmitter::weighMasked(Place place, Value first, Value end, ArrayRef<Value> sums,
                                                  const State &state) {
  place.firstToken = first;
  place.scoreShift = number(blockRow);
  scoreStage(place, end);
  setFirstMaximum(place, end, state);
  return weigh(place, end, weightBase(place, state), sums, /*prefetch=*/false);
}

SmallVector<Value> MatrixLoopEmitter::weighWhole(Place place, const Visible &visible, Value columns,
                                                 ArrayRef<Value> start, const State &state) {
  place.isWhole = true;
  auto isAny = [&](const Visible &tokens) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, tokens.wholeFirst, tokens.wholeEnd);
  };
  auto firstRow = [&](Value column) {
    return e.plus(arith::AndIOp::create(b, column, number(chunkColumns)), firstStepRow);
  };
  static_assert(chunkColumns == matrixDepth, "chunks take turns with rows for one step");
  Value any = isAny(visible);
  // The first scores came with the last ones of the chunk before, if there is one that sees whole steps.
  Place first = place;
  first.firstToken = visible.wholeFirst;
  first.scoreShift = arith::SubIOp::create(b, firstRow(place.column), visible.wholeFirst);
  Value isFirstChunk = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place.column, number(0));
  Value needsScores = isFirstChunk;
  if (m.mask) {
    Place before = place;
    before.column = e.plus(place.column, -chunkColumns);
    Value none =
        arith::XOrIOp::create(b, isAny(visibleTokens(before)), arith::ConstantOp::create(b, b.getBoolAttr(true)));
    needsScores = arith::AndIOp::create(b, any, arith::OrIOp::create(b, isFirstChunk, none));
  }
  Value firstEnd = arith::MinSIOp::create(b, e.plus(visible.wholeFirst, matrixDepth), visible.wholeEnd);
  {
    auto conditional = scf::IfOp::create(b, needsScores, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(conditional.thenBlock());
    scoreStage(first, firstEnd);
  }
  setFirstMaximum(first, firstEnd, state);
  SmallVector<Value> base = weightBase(place, state);

  // What the last step looks ahead to. The last chunk's first scores are computed twice, the second time for nothing.
  Place next = place;
  next.column = e.plus(place.column, chunkColumns);
  Value nextRow = firstRow(next.column);
  next.column = arith::SelectOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::slt, next.column, columns),
                                        next.column, place.column);
  Value nextToken = visibleTokens(next).wholeFirst;
  next.scoreShift = arith::SubIOp::create(b, nextRow, nextToken);
  SmallVector<Value> carriedIn(start);
  llvm::append_range(carriedIn, loadScores(first, visible.wholeFirst));
  auto step = [&](Value token, ValueRange carried) {
    SmallVector<Value> sums(carried.take_front(groups));
    auto select = [&](Value condition, Value whenSo, Value otherwise) -> Value {
      return arith::SelectOp::create(b, condition, whenSo, otherwise);
    };
    Value step = arith::DivUIOp::create(b, token, number(matrixDepth));
    Value row = arith::MulIOp::create(b, arith::AndIOp::create(b, step, number(1)), number(matrixDepth));
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, token, visible.wholeFirst);
    Value following = e.plus(token, matrixDepth);
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, following, visible.wholeEnd);

    Place weighed = place;
    weighed.scoreShift = arith::SubIOp::create(b, select(isFirst, firstRow(place.column), row), token);
    Place scored = place;
    scored.column = select(isLast, next.column, place.column);
    Value scoredToken = select(isLast, nextToken, following);
    Value scoredRow = select(isLast, nextRow, arith::SubIOp::create(b, number(matrixDepth), row).getResult());
    scored.scoreShift = arith::SubIOp::create(b, scoredRow, scoredToken);
    LateScores late{weighed, token, m.scores.size() - 1, carried.drop_front(groups)};
    std::vector<Work> works = {chunkScoreWork(scored, scoredToken, late),
                               weightWork(weighed, token, matrixDepth, base, sums)};
    if (!m.mask) {
      // The next block, a part of it beside each step of each head.
      int64_t chunks = m.columns / chunkColumns, allSteps = outerSize * chunks * (m.tokens / matrixDepth);
      Value chunk = arith::AddIOp::create(b, b.createOrFold<arith::MulIOp>(place.outerIndex, number(chunks)),
                                          arith::DivUIOp::create(b, place.column, number(chunkColumns)));
      Value steps = arith::AddIOp::create(b, arith::MulIOp::create(b, chunk, number(m.tokens / matrixDepth)), step);
      Value row =
          b.createOrFold<arith::DivUIOp>(b.createOrFold<arith::MulIOp>(steps, number(m.tokens)), number(allSteps));
      works.push_back(prefetchWork(place, place, place, row, llvm::divideCeil(m.tokens, allSteps), m.tokens));
    }
    interleave(works);
    llvm::append_range(sums, late.sums);
    return sums;
  };
  SmallVector<Value> end = e.loop(visible.wholeFirst, visible.wholeEnd, matrixDepth, carriedIn, step);
  runAll(
      storeScores({next, nextToken, m.scores.size() - 1, SmallVector<Value>(ArrayRef<Value>(end).drop_front(groups))}));
  end.resize(groups);
  return end;
}

/// The maximum of columns that have none yet: that of the tokens up to `end`. Others keep theirs (addSums).
void MatrixLoopEmitter::setFirstMaximum(const Place &place, Value end, const State &state) {
  Value minusInfinity = splat(b, f32, -std::numeric_limits<double>::infinity());
  SmallVector<Value> old, isEmpty;
  Value isAny;
  for (int64_t group = 0; group < groups; ++group) {
    old.push_back(stateVector(state.max, place, group));
    isEmpty.push_back(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, old[group], minusInfinity));
    isAny = isAny ? Value(arith::OrIOp::create(b, isAny, isEmpty[group])) : isEmpty[group];
  }
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, isAny);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  SmallVector<Value> max = maximumOf(place, end, SmallVector<Value>(groups, minusInfinity));
  for (int64_t group = 0; group < groups; ++group)
    writeState(state.max, place, group, arith::SelectOp::create(b, isEmpty[group], max[group], old[group]));
}
