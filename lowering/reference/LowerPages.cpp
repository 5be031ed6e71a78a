// SPDX-License-Identifier: Apache-2.0
//
// Caches out of and into pools of pages, element by element.

#include "lowering/reference/Elements.h"
#include "lowering/reference/Lowerings.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::tpa;

namespace {

Value readIndex(OpBuilder &b, Location loc, Value tensor, ValueRange at) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), tensor::ExtractOp::create(b, loc, tensor, at));
}

Value sizeOf(OpBuilder &b, Location loc, Value tensor, int64_t dim) {
  return getValueOrCreateConstantIndexOp(b, loc, dimOf(b, loc, tensor, dim));
}

/// An element of the cache and its place in the pool.
struct Places {
  SmallVector<Value> cached, paged;
};

using Slots = llvm::function_ref<std::pair<Value, Value>(OpBuilder &, Value request)>;
using Copy = llvm::function_ref<Value(OpBuilder &, const Places &, Value destination)>;

/// The row of the table that is `request`'s: where its pages start, if `pageStarts` has any.
Value rowOf(OpBuilder &builder, Location loc, Value pageStarts, Value request) {
  if (!pageStarts)
    return request;
  Value isGiven = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, sizeOf(builder, loc, pageStarts, 0),
                                        constantIndex(builder, loc, 0));
  auto start = [&](OpBuilder &b, Location) { scf::YieldOp::create(b, loc, readIndex(b, loc, pageStarts, request)); };
  auto itself = [&](OpBuilder &b, Location) { scf::YieldOp::create(b, loc, request); };
  return scf::IfOp::create(builder, loc, isGiven, start, itself).getResult(0);
}

/// copy(..) for every element of the slots [begin, end) that `slots` gives for each request; the last destination.
template <typename Op> Value forEachElement(OpBuilder &builder, Op op, Value pool, Slots slots, Copy copy) {
  Location loc = op.getLoc();
  Value table = op.getTable();
  auto poolType = cast<RankedTensorType>(pool.getType());
  Value zero = constantIndex(builder, loc, 0), one = constantIndex(builder, loc, 1);
  Value pageSize = constantIndex(builder, loc, poolType.getDimSize(1));
  auto perSlot = [&](OpBuilder &b, Value request, Value row, Value slot, Value destination) -> Value {
    Value entry = arith::DivUIOp::create(b, loc, slot, pageSize);
    Value page = readIndex(b, loc, table, {row, entry});
    Value place = arith::RemUIOp::create(b, loc, slot, pageSize);
    SmallVector<Value> lower, upper, step;
    for (int64_t i = 2; i < poolType.getRank(); ++i) {
      lower.push_back(zero);
      upper.push_back(sizeOf(b, loc, pool, i));
      step.push_back(one);
    }
    auto element = [&](OpBuilder &inner, Location, ValueRange at, ValueRange carried) -> scf::ValueVector {
      Places places{{request, slot}, {page, place}};
      llvm::append_range(places.cached, at);
      llvm::append_range(places.paged, at);
      return {copy(inner, places, carried.front())};
    };
    if (lower.empty())
      return element(b, loc, {}, destination).front();
    return scf::buildLoopNest(b, loc, lower, upper, step, destination, element).results.front();
  };
  auto perRequest = [&](OpBuilder &b, Location, Value request, ValueRange carried) {
    auto [begin, end] = slots(b, request);
    Value row = rowOf(b, loc, op.getPageStarts(), request);
    auto loop = scf::ForOp::create(
        b, loc, begin, end, one, carried, [&](OpBuilder &inner, Location, Value slot, ValueRange destination) {
          scf::YieldOp::create(inner, loc, perSlot(inner, request, row, slot, destination.front()));
        });
    scf::YieldOp::create(b, loc, loop.getResults());
  };
  Value requests = sizeOf(builder, loc, op.getLengths(), 0);
  return scf::ForOp::create(builder, loc, zero, requests, one, ValueRange{op.getInit()}, perRequest).getResult(0);
}

struct LowerLoadPages : OpRewritePattern<LoadPagesOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LoadPagesOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto slots = [&](OpBuilder &b, Value request) -> std::pair<Value, Value> {
      return {constantIndex(b, loc, 0), readIndex(b, loc, op.getLengths(), request)};
    };
    auto copy = [&](OpBuilder &b, const Places &places, Value destination) -> Value {
      Value element = tensor::ExtractOp::create(b, loc, op.getPool(), places.paged);
      return tensor::InsertOp::create(b, loc, element, destination, places.cached);
    };
    rewriter.replaceOp(op, forEachElement(rewriter, op, op.getPool(), slots, copy));
    return success();
  }
};

struct LowerStorePages : OpRewritePattern<StorePagesOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(StorePagesOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto slots = [&](OpBuilder &b, Value request) -> std::pair<Value, Value> {
      Value length = readIndex(b, loc, op.getLengths(), request);
      Value begin = readIndex(b, loc, op.getTokenStart(), request);
      Value next = arith::AddIOp::create(b, loc, request, constantIndex(b, loc, 1));
      Value added = arith::SubIOp::create(b, loc, readIndex(b, loc, op.getTokenStart(), next), begin);
      return {length, arith::AddIOp::create(b, loc, length, added)};
    };
    auto copy = [&](OpBuilder &b, const Places &places, Value destination) -> Value {
      Value element = tensor::ExtractOp::create(b, loc, op.getInput(), places.cached);
      return tensor::InsertOp::create(b, loc, element, destination, places.paged);
    };
    rewriter.replaceOp(op, forEachElement(rewriter, op, op.getInit(), slots, copy));
    return success();
  }
};

} // namespace

void tpa::populatePageLowerings(RewritePatternSet &patterns) {
  patterns.add<LowerLoadPages, LowerStorePages>(patterns.getContext());
}
