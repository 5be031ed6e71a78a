// SPDX-License-Identifier: Apache-2.0
//
// Dense attention as loops over requests, query tokens and heads; one row of logits at a time.

#include "lowering/reference/Elements.h"
#include "lowering/reference/Lowerings.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// Emits the loops of one attention op. Names as in docs/variant.md: b request, t query token, h head, m cached token.
class AttentionLoops {
public:
  AttentionLoops(OpBuilder &b, AttentionOp op)
      : b(b), loc(op.getLoc()), op(op), variant(op.getVariant()), compute(variant.getTypes().getCompute()) {}

  SmallVector<Value> build() {
    Value requests = sizeOf(op.getLengths(), 0);
    return loop(index(0), requests, {op.getOutInit(), op.getLseInit()}, [&](Value request, ValueRange state) {
      Value begin = readIndex(op.getTokenStart(), request);
      Value end = readIndex(op.getTokenStart(), add(request, index(1)));
      Value length = readIndex(op.getLengths(), request);
      return loop(begin, end, state, [&](Value token, ValueRange state) {
        auto [first, last] = visible(length, begin, end, token);
        return loop(index(0), index(variant.getHeads().getLocal()), state,
                    [&](Value head, ValueRange state) { return row(request, token, head, first, last, state); });
      });
    });
  }

private:
  using Body = llvm::function_ref<SmallVector<Value>(Value, ValueRange)>;

  SmallVector<Value> loop(Value begin, Value end, ValueRange state, Body body) {
    auto op = scf::ForOp::create(
        b, loc, begin, end, index(1), state,
        [&](OpBuilder &, Location, Value i, ValueRange carried) { scf::YieldOp::create(b, loc, body(i, carried)); });
    return llvm::to_vector_of<Value>(op.getResults());
  }

  /// Cached tokens [first, last) that query `token` of the request sees.
  std::pair<Value, Value> visible(Value length, Value begin, Value end, Value token) {
    Value last = length;
    if (variant.getCausal()) {
      // Bottom-right: query n of N sees m <= length - N + n.
      Value after = arith::SubIOp::create(b, loc, end, token);
      last = add(arith::SubIOp::create(b, loc, length, after), index(1));
      last = arith::MaxSIOp::create(b, loc, last, index(0));
    }
    Value first = index(0);
    if (variant.getWindow())
      first =
          arith::MaxSIOp::create(b, loc, arith::SubIOp::create(b, loc, last, index(*variant.getWindow())), index(0));
    return {first, last};
  }

  /// One query and head: out[token, head, :] and lse[token, head].
  SmallVector<Value> row(Value request, Value token, Value head, Value first, Value last, ValueRange state) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Value none = number(-infinity);
    Value zero = number(0.0);

    // Logits, and their maximum.
    Value buffer = emptyTensor(b, loc, OpFoldResult(last), compute);
    SmallVector<Value> logits = loop(first, last, {buffer, none}, [&](Value m, ValueRange carried) {
      Value logit = this->logit(request, token, head, m);
      Value stored = tensor::InsertOp::create(b, loc, logit, carried[0], m);
      return SmallVector<Value>{stored, arith::MaximumFOp::create(b, loc, carried[1], logit)};
    });
    Value max = logits[1];

    // exp(L - max), and their sum.
    SmallVector<Value> weights = loop(first, last, {logits[0], zero}, [&](Value m, ValueRange carried) {
      Value logit = tensor::ExtractOp::create(b, loc, carried[0], m);
      Value weight = math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, logit, max));
      Value stored = tensor::InsertOp::create(b, loc, weight, carried[0], m);
      return SmallVector<Value>{stored, arith::AddFOp::create(b, loc, carried[1], weight)};
    });
    Value sum = weights[1];
    Value isEmpty = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, first, last);

    // out = sum_m weight V / sum; 0 for a row that sees nothing.
    Type outType = getElementTypeOrSelf(op.getOutInit());
    Value out = loop(index(0), index(variant.getValueFeatures()), state[0], [&](Value e, ValueRange carried) {
      Value total = loop(first, last, zero, [&](Value m, ValueRange partial) {
        Value weight = tensor::ExtractOp::create(b, loc, weights[0], m);
        Value product = arith::MulFOp::create(b, loc, weight, read(op.getV().front(), {request, m}, head, e));
        return SmallVector<Value>{arith::AddFOp::create(b, loc, partial[0], product)};
      })[0];
      Value mean = arith::DivFOp::create(b, loc, total, sum);
      Value element = convertElement(b, loc, arith::SelectOp::create(b, loc, isEmpty, zero, mean), outType);
      return SmallVector<Value>{tensor::InsertOp::create(b, loc, element, carried[0], ValueRange{token, head, e})};
    })[0];

    Value lse = arith::AddFOp::create(b, loc, max, math::LogOp::create(b, loc, sum));
    lse = convertElement(b, loc, arith::SelectOp::create(b, loc, isEmpty, none, lse),
                         getElementTypeOrSelf(op.getLseInit()));
    return {out, tensor::InsertOp::create(b, loc, lse, state[1], ValueRange{token, head})};
  }

  /// L = scale <Q, K>, then softcap.
  Value logit(Value request, Value token, Value head, Value m) {
    Value dot = loop(index(0), index(variant.getKeyFeatures()), number(0.0), [&](Value d, ValueRange partial) {
      Value product = arith::MulFOp::create(b, loc, read(op.getQ().front(), {token}, head, d),
                                            read(op.getK().front(), {request, m}, head, d));
      return SmallVector<Value>{arith::AddFOp::create(b, loc, partial[0], product)};
    })[0];
    Value logit = arith::MulFOp::create(b, loc, dot, number(variant.getScaleValue()));
    if (FloatAttr softcap = variant.getSoftcap()) {
      Value cap = number(softcap.getValueAsDouble());
      Value ratio = arith::DivFOp::create(b, loc, logit, cap);
      logit = arith::MulFOp::create(b, loc, cap, math::TanhOp::create(b, loc, ratio));
    }
    return logit;
  }

  /// tensor[leading..., head, feature]; a learned tensor has no leading dimensions.
  Value read(Value tensor, ArrayRef<Value> leading, Value head, Value feature) {
    SmallVector<Value> at;
    if (cast<RankedTensorType>(tensor.getType()).getRank() > 2)
      llvm::append_range(at, leading);
    at.append({head, feature});
    return tensor::ExtractOp::create(b, loc, tensor, at);
  }

  Value readIndex(Value tensor, Value at) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), tensor::ExtractOp::create(b, loc, tensor, at));
  }

  Value sizeOf(Value tensor, int64_t dim) {
    return getValueOrCreateConstantIndexOp(b, loc, dimOf(b, loc, tensor, dim));
  }

  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value index(int64_t value) { return constantIndex(b, loc, value); }
  Value number(double value) { return constantFloat(b, loc, compute, value); }

  OpBuilder &b;
  Location loc;
  AttentionOp op;
  VariantAttr variant;
  Type compute;
};

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    // Dense: one tensor [.., heads, features] each, no RoPE left.
    if (op.getQ().size() != 1 || op.getK().size() != 1 || op.getV().size() != 1 || op.getVariant().getRope())
      return rewriter.notifyMatchFailure(op, "attention on factors: run tpa-decompose-phases first");
    rewriter.replaceOp(op, AttentionLoops(rewriter, op).build());
    return success();
  }
};

} // namespace

void tpa::populateAttentionLowering(RewritePatternSet &patterns) {
  patterns.add<LowerAttention>(patterns.getContext());
}
