// SPDX-License-Identifier: Apache-2.0
//
// Ops that compute element by element.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

static Tile computed(TileType type, ArrayRef<Tile> operands,
                     std::function<Value(const Point &, ArrayRef<Value>)> body) {
  return {Value(), type, std::make_shared<Computation>(Computation{llvm::to_vector(operands), std::move(body), false})};
}

void Emitter::fill(double value, const Tile &result) {
  StringAttr lane = laneAxis(result.type);
  int64_t width = commonWidth(result, {});
  auto type = VectorType::get({width}, storedType(result.type));
  Value constant;
  if (type.getElementType().isInteger())
    constant = arith::ConstantOp::create(
        b,
        DenseElementsAttr::get(type, Attribute(b.getIntegerAttr(type.getElementType(), static_cast<int64_t>(value)))));
  else
    constant = rounded(result, splat(b, type, value));
  Point point;
  loops(axesWithout(result.type, {lane}), point, [&] {
    laneLoop(result.type, width, point,
             [&] { vector::StoreOp::create(b, constant, result.memory, indices(result, point)); });
  });
}

Tile Emitter::converted(const Tile &input, TileType type) {
  auto computation = std::make_shared<Computation>();
  computation->operands = {input};
  computation->body = [](const Point &, ArrayRef<Value> in) { return in[0]; };
  computation->isWidening = type.getElementType() == storedType(input.type);
  return {Value(), type, computation};
}

void Emitter::convert(const Tile &input, const Tile &result) {
  int64_t square = std::min(commonWidth(input, {input}), commonWidth(result, {}));
  if (laneAxis(input.type) != laneAxis(result.type) && square > 1)
    return transpose(input, result, square);
  elementwise(result, {input}, [](const Point &, ArrayRef<Value> in) { return in[0]; });
}

void Emitter::transpose(const Tile &input, const Tile &result, int64_t width) {
  StringAttr from = laneAxis(input.type), to = laneAxis(result.type);
  int64_t rows = laneSize(result.type);
  Type element = storedType(result.type);
  if (padded(rows) - rows >= width)
    fill(0.0, result);
  // Neighbouring bf16 are moved together, as one word: half the shuffles, and no conversion before them.
  const Tile &stored = input.computation && input.computation->isWidening ? input.computation->operands[0] : input;
  bool isPaired = !stored.computation && stored.type.getElementType().isBF16() && element.isF32() &&
                  cast<MemRefType>(stored.memory.getType()).getElementType().isInteger(16) &&
                  laneSize(input.type) % (2 * width) == 0;
  int64_t columns = isPaired ? 2 * width : width;
  auto rowType = VectorType::get(width, isPaired ? b.getI32Type() : element);
  Point point;
  loops(axesWithout(input.type, {from, to}), point, [&] {
    groups(rows, width, [&](Value row, int64_t rowCount) {
      groups(laneSize(input.type), columns, [&](Value column, int64_t columnCount) {
        SmallVector<Value> square(width, arith::ConstantOp::create(b, b.getZeroAttr(rowType)));
        point[from] = column;
        for (int64_t i = 0; i < rowCount; ++i) {
          point[to] = plus(row, i);
          if (isPaired) {
            auto type = VectorType::get(columns, b.getI16Type());
            Value pairs = vector::LoadOp::create(b, type, stored.memory, indices(stored, point));
            square[i] = vector::BitCastOp::create(b, rowType, pairs);
          } else {
            square[i] = read(input, point, from, width, element);
          }
        }
        square = transposed(b, square);
        point[to] = row;
        for (int64_t i = 0; i < columnCount; ++i) {
          point[from] = plus(column, i);
          Value vector = square[isPaired ? i / 2 : i];
          if (isPaired)
            vector = i % 2 == 0 ? lowerOfPairs(b, vector) : upperOfPairs(b, vector);
          write(result, point, vector);
        }
      });
    });
  });
}

void Emitter::split(const Tile &input, const Tile &high, const Tile &low) {
  elementwise(low, {input}, [&](const Point &, ArrayRef<Value> in) {
    return arith::SubFOp::create(b, in[0], roundTo(b, in[0], high.type.getElementType()));
  });
  convert(input, high);
}

std::pair<Tile, Tile> Emitter::parts(const Tile &input, TileType type) {
  Tile low = computed(type, {input}, [this, type](const Point &, ArrayRef<Value> in) -> Value {
    return arith::SubFOp::create(b, in[0], roundTo(b, in[0], type.getElementType()));
  });
  return {converted(input, type), low};
}

Tile Emitter::product(const Tile &lhs, const Tile &rhs, TileType type) {
  return computed(type, {lhs, rhs},
                  [this](const Point &, ArrayRef<Value> in) { return arith::MulFOp::create(b, in[0], in[1]); });
}

Tile Emitter::sum(const Tile &lhs, const Tile &rhs, TileType type) {
  return computed(type, {lhs, rhs},
                  [this](const Point &, ArrayRef<Value> in) { return arith::AddFOp::create(b, in[0], in[1]); });
}

Tile Emitter::constantProduct(const Tile &input, double factor, TileType type) {
  return computed(type, {input}, [this, factor](const Point &, ArrayRef<Value> in) {
    return arith::MulFOp::create(b, in[0], splat(b, cast<VectorType>(in[0].getType()), factor));
  });
}

Tile Emitter::softcapped(const Tile &input, double cap, TileType type) {
  return computed(type, {input}, [this, cap](const Point &, ArrayRef<Value> in) {
    auto type = cast<VectorType>(in[0].getType());
    Value ratio = arith::MulFOp::create(b, in[0], splat(b, type, 1.0 / cap));
    return arith::MulFOp::create(b, tanh(b, ratio), splat(b, type, cap));
  });
}

Value Emitter::hidden(tile::MaskOp op, Value logits, Value token, Value query) {
  // Query q sees the token where first + q <= token < last + q, for the first and last of query 0.
  auto type = cast<VectorType>(logits.getType());
  int64_t width = type.getDimSize(0);
  Value hidden = splat(b, type, -std::numeric_limits<double>::infinity());
  Value last = arith::AddIOp::create(b, op.getLimit(), query), next = plus(token, 1);
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, op.getEnd());
  Value shown = arith::SelectOp::create(b, exists, logits, hidden);
  Value isLater = lanesBelow(b, width, last, next);
  shown = arith::SelectOp::create(b, isLater, hidden, shown);
  if (!op.getWindow())
    return shown;
  Value first = arith::SubIOp::create(b, last, index(*op.getWindow()));
  return arith::SelectOp::create(b, lanesBelow(b, width, first, next), shown, hidden);
}

void Emitter::mask(tile::MaskOp op, const Tile &input, const Tile &result) {
  StringAttr n = b.getStringAttr("n");
  StringAttr m = b.getStringAttr("m");
  StringAttr lane = laneAxis(result.type);
  // The tokens that query n sees, as positions within the block: first <= m < last.
  auto visible = [&](Value query) -> std::pair<Value, Value> {
    Value last = op.getLimit();
    if (op.getCausal())
      last = arith::AddIOp::create(b, last, query);
    Value first = index(0);
    if (op.getWindow())
      first = arith::MaxSIOp::create(b, arith::SubIOp::create(b, last, index(*op.getWindow())), first);
    Value end = arith::MinSIOp::create(b, last, op.getEnd());
    return {arith::SubIOp::create(b, first, op.getToken()), arith::SubIOp::create(b, end, op.getToken())};
  };
  // Both bounds grow with the query: most blocks are wholly visible.
  Value first = visible(index(input.type.sizeOf(n) - 1)).first;
  Value last = visible(index(0)).second;
  Value all =
      arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, first, index(0)),
                            arith::CmpIOp::create(b, arith::CmpIPredicate::sge, last, index(input.type.sizeOf(m))));

  auto conditional = scf::IfOp::create(b, all, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  if (input.computation || input.memory != result.memory)
    convert(input, result);
  b.setInsertionPointToStart(conditional.elseBlock());
  elementwise(result, {input}, [&](const Point &point, ArrayRef<Value> in) -> Value {
    auto type = cast<VectorType>(in[0].getType());
    if (lane == n && op.getCausal())
      return hidden(op, in[0], arith::AddIOp::create(b, op.getToken(), point.lookup(m)), point.lookup(n));
    auto [from, to] = visible(point.lookup(n));
    Value token = point.lookup(m);
    Value hidden = splat(b, type, -std::numeric_limits<double>::infinity());
    if (lane == m) {
      Value below = lanesBelow(b, type.getDimSize(0), token, to);
      Value before = lanesBelow(b, type.getDimSize(0), token, from);
      Value kept = arith::SelectOp::create(b, below, in[0], hidden);
      return arith::SelectOp::create(b, before, hidden, kept);
    }
    Value keeps = arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, from, token),
                                        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, to));
    return arith::SelectOp::create(b, keeps, in[0], hidden);
  });
}
