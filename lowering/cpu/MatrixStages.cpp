// SPDX-License-Identifier: Apache-2.0
//
// The stages of a MatrixLoop: score, maximum, weights, value, as pieces of work that pipelines interleave.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/MatrixTiles.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

Value MatrixLoopEmitter::stateVector(const Tile &tile, const Place &place, int64_t group) {
  Point point = place.outer;
  point[m.column] = columnOf(place, group);
  return e.read(tile, point, m.column, matrixColumns, b.getF32Type());
}

void MatrixLoopEmitter::writeState(const Tile &tile, const Place &place, int64_t group, Value vector) {
  Point point = place.outer;
  point[m.column] = columnOf(place, group);
  e.write(tile, point, vector);
}

Value MatrixLoopEmitter::columnOf(const Place &place, int64_t group) {
  return place.column ? e.plus(place.column, group * matrixColumns) : number(group * matrixColumns);
}

Value MatrixLoopEmitter::groupOf(const Place &place, int64_t group) {
  if (!place.column)
    return number(group);
  return e.plus(b.createOrFold<arith::DivUIOp>(place.column, number(matrixColumns)), group);
}

Work MatrixLoopEmitter::scoreWork(const Place &place, Value token) {
  Work work;
  MLIRContext *context = b.getContext();
  // One sum at a time, and operands that live no longer than a piece: seven of the eight registers are in use while a
  // value product with four sums runs beside.
  for (size_t j = 0; j < m.scores.size(); ++j)
    for (int64_t group = 0; group < groups; ++group) {
      auto sum = std::make_shared<Value>();
      for (int64_t d = 0; d < m.keySize; d += matrixDepth)
        work.push_back([this, sum, &score = m.scores[j], place, token, d, group, context] {
          if (d == 0)
            *sum = amx::TileZeroOp::create(b, sumTile(context));
          Value known, keys;
          for (const MatrixLoop::Product &product : score.products) {
            // Parts of a query read the same keys.
            if (known != product.keys) {
              Rows rows = keyRows(product.keys, place, token, d);
              known = product.keys;
              keys = amx::TileLoadOp::create(b, operandTile(context), rows.memory, rows.indices, rows.stride);
            }
            Value query = amx::TileLoadOp::create(
                b, operandTile(context), queries[product.query],
                ValueRange{place.outerIndex, groupOf(place, group), number(d / 2), number(0)}, Value());
            *sum = amx::TileMulFOp::create(b, sumTile(context), keys, query, *sum);
          }
        });
      work.push_back([this, sum, place, token, j, group] {
        amx::TileStoreOp::create(b, scores[j], ValueRange{place.parity, token, number(group * matrixColumns)}, *sum,
                                 Value());
      });
    }
  return work;
}

void MatrixLoopEmitter::scoreStage(const Place &place, Value active) {
  overOuter(place, [&](const Place &inner) {
    if (m.hasQueryColumns())
      e.loop(firstToken(inner), active, 2 * matrixRows, [&](Value token) {
        LateScores late;
        runAll(chunkScoreWork(inner, token, late));
        runAll(storeScores(late));
      });
    else
      e.loop(number(0), active, matrixRows, [&](Value token) { runAll(scoreWork(inner, token)); });
  });
}

Value MatrixLoopEmitter::firstToken(const Place &place) { return place.firstToken ? place.firstToken : number(0); }

/// The largest logits of the tokens up to `end`, and of `start`.
SmallVector<Value> MatrixLoopEmitter::maximumOf(const Place &place, Value end, ArrayRef<Value> start) {
  return e.loop(firstToken(place), end, 1, start, [&](Value token, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t group = 0; group < groups; ++group) {
      Point point = place.outer;
      point[b.getStringAttr("m")] = token;
      point[m.column] = columnOf(place, group);
      next.push_back(maximum(b, evaluate(m.step.getLogits(), place, point, m.column), carried[group]));
    }
    return next;
  });
}

/// The running maximum over the block's logits, and what it corrects.
void MatrixLoopEmitter::maxStage(const Place &place, Value active, const State &state) {
  overOuter(place, [&](const Place &inner) {
    SmallVector<Value> old;
    for (int64_t group = 0; group < groups; ++group)
      old.push_back(stateVector(state.max, inner, group));
    SmallVector<Value> max = maximumOf(inner, active, old);
    SmallVector<Value> factors;
    Value one = splat(b, f32, 1.0);
    for (int64_t group = 0; group < groups; ++group) {
      // Nothing seen yet: there is nothing to correct.
      Value factor = exp2Avx512(b, arith::SubFOp::create(b, old[group], max[group]));
      factors.push_back(selectIfMinusInfinity(b, old[group], one, factor));
      writeState(state.max, inner, group, max[group]);
    }
    rescale(inner, state, factors);
  });
}

void MatrixLoopEmitter::rescale(const Place &place, const State &state, ArrayRef<Value> factors) {
  for (int64_t group = 0; group < groups; ++group) {
    Value sum = stateVector(state.sum, place, group);
    writeState(state.sum, place, group, arith::MulFOp::create(b, sum, factors[group]));
  }
  e.loop(number(0), number(m.valueSize), 1, [&](Value feature) {
    for (int64_t group = 0; group < groups; ++group) {
      Point point = place.outer;
      point[m.column] = columnOf(place, group);
      point[m.valueFeatures] = feature;
      Value value = e.read(state.accumulator, point, m.column, matrixColumns, b.getF32Type());
      e.write(state.accumulator, point, arith::MulFOp::create(b, value, factors[group]));
    }
  });
}

Work MatrixLoopEmitter::weightWork(const Place &place, Value token, int64_t count, ArrayRef<Value> base,
                                   SmallVectorImpl<Value> &sums) {
  Work work;
  SmallVector<std::pair<int64_t, int64_t>> pieces;
  for (int64_t i = 0; i < count; i += 2)
    for (int64_t group = 0; group < groups; ++group)
      pieces.push_back({group, i});
  // A chunk's second group has the later scores.
  if (m.hasQueryColumns())
    llvm::sort(pieces);
  for (auto [group, i] : pieces)
    work.push_back([this, place, token, i = i, group = group, max = base[group], &sums] {
      SmallVector<Value> low;
      for (int64_t half = 0; half < 2; ++half) {
        Point point = place.outer;
        point[b.getStringAttr("m")] = e.plus(token, i + half);
        point[m.column] = columnOf(place, group);
        Value logit = evaluate(m.step.getLogits(), place, point, m.column);
        Value probability = exp2OfWeights(b, arith::SubFOp::create(b, logit, max, arith::FastMathFlags::contract));
        sums[group] = arith::AddFOp::create(b, sums[group], probability);
        for (size_t k = 0; k < m.values.size(); ++k) {
          // Rounded when they are packed.
          Value weights = m.values[k].weights;
          while (auto convert = weights.getDefiningOp<tile::ConvertOp>())
            weights = convert.getInput();
          Value weight = evaluate(weights, place, point, m.column, probability);
          if (half == 0) {
            low.push_back(weight);
            continue;
          }
          Value pair = arith::ShRUIOp::create(b, e.plus(token, i), number(1));
          vector::StoreOp::create(b, pairOf(b, low[k], weight), weightWords[k],
                                  ValueRange{place.parity, number(group), pair, number(0)});
        }
      }
    });
  return work;
}

/// Asks for the lines of `count` tokens some way behind `token` of the blocks where keys, head factors and values are
/// read. Spread over the work, prefetches overlap with it; they never fault. They fill the L2 cache alone: what lies
/// between asking and use is larger than L1, which the stages' own buffers need (docs/perf-log.md).
Work MatrixLoopEmitter::prefetchWork(const Place &keys, const Place &heads, const Place &values, Value token,
                                     int64_t count, int64_t ahead) {
  Work work;
  auto ask = [this](Value memory, SmallVector<Value> at) {
    memref::PrefetchOp::create(b, memory, at, /*isWrite=*/false, /*localityHint=*/2, /*isDataCache=*/true);
  };
  auto isKeys = [&](Value tile) {
    return llvm::any_of(m.scores, [&](const MatrixLoop::Score &score) {
      return llvm::any_of(score.products, [&](const MatrixLoop::Product &product) { return product.keys == tile; });
    });
  };
  for (Operation &op : m.loop.getBody()->getOperations()) {
    auto load = dyn_cast<tile::LoadOp>(op);
    if (!load || !load.getType().hasAxis("m") || (load.getTable() && !load.isWithinPage()))
      continue;
    int64_t size = cast<MemRefType>(load.getMemory().getType()).getElementTypeBitWidth() / 8;
    if (isDirectBlocks(load.getResult(), m.valueFeatures)) {
      // A line holds one feature of 32 tokens, who share the features among them.
      int64_t lines = m.valueSize * count / matrixDepth;
      int64_t feature = load.getDimOfAxis(m.valueFeatures);
      work.push_back([this, ask, load, values, ahead, token, lines, feature]() mutable {
        Place next = placeAhead(values, ahead, token);
        Value within = arith::RemUIOp::create(b, token, number(matrixDepth));
        Value first =
            arith::DivUIOp::create(b, arith::MulIOp::create(b, within, number(m.valueSize)), number(matrixDepth));
        Rows rows = valueRows(load.getResult(), next, token, first);
        for (int64_t line = 0; line < lines; ++line) {
          SmallVector<Value> at = rows.indices;
          at[feature] = e.plus(at[feature], line);
          ask(rows.memory, at);
        }
      });
      continue;
    }
    StringAttr last = cast<StringAttr>(load.getAxes().getValue().back());
    if (last.empty() || last.getValue() == "m")
      continue;
    // Found once for all tokens.
    auto next = std::make_shared<Place>();
    int64_t perLine = 64 / size;
    for (int64_t i = 0; i < count; ++i)
      work.push_back([this, ask, load, next, place = isKeys(load.getResult()) ? keys : heads, ahead, token, i, last,
                      perLine]() mutable {
        if (i == 0)
          *next = placeAhead(place, ahead, token);
        for (int64_t element = 0; element < load.getType().sizeOf(last.getValue()); element += perLine) {
          Point point;
          for (StringAttr axis : load.getType().getAxes())
            point[axis] = number(0);
          point[b.getStringAttr("m")] = e.plus(token, i);
          point[last] = number(element);
          ask(load.getMemory(), loadIndices(load, *next, point));
        }
      });
  }
  return work;
}

SmallVector<Value> MatrixLoopEmitter::weightBase(const Place &place, const State &state) {
  SmallVector<Value> base;
  for (int64_t group = 0; group < groups; ++group) {
    Value max = stateVector(state.max, place, group);
    // Nothing visible yet: differences to 0 instead, which stay -infinity.
    base.push_back(selectIfMinusInfinity(b, max, splat(b, f32, 0.0), max));
  }
  return base;
}

SmallVector<Value> MatrixLoopEmitter::weigh(const Place &place, Value active, ArrayRef<Value> base,
                                            ArrayRef<Value> start, bool prefetch) {
  return e.loop(firstToken(place), active, 2, start, [&](Value token, ValueRange carried) {
    SmallVector<Value> next(carried);
    runAll(weightWork(place, token, 2, base, next));
    if (prefetch)
      runAll(prefetchWork(place, place, place, token, 2, std::min<int64_t>(m.tokens, 128)));
    return next;
  });
}

void MatrixLoopEmitter::weightStage(const Place &place, Value active, const State &state, bool prefetch) {
  overOuter(place, [&](const Place &inner) {
    SmallVector<Value> start;
    for (int64_t group = 0; group < groups; ++group)
      start.push_back(stateVector(state.sum, inner, group));
    SmallVector<Value> sums = weigh(inner, active, weightBase(inner, state), start, prefetch);
    for (int64_t group = 0; group < groups; ++group)
      writeState(state.sum, inner, group, sums[group]);
  });
}

int64_t MatrixLoopEmitter::passFeatures() const {
  // Four sums: with one of the score and two operands of each they fill seven registers.
  int64_t features = std::min<int64_t>(4 / std::min<int64_t>(groups, 4), m.valueSize / matrixRows);
  while (m.valueSize / matrixRows % features != 0)
    --features;
  return features;
}

SmallVector<Value> MatrixLoopEmitter::loadAccumulator(const Place &place, const State &state, const Pass &pass) {
  SmallVector<Value> sums;
  for (int64_t i = 0; i < pass.features; ++i)
    for (int64_t j = 0; j < pass.groupCount; ++j) {
      Point point = place.outer;
      point[m.valueFeatures] = e.plus(pass.feature, i * matrixRows);
      point[m.column] = columnOf(place, pass.group + j);
      sums.push_back(amx::TileLoadOp::create(b, sumTile(b.getContext()), state.accumulator.memory,
                                             e.indices(state.accumulator, point), Value()));
    }
  return sums;
}

void MatrixLoopEmitter::storeAccumulator(const Place &place, const State &state, const Pass &pass,
                                         ArrayRef<Value> sums) {
  for (int64_t i = 0; i < pass.features; ++i)
    for (int64_t j = 0; j < pass.groupCount; ++j) {
      Point point = place.outer;
      point[m.valueFeatures] = e.plus(pass.feature, i * matrixRows);
      point[m.column] = columnOf(place, pass.group + j);
      amx::TileStoreOp::create(b, state.accumulator.memory, e.indices(state.accumulator, point),
                               sums[i * pass.groupCount + j], Value());
    }
}

Work MatrixLoopEmitter::valueWork(const Place &place, Value token, int64_t k, const Pass &pass,
                                  SmallVectorImpl<Value> &sums) {
  Work work;
  MLIRContext *context = b.getContext();
  auto loadValues = [this, place, token, k, pass, context](int64_t i) -> Value {
    Rows rows = valueRows(m.values[k].values, place, token, e.plus(pass.feature, i * matrixRows));
    return amx::TileLoadOp::create(b, operandTile(context), rows.memory, rows.indices, rows.stride);
  };
  auto loadWeights = [this, place, token, k, pass, context](int64_t j) -> Value {
    Value pair = arith::ShRUIOp::create(b, token, number(1));
    return amx::TileLoadOp::create(b, operandTile(context), weightWords[k],
                                   ValueRange{place.parity, number(pass.group + j), pair, number(0)}, Value());
  };
  auto multiply = [this, pass, context, &sums](Value values, Value weights, int64_t i, int64_t j) {
    Value &sum = sums[i * pass.groupCount + j];
    sum = amx::TileMulFOp::create(b, sumTile(context), values, weights, sum);
  };
  for (int64_t i = 0; i < pass.features; ++i)
    work.push_back([=] {
      Value values = loadValues(i);
      for (int64_t j = 0; j < pass.groupCount; ++j)
        multiply(values, loadWeights(j), i, j);
    });
  return work;
}

void MatrixLoopEmitter::valueStage(const Place &place, Value active, const State &state) {
  if (m.hasQueryColumns())
    return chunkValueStage(place, active, state);
  int64_t features = passFeatures();
  overOuter(place, [&](const Place &inner) {
    for (int64_t group = 0; group < groups; group += 4)
      e.loop(number(0), number(m.valueSize), features * matrixRows, [&](Value feature) {
        Pass pass{feature, features, group, std::min<int64_t>(4, groups - group)};
        SmallVector<Value> start = loadAccumulator(inner, state, pass);
        SmallVector<Value> sums =
            e.loop(firstToken(inner), active, matrixDepth, start, [&](Value token, ValueRange carried) {
              SmallVector<Value> next(carried);
              for (size_t k = 0; k < m.values.size(); ++k)
                runAll(valueWork(inner, token, k, pass, next));
              return next;
            });
        storeAccumulator(inner, state, pass, sums);
      });
  });
}

void MatrixLoopEmitter::allocateStages(int64_t scoreHalves, int64_t scoreRows, int64_t weightHalves) {
  for (size_t j = 0; j < m.scores.size(); ++j)
    scores.push_back(matrixBuffer({scoreHalves, scoreRows, groups * matrixColumns}, b.getF32Type()));
  for (size_t k = 0; k < m.values.size(); ++k)
    weightWords.push_back(matrixBuffer({weightHalves, groups, m.tokens / 2, matrixColumns}, b.getI32Type()));
}

SmallVector<Value> MatrixLoopEmitter::scoreIndices(const Place &place, Value token, Value column) {
  if (place.column)
    column = b.createOrFold<arith::SubIOp>(column, place.column);
  if (place.scoreShift)
    token = b.createOrFold<arith::AddIOp>(token, place.scoreShift);
  return {place.parity, token, column};
}
