// SPDX-License-Identifier: Apache-2.0
//
// Constant head factors that are maps become fixed ones (pass tpa-fold-fixed-heads).

#include "dialect/Passes.h"
#include "dialect/TPAOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_FOLDFIXEDHEADS
#include "dialect/TPAPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// What a head reads of its rank where the head factor is a map: the reciprocal of the rank factor in force.
double mapEntry(FactorizationAttr factorization) {
  return factorization.getNormalized() ? static_cast<double>(factorization.getRank()) : 1.0;
}

/// `factorization` with the fixed head factor that equals `values` ([local rank, local heads], before the rank factor),
/// if there is one.
std::optional<FactorizationAttr> asFixed(FactorizationAttr factorization, HeadsAttr heads, DenseElementsAttr values) {
  if (factorization.getHead().getFunction() != HeadFunction::identity)
    return std::nullopt;
  int64_t rank = factorization.getRank();
  int64_t localHeads = heads.getLocal();
  auto elements = llvm::to_vector(values.getValues<APFloat>());
  MLIRContext *context = factorization.getContext();
  for (HeadMap map : {HeadMap::ones, HeadMap::one_hot, HeadMap::groups}) {
    if ((map == HeadMap::ones && rank != 1) || (map == HeadMap::groups && rank > heads.getTotal()))
      continue;
    // A one_hot factor of a part of the heads is sliced with them; as an operand it has all ranks.
    if (map == HeadMap::one_hot && (rank != heads.getTotal() || !heads.isWhole()))
      continue;
    auto fixed = FactorizationAttr::get(context, rank, factorization.getNormalized(),
                                        HeadFactorAttr::get(context, Source::fixed, map, HeadFunction::identity),
                                        factorization.getToken());
    double expected = mapEntry(factorization);
    bool equal = true;
    for (int64_t r = 0; r < rank && equal; ++r)
      for (int64_t h = 0; h < localHeads && equal; ++h)
        equal = elements[r * localHeads + h].convertToDouble() == (fixed.getRankOfHead(heads, h) == r ? expected : 0.0);
    if (equal)
      return fixed;
  }
  return std::nullopt;
}

/// The fixed spelling of `factorization` where `head` is a constant map.
std::optional<FactorizationAttr> asFixed(FactorizationAttr factorization, HeadsAttr heads, Value head) {
  DenseElementsAttr values;
  if (!head || !matchPattern(head, m_Constant(&values)) || !isa<FloatType>(values.getElementType()) ||
      values.getType().getRank() != 2)
    return std::nullopt;
  return asFixed(factorization, heads, values);
}

struct FoldContractHead : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    auto fixed = asFixed(op.getFactorization(), op.getHeads(), op.getHead());
    if (!fixed)
      return rewriter.notifyMatchFailure(op, "the head factor is no constant map");
    rewriter.modifyOpInPlace(op, [&] {
      op.setFactorizationAttr(*fixed);
      op.getHeadMutable().clear();
    });
    return success();
  }
};

/// Learned head factors of an attention: the first tensor of q, k or v.
struct FoldAttentionHeads : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    VariantAttr variant = op.getVariant();
    FactorizationAttr sides[] = {variant.getQ(), variant.getK(), variant.getV()};
    MutableOperandRange operands[] = {op.getQMutable(), op.getKMutable(), op.getVMutable()};
    for (size_t i = 0; i < std::size(sides); ++i) {
      FactorizationAttr side = sides[i];
      if (!side.getHead().isLearned())
        continue;
      OperandRange tensors = operands[i];
      auto fixed = asFixed(side, variant.getHeads(), tensors.front());
      if (!fixed)
        continue;
      double entry = mapEntry(side);
      sides[i] = *fixed;
      // The rank factor of a fixed side is 1, and the default scale follows it; a scale given applies to the raw sum,
      // where the constants were 1/s_R.
      FloatAttr scale = variant.getScale();
      if (scale && i < 2)
        scale = FloatAttr::get(scale.getType(), scale.getValueAsDouble() * entry);
      // With sharing the verifier may refuse what the fold would give; then the constant stays.
      auto silent = [&] { return emitError(op.getLoc()); };
      ScopedDiagnosticHandler ignore(op.getContext(), [](Diagnostic &) { return success(); });
      auto folded = VariantAttr::getChecked(
          silent, op.getContext(), variant.getName(), variant.getHeads(), sides[0], sides[1], sides[2],
          variant.getRope(), variant.getVSees(), scale, variant.getSoftcap(), variant.getCausal(), variant.getWindow(),
          variant.getQueryPrecision(), variant.getHeadFactorRows(), variant.getTypes());
      if (!folded)
        return rewriter.notifyMatchFailure(op, "the folded variant is not legal");
      rewriter.modifyOpInPlace(op, [&] {
        op.setVariantAttr(folded);
        operands[i].erase(0);
      });
      return success();
    }
    return rewriter.notifyMatchFailure(op, "no learned head factor is a constant map");
  }
};

struct FoldFixedHeads : tpa::impl::FoldFixedHeadsBase<FoldFixedHeads> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldContractHead, FoldAttentionHeads>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
