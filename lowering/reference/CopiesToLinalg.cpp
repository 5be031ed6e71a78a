// SPDX-License-Identifier: Apache-2.0
//
// The pass tpa-copies-to-linalg.

#include "lowering/reference/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_COPIESTOLINALG
#include "lowering/reference/ReferencePasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;

namespace {

struct CopiesToLinalg : tpa::impl::CopiesToLinalgBase<CopiesToLinalg> {
  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<linalg::LinalgDialect>(); }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation().walk([&](memref::CopyOp copy) {
      rewriter.setInsertionPoint(copy);
      linalg::makeMemRefCopyOp(rewriter, copy.getLoc(), copy.getSource(), copy.getTarget());
      rewriter.eraseOp(copy);
    });
  }
};

} // namespace
