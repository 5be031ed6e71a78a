// SPDX-License-Identifier: Apache-2.0
//
// rope(contract(A, B)) = contract(A, rope(B)): Theorems 3.1 and C.1 (pass tpa-rope-through-contract).

#include "dialect/Passes.h"
#include "dialect/TPAOps.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_ROPETHROUGHCONTRACT
#include "dialect/TPAPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;

namespace {

struct PushRope : OpRewritePattern<RopeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RopeOp op, PatternRewriter &rewriter) const override {
    auto contract = op.getInput().getDefiningOp<ContractOp>();
    if (!contract)
      return rewriter.notifyMatchFailure(op, "the input is not contracted");
    FactorizationAttr factorization = contract.getFactorization();
    int64_t size = factorization.getToken().front().getSize();
    int64_t block = op.getBlock();
    // The first small factor holds whole blocks, so that no block reaches into the next one's features.
    if (size % block != 0)
      return rewriter.notifyMatchFailure(op, "the block is not the first small factor's");
    Value first = contract.getToken().front();
    auto firstType = cast<RankedTensorType>(first.getType());
    auto resultType = cast<RankedTensorType>(op.getInit().getType());
    if (!isa<FloatType>(firstType.getElementType()) || isa<Float8E4M3FNType>(firstType.getElementType()))
      return rewriter.notifyMatchFailure(op, "quantised rows cannot be rotated in place");

    // The rotated factor has a row per token, even where the factor itself is learned.
    Location loc = op.getLoc();
    auto positionsType = cast<RankedTensorType>(op.getPositions().getType());
    SmallVector<int64_t> shape(positionsType.getShape());
    llvm::append_range(shape, firstType.getShape().take_back(2));
    SmallVector<Value> dynamic;
    for (auto [i, dim] : llvm::enumerate(positionsType.getShape()))
      if (ShapedType::isDynamic(dim))
        dynamic.push_back(tensor::DimOp::create(rewriter, loc, op.getPositions(), i));
    Value empty = tensor::EmptyOp::create(rewriter, loc, shape, resultType.getElementType(), dynamic);
    Value rotated = RopeOp::create(rewriter, loc, op.getRope(), block, first, op.getPositions(), empty).getResult();

    SmallVector<Value> tokens(contract.getToken());
    tokens.front() = rotated;
    // A learned factor that is rotated depends on the token.
    SmallVector<TokenFactorAttr> factors(factorization.getToken());
    factors.front() = TokenFactorAttr::get(op.getContext(), Source::contextual, size);
    auto rotatedFactorization = FactorizationAttr::get(op.getContext(), factorization.getRank(),
                                                       factorization.getNormalized(), factorization.getHead(), factors);
    rewriter.replaceOpWithNewOp<ContractOp>(op, rotatedFactorization, contract.getHeads(), contract.getHead(), tokens,
                                            contract.getScale(), op.getInit());
    return success();
  }
};

struct RopeThroughContract : tpa::impl::RopeThroughContractBase<RopeThroughContract> {
  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<tensor::TensorDialect>(); }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<PushRope>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
