// SPDX-License-Identifier: Apache-2.0
//
// Online softmax: a step per block, the end, and the merge of partial results.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

static constexpr double infinity = std::numeric_limits<double>::infinity();

Value Emitter::power(Value x) {
  auto type = cast<VectorType>(x.getType());
  return avx512 && type == VectorType::get({16}, b.getF32Type()) ? exp2Avx512(b, x) : exp2(b, x);
}

void Emitter::softmaxStep(const Tile &logits, const SoftmaxState &state, const Tile &probabilities,
                          const SoftmaxState &newState, const Tile &correction) {
  StringAttr m = b.getStringAttr("m");
  StringAttr lane = laneAxis(logits.type);
  int64_t width = commonWidth(logits, {probabilities, state.max, newState.max, correction});
  if (width == 1)
    for (const Tile &tile : {newState.max, newState.sum, correction})
      if (tile.memory != state.max.memory && tile.memory != state.sum.memory)
        clearPadding(tile, 1);
  if (probabilities.memory != logits.memory)
    clearPadding(probabilities, width);
  Type element = storedType(logits.type);
  auto type = VectorType::get({width}, element);

  Point point;
  forRows(logits, m, width, point, [&](const Rows &rows) {
    SmallVector<Value> oldMax, oldSum, zeros;
    for (size_t i = 0; i < rows.count(); ++i) {
      setRow(logits, rows, i, point);
      oldMax.push_back(read(state.max, point, lane, width, element));
      oldSum.push_back(read(state.sum, point, lane, width, element));
      zeros.push_back(splat(b, type, 0.0));
    }
    auto largest = [&](size_t, Value carried, Value logit) {
      // Computed once: the second pass reads them here.
      if (logits.computation)
        write(probabilities, point, logit);
      return maximum(b, logit, carried);
    };
    SmallVector<Value> max = foldRows(logits, rows, point, -infinity, oldMax, vector::CombiningKind::MAXNUMF, largest);
    // Where nothing is visible yet, the maximum is -infinity: differences are taken to 0 instead.
    SmallVector<Value> base;
    for (Value value : max)
      base.push_back(selectIfMinusInfinity(b, value, zeros.front(), value));
    auto add = [&](size_t i, Value carried, Value logit) -> Value {
      Value probability = power(arith::SubFOp::create(b, logit, base[i]));
      write(probabilities, point, probability);
      return arith::AddFOp::create(b, carried, probability);
    };
    const Tile &kept = logits.computation ? probabilities : logits;
    SmallVector<Value> sum = foldRows(kept, rows, point, -infinity, zeros, vector::CombiningKind::ADD, add);
    for (size_t i = 0; i < rows.count(); ++i) {
      setRow(logits, rows, i, point);
      Value factor = power(arith::SubFOp::create(b, oldMax[i], base[i]));
      factor = selectIfMinusInfinity(b, max[i], splat(b, type, 1.0), factor);
      writeRow(newState.max, point, lane, max[i]);
      writeRow(newState.sum, point, lane, vector::FMAOp::create(b, oldSum[i], factor, sum[i]));
      writeRow(correction, point, lane, factor);
    }
  });
}

void Emitter::finish(const Tile &accumulator, const SoftmaxState &state, llvm::function_ref<void(const Tile &)> take,
                     const Tile &lse) {
  // One division per row. Where nothing is visible, the accumulator is 0 and stays so.
  Tile inverse = allocate(state.sum.type);
  elementwise(inverse, {state.sum}, [&](const Point &, ArrayRef<Value> in) -> Value {
    auto type = cast<VectorType>(in[0].getType());
    Value zero = splat(b, type, 0.0);
    Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, in[0], zero);
    return arith::SelectOp::create(b, isEmpty, zero, arith::DivFOp::create(b, splat(b, type, 1.0), in[0]));
  });
  take(product(accumulator, inverse, accumulator.type));
  release(inverse);
  elementwise(lse, {state.max, state.sum}, [&](const Point &, ArrayRef<Value> in) -> Value {
    auto type = cast<VectorType>(in[0].getType());
    Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, in[1], splat(b, type, 0.0));
    Value sum = arith::AddFOp::create(b, in[0], math::Log2Op::create(b, in[1]));
    Value scaled = arith::MulFOp::create(b, sum, splat(b, type, std::numbers::ln2));
    return arith::SelectOp::create(b, isEmpty, splat(b, type, -infinity), scaled);
  });
}

void Emitter::merge(const Tile &out0, const Tile &lse0, const Tile &out1, const Tile &lse1, const Tile &out,
                    const Tile &lse) {
  // Per row: shares of the two parts, 0 for a part with LSE -infinity, which may hold anything.
  auto power = [&](Value own, Value other) -> Value {
    auto type = cast<VectorType>(own.getType());
    Value difference = arith::SubFOp::create(b, own, maximum(b, own, other));
    Value scaled = arith::MulFOp::create(b, difference, splat(b, type, std::numbers::log2e));
    return selectIfMinusInfinity(b, own, splat(b, type, 0.0), exp2(b, scaled));
  };
  auto share = [&](Value own, Value other) -> Value {
    auto type = cast<VectorType>(own.getType());
    Value weight = power(own, other);
    Value quotient = arith::DivFOp::create(b, weight, arith::AddFOp::create(b, weight, power(other, own)));
    return selectIfMinusInfinity(b, own, splat(b, type, 0.0), quotient);
  };
  Tile share0 = allocate(lse.type), share1 = allocate(lse.type);
  elementwise(share0, {lse0, lse1}, [&](const Point &, ArrayRef<Value> in) { return share(in[0], in[1]); });
  elementwise(share1, {lse1, lse0}, [&](const Point &, ArrayRef<Value> in) { return share(in[0], in[1]); });
  elementwise(out, {out0, share0, out1, share1}, [&](const Point &, ArrayRef<Value> in) -> Value {
    Value zero = splat(b, cast<VectorType>(in[0].getType()), 0.0);
    auto term = [&](Value value, Value weight) -> Value {
      Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, weight, zero);
      return arith::SelectOp::create(b, isZero, zero, arith::MulFOp::create(b, value, weight));
    };
    return arith::AddFOp::create(b, term(in[0], in[1]), term(in[2], in[3]));
  });
  elementwise(lse, {lse0, lse1}, [&](const Point &, ArrayRef<Value> in) -> Value {
    Value sum = arith::AddFOp::create(b, power(in[0], in[1]), power(in[1], in[0]));
    Value max = maximum(b, in[0], in[1]);
    Value total = arith::AddFOp::create(b, max, math::LogOp::create(b, sum));
    return selectIfMinusInfinity(b, max, max, total);
  });
  release(share0);
  release(share1);
}
