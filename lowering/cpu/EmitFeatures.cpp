// SPDX-License-Identifier: Apache-2.0
//
// Ops on factors: RoPE, outer products of small factors, head functions, quantisation.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "lowering/reference/Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

void Emitter::outer(tile::OuterOp op, const Tile &lhs, const Tile &rhs, const Tile &result) {
  StringAttr fast = op.getFastAttr(), slow = op.getSlowAttr(), joined = op.getJoinedAttr();
  StringAttr lane = laneAxis(result.type);
  Type element = storedType(result.type);
  int64_t fastSize = lhs.type.sizeOf(fast), slowSize = rhs.type.sizeOf(slow);
  int64_t width = commonWidth(result, {lhs, rhs});
  bool alongFast = lane == joined;
  if (alongFast)
    width = laneAxis(lhs.type) == fast && fastSize % width == 0 ? width : 1;
  StringAttr readLane = alongFast ? fast : lane;
  clearPadding(result, width == 1 || !alongFast ? width : 1);

  Point point;
  SmallVector<StringAttr> except = {joined};
  if (!alongFast)
    except.push_back(lane);
  // `joined` may have the name of `fast`: the operands are read before it is placed.
  auto product = [&](Value i, Value j, Value start) {
    point[fast] = i;
    point[slow] = j;
    Value value = arith::MulFOp::create(b, read(lhs, point, readLane, width, element),
                                        read(rhs, point, readLane, width, element));
    point[joined] = arith::AddIOp::create(b, start, i);
    write(result, point, value);
  };
  loops(axesWithout(result.type, except), point, [&] {
    loop(index(0), index(slowSize), 1, [&](Value j) {
      Value start = arith::MulIOp::create(b, j, index(fastSize));
      loop(index(0), index(fastSize), alongFast ? width : 1, [&](Value i) {
        if (alongFast)
          product(i, j, start);
        else
          laneLoop(result.type, width, point, [&] { product(i, j, start); });
      });
    });
  });
}

void Emitter::slice(tile::SliceOp op, const Tile &input, const Tile &result) {
  StringAttr from = op.getFromAttr(), to = op.getToAttr();
  StringAttr lane = laneAxis(result.type);
  StringAttr inputLane = lane == to ? from : lane;
  int64_t width = laneAxis(input.type) == inputLane || !input.type.hasAxis(inputLane) ? commonWidth(result, {}) : 1;
  // Vectors from an offset on could reach beyond the input's last one.
  Value offset = op.getOffset();
  if (offset && lane == to)
    width = 1;
  clearPadding(result, width);
  Point point;
  loops(axesWithout(result.type, {lane}), point, [&] {
    laneLoop(result.type, width, point, [&] {
      Value at = point.lookup(to);
      point[from] = offset ? Value(arith::AddIOp::create(b, at, offset)) : at;
      Value element = read(input, point, inputLane, width, storedType(result.type));
      // `from` may have the name of `to`.
      point[to] = at;
      write(result, point, element);
    });
  });
}

void Emitter::rope(tile::RopeOp op, const Tile &input, const Tile &positions, const Tile &result) {
  RopeAttr rope = op.getRope();
  StringAttr axis = op.getAxisAttr();
  StringAttr lane = laneAxis(result.type);
  Type element = storedType(result.type);
  Type f64 = b.getF64Type();
  int64_t half = rope.getDRot() / 2;
  bool isHalf = rope.getLayout() == RopeLayout::half;

  // Vectors of pairs where both halves are whole vectors, or of another axis that all pairs share; else single pairs.
  int64_t width = commonWidth(result, {input});
  bool alongPairs = lane == axis;
  if (alongPairs) {
    bool whole = isHalf && half % width == 0;
    width = whole ? width : 1;
  } else if (positions.type.hasAxis(lane)) {
    width = 1;
  }

  // cos and sin per pair, for one token at a time.
  auto table = [&](Type type) -> Value {
    return memref::AllocaOp::create(b, MemRefType::get({half}, type), b.getI64IntegerAttr(64));
  };
  Value frequencies, cosines, sines;
  {
    OpBuilder::InsertionGuard guard(b);
    Block *entry = &op->getParentOfType<FunctionOpInterface>().getFunctionBody().front();
    b.setInsertionPointToStart(entry);
    frequencies = table(f64);
    cosines = table(element);
    sines = table(element);
  }
  SmallVector<double> values = rope.getFrequencies();
  for (auto [i, value] : llvm::enumerate(values))
    memref::StoreOp::create(b, constantFloat(b, b.getLoc(), f64, value), frequencies, index(i));

  if (result.memory != input.memory)
    convert(input, result);
  Point point;
  loops(axesWithout(positions.type, {}), point, [&] {
    Value position = memref::LoadOp::create(b, positions.memory, indices(positions, point));
    position = arith::SIToFPOp::create(b, f64, position);
    loop(index(0), index(half), 1, [&](Value pair) {
      Value angle = arith::MulFOp::create(b, position, memref::LoadOp::create(b, frequencies, pair));
      Value amplitude = constantFloat(b, b.getLoc(), f64, rope.getAmplitudeValue());
      auto [cosine, sine] = cosSin(b, angle);
      cosine = arith::MulFOp::create(b, cosine, amplitude);
      sine = arith::MulFOp::create(b, sine, amplitude);
      if (rope.getDirection() < 0)
        sine = arith::NegFOp::create(b, sine);
      memref::StoreOp::create(b, convertElement(b, b.getLoc(), cosine, element), cosines, pair);
      memref::StoreOp::create(b, convertElement(b, b.getLoc(), sine, element), sines, pair);
    });

    auto type = VectorType::get({width}, element);
    auto factor = [&](Value from, Value pair) -> Value {
      if (alongPairs)
        return vector::LoadOp::create(b, type, from, pair);
      return vector::BroadcastOp::create(b, type, memref::LoadOp::create(b, from, pair));
    };
    auto rotate = [&](Value first, Value pair) {
      Value cosine = factor(cosines, pair), sine = factor(sines, pair);
      Value near = isHalf ? pair : arith::MulIOp::create(b, pair, index(2));
      Value one = arith::AddIOp::create(b, first, near);
      Value two = plus(one, isHalf ? half : 1);
      auto at = [&](Value feature) {
        point[axis] = feature;
        return read(input, point, lane, width, element);
      };
      Value x1 = at(one), x2 = at(two);
      auto combine = [&](Value feature, Value own, Value other, bool minus) {
        Value a = arith::MulFOp::create(b, own, cosine);
        Value c = arith::MulFOp::create(b, other, sine);
        point[axis] = feature;
        write(result, point, minus ? Value(arith::SubFOp::create(b, a, c)) : Value(arith::AddFOp::create(b, a, c)));
      };
      combine(one, x1, x2, true);
      combine(two, x2, x1, false);
    };
    SmallVector<StringAttr> except(positions.type.getAxes());
    except.append({axis, lane});
    loops(axesWithout(result.type, except), point, [&] {
      loop(index(0), index(result.type.sizeOf(axis)), op.getBlock(), [&](Value block) {
        Value first = plus(block, rope.getOffset());
        loop(index(0), index(half), alongPairs ? width : 1, [&](Value pair) {
          if (alongPairs || positions.type.hasAxis(lane))
            rotate(first, pair);
          else
            laneLoop(result.type, width, point, [&] { rotate(first, pair); });
        });
      });
    });
  });
}

void Emitter::headFunction(HeadFunction function, const Tile &input, const Tile &result) {
  constexpr double log2e = std::numbers::log2e;
  auto scaled = [&](Value value, double factor) -> Value {
    return arith::MulFOp::create(b, value, splat(b, cast<VectorType>(value.getType()), factor));
  };
  switch (function) {
  case HeadFunction::identity:
    return convert(input, result);
  case HeadFunction::sigmoid:
    return elementwise(result, {input}, [&](const Point &, ArrayRef<Value> in) -> Value {
      auto type = cast<VectorType>(in[0].getType());
      // 1 / (1 + e^-x); where e^-x would overflow, the result is as small as f32 can tell.
      Value exponent = scaled(in[0], -log2e);
      Value isLarge = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, exponent, splat(b, type, 126.0));
      exponent = arith::SelectOp::create(b, isLarge, splat(b, type, 126.0), exponent);
      Value one = splat(b, type, 1.0);
      return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, exp2(b, exponent)));
    });
  case HeadFunction::softmax:
    break;
  }
  StringAttr h = b.getStringAttr("h");
  StringAttr lane = laneAxis(input.type);
  int64_t width = commonWidth(result, {input});
  if (laneAxis(result.type) != lane)
    width = 1;
  if (result.memory != input.memory)
    clearPadding(result, width);
  Type element = storedType(result.type);
  auto type = VectorType::get({width}, element);
  double infinity = std::numeric_limits<double>::infinity();
  Point point;
  forRows(input, h, width, point, [&](const Rows &rows) {
    SmallVector<Value> least(rows.count(), splat(b, type, -infinity));
    SmallVector<Value> zeros(rows.count(), splat(b, type, 0.0));
    SmallVector<Value> max = foldRows(input, rows, point, -infinity, least, vector::CombiningKind::MAXNUMF,
                                      [&](size_t, Value carried, Value value) { return maximum(b, value, carried); });
    auto power = [&](size_t i, Value value) { return exp2(b, scaled(arith::SubFOp::create(b, value, max[i]), log2e)); };
    SmallVector<Value> sum = foldRows(input, rows, point, -infinity, zeros, vector::CombiningKind::ADD,
                                      [&](size_t i, Value carried, Value value) -> Value {
                                        return arith::AddFOp::create(b, carried, power(i, value));
                                      });
    foldRows(input, rows, point, -infinity, zeros, vector::CombiningKind::ADD,
             [&](size_t i, Value carried, Value value) -> Value {
               write(result, point, arith::DivFOp::create(b, power(i, value), sum[i]));
               return carried;
             });
  });
}

void Emitter::quantize(StringAttr axis, const Tile &input, const Tile &values, const Tile &scale) {
  StringAttr lane = laneAxis(input.type);
  Type element = storedType(input.type);
  double largest = largestQuantized(values.type.getElementType());
  int64_t width = commonWidth(values, {input, scale});
  if (laneAxis(values.type) != lane)
    width = 1;
  if (values.memory != input.memory)
    clearPadding(values, width);
  clearPadding(scale, width);
  auto type = VectorType::get({width}, element);
  Point point;
  forRows(input, axis, width, point, [&](const Rows &rows) {
    SmallVector<Value> zeros(rows.count(), splat(b, type, 0.0));
    SmallVector<Value> scales = foldRows(
        input, rows, point, 0.0, zeros, vector::CombiningKind::MAXNUMF,
        [&](size_t, Value carried, Value value) { return maximum(b, carried, math::AbsFOp::create(b, value)); });
    for (auto [i, value] : llvm::enumerate(scales)) {
      Value ratio = arith::DivFOp::create(b, value, splat(b, type, largest));
      // Rows of zeros, and rows so small that the ratio underflows.
      Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, ratio, zeros[i]);
      value = arith::SelectOp::create(b, isZero, splat(b, type, 1.0), ratio);
      setRow(input, rows, i, point);
      writeRow(scale, point, lane, value);
    }
    foldRows(input, rows, point, 0.0, zeros, vector::CombiningKind::ADD, [&](size_t i, Value carried, Value value) {
      write(values, point, arith::DivFOp::create(b, value, scales[i]));
      return carried;
    });
  });
}
