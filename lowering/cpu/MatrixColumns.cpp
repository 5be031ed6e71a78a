// SPDX-License-Identifier: Apache-2.0
//
// A MatrixLoop with queries as columns: they pass by a block of keys and values in chunks. While vectors weigh 32
// tokens of a chunk, the matrix unit forms the scores of the next 32, then a share of the values of the chunk before:
// what waits in between stays in the L1 cache.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include <limits>
#include <memory>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

// --- Which columns

/// Columns that some store keeps: nothing carries values from column to column, so no other is needed.
Value MatrixLoopEmitter::activeColumns() {
  Value all = number(m.columns), active;
  auto function = m.loop->getParentOfType<FunctionOpInterface>();
  WalkResult walked = function.walk([&](tile::StoreOp store) {
    if (!store.getValue().getType().hasAxis(m.column))
      return WalkResult::advance();
    Value limit;
    for (auto [axis, value] : llvm::zip(store.getLimited().getAsRange<StringAttr>(), store.getLimits()))
      if (axis == m.column && isa<BlockArgument>(value))
        limit = value;
    if (!limit || (active && limit != active))
      return WalkResult::interrupt();
    active = limit;
    return WalkResult::advance();
  });
  if (walked.wasInterrupted() || !active)
    return all;
  return arith::MaxSIOp::create(b, arith::MinSIOp::create(b, active, all), number(0));
}

MatrixLoopEmitter::Chunks MatrixLoopEmitter::visibleChunks(const Place &place) {
  Value zero = number(0), chunk = number(chunkColumns);
  auto add = [&](Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); };
  auto subtract = [&](Value x, Value y) { return b.createOrFold<arith::SubIOp>(x, y); };
  Value count = arith::CeilDivUIOp::create(b, activeColumns(), chunk);
  if (!m.mask)
    return {zero, zero, canPipelineChunks() ? count : zero, count};
  auto clamped = [&](Value chunks) -> Value {
    return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, chunks, zero), count);
  };
  auto choose = [&](Value condition, Value whenSo, Value otherwise) -> Value {
    return arith::SelectOp::create(b, condition, whenSo, otherwise);
  };
  tile::MaskOp mask = m.mask;
  Value blockEnd = add(place.token, number(m.tokens));
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, blockEnd, mask.getEnd());
  // Column n sees the tokens [last(n) - window, last(n)), where last(n) = limit, plus n where the mask is causal.
  Value first = zero, wholeFirst = zero, wholeEnd = count, end = count;
  if (mask.getCausal()) {
    Value sees = subtract(add(place.token, number(1)), mask.getLimit());
    Value seesAll = subtract(blockEnd, mask.getLimit());
    first = clamped(arith::FloorDivSIOp::create(b, sees, chunk));
    wholeFirst = clamped(arith::CeilDivSIOp::create(b, seesAll, chunk));
    if (mask.getWindow()) {
      Value window = number(*mask.getWindow());
      // Columns below these see the block's first token, and its last one.
      Value seeFirst = add(subtract(add(place.token, window), mask.getLimit()), number(1));
      Value seeLast = subtract(add(blockEnd, window), mask.getLimit());
      wholeEnd = clamped(arith::FloorDivSIOp::create(b, seeFirst, chunk));
      end = clamped(arith::CeilDivSIOp::create(b, seeLast, chunk));
    }
  } else {
    Value isWhole = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, blockEnd, mask.getLimit());
    if (mask.getWindow()) {
      Value begin = subtract(mask.getLimit(), number(*mask.getWindow()));
      isWhole =
          arith::AndIOp::create(b, isWhole, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, begin, place.token));
    }
    wholeEnd = choose(isWhole, count, zero);
  }
  // Where tokens do not exist there is no whole chunk.
  wholeEnd = canPipelineChunks() ? choose(exists, wholeEnd, zero) : zero;
  wholeEnd = arith::MaxSIOp::create(b, wholeFirst, wholeEnd);
  return {first, wholeFirst, wholeEnd, end};
}

Value MatrixLoopEmitter::visibleTokens(const Place &place) {
  if (!m.mask)
    return number(m.tokens);
  Value last = m.mask.getLimit();
  if (m.mask.getCausal())
    last = arith::AddIOp::create(b, last, e.plus(place.column, chunkColumns - 1));
  last = arith::MinSIOp::create(b, last, m.mask.getEnd());
  Value left = arith::SubIOp::create(b, last, place.token);
  Value inside = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, left, number(m.tokens)), number(0));
  Value steps = arith::CeilDivUIOp::create(b, inside, number(matrixDepth));
  return arith::MulIOp::create(b, steps, number(matrixDepth));
}

// --- One block

void MatrixLoopEmitter::emitColumns(const State &state) {
  // Halves of scores for the pipeline, and a whole chunk where it is weighed again.
  allocateStages(3, 2);
  Place block;
  block.token = m.loop.getInductionVar();
  findPage(block);
  block.parity = block.outerIndex = number(0);
  for (StringAttr axis : m.outer)
    block.outer[axis] = number(0);
  packOperands(block, activeTokens(block));
  Chunks chunks = visibleChunks(block);
  if (m.mask || !canPipelineChunks())
    e.loop(chunks.first, chunks.end, 1, [&](Value chunk) {
      Value before = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, chunk, chunks.wholeFirst);
      Value behind = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, chunk, chunks.wholeEnd);
      auto isPart = scf::IfOp::create(b, arith::OrIOp::create(b, before, behind), /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(isPart.thenBlock());
      Place place = block;
      place.column = arith::MulIOp::create(b, chunk, number(chunkColumns));
      emitChunk(place, state);
    });
  if (!canPipelineChunks())
    return;
  Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, chunks.wholeFirst, chunks.wholeEnd);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  pipelineChunks(block, chunks, state);
}

/// All stages of one chunk, one after the other.
void MatrixLoopEmitter::emitChunk(const Place &place, const State &state) {
  Value active = visibleTokens(place);
  scoreStage(place, active);
  maxStage(place, active, state);
  weightStage(place, active, state, /*prefetch=*/false);
  valueStage(place, active, state);
}

// --- Pipeline

bool MatrixLoopEmitter::canPipelineChunks() const {
  int64_t steps = m.tokens / matrixDepth, passes = m.valueSize / matrixRows / passFeatures();
  return steps % 2 == 0 && (passes % steps == 0 || steps % passes == 0);
}

void MatrixLoopEmitter::pipelineChunks(const Place &block, const Chunks &chunks, const State &state) {
  Value last = arith::SubIOp::create(b, chunks.wholeEnd, number(1));
  auto placeAt = [&](Value chunk, Value parity) {
    Place place = block;
    place.column = arith::MulIOp::create(b, chunk, number(chunkColumns));
    place.parity = parity;
    place.scoreHalf = place.scoreToken = number(0);
    place.isWhole = true;
    return place;
  };
  scoreStage(placeAt(chunks.wholeFirst, number(0)), number(matrixDepth));
  // Before the first chunk there is none: it weighs nothing.
  clearWeights(number(1));
  Value parity =
      e.loop(chunks.wholeFirst, chunks.wholeEnd, 1, ValueRange{number(0)}, [&](Value chunk, ValueRange carried) {
        Value half = carried.front();
        Value other = arith::SubIOp::create(b, number(1), half);
        // The last chunk's first scores are computed twice, the second time for nothing.
        Value next = arith::MinSIOp::create(b, e.plus(chunk, 1), last);
        Value previous = arith::MaxSIOp::create(b, e.plus(chunk, -1), chunks.wholeFirst);
        Value index = arith::SubIOp::create(b, chunk, chunks.wholeFirst);
        pipelineChunk(placeAt(next, other), placeAt(chunk, half), placeAt(previous, other), index, state);
        return SmallVector<Value>{other};
      })[0];
  Place end = placeAt(last, arith::SubIOp::create(b, number(1), parity));
  valueStage(end, number(m.tokens), state);
}

void MatrixLoopEmitter::pipelineChunk(const Place &next, const Place &current, const Place &previous, Value chunk,
                                      const State &state) {
  // The first block's maximum is that of its first tokens.
  Value isFirst;
  for (int64_t group = 0; group < groups; ++group) {
    Value max = stateVector(state.max, current, group);
    Value minusInfinity = splat(b, f32, -std::numeric_limits<double>::infinity());
    Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, max, minusInfinity);
    isFirst = isFirst ? Value(arith::OrIOp::create(b, isFirst, isEmpty)) : isEmpty;
  }
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, isFirst);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(conditional.thenBlock());
    maxStage(current, number(matrixDepth), state);
  }

  SmallVector<Value> base, sums;
  for (int64_t group = 0; group < groups; ++group) {
    base.push_back(stateVector(state.max, current, group));
    sums.push_back(splat(b, f32, 0.0));
  }
  int64_t steps = m.tokens / matrixDepth;
  int64_t asked = std::max<int64_t>(1, matrixDepth * chunkColumns / m.columns);
  sums = e.loop(number(0), number(steps), 1, sums, [&](Value i, ValueRange carried) {
    SmallVector<Value> partial(carried);
    Value token = arith::MulIOp::create(b, i, number(matrixDepth));
    Value half = arith::AndIOp::create(b, i, number(1));
    Place weighed = current;
    weighed.scoreHalf = half;
    weighed.scoreToken = token;
    // The next 32 tokens, or the first ones of the next chunk.
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, i, number(steps - 1));
    Place scored = current;
    scored.column = arith::SelectOp::create(b, isLast, next.column, current.column);
    scored.scoreHalf = arith::SubIOp::create(b, number(1), half);
    scored.scoreToken = arith::SelectOp::create(b, isLast, number(0), e.plus(token, matrixDepth));
    Work products = chunkScoreWork(scored, scored.scoreToken);
    llvm::append_range(products, valueShare(previous, i, state));
    std::vector<Work> works = {std::move(products), weightWork(weighed, token, matrixDepth, base, partial)};
    if (!m.mask) {
      // The next block, a part of it beside each step.
      Value row = arith::MulIOp::create(b, arith::AddIOp::create(b, arith::MulIOp::create(b, chunk, number(steps)), i),
                                        number(asked));
      works.push_back(prefetchWork(current, current, current, row, asked, m.tokens));
    }
    interleave(works);
    return partial;
  });
  addSums(current, sums, state);
}

Work MatrixLoopEmitter::valueShare(const Place &place, Value i, const State &state) {
  // As many steps of 32 tokens as there are passes over the accumulator: whole passes, or a part of one.
  int64_t steps = m.tokens / matrixDepth, features = passFeatures();
  int64_t passes = m.valueSize / matrixRows / features;
  int64_t whole = std::max<int64_t>(1, passes / steps), parts = std::max<int64_t>(1, steps / passes);
  int64_t share = steps / parts;
  Value firstPass = parts == 1 ? arith::MulIOp::create(b, i, number(whole)).getResult()
                               : arith::DivUIOp::create(b, i, number(parts)).getResult();
  Value first = arith::MulIOp::create(b, arith::RemUIOp::create(b, i, number(parts)), number(share * matrixDepth));
  Work work;
  for (int64_t p = 0; p < whole; ++p) {
    Value feature = arith::MulIOp::create(b, e.plus(firstPass, p), number(features * matrixRows));
    Pass pass{feature, features, 0, groups};
    auto sums = std::make_shared<SmallVector<Value>>();
    work.push_back([this, sums, place, pass, state] { *sums = loadAccumulator(place, state, pass); });
    for (int64_t t = 0; t < share; ++t)
      for (size_t k = 0; k < m.values.size(); ++k)
        for (auto &piece : valueWork(place, e.plus(first, t * matrixDepth), static_cast<int64_t>(k), pass, *sums))
          work.push_back([sums, piece] { piece(); });
    work.push_back([this, sums, place, pass, state] { storeAccumulator(place, state, pass, *sums); });
  }
  return work;
}
