// SPDX-License-Identifier: Apache-2.0
//
// The pass tpa-to-linalg.

#include "lowering/reference/Lowerings.h"
#include "lowering/reference/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_TOLINALG
#include "lowering/reference/ReferencePasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;

OpFoldResult tpa::dimOf(OpBuilder &builder, Location loc, Value tensor, int64_t dim) {
  return tensor::getMixedSize(builder, loc, tensor, dim);
}

Value tpa::emptyTensor(OpBuilder &builder, Location loc, ArrayRef<OpFoldResult> sizes, Type elementType) {
  return tensor::EmptyOp::create(builder, loc, sizes, elementType);
}

Value tpa::emptyLike(OpBuilder &builder, Location loc, Value like, Type elementType) {
  return emptyTensor(builder, loc, tensor::getMixedSizes(builder, loc, like), elementType);
}

namespace {

struct ToLinalg : tpa::impl::ToLinalgBase<ToLinalg> {
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, linalg::LinalgDialect, math::MathDialect, scf::SCFDialect,
                    tensor::TensorDialect>();
  }

  void runOnOperation() override {
    ConversionTarget target(getContext());
    target.addLegalDialect<arith::ArithDialect, linalg::LinalgDialect, math::MathDialect, scf::SCFDialect,
                           tensor::TensorDialect>();
    target.addIllegalDialect<tpa::TPADialect>();
    RewritePatternSet patterns(&getContext());
    tpa::populatePartLowerings(patterns);
    tpa::populateAttentionLowering(patterns);
    tpa::populatePageLowerings(patterns);
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      return signalPassFailure();
    // No phase is left that it could be the variant of.
    getOperation()->removeAttr(tpa::TPADialect::variantName);
  }
};

} // namespace
