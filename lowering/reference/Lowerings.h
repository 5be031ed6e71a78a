// SPDX-License-Identifier: Apache-2.0
//
// Lowerings of single tpa ops, shared between the files of the pass tpa-to-linalg.

#ifndef TPAC_LOWERING_REFERENCE_LOWERINGS_H
#define TPAC_LOWERING_REFERENCE_LOWERINGS_H

#include "dialect/TPAOps.h"

namespace mlir::tpa {

void populatePartLowerings(RewritePatternSet &patterns);
void populateAttentionLowering(RewritePatternSet &patterns);
void populatePageLowerings(RewritePatternSet &patterns);

/// Size of dimension `dim` of a tensor, as index value or constant.
OpFoldResult dimOf(OpBuilder &builder, Location loc, Value tensor, int64_t dim);

/// An uninitialised tensor.
Value emptyTensor(OpBuilder &builder, Location loc, ArrayRef<OpFoldResult> sizes, Type elementType);

/// An uninitialised tensor of `like`'s shape.
Value emptyLike(OpBuilder &builder, Location loc, Value like, Type elementType);

} // namespace mlir::tpa

#endif // TPAC_LOWERING_REFERENCE_LOWERINGS_H
