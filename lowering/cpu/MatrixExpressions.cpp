// SPDX-License-Identifier: Apache-2.0
//
// What stands between the products of a MatrixLoop, element by element, in registers.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/MatrixTiles.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

static constexpr double infinity = std::numeric_limits<double>::infinity();

Value MatrixLoopEmitter::evaluateLoad(tile::LoadOp load, const Place &place, Point &point, StringAttr lane) {
  auto type = load.getType();
  Type storage = type.getElementType();
  Value memory = load.getMemory();
  if (storage.isBF16())
    memory = asBits(b, memory);
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  Point at = point;
  Value exists;
  for (auto [axis, limit] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits()))
    if (axis.getValue() == "m" && axis != lane) {
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
  if (type.hasAxis(lane)) {
    auto vector = VectorType::get({matrixColumns}, element);
    Value size = number(type.sizeOf(lane.getValue()));
    bool isWhole = type.sizeOf(lane.getValue()) % matrixColumns == 0;
    if (auto first = getConstantIntValue(point.lookup(lane)))
      isWhole |= *first + matrixColumns <= type.sizeOf(lane.getValue());
    if (lane.getValue() == "m")
      for (auto [axis, limit] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits()))
        if (axis == lane) {
          size = limit;
          isWhole = false;
        }
    if (isWhole) {
      result = vector::LoadOp::create(b, vector, memory, indices);
    } else {
      Value inside = lanesBelow(b, matrixColumns, point.lookup(lane), size);
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
  if (m.column == n && mask.getCausal())
    return e.hidden(mask, input, token, point.lookup(n));
  Value last = mask.getLimit();
  if (mask.getCausal())
    last = arith::AddIOp::create(b, last, point.lookup(n));
  Value first = mask.getWindow() ? Value(arith::SubIOp::create(b, last, number(*mask.getWindow()))) : number(0);
  Value end = arith::MinSIOp::create(b, last, mask.getEnd());
  Value keeps = arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, first, token),
                                      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, token, end));
  return arith::SelectOp::create(b, keeps, input, splat(b, f32, -infinity));
}

Value MatrixLoopEmitter::evaluate(Value value, const Place &place, Point &point, StringAttr lane, Value probability) {
  if (value == m.step.getProbabilities())
    return probability;
  for (auto [score, memory] : llvm::zip(m.scores, scores))
    if (score.result == value)
      return vector::LoadOp::create(b, f32, memory,
                                    scoreIndices(place, point.lookup(b.getStringAttr("m")), point.lookup(m.column)));
  Operation *op = value.getDefiningOp();
  if (!op || !(m.staged.contains(op) || m.packed.contains(op)))
    return e.read(bufferOf(value), point, lane, matrixColumns, b.getF32Type());
  auto operand = [&](unsigned i) { return evaluate(op->getOperand(i), place, point, lane, probability); };
  // Products are added or subtracted without being rounded in between.
  constexpr auto contract = arith::FastMathFlags::contract;
  Type element = cast<TileType>(value.getType()).getElementType();
  auto rounded = [&](Value vector) { return roundTo(b, vector, element); };
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return evaluateLoad(load, place, point, lane);
  if (auto slice = dyn_cast<tile::SliceOp>(op)) {
    // The first features of rows in memory.
    Point from = point;
    from[slice.getFromAttr()] = point.lookup(slice.getToAttr());
    return evaluateLoad(slice.getInput().getDefiningOp<tile::LoadOp>(), place, from,
                        lane == slice.getToAttr() ? slice.getFromAttr() : lane);
  }
  if (isa<tile::MulOp>(op))
    return rounded(arith::MulFOp::create(b, operand(0), operand(1), contract));
  if (isa<tile::AddOp>(op))
    return rounded(arith::AddFOp::create(b, operand(0), operand(1), contract));
  if (auto scale = dyn_cast<tile::ConstantMulOp>(op))
    return rounded(arith::MulFOp::create(b, operand(0), splat(b, f32, scale.getFactor().convertToDouble())));
  if (isa<tile::ConvertOp>(op))
    return rounded(operand(0));
  if (auto softcap = dyn_cast<tile::SoftcapOp>(op)) {
    double cap = softcap.getCap().convertToDouble();
    Value ratio = arith::MulFOp::create(b, operand(0), splat(b, f32, 1.0 / cap));
    return rounded(arith::MulFOp::create(b, cpu::tanh(b, ratio), splat(b, f32, cap)));
  }
  if (auto split = dyn_cast<tile::SplitOp>(op)) {
    Value input = operand(0);
    Value high = roundTo(b, input, element);
    return value == split.getHigh() ? high : rounded(arith::SubFOp::create(b, input, high));
  }
  auto mask = cast<tile::MaskOp>(op);
  if (place.isWhole)
    return operand(0);
  return evaluateMask(mask, operand(0), place, point);
}
