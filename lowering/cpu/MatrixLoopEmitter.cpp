// SPDX-License-Identifier: Apache-2.0
//
// Columns are what vectors run along throughout: C of the score is tokens x columns, C of the value features x columns.
// Keys are the first operand of the score as they stand in the cache, values that of the value product where the cache
// keeps them feature by feature; queries and weights are second operands, in pairs of features and of tokens.

#include "lowering/cpu/MatrixLoopEmitter.h"

#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <limits>
#include <map>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

amx::TileType operandTile(MLIRContext *context) {
  return amx::TileType::get({matrixRows, matrixDepth}, BFloat16Type::get(context));
}
amx::TileType sumTile(MLIRContext *context) {
  return amx::TileType::get({matrixRows, matrixColumns}, Float32Type::get(context));
}

/// The dwords whose halves are two vectors of f32, rounded to bf16: `low` comes first in memory.
Value pairOf(ImplicitLocOpBuilder &b, Value low, Value high) {
  VectorType words = cast<VectorType>(low.getType()).clone(b.getI32Type());
  auto constant = [&](int64_t value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(words, Attribute(b.getI32IntegerAttr(static_cast<int32_t>(value)))));
  };
  // Ties go up: half a roundoff that no sum over many tokens sees, for two instructions less.
  auto rounded = [&](Value value) {
    return arith::AddIOp::create(b, arith::BitcastOp::create(b, words, value), constant(0x8000));
  };
  Value lower = arith::ShRUIOp::create(b, rounded(low), constant(16));
  Value upper = arith::AndIOp::create(b, rounded(high), constant(0xffff0000));
  return arith::OrIOp::create(b, lower, upper);
}

/// Runs several sequences of work at once, each at an even pace.
void interleave(const std::vector<std::vector<std::function<void()>>> &works) {
  // By the share of its work that comes before a piece, then by number of the work.
  std::multimap<double, const std::function<void()> *> pieces;
  for (const auto &work : works)
    for (size_t i = 0; i < work.size(); ++i)
      pieces.insert({(static_cast<double>(i) + 0.5) / static_cast<double>(work.size()), &work[i]});
  for (const auto &[when, piece] : pieces)
    (*piece)();
}

/// Runs pieces of work one after the other.
void runAll(const std::vector<std::function<void()>> &work) {
  for (const auto &piece : work)
    piece();
}

} // namespace

MatrixLoopEmitter::MatrixLoopEmitter(Emitter &emitter, ImplicitLocOpBuilder &builder, MatrixLoop &loop,
                                     std::function<Tile(Value)> bufferOf, std::function<Value(MemRefType)> allocate)
    : e(emitter), b(builder), m(loop), bufferOf(std::move(bufferOf)), allocate(std::move(allocate)) {
  auto logits = cast<TileType>(m.step.getLogits().getType());
  for (StringAttr axis : m.outer)
    outerSize *= logits.sizeOf(axis.getValue());
  groups = llvm::divideCeil(m.columns, matrixColumns);
  f32 = VectorType::get({matrixColumns}, b.getF32Type());
  i32 = VectorType::get({matrixColumns}, b.getI32Type());
}

// --- Memory
// -------------------------------------------------------------------------------------------------------------

Value MatrixLoopEmitter::matrixBuffer(ArrayRef<int64_t> shape, Type element) {
  return allocate(MemRefType::get(shape, element));
}

void MatrixLoopEmitter::findPage(Place &place) {
  if (m.paged)
    place.page = PagePlace::find(b, m.paged.getTable(), m.paged.getPageSize(), m.paged.getIndices()[0], place.token);
}

MatrixLoopEmitter::Place MatrixLoopEmitter::placeAhead(const Place &place, int64_t ahead, Value token) {
  Place next = place;
  next.token = e.plus(place.token, ahead);
  if (!m.paged)
    return next;
  // Prefetches may go beyond what exists, the table's reads not.
  Value last = arith::SubIOp::create(b, m.loop.getUpperBound(), number(1));
  Place first = next;
  first.token = arith::MinSIOp::create(b, arith::AddIOp::create(b, next.token, token), last);
  findPage(first);
  next.page = {first.page.page, arith::SubIOp::create(b, first.page.slot, token)};
  return next;
}

/// Index of dimension `dimension` of what `load` reads, for a block at `place`.
Value MatrixLoopEmitter::blockIndex(const Place &place, tile::LoadOp load, size_t dimension) const {
  if (load.getTable() && dimension < 2)
    return dimension == 0 ? place.page.page : place.page.slot;
  Value index = load.getIndices()[dimension];
  return index == m.loop.getRegion().getArgument(0) ? place.token : index;
}

SmallVector<Value> MatrixLoopEmitter::loadIndices(tile::LoadOp load, const Place &place, const Point &point) {
  SmallVector<Value> indices;
  for (auto [dimension, axis] : llvm::enumerate(load.getAxes().getAsRange<StringAttr>())) {
    Value at = blockIndex(place, load, dimension);
    indices.push_back(axis.empty() ? at : b.createOrFold<arith::AddIOp>(at, point.lookup(axis)));
  }
  return indices;
}

void MatrixLoopEmitter::overOuter(Place place, llvm::function_ref<void(const Place &)> body) {
  auto logits = cast<TileType>(m.step.getLogits().getType());
  std::function<void(size_t)> nest = [&](size_t depth) {
    if (depth == m.outer.size())
      return body(place);
    int64_t size = logits.sizeOf(m.outer[depth].getValue());
    Value before = place.outerIndex;
    auto step = [&](Value i) {
      place.outer[m.outer[depth]] = i;
      place.outerIndex = b.createOrFold<arith::AddIOp>(b.createOrFold<arith::MulIOp>(before, number(size)), i);
      nest(depth + 1);
    };
    if (size == 1)
      step(number(0));
    else
      e.loop(number(0), number(size), 1, step);
    place.outerIndex = before;
  };
  place.outerIndex = number(0);
  nest(0);
}

// --- Operands
// -----------------------------------------------------------------------------------------------------------

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
      if (queries.contains(product.query))
        continue;
      Value memory = matrixBuffer({outerSize, groups, m.keySize / 2, matrixColumns}, b.getI32Type());
      queries[product.query] = memory;
      Tile query = bufferOf(product.query);
      overOuter(Place(), [&](const Place &place) {
        e.loop(number(0), number(m.keySize), 2, [&](Value d) {
          Value pair = arith::ShRUIOp::create(b, d, number(1));
          for (int64_t group = 0; group < groups; ++group) {
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

MatrixLoopEmitter::Rows MatrixLoopEmitter::keyRows(Value keys, const Place &place, Value token, int64_t feature) {
  if (Value memory = packed.lookup(keys))
    return {memory, {token, number(feature)}, Value()};
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
      vector::StoreOp::create(b, arith::SelectOp::create(b, exists, row, zero), target, ValueRange{token, number(d)});
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
  Value memory = matrixBuffer({m.tokens, m.keySize}, b.getBF16Type());
  if (load) {
    copyRows(load, place, memory, active);
  } else {
    Tile tile = bufferOf(keys);
    Value target = asBits(b, memory);
    e.loop(number(0), active, 1, [&](Value token) {
      Point point;
      point[b.getStringAttr("m")] = token;
      e.loop(number(0), number(m.keySize), matrixColumns, [&](Value d) {
        point[m.keyFeatures] = d;
        Value row = toStorage(b, e.read(tile, point, m.keyFeatures, matrixColumns, b.getF32Type()), b.getBF16Type());
        Value bits = arith::BitcastOp::create(b, VectorType::get({matrixColumns}, b.getI16Type()), row);
        vector::StoreOp::create(b, bits, target, ValueRange{token, d});
      });
    });
  }
  packed[keys] = memory;
}

void MatrixLoopEmitter::packValues(Value values, const Place &place, Value active) {
  if (packed.contains(values))
    return;
  auto load = isDirectBlocks(values, m.valueFeatures) ? values.getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  if (load && load.getLimits().empty())
    return;
  Value memory = matrixBuffer({m.tokens / matrixDepth, m.valueSize, matrixDepth}, b.getBF16Type());
  if (load) {
    copyBlocks(load, place, memory, active);
  } else {
    // Pairs of tokens as dwords, 16 x 16 of them transposed at once.
    Tile tile = bufferOf(values);
    Value words = matrixBuffer({m.tokens / matrixDepth, m.valueSize, matrixDepth / 2}, b.getI32Type());
    memory = words;
    e.loop(number(0), active, matrixDepth, [&](Value first) {
      Value block = arith::DivUIOp::create(b, first, number(matrixDepth));
      e.loop(number(0), number(m.valueSize), matrixColumns, [&](Value feature) {
        auto square = VectorType::get({matrixColumns, matrixColumns}, b.getI32Type());
        Value pairs = arith::ConstantOp::create(b, b.getZeroAttr(square));
        for (int64_t i = 0; i < matrixDepth; i += 2) {
          Point point;
          point[m.valueFeatures] = feature;
          auto row = [&](int64_t offset) {
            point[b.getStringAttr("m")] = e.plus(first, i + offset);
            return e.read(tile, point, m.valueFeatures, matrixColumns, b.getF32Type());
          };
          Value low = row(0), high = row(1);
          pairs = vector::InsertOp::create(b, pairOf(b, low, high), pairs, ArrayRef<int64_t>{i / 2});
        }
        Value transposed = vector::TransposeOp::create(b, pairs, ArrayRef<int64_t>{1, 0});
        for (int64_t i = 0; i < matrixColumns; ++i) {
          Value row = vector::ExtractOp::create(b, transposed, ArrayRef<int64_t>{i});
          vector::StoreOp::create(b, row, words, ValueRange{block, e.plus(feature, i), number(0)});
        }
      });
    });
  }
  packed[values] = memory;
}

// --- Expressions
// --------------------------------------------------------------------------------------------------------

Value MatrixLoopEmitter::exp2(Value x) {
  auto call = [&](StringRef name, ValueRange arguments) {
    return LLVM::CallIntrinsicOp::create(b, f32, b.getStringAttr(name), arguments).getResult(0);
  };
  auto integer = [&](Type type, int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, type, b.getIntegerAttr(type, value));
  };
  Value all = integer(b.getI16Type(), -1), nearest = integer(b.getI32Type(), 4);
  Value zero = splat(b, f32, 0.0);
  // The fraction above floor(x); scalef multiplies by 2^floor(x) and gives 0 for -infinity.
  Value fraction = call("llvm.x86.avx512.mask.reduce.ps.512", {x, integer(b.getI32Type(), 1), zero, all, nearest});
  // (2^r - 1) / r on [0, 1), fitted for the least largest relative error of 1 + r p(r), 2.9e-6: exactly 1 at 0.
  constexpr double coefficients[] = {0.013426684289533822, 0.05224247418757171, 0.24128020477403792, 0.6930448448986966,
                                     1.0};
  Value p = splat(b, f32, coefficients[0]);
  for (double coefficient : ArrayRef(coefficients).drop_front())
    p = vector::FMAOp::create(b, p, fraction, splat(b, f32, coefficient));
  return call("llvm.x86.avx512.mask.scalef.ps.512", {p, x, zero, all, nearest});
}

Value MatrixLoopEmitter::evaluateLoad(tile::LoadOp load, const Place &place, Point &point) {
  auto type = load.getType();
  Type storage = type.getElementType();
  Value memory = load.getMemory();
  if (storage.isBF16())
    memory = asBits(b, memory);
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  Point at = point;
  Value exists;
  for (auto [axis, limit] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits()))
    if (axis.getValue() == "m") {
      // Tokens that do not exist count as 0; what is read instead exists.
      Value last = arith::SubIOp::create(b, limit, number(1));
      exists = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, point.lookup(axis), last);
      at[axis] = arith::MinSIOp::create(b, point.lookup(axis), last);
    }
  auto convert = [&](Value vector) -> Value {
    if (storage.isBF16())
      vector = arith::BitcastOp::create(b, cast<VectorType>(vector.getType()).clone(storage), vector);
    return convertVector(b, fromStorage(b, vector), b.getF32Type());
  };
  Value result;
  SmallVector<Value> indices = loadIndices(load, place, at);
  if (type.hasAxis(m.column)) {
    auto vector = VectorType::get({matrixColumns}, element);
    int64_t first = *getConstantIntValue(point.lookup(m.column));
    if (first + matrixColumns <= m.columns) {
      result = vector::LoadOp::create(b, vector, memory, indices);
    } else {
      Value inside = lanesBelow(b, matrixColumns, number(first), number(m.columns));
      result = vector::MaskedLoadOp::create(b, vector, memory, indices, inside,
                                            arith::ConstantOp::create(b, b.getZeroAttr(vector)));
    }
    result = convert(result);
  } else {
    Value scalar = memref::LoadOp::create(b, memory, indices);
    Value single = convert(vector::BroadcastOp::create(b, VectorType::get({1}, element), scalar));
    result = vector::BroadcastOp::create(b, f32, vector::ExtractOp::create(b, single, ArrayRef<int64_t>{0}));
  }
  return exists ? arith::SelectOp::create(b, exists, result, splat(b, f32, 0.0)) : result;
}

Value MatrixLoopEmitter::evaluateMask(tile::MaskOp mask, Value input, const Place &place, Point &point) {
  StringAttr n = b.getStringAttr("n");
  Value token = arith::AddIOp::create(b, place.token, point.lookup(b.getStringAttr("m")));
  Value hidden = splat(b, f32, -infinity);
  auto bounds = [&](Value query) -> std::pair<Value, Value> {
    Value last = mask.getLimit();
    if (mask.getCausal())
      last = arith::AddIOp::create(b, last, query);
    Value first = mask.getWindow() ? Value(arith::SubIOp::create(b, last, number(*mask.getWindow()))) : number(0);
    return {first, last};
  };
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, mask.getEnd());
  if (m.column != n) {
    auto [first, last] = bounds(point.lookup(n));
    Value keeps = arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, first, token),
                                        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, last));
    return arith::SelectOp::create(b, arith::AndIOp::create(b, keeps, exists), input, hidden);
  }
  // Query q sees the token where token < last(0) + q and first(0) + q <= token.
  auto [first, last] = bounds(point.lookup(n));
  Value shown = arith::SelectOp::create(b, exists, input, hidden);
  if (!mask.getCausal()) {
    Value keeps = arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, first, token),
                                        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, last));
    return arith::SelectOp::create(b, keeps, shown, hidden);
  }
  Value early = lanesBelow(b, matrixColumns, last, e.plus(token, 1));
  shown = arith::SelectOp::create(b, early, hidden, shown);
  if (!mask.getWindow())
    return shown;
  Value inside = lanesBelow(b, matrixColumns, first, e.plus(token, 1));
  return arith::SelectOp::create(b, inside, shown, hidden);
}

Value MatrixLoopEmitter::evaluate(Value value, const Place &place, Point &point, Value probability) {
  if (value == m.step.getProbabilities())
    return probability;
  for (auto [score, memory] : llvm::zip(m.scores, scores))
    if (score.result == value)
      return vector::LoadOp::create(
          b, f32, memory,
          ValueRange{place.parity, place.outerIndex, point.lookup(b.getStringAttr("m")), point.lookup(m.column)});
  Operation *op = value.getDefiningOp();
  if (!op || !m.staged.contains(op))
    return e.read(bufferOf(value), point, m.column, matrixColumns, b.getF32Type());
  auto operand = [&](unsigned i) { return evaluate(op->getOperand(i), place, point, probability); };
  Type element = cast<TileType>(value.getType()).getElementType();
  auto rounded = [&](Value vector) { return roundTo(b, vector, element); };
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return evaluateLoad(load, place, point);
  if (isa<tile::MulOp>(op))
    return rounded(arith::MulFOp::create(b, operand(0), operand(1)));
  if (isa<tile::AddOp>(op))
    return rounded(arith::AddFOp::create(b, operand(0), operand(1)));
  if (auto scale = dyn_cast<tile::ConstantMulOp>(op))
    return rounded(arith::MulFOp::create(b, operand(0), splat(b, f32, scale.getFactor().convertToDouble())));
  if (isa<tile::ConvertOp>(op))
    return rounded(operand(0));
  if (auto softcap = dyn_cast<tile::SoftcapOp>(op)) {
    double cap = softcap.getCap().convertToDouble();
    Value ratio = arith::MulFOp::create(b, operand(0), splat(b, f32, 1.0 / cap));
    return rounded(arith::MulFOp::create(b, cpu::tanh(b, ratio), splat(b, f32, cap)));
  }
  auto mask = cast<tile::MaskOp>(op);
  return evaluateMask(mask, operand(0), place, point);
}

// --- Stages
// -------------------------------------------------------------------------------------------------------------

Value MatrixLoopEmitter::stateVector(const Tile &tile, const Place &place, int64_t group) {
  Point point = place.outer;
  point[m.column] = number(group * matrixColumns);
  return e.read(tile, point, m.column, matrixColumns, b.getF32Type());
}

void MatrixLoopEmitter::writeState(const Tile &tile, const Place &place, int64_t group, Value vector) {
  Point point = place.outer;
  point[m.column] = number(group * matrixColumns);
  e.write(tile, point, vector);
}

MatrixLoopEmitter::Work MatrixLoopEmitter::scoreWork(const Place &place, Value token) {
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
            Value query =
                amx::TileLoadOp::create(b, operandTile(context), queries[product.query],
                                        ValueRange{place.outerIndex, number(group), number(d / 2), number(0)}, Value());
            *sum = amx::TileMulFOp::create(b, sumTile(context), keys, query, *sum);
          }
        });
      work.push_back([this, sum, place, token, j, group] {
        amx::TileStoreOp::create(b, scores[j],
                                 ValueRange{place.parity, place.outerIndex, token, number(group * matrixColumns)}, *sum,
                                 Value());
      });
    }
  return work;
}

void MatrixLoopEmitter::scoreStage(const Place &place, Value active) {
  overOuter(place, [&](const Place &inner) {
    e.loop(number(0), active, matrixRows, [&](Value token) { runAll(scoreWork(inner, token)); });
  });
}

/// The running maximum over the block's logits, and what it corrects.
void MatrixLoopEmitter::maxStage(const Place &place, Value active, const State &state) {
  overOuter(place, [&](const Place &inner) {
    SmallVector<Value> old;
    for (int64_t group = 0; group < groups; ++group)
      old.push_back(stateVector(state.max, inner, group));
    SmallVector<Value> max = e.loop(number(0), active, 1, old, [&](Value token, ValueRange carried) {
      SmallVector<Value> next;
      for (int64_t group = 0; group < groups; ++group) {
        Point point = inner.outer;
        point[b.getStringAttr("m")] = token;
        point[m.column] = number(group * matrixColumns);
        next.push_back(maximum(b, evaluate(m.step.getLogits(), inner, point, Value()), carried[group]));
      }
      return next;
    });
    SmallVector<Value> factors;
    Value one = splat(b, f32, 1.0);
    for (int64_t group = 0; group < groups; ++group) {
      // Nothing seen yet: there is nothing to correct.
      Value factor = exp2(arith::SubFOp::create(b, old[group], max[group]));
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
      point[m.column] = number(group * matrixColumns);
      point[m.valueFeatures] = feature;
      Value value = e.read(state.accumulator, point, m.column, matrixColumns, b.getF32Type());
      e.write(state.accumulator, point, arith::MulFOp::create(b, value, factors[group]));
    }
  });
}

MatrixLoopEmitter::Work MatrixLoopEmitter::weightWork(const Place &place, Value token, int64_t count,
                                                      ArrayRef<Value> base, SmallVectorImpl<Value> &sums) {
  Work work;
  for (int64_t i = 0; i < count; i += 2)
    for (int64_t group = 0; group < groups; ++group)
      work.push_back([this, place, token, i, group, max = base[group], &sums] {
        SmallVector<Value> low;
        for (int64_t half = 0; half < 2; ++half) {
          Point point = place.outer;
          point[b.getStringAttr("m")] = e.plus(token, i + half);
          point[m.column] = number(group * matrixColumns);
          Value logit = evaluate(m.step.getLogits(), place, point, Value());
          Value probability = exp2(arith::SubFOp::create(b, logit, max, arith::FastMathFlags::contract));
          sums[group] = arith::AddFOp::create(b, sums[group], probability);
          for (size_t k = 0; k < m.values.size(); ++k) {
            // Rounded when they are packed.
            Value weights = m.values[k].weights;
            while (auto convert = weights.getDefiningOp<tile::ConvertOp>())
              weights = convert.getInput();
            Value weight = evaluate(weights, place, point, probability);
            if (half == 0) {
              low.push_back(weight);
              continue;
            }
            Value pair = arith::ShRUIOp::create(b, e.plus(token, i), number(1));
            vector::StoreOp::create(b, pairOf(b, low[k], weight), weightWords[k],
                                    ValueRange{place.parity, place.outerIndex, number(group), pair, number(0)});
          }
        }
      });
  return work;
}

/// Asks for the lines of `count` tokens some way behind `token` of the blocks where keys, head factors and values are
/// read. Spread over the work, prefetches overlap with it; they never fault. They fill the L2 cache alone: what lies
/// between asking and use is larger than L1, which the stages' own buffers need (docs/perf-log.md).
MatrixLoopEmitter::Work MatrixLoopEmitter::prefetchWork(const Place &keys, const Place &heads, const Place &values,
                                                        Value token, int64_t count) {
  int64_t ahead = std::min<int64_t>(m.tokens, 128);
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
    if (!load || !load.getType().hasAxis("m"))
      continue;
    int64_t size = cast<MemRefType>(load.getMemory().getType()).getElementTypeBitWidth() / 8;
    if (isDirectBlocks(load.getResult(), m.valueFeatures)) {
      // A line holds one feature of 32 tokens, who share the features among them.
      int64_t lines = m.valueSize * count / matrixDepth;
      int64_t feature = load.getDimOfAxis(m.valueFeatures);
      work.push_back([this, ask, load, values, ahead, token, count, lines, feature]() mutable {
        Place next = placeAhead(values, ahead, token);
        Value within = arith::RemUIOp::create(b, token, number(matrixDepth));
        Value first = arith::MulIOp::create(b, arith::DivUIOp::create(b, within, number(count)), number(lines));
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
          point[b.getStringAttr("m")] = e.plus(token, i);
          point[last] = number(element);
          ask(load.getMemory(), loadIndices(load, *next, point));
        }
      });
  }
  return work;
}

void MatrixLoopEmitter::weightStage(const Place &place, Value active, const State &state, bool prefetch) {
  overOuter(place, [&](const Place &inner) {
    SmallVector<Value> base, start;
    for (int64_t group = 0; group < groups; ++group) {
      Value max = stateVector(state.max, inner, group);
      // Nothing visible yet: differences to 0 instead, which stay -infinity.
      base.push_back(selectIfMinusInfinity(b, max, splat(b, f32, 0.0), max));
      start.push_back(stateVector(state.sum, inner, group));
    }
    SmallVector<Value> sums = e.loop(number(0), active, 2, start, [&](Value token, ValueRange carried) {
      SmallVector<Value> next(carried);
      runAll(weightWork(inner, token, 2, base, next));
      if (prefetch)
        runAll(prefetchWork(inner, inner, inner, token, 2));
      return next;
    });
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
      point[m.column] = number((pass.group + j) * matrixColumns);
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
      point[m.column] = number((pass.group + j) * matrixColumns);
      amx::TileStoreOp::create(b, state.accumulator.memory, e.indices(state.accumulator, point),
                               sums[i * pass.groupCount + j], Value());
    }
}

MatrixLoopEmitter::Work MatrixLoopEmitter::valueWork(const Place &place, Value token, int64_t k, const Pass &pass,
                                                     SmallVectorImpl<Value> &sums) {
  Work work;
  for (int64_t i = 0; i < pass.features; ++i)
    work.push_back([this, place, token, k, i, pass, &sums] {
      MLIRContext *context = b.getContext();
      Rows rows = valueRows(m.values[k].values, place, token, e.plus(pass.feature, i * matrixRows));
      Value values = amx::TileLoadOp::create(b, operandTile(context), rows.memory, rows.indices, rows.stride);
      Value pair = arith::ShRUIOp::create(b, token, number(1));
      for (int64_t j = 0; j < pass.groupCount; ++j) {
        Value columns = amx::TileLoadOp::create(
            b, operandTile(context), weightWords[k],
            ValueRange{place.parity, place.outerIndex, number(pass.group + j), pair, number(0)}, Value());
        Value &sum = sums[i * pass.groupCount + j];
        sum = amx::TileMulFOp::create(b, sumTile(context), values, columns, sum);
      }
    });
  return work;
}

void MatrixLoopEmitter::valueStage(const Place &place, Value active, const State &state) {
  int64_t features = passFeatures();
  overOuter(place, [&](const Place &inner) {
    for (int64_t group = 0; group < groups; group += 4)
      e.loop(number(0), number(m.valueSize), features * matrixRows, [&](Value feature) {
        Pass pass{feature, features, group, std::min<int64_t>(4, groups - group)};
        SmallVector<Value> start = loadAccumulator(inner, state, pass);
        SmallVector<Value> sums = e.loop(number(0), active, matrixDepth, start, [&](Value token, ValueRange carried) {
          SmallVector<Value> next(carried);
          for (size_t k = 0; k < m.values.size(); ++k)
            runAll(valueWork(inner, token, k, pass, next));
          return next;
        });
        storeAccumulator(inner, state, pass, sums);
      });
  });
}

void MatrixLoopEmitter::allocateStages(int64_t halves) {
  for (size_t j = 0; j < m.scores.size(); ++j)
    scores.push_back(matrixBuffer({halves, outerSize, m.tokens, groups * matrixColumns}, b.getF32Type()));
  for (size_t k = 0; k < m.values.size(); ++k)
    weightWords.push_back(matrixBuffer({halves, outerSize, groups, m.tokens / 2, matrixColumns}, b.getI32Type()));
}

void MatrixLoopEmitter::emitBlock(const Tile &max, const Tile &sum, const Tile &accumulator) {
  State state{max, sum, accumulator};
  allocateStages(1);

  Place place;
  place.token = m.loop.getInductionVar();
  findPage(place);
  place.parity = number(0);
  Value active = activeTokens(place);
  for (const MatrixLoop::Score &score : m.scores)
    for (const MatrixLoop::Product &product : score.products)
      packKeys(product.keys, place, active);
  for (const MatrixLoop::ValueProduct &product : m.values)
    packValues(product.values, place, active);
  scoreStage(place, active);
  maxStage(place, active, state);
  weightStage(place, active, state, /*prefetch=*/!m.mask);
  valueStage(place, active, state);
}

// --- Pipeline
// -----------------------------------------------------------------------------------------------------------

bool MatrixLoopEmitter::canPipeline() {
  auto direct = [&](Value tile) {
    auto load = tile.getDefiningOp<tile::LoadOp>();
    return isDirect(tile) && load.getLimits().empty();
  };
  return !m.mask && outerSize == 1 && groups <= 4 && m.tokens % (2 * matrixDepth) == 0 && pipelineStep() != 0 &&
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

/// One block: its weights, the scores of the next one, the value product of the previous one.
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
              works[3] = prefetchWork(next, current, previous, token, step);
              interleave(works);
              llvm::append_range(sums, tiles);
              return sums;
            });
        storeAccumulator(previous, state, pass, ArrayRef<Value>(end).drop_front(groups));
        return SmallVector<Value>(ArrayRef<Value>(end).take_front(groups));
      });

  // The maximum is that of earlier blocks. Weights above 1 do no harm until they are near the range of f32; then the
  // block is weighed again, by its own maximum. Padding holds anything.
  Value large;
  for (int64_t group = 0; group < groups; ++group) {
    Value exceeds = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, blockSums[group], splat(b, f32, 0x1p40));
    if ((group + 1) * matrixColumns > m.columns) {
      Value inside = lanesBelow(b, matrixColumns, number(group * matrixColumns), number(m.columns));
      exceeds = arith::AndIOp::create(b, exceeds, inside);
    }
    large = large ? arith::OrIOp::create(b, large, exceeds) : exceeds;
  }
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, large);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  maxStage(current, number(m.tokens), state);
  weightStage(current, number(m.tokens), state, /*prefetch=*/false);
  b.setInsertionPointToStart(conditional.elseBlock());
  for (int64_t group = 0; group < groups; ++group) {
    Value sum = stateVector(state.sum, current, group);
    writeState(state.sum, current, group, arith::AddFOp::create(b, sum, blockSums[group]));
  }
}

void MatrixLoopEmitter::emitPipeline(const Tile &max, const Tile &sum, const Tile &accumulator) {
  State state{max, sum, accumulator};
  allocateStages(2);
  Value begin = m.loop.getLowerBound(), end = m.loop.getUpperBound();
  Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, begin, end);
  auto conditional = scf::IfOp::create(b, any, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());

  Value whole = number(m.tokens);
  Value blocks = arith::CeilDivSIOp::create(b, arith::SubIOp::create(b, end, begin), whole);
  Value last =
      arith::AddIOp::create(b, begin, arith::MulIOp::create(b, arith::SubIOp::create(b, blocks, number(1)), whole));
  auto placeAt = [&](Value token, Value parity) {
    Place place;
    place.token = token;
    findPage(place);
    place.parity = parity;
    for (StringAttr axis : m.outer)
      place.outer[axis] = number(0);
    place.outerIndex = number(0);
    return place;
  };
  Place first = placeAt(begin, number(0));
  scoreStage(first, whole);
  maxStage(first, whole, state);
  // Before the first block there is none: it weighs nothing.
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(i32));
  for (Value words : weightWords)
    for (int64_t group = 0; group < groups; ++group)
      e.loop(number(0), number(m.tokens / 2), 1, [&](Value pair) {
        vector::StoreOp::create(b, zero, words, ValueRange{number(1), number(0), number(group), pair, number(0)});
      });

  Value parity = e.loop(begin, end, m.tokens, ValueRange{number(0)}, [&](Value token, ValueRange carried) {
    Value half = carried.front();
    Value other = arith::SubIOp::create(b, number(1), half);
    // The last block's scores are computed twice, the second time for nothing.
    Value next = arith::MinSIOp::create(b, arith::AddIOp::create(b, token, whole), last);
    Value previous = arith::MaxSIOp::create(b, arith::SubIOp::create(b, token, whole), begin);
    pipelineBlock(placeAt(next, other), placeAt(token, half), placeAt(previous, other), state);
    return SmallVector<Value>{other};
  })[0];
  valueStage(placeAt(last, arith::SubIOp::create(b, number(1), parity)), whole, state);
}
