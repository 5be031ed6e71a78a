// SPDX-License-Identifier: Apache-2.0
//
// Tile ops that work element by element or on the rows of one axis.

#include "lowering/tile/ElementConversion.h"
#include "lowering/tile/TileArithmetic.h"

#include <cmath>

using namespace mlir::tpa;
using namespace mlir::tpa::tile;
using namespace tpac;

double TileArithmetic::rounded(TileType type, double value) const {
  return mode == Arithmetic::exact ? value : roundElement(*elementTypeOf(type.getElementType()), value);
}

void TileArithmetic::round(Tile &tile) const {
  if (mode == Arithmetic::exact)
    return;
  ElementType type = *elementTypeOf(tile.type.getElementType());
  for (double &element : tile.elements)
    element = roundElement(type, element);
}

template <typename Function> TileValue TileArithmetic::map(TileType type, const Tile &input, Function function) const {
  Tile result(type);
  AxisLoops<2>(type, {type, input.type}).forEach([&](const auto &at) {
    result.elements[at[0]] = function(input.elements[at[1]]);
  });
  round(result);
  return result;
}

template <typename Function>
TileValue TileArithmetic::zip(TileType type, const Tile &lhs, const Tile &rhs, Function function) const {
  Tile result(type);
  AxisLoops<3>(type, {type, lhs.type, rhs.type}).forEach([&](const auto &at) {
    result.elements[at[0]] = function(lhs.elements[at[1]], rhs.elements[at[2]]);
  });
  round(result);
  return result;
}

TileValue TileArithmetic::fill(FillOp op) const {
  Tile result(op.getType());
  result.elements.assign(result.elements.size(), op.getValue().convertToDouble());
  round(result);
  return result;
}

TileValue TileArithmetic::convert(ConvertOp op, const Tile &input) const {
  return map(op.getType(), input, [](double value) { return value; });
}

TileArithmetic::Tiles TileArithmetic::split(SplitOp op, const Tile &input) const {
  TileType type = op.getHigh().getType();
  Tile high = map(type, input, [](double value) { return value; });
  Tile low = zip(type, input, high, [](double value, double kept) { return value - kept; });
  return {high, low};
}

TileValue TileArithmetic::mul(MulOp op, const Tile &lhs, const Tile &rhs) const {
  return zip(op.getType(), lhs, rhs, [](double a, double b) { return a * b; });
}

TileValue TileArithmetic::add(AddOp op, const Tile &lhs, const Tile &rhs) const {
  return zip(op.getType(), lhs, rhs, [](double a, double b) { return a + b; });
}

TileValue TileArithmetic::constantMul(ConstantMulOp op, const Tile &input) const {
  double factor = op.getFactor().convertToDouble();
  return map(op.getType(), input, [=](double value) { return value * factor; });
}

TileValue TileArithmetic::softcap(SoftcapOp op, const Tile &input) const {
  double cap = op.getCap().convertToDouble();
  return map(op.getType(), input, [=](double value) { return cap * std::tanh(value / cap); });
}

TileValue TileArithmetic::headFunction(HeadFunctionOp op, const Tile &input) const {
  switch (op.getFunction()) {
  case HeadFunction::identity:
    return map(op.getType(), input, [](double value) { return value; });
  case HeadFunction::sigmoid:
    return map(op.getType(), input, [](double value) { return 1.0 / (1.0 + std::exp(-value)); });
  case HeadFunction::softmax:
    break;
  }
  TileType type = op.getType();
  Tile result(type);
  int64_t heads = type.sizeOf("h");
  int64_t to = strideOf(type, "h");
  int64_t from = strideOf(input.type, "h");
  AxisLoops<2>::without("h", type, {type, input.type}).forEach([&](const auto &at) {
    const double *in = &input.elements[at[1]];
    double *out = &result.elements[at[0]];
    double max = in[0];
    for (int64_t h = 1; h < heads; ++h)
      max = std::fmax(max, in[h * from]);
    double sum = 0.0;
    for (int64_t h = 0; h < heads; ++h)
      sum += out[h * to] = std::exp(in[h * from] - max);
    for (int64_t h = 0; h < heads; ++h)
      out[h * to] /= sum;
  });
  round(result);
  return result;
}

TileValue TileArithmetic::slice(SliceOp op, const Tile &input, int64_t offset) const {
  TileType type = op.getType();
  Tile result(type);
  AxisLoops<2> loops;
  for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    llvm::StringRef from = axis.getValue() == op.getTo() ? op.getFrom() : axis.getValue();
    loops.add(size, {strideOf(type, axis.getValue()), strideOf(input.type, from)});
  }
  int64_t first = offset * strideOf(input.type, op.getFrom());
  loops.forEach([&](const auto &at) { result.elements[at[0]] = input.elements[first + at[1]]; });
  return result;
}

TileValue TileArithmetic::rope(RopeOp op, const Tile &input, const Tile &positions) const {
  RopeAttr rope = op.getRope();
  llvm::SmallVector<double> frequencies = rope.getFrequencies();
  double amplitude = rope.getAmplitudeValue();
  int64_t half = rope.getDRot() / 2;
  bool isHalf = rope.getLayout() == RopeLayout::half;
  TileType type = op.getType();
  int64_t to = strideOf(type, op.getAxis());
  int64_t from = strideOf(input.type, op.getAxis());

  // All features pass through; then the pairs of each block are turned.
  Tile result = map(type, input, [](double value) { return value; });
  auto rows = AxisLoops<3>::without(op.getAxis(), type, {type, input.type, positions.type});
  int64_t blocks = type.sizeOf(op.getAxis()) / static_cast<int64_t>(op.getBlock());
  rows.forEach([&](const auto &at) {
    for (int64_t j = 0; j < half; ++j) {
      double angle = positions.elements[at[2]] * frequencies[j];
      double cosine = std::cos(angle) * amplitude;
      double sine = std::sin(angle) * amplitude * static_cast<double>(rope.getDirection());
      for (int64_t block = 0; block < blocks; ++block) {
        int64_t begin = block * static_cast<int64_t>(op.getBlock()) + rope.getOffset();
        int64_t first = begin + (isHalf ? j : 2 * j);
        int64_t second = begin + (isHalf ? j + half : 2 * j + 1);
        double x1 = input.elements[at[1] + first * from];
        double x2 = input.elements[at[1] + second * from];
        result.elements[at[0] + first * to] = x1 * cosine - x2 * sine;
        result.elements[at[0] + second * to] = x2 * cosine + x1 * sine;
      }
    }
  });
  round(result);
  return result;
}

TileArithmetic::Tiles TileArithmetic::quantize(QuantizeOp op, const Tile &input) const {
  Tile values(op.getValues().getType());
  Tile scale(op.getScale().getType());
  ElementType narrow = *elementTypeOf(values.type.getElementType());
  double largest = narrow == ElementType::i8 ? 127.0 : 448.0;
  int64_t size = input.type.sizeOf(op.getAxis());
  int64_t from = strideOf(input.type, op.getAxis());
  int64_t to = strideOf(values.type, op.getAxis());
  auto rows = AxisLoops<3>::without(op.getAxis(), input.type, {input.type, values.type, scale.type});
  rows.forEach([&](const auto &at) {
    double max = 0.0;
    for (int64_t i = 0; i < size; ++i)
      max = std::fmax(max, std::fabs(input.elements[at[0] + i * from]));
    // Rows of zeros, and rows so small that the scale underflows.
    double ratio = rounded(scale.type, max / largest);
    double divisor = ratio == 0.0 ? 1.0 : ratio;
    scale.elements[at[2]] = divisor;
    for (int64_t i = 0; i < size; ++i)
      values.elements[at[1] + i * to] = input.elements[at[0] + i * from] / divisor;
  });
  round(values);
  return {values, scale};
}
