// SPDX-License-Identifier: Apache-2.0
//
// The mask, the online softmax and its states.

#include "lowering/tile/TileArithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

using namespace mlir::tpa::tile;
using namespace tpac;

static constexpr double infinity = std::numeric_limits<double>::infinity();

TileValue TileArithmetic::mask(MaskOp op, const Tile &input, int64_t token, int64_t limit, int64_t end) const {
  TileType type = op.getType();
  Tile result(type);
  // For each query, the rows of all other axes; the third offset counts queries.
  AxisLoops<3> rows;
  for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    llvm::StringRef name = axis.getValue();
    if (name != "m")
      rows.add(size, {strideOf(type, name), strideOf(input.type, name), name == "n" ? 1 : 0});
  }
  int64_t tokens = type.sizeOf("m");
  int64_t to = strideOf(type, "m");
  int64_t from = strideOf(input.type, "m");
  rows.forEach([&](const auto &at) {
    int64_t last = limit + (op.getCausal() ? at[2] : 0);
    int64_t begin = op.getWindow() ? std::max<int64_t>(last - *op.getWindow(), 0) : std::numeric_limits<int64_t>::min();
    int64_t stop = std::min(last, end);
    for (int64_t m = 0; m < tokens; ++m) {
      bool seen = begin <= token + m && token + m < stop;
      result.elements[at[0] + m * to] = seen ? input.elements[at[1] + m * from] : -infinity;
    }
  });
  round(result);
  return result;
}

TileArithmetic::Tiles TileArithmetic::softmaxStep(SoftmaxStepOp op, const Tile &logits, const Tile &max,
                                                  const Tile &sum) const {
  TileType state = max.type;
  Tile probabilities(op.getProbabilities().getType());
  Tile newMax(state), newSum(state), correction(state);
  int64_t tokens = logits.type.sizeOf("m");
  int64_t from = strideOf(logits.type, "m");
  int64_t to = strideOf(probabilities.type, "m");
  auto rows = AxisLoops<3>::without("m", logits.type, {logits.type, probabilities.type, state});
  rows.forEach([&](const auto &at) {
    const double *in = &logits.elements[at[0]];
    double *out = &probabilities.elements[at[1]];
    double top = max.elements[at[2]];
    for (int64_t m = 0; m < tokens; ++m)
      top = std::fmax(top, in[m * from]);
    top = rounded(state, top);
    bool isEmpty = top == -infinity;
    double factor = isEmpty ? 1.0 : rounded(state, std::exp2(max.elements[at[2]] - top));
    double total = rounded(state, sum.elements[at[2]] * factor);
    for (int64_t m = 0; m < tokens; ++m) {
      double p = isEmpty ? 0.0 : rounded(probabilities.type, std::exp2(in[m * from] - top));
      out[m * to] = p;
      total = rounded(state, total + p);
    }
    newMax.elements[at[2]] = top;
    newSum.elements[at[2]] = total;
    correction.elements[at[2]] = factor;
  });
  return {probabilities, newMax, newSum, correction};
}

TileArithmetic::Tiles TileArithmetic::finish(FinishOp op, const Tile &accumulator, const Tile &max,
                                             const Tile &sum) const {
  TileType type = accumulator.type;
  TileType state = max.type;
  Tile out(type);
  Tile lse(state);
  AxisLoops<2>(type, {type, state}).forEach([&](const auto &at) {
    double total = sum.elements[at[1]];
    out.elements[at[0]] = total == 0.0 ? 0.0 : accumulator.elements[at[0]] / total;
  });
  for (size_t i = 0; i < lse.elements.size(); ++i) {
    double total = sum.elements[i];
    lse.elements[i] = total == 0.0 ? -infinity : (max.elements[i] + std::log2(total)) * std::numbers::ln2;
  }
  round(out);
  round(lse);
  return {out, lse};
}

TileArithmetic::Tiles TileArithmetic::merge(MergeOp op, const Tile &out0, const Tile &lse0, const Tile &out1,
                                            const Tile &lse1) const {
  TileType type = out0.type;
  TileType state = lse0.type;
  Tile out(type);
  Tile lse(state);
  int64_t features = type.sizeOf("e");
  int64_t stride = strideOf(type, "e");
  AxisLoops<2>::without("e", type, {type, state}).forEach([&](const auto &at) {
    double l0 = lse0.elements[at[1]];
    double l1 = lse1.elements[at[1]];
    double top = std::fmax(l0, l1);
    if (top == -infinity) {
      lse.elements[at[1]] = top;
      return;
    }
    double w0 = std::exp(l0 - top);
    double w1 = std::exp(l1 - top);
    lse.elements[at[1]] = top + std::log(w0 + w1);
    for (int64_t e = 0; e < features; ++e) {
      int64_t i = at[0] + e * stride;
      // A part of weight 0 may hold anything.
      double sum = (w0 == 0.0 ? 0.0 : w0 * out0.elements[i]) + (w1 == 0.0 ? 0.0 : w1 * out1.elements[i]);
      out.elements[i] = sum / (w0 + w1);
    }
  });
  round(out);
  round(lse);
  return {out, lse};
}
