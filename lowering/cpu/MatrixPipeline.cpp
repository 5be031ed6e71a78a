// SPDX-License-Identifier: Apache-2.0
//
// A MatrixLoop whose stages work on three blocks of cached tokens at once. Where several queries share the blocks, each
// passes by a block in its turn: it is these passes that follow each other through the stages.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/MatrixTiles.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

bool MatrixLoopEmitter::canPipeline() {
  auto direct = [&](Value tile) {
    auto load = tile.getDefiningOp<tile::LoadOp>();
    return isDirect(tile) && load.getLimits().empty();
  };
  // The pipeline is instead of the loop: nothing can come before its stages, such as a load whose rows are not
  // contiguous.
  auto isBefore = [&](Operation &op) {
    return isa<tile::TileDialect>(op.getDialect()) && !m.staged.contains(&op) && !m.packed.contains(&op) &&
           !(op.getNumResults() == 1 && isDirect(op.getResult(0)));
  };
  if (llvm::any_of(m.loop.getBody()->without_terminator(), isBefore))
    return false;
  return !m.mask && !m.hasQueryColumns() && groups <= 4 && m.tokens % (2 * matrixDepth) == 0 && pipelineStep() != 0 &&
         llvm::all_of(m.scores,
                      [&](const MatrixLoop::Score &score) {
                        return llvm::all_of(score.products,
                                            [&](const MatrixLoop::Product &product) { return direct(product.keys); });
                      }) &&
         llvm::all_of(m.values, [&](const MatrixLoop::ValueProduct &product) { return direct(product.values); });
}

int64_t MatrixLoopEmitter::pipelineStep() const {
  // Each iteration takes its share of every stage: `step` tokens of the score and of the weights, and whole steps of
  // the value product, whose passes over the accumulator divide the iterations.
  int64_t passes = m.valueSize / matrixRows / passFeatures();
  for (int64_t step : {matrixRows, 2 * matrixRows})
    if (m.tokens % (step * passes) == 0 && step * passes % matrixDepth == 0)
      return step;
  return 0;
}

Work MatrixLoopEmitter::pipelinePrefetch(const Place &next, const Place &current, const Place &previous, Value token,
                                         int64_t count) {
  int64_t ahead = std::min<int64_t>(m.tokens, 128);
  if (outerSize == 1)
    return prefetchWork(next, current, previous, token, count, ahead);
  // The passes over a block share its successor among them, of which the first reads all.
  Value passes = outerCount(), whole = number(m.tokens);
  Value isShared = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, passes, number(1));
  auto behind = [&](int64_t otherwise) {
    Place place = current;
    Value shift = arith::SelectOp::create(b, isShared, whole, number(otherwise));
    place.token = arith::AddIOp::create(b, current.token, shift);
    place.token = arith::MaxSIOp::create(b, place.token, m.loop.getLowerBound());
    return place;
  };
  Value before = arith::MulIOp::create(b, current.outerIndex, whole);
  Value share = arith::DivUIOp::create(b, arith::AddIOp::create(b, before, token), passes);
  return prefetchWork(behind(m.tokens), behind(0), behind(-m.tokens), share, count, ahead);
}

/// One pass: its weights, the scores of the next one, the value product of the previous one.
void MatrixLoopEmitter::pipelineBlock(const Place &next, const Place &current, const Place &previous,
                                      const State &state) {
  int64_t step = pipelineStep();
  int64_t features = passFeatures();
  int64_t passes = m.valueSize / matrixRows / features;
  int64_t iterations = m.tokens / step / passes;
  int64_t valueTokens = m.tokens / iterations;

  SmallVector<Value> base, zeros;
  for (int64_t group = 0; group < groups; ++group) {
    base.push_back(stateVector(state.max, current, group));
    zeros.push_back(splat(b, f32, 0.0));
  }
  SmallVector<Value> blockSums =
      e.loop(number(0), number(passes), 1, zeros, [&](Value passNumber, ValueRange carriedSums) {
        Value feature = arith::MulIOp::create(b, passNumber, number(features * matrixRows));
        Value firstToken = arith::MulIOp::create(b, passNumber, number(iterations * step));
        Pass pass{feature, features, 0, groups};
        SmallVector<Value> start(carriedSums);
        llvm::append_range(start, loadAccumulator(previous, state, pass));
        SmallVector<Value> end =
            e.loop(number(0), number(iterations), 1, start, [&](Value i, ValueRange carried) -> SmallVector<Value> {
              SmallVector<Value> sums(carried.take_front(groups)), tiles(carried.drop_front(groups));
              Value token = arith::AddIOp::create(b, firstToken, arith::MulIOp::create(b, i, number(step)));
              Value valueToken = arith::MulIOp::create(b, i, number(valueTokens));
              std::vector<Work> works(4);
              for (int64_t t = 0; t < step; t += matrixRows)
                llvm::append_range(works[0], scoreWork(next, e.plus(token, t)));
              works[1] = weightWork(current, token, step, base, sums);
              for (int64_t t = 0; t < valueTokens; t += matrixDepth)
                for (size_t k = 0; k < m.values.size(); ++k)
                  llvm::append_range(works[2], valueWork(previous, e.plus(valueToken, t), k, pass, tiles));
              works[3] = pipelinePrefetch(next, current, previous, token, step);
              interleave(works);
              llvm::append_range(sums, tiles);
              return sums;
            });
        storeAccumulator(previous, state, pass, ArrayRef<Value>(end).drop_front(groups));
        return SmallVector<Value>(ArrayRef<Value>(end).take_front(groups));
      });

  addSums(current, number(m.tokens), blockSums, state);
}

void MatrixLoopEmitter::addSums(const Place &place, Value active, ArrayRef<Value> sums, const State &state) {
  // The maximum is that of earlier blocks. Weights above 1 do no harm until they are near the range of f32; then the
  // block is weighed again, by its own maximum. Padding holds anything.
  Value large;
  for (int64_t group = 0; group < groups; ++group) {
    Value exceeds = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, sums[group], splat(b, f32, 0x1p40));
    if (!place.column && (group + 1) * matrixColumns > m.columns) {
      Value inside = lanesBelow(b, matrixColumns, number(group * matrixColumns), number(m.columns));
      exceeds = arith::AndIOp::create(b, exceeds, inside);
    }
    large = large ? arith::OrIOp::create(b, large, exceeds) : exceeds;
  }
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, large);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  {
    Emitter::Rarely rarely(e);
    // Chunks of columns keep no more than the scores at hand.
    if (m.hasQueryColumns())
      scoreStage(place, active);
    maxStage(place, active, state);
    weightStage(place, active, state, /*prefetch=*/false);
  }
  b.setInsertionPointToStart(conditional.elseBlock());
  for (int64_t group = 0; group < groups; ++group) {
    Value sum = stateVector(state.sum, place, group);
    writeState(state.sum, place, group, arith::AddFOp::create(b, sum, sums[group]));
  }
}

void MatrixLoopEmitter::clearWeights(Value parity) {
  // Not by vectors: LLVM makes a loop of single bytes of their stores.
  auto type = amx::TileType::get({matrixRows, matrixColumns}, b.getI32Type());
  Value zero = amx::TileZeroOp::create(b, type);
  for (Value words : weightWords)
    for (int64_t group = 0; group < groups; ++group)
      for (int64_t pair = 0; pair < m.tokens / 2; pair += matrixRows)
        amx::TileStoreOp::create(b, words, ValueRange{parity, number(group), number(pair), number(0)}, zero, Value());
}

void MatrixLoopEmitter::emitPipeline(const Tile &max, const Tile &sum, const Tile &accumulator) {
  State state{max, sum, accumulator};
  allocateStages(2, m.tokens, 2);
  Value begin = m.loop.getLowerBound(), end = m.loop.getUpperBound();
  Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, begin, end);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());

  Value whole = number(m.tokens);
  Value blocks = arith::CeilDivSIOp::create(b, arith::SubIOp::create(b, end, begin), whole);
  Value passesPerBlock = outerCount();
  Value passes = b.createOrFold<arith::MulIOp>(blocks, passesPerBlock);
  Value last = arith::SubIOp::create(b, passes, number(1));
  auto placeAt = [&](Value pass, Value parity) {
    Place place;
    Value block = b.createOrFold<arith::DivUIOp>(pass, passesPerBlock);
    place.token = arith::AddIOp::create(b, begin, arith::MulIOp::create(b, block, whole));
    findPage(place);
    place.parity = parity;
    setOuter(place, b.createOrFold<arith::RemUIOp>(pass, passesPerBlock));
    return place;
  };
  // Maxima of the first block; the scores of the first pass are what stays.
  auto start = [&](Value pass) {
    Place first = placeAt(pass, number(0));
    scoreStage(first, whole);
    maxStage(first, whole, state);
  };
  if (outerSize == 1)
    start(number(0));
  else
    e.loop(number(0), passesPerBlock, 1,
           [&](Value i) { start(arith::SubIOp::create(b, arith::SubIOp::create(b, passesPerBlock, number(1)), i)); });
  // Before the first pass there is none: it weighs nothing.
  clearWeights(number(1));

  Value parity = e.loop(number(0), passes, 1, ValueRange{number(0)}, [&](Value pass, ValueRange carried) {
    Value half = carried.front();
    Value other = arith::SubIOp::create(b, number(1), half);
    // The last pass's scores are computed twice, the second time for nothing.
    Value next = arith::MinSIOp::create(b, e.plus(pass, 1), last);
    Value previous = arith::MaxSIOp::create(b, e.plus(pass, -1), number(0));
    pipelineBlock(placeAt(next, other), placeAt(pass, half), placeAt(previous, other), state);
    return SmallVector<Value>{other};
  })[0];
  valueStage(placeAt(last, arith::SubIOp::create(b, number(1), parity)), whole, state);
}
