// SPDX-License-Identifier: Apache-2.0

#include "lowering/reference/Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

#include <cmath>

using namespace mlir;
using namespace mlir::tpa;

/// `type` as element of a vector of `like`'s shape where `like` is a vector type.
static Type shapedLike(Type like, Type type) {
  if (auto shaped = dyn_cast<ShapedType>(like))
    return shaped.clone(type);
  return type;
}

Type tpa::arithmeticType(Type type) {
  return isa<Float64Type>(type) ? type : static_cast<Type>(Float32Type::get(type.getContext()));
}

Value tpa::constantFloat(OpBuilder &builder, Location loc, Type type, double value) {
  TypedAttr attribute = builder.getFloatAttr(getElementTypeOrSelf(type), value);
  if (auto shaped = dyn_cast<ShapedType>(type))
    attribute = DenseElementsAttr::get(shaped, Attribute(attribute));
  return arith::ConstantOp::create(builder, loc, attribute);
}

Value tpa::constantIndex(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

static Value constantInt(OpBuilder &builder, Location loc, Type type, int64_t value) {
  TypedAttr attribute = builder.getIntegerAttr(getElementTypeOrSelf(type), value);
  if (auto shaped = dyn_cast<ShapedType>(type))
    attribute = DenseElementsAttr::get(shaped, Attribute(attribute));
  return arith::ConstantOp::create(builder, loc, attribute);
}

// f8E4M3FN and f32 differ in the widths of exponent (4, 8) and mantissa (3, 23) and in bias (7, 127). With exponent and
// mantissa aligned at f32's bit 20, the f32 is the value times 2^(7 - 127), subnormals included.
static constexpr int64_t e4m3Shift = 20;
static constexpr int e4m3Exponent = 120;
static constexpr int64_t e4m3Nan = 0x7f;
static constexpr int64_t e4m3Largest = 0x7e;

static Value decodeE4M3(OpBuilder &b, Location loc, Value value) {
  Type i8 = shapedLike(value.getType(), b.getI8Type());
  Type i32 = shapedLike(value.getType(), b.getI32Type());
  Type f32 = shapedLike(value.getType(), b.getF32Type());
  Value bits = arith::ExtUIOp::create(b, loc, i32, arith::BitcastOp::create(b, loc, i8, value));
  Value magnitude = arith::AndIOp::create(b, loc, bits, constantInt(b, loc, i32, 0x7f));
  Value shifted = arith::ShLIOp::create(b, loc, magnitude, constantInt(b, loc, i32, e4m3Shift));
  Value scaled = arith::MulFOp::create(b, loc, arith::BitcastOp::create(b, loc, f32, shifted),
                                       constantFloat(b, loc, f32, std::ldexp(1.0, e4m3Exponent)));
  Value negative = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt, bits, constantInt(b, loc, i32, 0x7f));
  Value signedValue = arith::SelectOp::create(b, loc, negative, arith::NegFOp::create(b, loc, scaled), scaled);
  Value isNan = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, magnitude, constantInt(b, loc, i32, e4m3Nan));
  return arith::SelectOp::create(b, loc, isNan, constantFloat(b, loc, f32, std::nan("")), signedValue);
}

static Value encodeE4M3(OpBuilder &b, Location loc, Value value) {
  Type i8 = shapedLike(value.getType(), b.getI8Type());
  Type i32 = shapedLike(value.getType(), b.getI32Type());
  Type f32 = shapedLike(value.getType(), b.getF32Type());
  Value scaled = arith::MulFOp::create(b, loc, math::AbsFOp::create(b, loc, value),
                                       constantFloat(b, loc, f32, std::ldexp(1.0, -e4m3Exponent)));
  Value bits = arith::BitcastOp::create(b, loc, i32, scaled);
  // Round to nearest even at bit 20: add half less one, and one more where the kept part is odd.
  Value odd = arith::AndIOp::create(b, loc, arith::ShRUIOp::create(b, loc, bits, constantInt(b, loc, i32, e4m3Shift)),
                                    constantInt(b, loc, i32, 1));
  Value rounded = arith::AddIOp::create(
      b, loc, arith::AddIOp::create(b, loc, bits, constantInt(b, loc, i32, (1 << (e4m3Shift - 1)) - 1)), odd);
  Value code = arith::ShRUIOp::create(b, loc, rounded, constantInt(b, loc, i32, e4m3Shift));
  code = arith::MinUIOp::create(b, loc, code, constantInt(b, loc, i32, e4m3Largest));
  Value sign =
      arith::ShRUIOp::create(b, loc, arith::BitcastOp::create(b, loc, i32, value), constantInt(b, loc, i32, 24));
  sign = arith::AndIOp::create(b, loc, sign, constantInt(b, loc, i32, 0x80));
  Value whole = arith::TruncIOp::create(b, loc, i8, arith::OrIOp::create(b, loc, code, sign));
  return arith::BitcastOp::create(b, loc, shapedLike(value.getType(), Float8E4M3FNType::get(b.getContext())), whole);
}

Value tpa::convertElement(OpBuilder &b, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  Type from = getElementTypeOrSelf(value);
  if (from.isInteger(8))
    return arith::SIToFPOp::create(b, loc, type, value);
  if (isa<Float8E4M3FNType>(from))
    return convertElement(b, loc, decodeE4M3(b, loc, value), type);
  unsigned fromWidth = from.getIntOrFloatBitWidth();
  unsigned toWidth = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
  Type f32 = shapedLike(type, b.getF32Type());
  if (fromWidth < toWidth) {
    if (fromWidth < 32)
      value = arith::ExtFOp::create(b, loc, f32, value);
    return toWidth == 64 ? Value(arith::ExtFOp::create(b, loc, type, value)) : value;
  }
  if (fromWidth == toWidth)
    return convertElement(b, loc, convertElement(b, loc, value, f32), type); // bf16 and f16
  if (fromWidth == 64 && toWidth < 32)
    return convertElement(b, loc, arith::TruncFOp::create(b, loc, f32, value), type);
  return arith::TruncFOp::create(b, loc, type, value);
}

Value tpa::quantizeElement(OpBuilder &b, Location loc, Value value, Type type) {
  if (isa<Float8E4M3FNType>(getElementTypeOrSelf(type)))
    return encodeE4M3(b, loc, convertElement(b, loc, value, shapedLike(type, b.getF32Type())));
  // A row of tiny numbers has a scale so coarse that quotients pass the largest value.
  Type from = value.getType();
  Value rounded = math::RoundEvenOp::create(b, loc, value);
  rounded = arith::MinimumFOp::create(b, loc, rounded, constantFloat(b, loc, from, largestQuantized(type)));
  rounded = arith::MaximumFOp::create(b, loc, rounded, constantFloat(b, loc, from, -largestQuantized(type)));
  return arith::FPToSIOp::create(b, loc, type, rounded);
}

double tpa::largestQuantized(Type type) { return isa<Float8E4M3FNType>(type) ? 448.0 : 127.0; }
