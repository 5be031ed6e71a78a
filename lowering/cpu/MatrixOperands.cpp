// SPDX-License-Identifier: Apache-2.0
//
// What a matrix unit multiplies: queries, keys and values as it takes them, read where they stand or packed.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/MatrixTiles.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

/// What `value` is rounded from, where it is packed as bf16 anyway.
static Value unrounded(Value value) {
  while (auto convert = value.getDefiningOp<tile::ConvertOp>()) {
    auto from = convert.getInput().getType();
    if (!from.getElementType().isF32() || from.getAxes().back() != convert.getType().getAxes().back())
      break;
    value = convert.getInput();
  }
  return value;
}

bool MatrixLoopEmitter::isDirect(Value keysOrValues) const {
  return isDirectRows(keysOrValues, m.keyFeatures) || isDirectBlocks(keysOrValues, m.valueFeatures);
}

void MatrixLoopEmitter::prepare() {
  for (const MatrixLoop::ValueProduct &product : m.values)
    if (isDirectBlocks(product.values, m.valueFeatures))
      rowStride(product.values.getDefiningOp<tile::LoadOp>(), m.valueFeatures);
  for (const MatrixLoop::Score &score : m.scores)
    for (const MatrixLoop::Product &product : score.products) {
      if (isDirectRows(product.keys, m.keyFeatures))
        rowStride(product.keys.getDefiningOp<tile::LoadOp>(), b.getStringAttr("m"));
      if (!queries.contains(product.query))
        packQuery(product.query);
    }
}

void MatrixLoopEmitter::packQuery(Value query) {
  auto allocateQuery = [&](Value part) {
    int64_t allGroups = llvm::divideCeil(m.columns, matrixColumns);
    return queries[part] = matrixBuffer({outerSize, allGroups, m.keySize / 2, matrixColumns}, b.getI32Type());
  };
  if (Emitter::laneAxis(bufferOf(query).type) == m.column)
    return packQueryColumns(query, allocateQuery(query));
  // Both parts of a query come from what it is split from here.
  auto split = bufferOf(query).computation ? query.getDefiningOp<tile::SplitOp>() : tile::SplitOp();
  Value high = allocateQuery(split ? Value(split.getHigh()) : query);
  Value low = split ? allocateQuery(split.getLow()) : Value();
  packQueryRows(bufferOf(split ? split.getInput() : query), high, low);
}

void MatrixLoopEmitter::packQueryColumns(Value value, Value memory) {
  Tile query = bufferOf(value);
  overOuter(Place(), [&](const Place &place) {
    e.loop(number(0), number(m.keySize), 2, [&](Value d) {
      Value pair = arith::ShRUIOp::create(b, d, number(1));
      for (int64_t group = 0; group * matrixColumns < m.columns; ++group) {
        Point point = place.outer;
        point[m.column] = number(group * matrixColumns);
        point[m.keyFeatures] = d;
        Value low = e.read(query, point, m.column, matrixColumns, b.getF32Type());
        point[m.keyFeatures] = e.plus(d, 1);
        Value high = e.read(query, point, m.column, matrixColumns, b.getF32Type());
        vector::StoreOp::create(b, pairOf(b, low, high), memory,
                                ValueRange{place.outerIndex, number(group), pair, number(0)});
      }
    });
  });
}

void MatrixLoopEmitter::packQueryRows(const Tile &query, Value highParts, Value lowParts) {
  auto words = VectorType::get({matrixColumns}, b.getI32Type());
  // Rows of 16 queries: pairs of features, which are then transposed.
  SmallVector<Value> rows;
  for (int64_t part = 0; part < (lowParts ? 2 : 1); ++part)
    rows.push_back(matrixBuffer({m.keySize / matrixDepth, matrixColumns, matrixColumns}, b.getI32Type()));
  auto computeRow = [&](const Place &place, Value first, Value i) {
    Point point = place.outer;
    point[m.column] = arith::AddIOp::create(b, first, i);
    for (int64_t d = 0; d < m.keySize; d += matrixDepth) {
      SmallVector<Value> halves;
      for (int64_t half : {int64_t(0), matrixColumns}) {
        point[m.keyFeatures] = number(d + half);
        halves.push_back(e.read(query, point, m.keyFeatures, matrixColumns, b.getF32Type()));
      }
      auto store = [&](Value bits, Value memory) {
        vector::StoreOp::create(b, vector::BitCastOp::create(b, words, bits), memory,
                                ValueRange{number(d / matrixDepth), i, number(0)});
      };
      Value rounded = narrowed(b, halves[0], halves[1]);
      store(rounded, rows[0]);
      if (!lowParts)
        continue;
      auto [low, high] = widened(b, rounded);
      store(narrowed(b, arith::SubFOp::create(b, halves[0], low), arith::SubFOp::create(b, halves[1], high)), rows[1]);
    }
  };
  auto transpose = [&](const Place &place, Value group, Value step, Value from, Value to) {
    SmallVector<Value> square;
    for (int64_t i = 0; i < matrixColumns; ++i)
      square.push_back(vector::LoadOp::create(b, words, from, ValueRange{step, number(i), number(0)}));
    Value pair = arith::MulIOp::create(b, step, number(matrixDepth / 2));
    for (auto [i, row] : llvm::enumerate(transposed(b, square)))
      vector::StoreOp::create(b, row, to,
                              ValueRange{place.outerIndex, group, e.plus(pair, static_cast<int64_t>(i)), number(0)});
  };
  // What several heads share of 16 queries stays in the L1 cache for all of them.
  Value groupCount = arith::CeilDivUIOp::create(b, activeColumns(), number(matrixColumns));
  e.loop(number(0), groupCount, 1, [&](Value group) {
    Value first = arith::MulIOp::create(b, group, number(matrixColumns));
    overOuter(Place(), [&](const Place &place) {
      e.loop(number(0), number(matrixColumns), 1, [&](Value i) { computeRow(place, first, i); });
      e.loop(number(0), number(m.keySize / matrixDepth), 1, [&](Value step) {
        transpose(place, group, step, rows[0], highParts);
        if (lowParts)
          transpose(place, group, step, rows[1], lowParts);
      });
    });
  });
}

void MatrixLoopEmitter::packOperands(const Place &place, Value active, llvm::function_ref<bool(Value)> which) {
  for (const MatrixLoop::Score &score : m.scores)
    for (const MatrixLoop::Product &product : score.products)
      if (which(product.keys))
        packKeys(product.keys, place, active);
  for (const MatrixLoop::ValueProduct &product : m.values)
    if (which(product.values))
      packValues(product.values, place, active);
}

Value MatrixLoopEmitter::rowStride(tile::LoadOp load, StringAttr axis) {
  auto type = cast<MemRefType>(load.getMemory().getType());
  int64_t dimension = load.getDimOfAxis(axis);
  auto [strides, offset] = type.getStridesAndOffset();
  if (!ShapedType::isDynamic(strides[dimension]))
    return number(strides[dimension]);
  Value &stride = rowStrides[load];
  if (!stride)
    stride = memref::ExtractStridedMetadataOp::create(b, load.getMemory()).getStrides()[dimension];
  return stride;
}

/// Where packed keys have the features from `feature` on of token `token`: tiles stand one after the other.
SmallVector<Value> MatrixLoopEmitter::tileIndices(Value token, int64_t feature) {
  return {b.createOrFold<arith::DivUIOp>(token, number(matrixRows)), number(feature / matrixDepth),
          b.createOrFold<arith::RemUIOp>(token, number(matrixRows)), number(feature % matrixDepth)};
}

Value MatrixLoopEmitter::keyBuffer() {
  return matrixBuffer({m.tokens / matrixRows, m.keySize / matrixDepth, matrixRows, matrixDepth}, b.getBF16Type());
}

MatrixLoopEmitter::Rows MatrixLoopEmitter::keyRows(Value keys, const Place &place, Value token, int64_t feature) {
  if (Value memory = packed.lookup(keys))
    return {memory, tileIndices(token, feature), Value()};
  auto load = keys.getDefiningOp<tile::LoadOp>();
  StringAttr rows = b.getStringAttr("m");
  Point point;
  point[rows] = token;
  point[m.keyFeatures] = number(feature);
  return {load.getMemory(), loadIndices(load, place, point), rowStride(load, rows)};
}

MatrixLoopEmitter::Rows MatrixLoopEmitter::valueRows(Value values, const Place &place, Value token, Value feature) {
  if (Value memory = packed.lookup(values)) {
    Value block = arith::DivUIOp::create(b, token, number(matrixDepth));
    return {memory, {block, feature, number(0)}, Value()};
  }
  auto load = values.getDefiningOp<tile::LoadOp>();
  SmallVector<Value> indices;
  bool isBlock = true;
  for (auto [dimension, axis] : llvm::enumerate(load.getAxes().getAsRange<StringAttr>())) {
    Value at = blockIndex(place, load, dimension);
    if (axis == m.valueFeatures) {
      at = b.createOrFold<arith::AddIOp>(at, feature);
    } else if (axis.getValue() == "m") {
      // The first of the two dimensions counts blocks, its index tokens.
      at = isBlock ? b.createOrFold<arith::DivUIOp>(b.createOrFold<arith::AddIOp>(at, token), number(matrixDepth))
                   : number(0);
      isBlock = false;
    }
    indices.push_back(at);
  }
  return {load.getMemory(), indices, rowStride(load, m.valueFeatures)};
}

/// Tokens of a block that are not hidden, in whole steps of the value product.
Value MatrixLoopEmitter::activeTokens(const Place &place) {
  if (!m.mask)
    return number(m.tokens);
  Value left = arith::SubIOp::create(b, m.mask.getEnd(), place.token);
  Value inside = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, left, number(m.tokens)), number(0));
  Value steps = arith::CeilDivUIOp::create(b, inside, number(matrixDepth));
  return arith::MulIOp::create(b, steps, number(matrixDepth));
}

/// Rows as they stand in memory, with zeros for tokens that do not exist.
void MatrixLoopEmitter::copyRows(tile::LoadOp load, const Place &place, Value memory, Value active) {
  Value source = asBits(b, load.getMemory()), target = asBits(b, memory);
  auto type = VectorType::get({matrixDepth}, b.getI16Type());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value last = arith::SubIOp::create(b, load.getLimits().front(), number(1));
  e.loop(number(0), active, 1, [&](Value token) {
    Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, token, last);
    Point point;
    point[b.getStringAttr("m")] = arith::MinSIOp::create(b, token, last);
    for (int64_t d = 0; d < m.keySize; d += matrixDepth) {
      point[m.keyFeatures] = number(d);
      Value row = vector::LoadOp::create(b, type, source, loadIndices(load, place, point));
      vector::StoreOp::create(b, arith::SelectOp::create(b, exists, row, zero), target, tileIndices(token, d));
    }
  });
}

/// Blocks of 32 tokens as they stand in memory, with zeros for tokens that do not exist.
void MatrixLoopEmitter::copyBlocks(tile::LoadOp load, const Place &place, Value memory, Value active) {
  Value target = asBits(b, memory);
  auto type = VectorType::get({matrixDepth}, b.getI16Type());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  e.loop(number(0), active, matrixDepth, [&](Value token) {
    Value exists = lanesBelow(b, matrixDepth, token, load.getLimits().front());
    Rows rows = valueRows(load.getResult(), place, token, number(0));
    Value source = asBits(b, rows.memory);
    Value block = arith::DivUIOp::create(b, token, number(matrixDepth));
    int64_t feature = load.getDimOfAxis(m.valueFeatures);
    Value first = rows.indices[feature];
    e.loop(number(0), number(m.valueSize), 1, [&](Value row) {
      rows.indices[feature] = arith::AddIOp::create(b, first, row);
      Value loaded = vector::MaskedLoadOp::create(b, type, source, rows.indices, exists, zero);
      vector::StoreOp::create(b, loaded, target, ValueRange{block, row, number(0)});
    });
  });
}

void MatrixLoopEmitter::packKeys(Value keys, const Place &place, Value active) {
  if (packed.contains(keys))
    return;
  auto load = isDirectRows(keys, m.keyFeatures) ? keys.getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  if (load && load.getLimits().empty())
    return;
  if (!load)
    return packRows(keys, place, active);
  Value memory = keyBuffer();
  copyRows(load, place, memory, active);
  packed[keys] = memory;
}

void MatrixLoopEmitter::packRows(Value keys, const Place &place, Value active) {
  auto split = keys.getDefiningOp<tile::SplitOp>();
  if (!m.packed.contains(split))
    split = {};
  auto allocateRows = [&](Value part) {
    Value memory = keyBuffer();
    packed[part] = memory;
    return asBits(b, memory);
  };
  Value high = allocateRows(split ? Value(split.getHigh()) : keys);
  Value low = split ? allocateRows(split.getLow()) : Value();
  Value source = split ? split.getInput() : keys;
  e.loop(number(0), active, 1, [&](Value token) {
    Point point = place.outer;
    point[b.getStringAttr("m")] = token;
    SmallVector<Value> halves;
    for (int64_t d = 0; d < m.keySize; d += matrixColumns) {
      point[m.keyFeatures] = number(d);
      halves.push_back(evaluate(unrounded(source), place, point, m.keyFeatures));
    }
    for (int64_t i = 0; i < static_cast<int64_t>(halves.size()); i += 2) {
      Value rounded = narrowed(b, halves[i], halves[i + 1]);
      vector::StoreOp::create(b, rounded, high, tileIndices(token, i * matrixColumns));
      if (!low)
        continue;
      auto [first, second] = widened(b, rounded);
      Value rest =
          narrowed(b, arith::SubFOp::create(b, halves[i], first), arith::SubFOp::create(b, halves[i + 1], second));
      vector::StoreOp::create(b, rest, low, tileIndices(token, i * matrixColumns));
    }
  });
}

void MatrixLoopEmitter::packValues(Value values, const Place &place, Value active) {
  if (packed.contains(values))
    return;
  auto load = isDirectBlocks(values, m.valueFeatures) ? values.getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  if (load && load.getLimits().empty())
    return;
  bool isTransposed = !load && MatrixLoop::packedLane(values).getValue() != "m";
  Value memory = isTransposed ? matrixBuffer({m.tokens / matrixDepth, m.valueSize, matrixDepth / 2}, b.getI32Type())
                              : matrixBuffer({m.tokens / matrixDepth, m.valueSize, matrixDepth}, b.getBF16Type());
  if (load)
    copyBlocks(load, place, memory, active);
  else if (isTransposed)
    packTransposed(values, memory, place, active);
  else
    packFeatures(values, memory, place, active);
  packed[values] = memory;
}

void MatrixLoopEmitter::packFeatures(Value values, Value memory, const Place &place, Value active) {
  StringAttr m0 = b.getStringAttr("m");
  Value target = asBits(b, memory);
  e.loop(number(0), active, matrixDepth, [&](Value token) {
    Value block = arith::DivUIOp::create(b, token, number(matrixDepth));
    e.loop(number(0), number(m.valueSize), 1, [&](Value feature) {
      Point point = place.outer;
      point[m.valueFeatures] = feature;
      SmallVector<Value> halves;
      for (int64_t i = 0; i < matrixDepth; i += matrixColumns) {
        point[m0] = e.plus(token, i);
        halves.push_back(evaluate(unrounded(values), place, point, m0));
      }
      vector::StoreOp::create(b, narrowed(b, halves[0], halves[1]), target, ValueRange{block, feature, number(0)});
    });
  });
}

void MatrixLoopEmitter::packTransposed(Value values, Value memory, const Place &place, Value active) {
  // Pairs of tokens as dwords, 16 x 16 of them transposed at once.
  Value words = memory;
  e.loop(number(0), active, matrixDepth, [&](Value first) {
    Value block = arith::DivUIOp::create(b, first, number(matrixDepth));
    e.loop(number(0), number(m.valueSize), matrixColumns, [&](Value feature) {
      SmallVector<Value> pairs;
      for (int64_t i = 0; i < matrixDepth; i += 2) {
        Point point = place.outer;
        point[m.valueFeatures] = feature;
        auto row = [&](int64_t offset) {
          point[b.getStringAttr("m")] = e.plus(first, i + offset);
          return evaluate(unrounded(values), place, point, m.valueFeatures);
        };
        Value low = row(0), high = row(1);
        pairs.push_back(pairOf(b, low, high));
      }
      for (auto [i, row] : llvm::enumerate(transposed(b, pairs)))
        vector::StoreOp::create(b, row, words, ValueRange{block, e.plus(feature, static_cast<int64_t>(i)), number(0)});
    });
  });
}
