// SPDX-License-Identifier: Apache-2.0
//
// append and attention in terms of their parts (pass tpa-decompose-phases).

#include "dialect/PhaseOperands.h"
#include "lowering/reference/Elements.h"
#include "lowering/reference/Lowerings.h"
#include "lowering/reference/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_DECOMPOSEPHASES
#include "lowering/reference/ReferencePasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;

namespace {

int64_t rankOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getRank(); }

/// Builds the parts of one phase op.
class PartBuilder {
public:
  PartBuilder(OpBuilder &b, Location loc, VariantAttr variant) : b(b), loc(loc), variant(variant) {}

  Type compute() const { return variant.getTypes().getCompute(); }

  Value headFunction(HeadFactorAttr head, Value tensor) {
    if (head.getFunction() == HeadFunction::identity)
      return tensor;
    Value init = emptyLike(b, loc, tensor, compute());
    return HeadFunctionOp::create(b, loc, head.getFunction(), tensor, init).getResult();
  }

  Value rope(Value tensor, Value positions) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, positions);
    auto type = cast<RankedTensorType>(tensor.getType());
    for (int64_t size : type.getShape().take_back(2))
      sizes.push_back(b.getIndexAttr(size));
    // A factor shorter than a block does not occur: the block is the shortest that is rotated.
    Value init = emptyTensor(b, loc, sizes, compute());
    return RopeOp::create(b, loc, variant.getRope(), variant.getRopeBlock(), tensor, positions, init).getResult();
  }

  /// Q, K or V from its factors. `normalized`: with its rank factor.
  Value contract(FactorizationAttr factorization, bool normalized, Value head, ArrayRef<Value> tokens, Value scale,
                 Type resultType) {
    MLIRContext *context = b.getContext();
    HeadFactorAttr headFactor = factorization.getHead();
    SmallVector<TokenFactorAttr> factors;
    for (auto [tensor, factor] : llvm::zip(tokens, factorization.getToken()))
      factors.push_back(TokenFactorAttr::get(context, rankOf(tensor) == 2 ? Source::learned : Source::contextual,
                                             cast<RankedTensorType>(tensor.getType()).getShape().back()));
    auto plain = FactorizationAttr::get(
        context, factorization.getRank(), normalized && factorization.getNormalized(),
        HeadFactorAttr::get(context, headFactor.getSource(), headFactor.getMap(), HeadFunction::identity), factors);

    SmallVector<OpFoldResult> sizes = leadingSizes(head, tokens);
    sizes.push_back(b.getIndexAttr(variant.getHeads().getLocal()));
    sizes.push_back(b.getIndexAttr(plain.getFeatures()));
    Value init = emptyTensor(b, loc, sizes, resultType);
    return ContractOp::create(b, loc, plain, variant.getHeads(), head, tokens, scale, init).getResult();
  }

private:
  /// Token dimensions of the first factor that has some.
  SmallVector<OpFoldResult> leadingSizes(Value head, ArrayRef<Value> tokens) {
    SmallVector<Value> tensors(tokens);
    if (head)
      tensors.push_back(head);
    for (Value tensor : tensors)
      if (rankOf(tensor) > 2)
        return llvm::to_vector(ArrayRef(tensor::getMixedSizes(b, loc, tensor)).drop_back(2));
    return {};
  }

  OpBuilder &b;
  Location loc;
  VariantAttr variant;
};

// --- append ---

struct DecomposeAppend : OpRewritePattern<AppendOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AppendOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    VariantAttr variant = op.getVariant();
    SmallVector<Value> stored;
    SmallVector<Value> keyScales;
    for (Side side : {Side::k, Side::v}) {
      SmallVector<Value> scales;
      llvm::append_range(stored, storedFactors(rewriter, op, side, keyScales, scales));
      if (side == Side::k)
        keyScales = scales;
    }
    if (variant.rotatesKeysOnRead())
      stored.push_back(op.getPositions());

    SmallVector<Value> caches;
    for (auto [tensor, cache] : llvm::zip_equal(stored, op.getInits()))
      caches.push_back(
          StoreTokensOp::create(rewriter, loc, tensor, op.getTokenStart(), op.getLengths(), cache).getResult());
    rewriter.replaceOp(op, caches);
    return success();
  }

private:
  /// What enters the cache for K or V, in the order of its cache tensors. `scales` returns those of its quantised rows;
  /// a shared V has K's.
  static SmallVector<Value> storedFactors(OpBuilder &b, AppendOp op, Side side, ArrayRef<Value> keyScales,
                                          SmallVector<Value> &scales) {
    Location loc = op.getLoc();
    VariantAttr variant = op.getVariant();
    FactorizationAttr factorization = getFactorization(variant, side);
    PartBuilder parts(b, loc, variant);
    ValueRange operands = side == Side::k ? op.getK() : op.getV();
    size_t next = 0;
    Value head = factorization.getHead().isContextual() ? operands[next++] : Value();

    SmallVector<Value> tokens;
    for (auto [i, factor] : llvm::enumerate(factorization.getToken())) {
      if (!factor.isContextual())
        continue;
      Value token = operands[next++];
      if (i == 0 && side == Side::k && variant.getRope() && !variant.rotatesKeysOnRead())
        token = parts.rope(token, op.getPositions());
      if (variant.getTypes().isQuantized())
        token = quantized(b, loc, variant, token, scales);
      tokens.push_back(token);
    }
    if (factorization.isShared())
      scales = llvm::to_vector(keyScales);

    SmallVector<Value> stored;
    if (head) {
      head = parts.headFunction(factorization.getHead(), head);
      for (Value scale : scales)
        head = ScaleHeadOp::create(b, loc, head, scale, emptyLike(b, loc, head, parts.compute())).getResult();
      stored.push_back(head);
    }
    llvm::append_range(stored, tokens);
    if (storesScale(variant, side)) {
      Value product = scales.front();
      for (Value scale : ArrayRef(scales).drop_front())
        product = arith::MulFOp::create(b, loc, product, scale);
      stored.push_back(product);
    }
    return stored;
  }

  static Value quantized(OpBuilder &b, Location loc, VariantAttr variant, Value token, SmallVector<Value> &scales) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, token);
    Value values = emptyTensor(b, loc, sizes, variant.getTypes().getToken());
    Value scale = emptyTensor(b, loc, ArrayRef(sizes).drop_back(), variant.getTypes().getCompute());
    auto quantize = QuantizeOp::create(b, loc, token, values, scale);
    scales.push_back(quantize.getScale());
    return quantize.getValues();
  }
};

// --- attention ---

/// Attention on dense Q, K, V in the compute type.
bool isPlain(VariantAttr variant) {
  auto dense = [](FactorizationAttr side) { return side.hasMap(HeadMap::one_hot) && side.getOrder() == 2; };
  TypesAttr types = variant.getTypes();
  return dense(variant.getQ()) && dense(variant.getK()) && dense(variant.getV()) && !variant.getV().isShared() &&
         !variant.getRope() && types.getActivation() == types.getCompute() && types.getToken() == types.getCompute() &&
         variant.getQueryPrecision() == QueryPrecision::full;
}

struct DecomposeAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    VariantAttr variant = op.getVariant();
    if (isPlain(variant))
      return rewriter.notifyMatchFailure(op, "already on dense tensors");
    Location loc = op.getLoc();
    Type compute = variant.getTypes().getCompute();
    PartBuilder parts(rewriter, loc, variant);

    // The scale multiplies the raw sum over ranks; a rounded query holds its rank factor when it is rounded.
    FactorizationAttr q = variant.getQ();
    double scale = variant.getScaleValue();
    bool roundQuery = variant.getQueryPrecision() == QueryPrecision::storage;
    if (roundQuery)
      scale /= q.getRankFactor();
    auto [queryHead, queryTokens] = split(q, op.getQ());
    if (queryHead)
      queryHead = parts.headFunction(q.getHead(), queryHead);
    if (variant.getRope())
      queryTokens.front() = parts.rope(queryTokens.front(), op.getPositions());
    Value query = parts.contract(q, roundQuery, queryHead, queryTokens, Value(),
                                 roundQuery ? variant.getTypes().getActivation() : compute);
    query = widened(rewriter, loc, query, compute);

    KeyValueFactors k = readFactors(op, parts, Side::k);
    SmallVector<Value> storedKeyTokens(k.tokens);
    if (variant.rotatesKeysOnRead())
      k.tokens.front() = parts.rope(k.tokens.front(), op.getKeyPositions());
    Value keys = parts.contract(variant.getK(), /*normalized=*/false, k.head, k.tokens, k.scale, compute);

    KeyValueFactors v = readFactors(op, parts, Side::v);
    if (variant.getV().isShared()) {
      v.tokens = variant.getVSees() == ValueSees::rotated ? k.tokens : storedKeyTokens;
      v.tokens.back() = firstFeatures(rewriter, loc, v.tokens.back(), variant.getV().getToken().back().getSize());
      if (getScaleSource(variant, Side::v) == Side::k)
        v.scale = k.scale;
    }
    Value values = parts.contract(variant.getV(), /*normalized=*/true, v.head, v.tokens, v.scale, compute);

    MLIRContext *context = rewriter.getContext();
    HeadsAttr heads = variant.getHeads();
    auto dense = [&](Value tensor) {
      auto oneHot = HeadFactorAttr::get(context, Source::fixed, HeadMap::one_hot, HeadFunction::identity);
      auto source = rankOf(tensor) == 2 ? Source::learned : Source::contextual;
      int64_t features = cast<RankedTensorType>(tensor.getType()).getShape().back();
      return FactorizationAttr::get(context, heads.getTotal(), true, oneHot,
                                    TokenFactorAttr::get(context, source, features));
    };
    TypesAttr types = variant.getTypes();
    auto plain =
        VariantAttr::get(context, variant.getName(), heads, dense(query), dense(keys), dense(values), RopeAttr(),
                         std::optional<ValueSees>(), rewriter.getF64FloatAttr(scale), variant.getSoftcap(),
                         variant.getCausal(), variant.getWindow(), QueryPrecision::full, variant.getHeadFactorRows(),
                         TypesAttr::get(context, compute, compute, compute, types.getOutput(), compute));
    rewriter.replaceOpWithNewOp<AttentionOp>(op, plain, query, Value(), op.getTokenStart(), op.getLengths(), keys,
                                             values, Value(), op.getOutInit(), op.getLseInit());
    return success();
  }

private:
  struct KeyValueFactors {
    Value head;
    SmallVector<Value> tokens;
    Value scale;
  };

  /// The head factor (null where fixed) and the token factors (none where shared) of a side's tensors.
  static std::pair<Value, SmallVector<Value>> split(FactorizationAttr factorization, ValueRange tensors) {
    Value head;
    if (!factorization.getHead().isFixed()) {
      head = tensors.front();
      tensors = tensors.drop_front();
    }
    size_t count = factorization.isShared() ? 0 : factorization.getToken().size();
    return {head, llvm::to_vector(tensors.take_front(count))};
  }

  static KeyValueFactors readFactors(AttentionOp op, PartBuilder &parts, Side side) {
    FactorizationAttr factorization = getFactorization(op.getVariant(), side);
    ValueRange tensors = side == Side::k ? op.getK() : op.getV();
    auto [head, tokens] = split(factorization, tensors);
    // A cached head factor has been through its function.
    if (head && factorization.getHead().isLearned())
      head = parts.headFunction(factorization.getHead(), head);
    return {head, tokens, storesScale(op.getVariant(), side) ? tensors.back() : Value()};
  }

  static Value firstFeatures(OpBuilder &b, Location loc, Value tensor, int64_t features) {
    if (cast<RankedTensorType>(tensor.getType()).getShape().back() == features)
      return tensor;
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, tensor);
    sizes.back() = b.getIndexAttr(features);
    SmallVector<OpFoldResult> offsets(sizes.size(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sizes.size(), b.getIndexAttr(1));
    return tensor::ExtractSliceOp::create(b, loc, tensor, offsets, sizes, strides);
  }

  /// `tensor` in a type at least as wide.
  static Value widened(OpBuilder &b, Location loc, Value tensor, Type type) {
    auto shaped = cast<RankedTensorType>(tensor.getType());
    for (Type step : {static_cast<Type>(b.getF32Type()), type}) {
      if (getElementTypeOrSelf(tensor).getIntOrFloatBitWidth() < step.getIntOrFloatBitWidth())
        tensor = arith::ExtFOp::create(b, loc, shaped.clone(step), tensor);
    }
    return tensor;
  }
};

struct DecomposePhases : tpa::impl::DecomposePhasesBase<DecomposePhases> {
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, tensor::TensorDialect>();
  }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<DecomposeAppend, DecomposeAttention>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
