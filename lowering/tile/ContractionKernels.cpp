// SPDX-License-Identifier: Apache-2.0
//
// Products of tiles that are summed over axes, or join them.

#include "lowering/tile/ElementConversion.h"
#include "lowering/tile/TileArithmetic.h"

using namespace mlir::tpa::tile;
using namespace tpac;

namespace {

/// sum += lhs * rhs for the rows of a result: `sums` is one row, `rowStrides` step lhs and rhs along it. Rows are the
/// innermost loop, so that the chains of rounded additions of a row run side by side.
template <typename Sum, typename Add>
void accumulate(TileValue &result, const TileValue &lhs, const TileValue &rhs, const AxisLoops<3> &rows,
                int64_t rowSize, std::array<int64_t, 2> rowStrides, const AxisLoops<2> &contracted, Add add) {
  std::vector<Sum> sums(rowSize);
  rows.forEach([&](const auto &row) {
    double *out = &result.elements[row[0]];
    for (int64_t j = 0; j < rowSize; ++j)
      sums[j] = static_cast<Sum>(out[j]);
    contracted.forEach(
        [&](const auto &at) {
          const double *a = &lhs.elements[at[0]];
          const double *b = &rhs.elements[at[1]];
          for (int64_t j = 0; j < rowSize; ++j)
            sums[j] = add(sums[j], a[j * rowStrides[0]] * b[j * rowStrides[1]]);
        },
        {row[1], row[2]});
    for (int64_t j = 0; j < rowSize; ++j)
      out[j] = sums[j];
  });
}

} // namespace

TileValue TileArithmetic::dot(DotOp op, const Tile &lhs, const Tile &rhs, const Tile *accumulator) const {
  TileType type = op.getType();
  Tile result(type);
  if (accumulator)
    result.elements = accumulator->elements;

  // Rows run along the result's last axis.
  AxisLoops<3> rows;
  int64_t rowSize = 1;
  std::array<int64_t, 2> rowStrides = {0, 0};
  for (int64_t i = 0; i < type.getRank(); ++i) {
    llvm::StringRef axis = type.getAxes()[i].getValue();
    if (i + 1 < type.getRank()) {
      rows.addAxis(axis, type.getSizes()[i], {type, lhs.type, rhs.type});
      continue;
    }
    rowSize = type.getSizes()[i];
    rowStrides = {strideOf(lhs.type, axis), strideOf(rhs.type, axis)};
  }
  AxisLoops<2> contracted;
  for (auto [axis, size] : llvm::zip(lhs.type.getAxes(), lhs.type.getSizes()))
    if (!type.hasAxis(axis.getValue()))
      contracted.addAxis(axis.getValue(), size, {lhs.type, rhs.type});

  ElementType sumType = mode == Arithmetic::exact ? ElementType::f64 : *elementTypeOf(type.getElementType());
  auto run = [&]<typename Sum>(Sum, auto add) {
    accumulate<Sum>(result, lhs, rhs, rows, rowSize, rowStrides, contracted, add);
  };
  if (sumType == ElementType::f64)
    run(double(), [](double sum, double product) { return sum + product; });
  else if (sumType == ElementType::f32)
    run(float(), [](float sum, double product) { return static_cast<float>(sum + product); });
  else
    run(double(), [=](double sum, double product) { return roundElement(sumType, sum + product); });
  return result;
}

TileValue TileArithmetic::outer(OuterOp op, const Tile &lhs, const Tile &rhs) const {
  TileType type = op.getType();
  Tile result(type);
  AxisLoops<3> loops;
  // An axis that one side calls `fast` or `slow` may be an ordinary one of the other.
  for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    llvm::StringRef name = axis.getValue();
    if (name == op.getJoined())
      continue;
    int64_t left = name == op.getFast() ? 0 : strideOf(lhs.type, name);
    int64_t right = name == op.getSlow() ? 0 : strideOf(rhs.type, name);
    loops.add(size, {strideOf(type, name), left, right});
  }
  int64_t joined = strideOf(type, op.getJoined());
  int64_t fastSize = lhs.type.sizeOf(op.getFast());
  loops.add(rhs.type.sizeOf(op.getSlow()), {joined * fastSize, 0, strideOf(rhs.type, op.getSlow())});
  loops.add(fastSize, {joined, strideOf(lhs.type, op.getFast()), 0});
  loops.forEach([&](const auto &at) { result.elements[at[0]] = lhs.elements[at[1]] * rhs.elements[at[2]]; });
  round(result);
  return result;
}
