// SPDX-License-Identifier: Apache-2.0
//
// Canonical merges: flat, and of two or more parts.

#include "dialect/TPAOps.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// merge(merge(a, b), c) = merge(a, b, c): the weights multiply out. Rounding the inner result would show in a narrow
/// element type, so only f32 and f64 states are flattened.
struct FlattenMerge : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> parts;
    SmallVector<Value> lses;
    bool changed = false;
    for (auto [part, lse] : llvm::zip(op.getParts(), op.getPartLses())) {
      auto inner = part.getDefiningOp<MergeOp>();
      if (inner && part == inner.getOut() && lse == inner.getLse() &&
          isa<Float32Type, Float64Type>(getElementTypeOrSelf(part)) &&
          isa<Float32Type, Float64Type>(getElementTypeOrSelf(lse))) {
        llvm::append_range(parts, inner.getParts());
        llvm::append_range(lses, inner.getPartLses());
        changed = true;
        continue;
      }
      parts.push_back(part);
      lses.push_back(lse);
    }
    if (!changed)
      return rewriter.notifyMatchFailure(op, "no part is a merge");
    rewriter.replaceOpWithNewOp<MergeOp>(op, parts, lses, op.getOutInit(), op.getLseInit());
    return success();
  }
};

/// merge(a) = a.
struct DropSingleMerge : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeOp op, PatternRewriter &rewriter) const override {
    if (op.getParts().size() != 1 || op.getParts().front().getType() != op.getOut().getType() ||
        op.getPartLses().front().getType() != op.getLse().getType())
      return rewriter.notifyMatchFailure(op, "not one part of the result's types");
    rewriter.replaceOp(op, {op.getParts().front(), op.getPartLses().front()});
    return success();
  }
};

} // namespace

void MergeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FlattenMerge, DropSingleMerge>(context);
}
