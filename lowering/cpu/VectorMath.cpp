// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/VectorMath.h"

#include "lowering/reference/Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>
#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;

Type cpu::arithmeticTypeOf(Type type) {
  if (type.isInteger() && !type.isInteger(8))
    return type;
  return arithmeticType(type);
}

Value cpu::splat(ImplicitLocOpBuilder &b, VectorType type, double value) {
  return constantFloat(b, b.getLoc(), type, value);
}

static Value splatInt(ImplicitLocOpBuilder &b, VectorType type, int64_t value) {
  auto attribute = b.getIntegerAttr(type.getElementType(), value);
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, Attribute(attribute)));
}

static VectorType vectorLike(Value value, Type element) { return cast<VectorType>(value.getType()).clone(element); }

static Type elementOf(Value value) { return cast<VectorType>(value.getType()).getElementType(); }

Value cpu::convertVector(ImplicitLocOpBuilder &b, Value value, Type element) {
  Type from = elementOf(value);
  if (from == element)
    return value;
  VectorType type = vectorLike(value, element);
  if (from.isInteger())
    return arith::SIToFPOp::create(b, type, value);
  if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return arith::ExtFOp::create(b, type, value);
  return arith::TruncFOp::create(b, type, value);
}

Value cpu::fromStorage(ImplicitLocOpBuilder &b, Value value) {
  Type element = elementOf(value);
  Type arithmetic = arithmeticTypeOf(element);
  if (element == arithmetic)
    return value;
  if (!element.isBF16())
    return convertElement(b, b.getLoc(), value, vectorLike(value, arithmetic));
  // bf16 is the upper half of an f32.
  VectorType i32 = vectorLike(value, b.getI32Type());
  Value bits = arith::BitcastOp::create(b, vectorLike(value, b.getI16Type()), value);
  return lowerOfPairs(b, arith::ExtUIOp::create(b, i32, bits));
}

Value cpu::lowerOfPairs(ImplicitLocOpBuilder &b, Value words) {
  Value bits = arith::ShLIOp::create(b, words, splatInt(b, cast<VectorType>(words.getType()), 16));
  return arith::BitcastOp::create(b, vectorLike(words, b.getF32Type()), bits);
}

Value cpu::upperOfPairs(ImplicitLocOpBuilder &b, Value words) {
  Value mask = splatInt(b, cast<VectorType>(words.getType()), static_cast<int32_t>(0xffff0000));
  return arith::BitcastOp::create(b, vectorLike(words, b.getF32Type()), arith::AndIOp::create(b, words, mask));
}

Value cpu::asBits(ImplicitLocOpBuilder &b, Value memory) {
  auto type = cast<MemRefType>(memory.getType());
  auto bits = MemRefType::get(type.getShape(), b.getI16Type(), type.getLayout(), type.getMemorySpace());
  return UnrealizedConversionCastOp::create(b, bits, memory).getResult(0);
}

/// The bits of f32 `value`, rounded to nearest even at bit 16; the lower half is garbage. NaN stays NaN.
static Value roundedBits(ImplicitLocOpBuilder &b, Value value) {
  VectorType i32 = vectorLike(value, b.getI32Type());
  Value bits = arith::BitcastOp::create(b, i32, value);
  Value odd = arith::AndIOp::create(b, arith::ShRUIOp::create(b, bits, splatInt(b, i32, 16)), splatInt(b, i32, 1));
  Value up = arith::AddIOp::create(b, odd, splatInt(b, i32, 0x7fff));
  Value rounded = arith::AddIOp::create(b, bits, up);
  Value isNan = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  return arith::SelectOp::create(b, isNan, splatInt(b, i32, 0x7fc00000), rounded);
}

Value cpu::toStorage(ImplicitLocOpBuilder &b, Value value, Type element) {
  Type arithmetic = elementOf(value);
  if (element == arithmetic)
    return value;
  VectorType type = vectorLike(value, element);
  if (element.isBF16()) {
    VectorType i32 = vectorLike(value, b.getI32Type());
    value = convertVector(b, value, b.getF32Type());
    Value upper = arith::ShRUIOp::create(b, roundedBits(b, value), splatInt(b, i32, 16));
    return arith::BitcastOp::create(b, type, arith::TruncIOp::create(b, vectorLike(value, b.getI16Type()), upper));
  }
  if (element.isInteger() || isa<Float8E4M3FNType>(element))
    return quantizeElement(b, b.getLoc(), value, type);
  return convertElement(b, b.getLoc(), value, type);
}

Value cpu::roundTo(ImplicitLocOpBuilder &b, Value value, Type element) {
  if (arithmeticTypeOf(element) == element)
    return value;
  if (element.isBF16()) {
    VectorType i32 = vectorLike(value, b.getI32Type());
    Value upper = arith::AndIOp::create(b, roundedBits(b, value), splatInt(b, i32, static_cast<int32_t>(0xffff0000)));
    return arith::BitcastOp::create(b, value.getType(), upper);
  }
  if (element.isInteger(8))
    return math::RoundEvenOp::create(b, value);
  return fromStorage(b, toStorage(b, value, element));
}

static Value compareAndSelect(ImplicitLocOpBuilder &b, arith::CmpFPredicate predicate, Value x, Value y, Value whenSo,
                              Value otherwise) {
  return arith::SelectOp::create(b, arith::CmpFOp::create(b, predicate, x, y), whenSo, otherwise);
}

Value cpu::maximum(ImplicitLocOpBuilder &b, Value x, Value y) {
  return compareAndSelect(b, arith::CmpFPredicate::OGT, x, y, x, y);
}

/// coefficients[0] x^(n-1) + .. + coefficients[n-1].
static Value polynomial(ImplicitLocOpBuilder &b, Value x, ArrayRef<double> coefficients) {
  auto type = cast<VectorType>(x.getType());
  Value p = cpu::splat(b, type, coefficients[0]);
  for (double coefficient : coefficients.drop_front())
    p = vector::FMAOp::create(b, p, x, cpu::splat(b, type, coefficient));
  return p;
}

/// 2^r for |r| <= 1/2: exactly 1 at 0, relative error 9.2e-8.
static Value exp2OfFraction(ImplicitLocOpBuilder &b, Value r) {
  // 2^r - 1 over r, fitted for the least largest relative error of 1 + r p(r).
  return polynomial(
      b, r,
      {0.0013264727081471344, 0.009671512649002853, 0.05550733743641746, 0.24022242085171286, 0.6931469775988864, 1.0});
}

Value cpu::exp2(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  if (type.getElementType().isF64())
    return math::Exp2Op::create(b, x);
  auto constant = [&](double value) { return splat(b, type, value); };
  // x = n + r with |r| <= 1/2: added to 1.5 * 2^23, x is rounded to an integer, which stands in the lowest bits.
  constexpr double magic = 12582912.0;
  Value bounded = maximum(b, constant(-127.0), x);
  Value shifted = arith::AddFOp::create(b, bounded, constant(magic));
  Value n = arith::SubFOp::create(b, shifted, constant(magic));
  Value r = arith::SubFOp::create(b, bounded, n);
  Value p = exp2OfFraction(b, r);
  VectorType i32 = type.clone(b.getI32Type());
  Value exponent = arith::ShLIOp::create(b, arith::BitcastOp::create(b, i32, shifted), splatInt(b, i32, 23));
  Value bits = arith::AddIOp::create(b, arith::BitcastOp::create(b, i32, p), exponent);
  Value power = arith::BitcastOp::create(b, type, bits);
  return compareAndSelect(b, arith::CmpFPredicate::OLT, x, constant(-126.0), constant(0.0), power);
}

/// x - n, with n = x rounded to nearest even or, as `floor` says, down.
static Value fractionAvx512(ImplicitLocOpBuilder &b, Value x, bool floor) {
  auto integer = [&](Type type, int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, type, b.getIntegerAttr(type, value));
  };
  Value all = integer(b.getI16Type(), -1), currentRounding = integer(b.getI32Type(), 4);
  Value mode = integer(b.getI32Type(), floor ? 1 : 0), zero = cpu::splat(b, cast<VectorType>(x.getType()), 0.0);
  return LLVM::CallIntrinsicOp::create(b, x.getType(), b.getStringAttr("llvm.x86.avx512.mask.reduce.ps.512"),
                                       {x, mode, zero, all, currentRounding})
      .getResult(0);
}

/// p * 2^floor(n); 0 where n is -infinity.
static Value scaledAvx512(ImplicitLocOpBuilder &b, Value p, Value n) {
  auto integer = [&](Type type, int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, type, b.getIntegerAttr(type, value));
  };
  Value all = integer(b.getI16Type(), -1), currentRounding = integer(b.getI32Type(), 4);
  Value zero = cpu::splat(b, cast<VectorType>(p.getType()), 0.0);
  return LLVM::CallIntrinsicOp::create(b, p.getType(), b.getStringAttr("llvm.x86.avx512.mask.scalef.ps.512"),
                                       {p, n, zero, all, currentRounding})
      .getResult(0);
}

Value cpu::exp2Avx512(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  // x = n + r with |r| <= 1/2.
  Value r = fractionAvx512(b, x, /*floor=*/false);
  Value n = arith::SubFOp::create(b, x, r);
  Value result = scaledAvx512(b, exp2OfFraction(b, r), n);
  // No subnormal results: products with them are slow.
  return compareAndSelect(b, arith::CmpFPredicate::OLT, x, splat(b, type, -126.0), splat(b, type, 0.0), result);
}

Value cpu::exp2OfWeights(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  // (2^r - 1) / r on [0, 1), fitted for the least largest relative error of 1 + r p(r).
  Value p = polynomial(b, fractionAvx512(b, x, /*floor=*/true),
                       {0.07706737961323816, 0.22764462403139105, 0.6951168691429978, 1.0});
  // No subnormal results, nor such products with head factors: microcode makes them, slowly.
  return compareAndSelect(b, arith::CmpFPredicate::OLT, x, splat(b, type, -100.0), splat(b, type, 0.0),
                          scaledAvx512(b, p, x));
}

Value cpu::tanh(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  if (type.getElementType().isF64())
    return math::TanhOp::create(b, x);
  auto constant = [&](double value) { return splat(b, type, value); };
  Value magnitude = math::AbsFOp::create(b, x);
  // Large: 1 - 2 / (e^2x + 1); it is 1 from 9.1 on.
  Value bounded = compareAndSelect(b, arith::CmpFPredicate::OGT, magnitude, constant(10.0), constant(10.0), magnitude);
  Value power = exp2(b, arith::MulFOp::create(b, bounded, constant(2.0 * std::numbers::log2e)));
  Value large = arith::SubFOp::create(
      b, constant(1.0), arith::DivFOp::create(b, constant(2.0), arith::AddFOp::create(b, power, constant(1.0))));
  large = math::CopySignOp::create(b, large, x);
  // Small: the Taylor series, where the difference above would cancel.
  Value square = arith::MulFOp::create(b, x, x);
  constexpr double series[] = {-1382.0 / 155925, 62.0 / 2835, -17.0 / 315, 2.0 / 15, -1.0 / 3};
  Value p = constant(series[0]);
  for (double coefficient : ArrayRef(series).drop_front())
    p = vector::FMAOp::create(b, p, square, constant(coefficient));
  Value small = vector::FMAOp::create(b, arith::MulFOp::create(b, p, square), x, x);
  return compareAndSelect(b, arith::CmpFPredicate::OLT, magnitude, constant(0.35), small, large);
}

std::pair<Value, Value> cpu::cosSin(ImplicitLocOpBuilder &b, Value angle) {
  auto constant = [&](double value) { return constantFloat(b, b.getLoc(), angle.getType(), value); };
  auto times = [&](Value x, Value y) -> Value { return arith::MulFOp::create(b, x, y); };
  auto minus = [&](Value x, Value y) -> Value { return arith::SubFOp::create(b, x, y); };
  // angle = quarter * pi/2 + rest, |rest| <= pi/4. pi/2 in pieces of 26 bits, whose products with up to 2^27 quarters
  // are exact without fused multiply-adds, which not every CPU has.
  Value quarter = math::RoundEvenOp::create(b, times(angle, constant(2.0 / std::numbers::pi)));
  Value rest = angle;
  for (double piece : {0x1.921fb5p+0, 0x1.110b46p-26, 0x1.1a62633145c07p-54})
    rest = minus(rest, times(quarter, constant(piece)));
  // Taylor's series: what follows is below 5e-17.
  Value square = times(rest, rest);
  auto series = [&](int highest) {
    // Of x^highest, x^(highest - 2), ..: (-1)^(n / 2) / n!.
    Value sum;
    for (int n = highest; n >= 0; n -= 2) {
      double coefficient = n % 4 < 2 ? 1.0 : -1.0;
      for (int factor = 2; factor <= n; ++factor)
        coefficient /= factor;
      Value term = constant(coefficient);
      sum = sum ? Value(arith::AddFOp::create(b, times(sum, square), term)) : term;
    }
    return sum;
  };
  Value cosine = series(16), sine = times(series(15), rest);
  // Quarters turn (cos, sin) to (-sin, cos), (-cos, -sin), (sin, -cos).
  Value turns = minus(quarter, times(constant(4.0), math::FloorOp::create(b, times(quarter, constant(0.25)))));
  auto is = [&](double turn) -> Value {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, turns, constant(turn));
  };
  auto negatedIf = [&](Value first, Value second, Value value) -> Value {
    Value condition = arith::OrIOp::create(b, first, second);
    return arith::SelectOp::create(b, condition, arith::NegFOp::create(b, value), value);
  };
  Value one = is(1.0), two = is(2.0), three = is(3.0);
  Value isOdd = arith::OrIOp::create(b, one, three);
  Value turnedCosine = arith::SelectOp::create(b, isOdd, sine, cosine);
  Value turnedSine = arith::SelectOp::create(b, isOdd, cosine, sine);
  return {negatedIf(one, two, turnedCosine), negatedIf(two, three, turnedSine)};
}

Value cpu::selectIfMinusInfinity(ImplicitLocOpBuilder &b, Value value, Value whenSo, Value otherwise) {
  auto type = cast<VectorType>(value.getType());
  Value minusInfinity = splat(b, type, -std::numeric_limits<double>::infinity());
  return compareAndSelect(b, arith::CmpFPredicate::OEQ, value, minusInfinity, whenSo, otherwise);
}

SmallVector<Value> cpu::transposed(ImplicitLocOpBuilder &b, ArrayRef<Value> rows) {
  // Interleaving row i with row i + n/2, for all i, log2(n) times.
  int64_t count = static_cast<int64_t>(rows.size()), half = count / 2;
  SmallVector<int64_t> low, high;
  for (int64_t i = 0; i < half; ++i) {
    low.append({i, count + i});
    high.append({half + i, count + half + i});
  }
  SmallVector<Value> square(rows);
  for (int64_t step = 1; step < count; step *= 2) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < half; ++i)
      for (ArrayRef<int64_t> lanes : {ArrayRef(low), ArrayRef(high)})
        next.push_back(vector::ShuffleOp::create(b, square[i], square[half + i], lanes));
    square = std::move(next);
  }
  return square;
}

Value cpu::lanesBelow(ImplicitLocOpBuilder &b, int64_t width, Value base, Value limit) {
  auto type = VectorType::get({width}, b.getI32Type());
  SmallVector<Attribute> numbers;
  for (int64_t i = 0; i < width; ++i)
    numbers.push_back(b.getI32IntegerAttr(i));
  Value lane = arith::ConstantOp::create(b, DenseElementsAttr::get(type, numbers));
  Value rest = arith::IndexCastOp::create(b, b.getI32Type(), arith::SubIOp::create(b, limit, base));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane, vector::BroadcastOp::create(b, type, rest));
}
