// SPDX-License-Identifier: Apache-2.0
//
// Lowerings of the parts of a phase: each is the formula of its op's description as one rectangle (linalg.generic), or
// loops where requests have lengths of their own.

#include "lowering/reference/Elements.h"
#include "lowering/reference/Lowerings.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;

namespace {

int64_t rankOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getRank(); }

/// Builds one linalg.generic: loop dimensions are numbered 0 .. loops-1, the last `reductions` of them are sums.
class Rectangle {
public:
  Rectangle(OpBuilder &builder, Location loc, int64_t loops, int64_t reductions = 0)
      : builder(builder), loc(loc), loops(loops), iterators(loops - reductions, utils::IteratorType::parallel) {
    iterators.append(reductions, utils::IteratorType::reduction);
  }

  AffineExpr dim(int64_t i) const { return builder.getAffineDimExpr(i); }

  /// Loop dimensions `begin` .. `begin + count`.
  SmallVector<AffineExpr> dims(int64_t begin, int64_t count) const {
    SmallVector<AffineExpr> result;
    for (int64_t i = 0; i < count; ++i)
      result.push_back(dim(begin + i));
    return result;
  }

  void input(Value tensor, ArrayRef<AffineExpr> indices) {
    inputs.push_back(tensor);
    inputMaps.push_back(AffineMap::get(loops, 0, indices, builder.getContext()));
  }

  void output(Value tensor, ArrayRef<AffineExpr> indices) {
    outputs.push_back(tensor);
    outputMaps.push_back(AffineMap::get(loops, 0, indices, builder.getContext()));
  }

  using Body = llvm::function_ref<SmallVector<Value>(OpBuilder &, ValueRange inputs, ValueRange outputs)>;

  SmallVector<Value> build(Body body) {
    SmallVector<AffineMap> maps(inputMaps);
    llvm::append_range(maps, outputMaps);
    auto op = linalg::GenericOp::create(builder, loc, ValueRange(outputs).getTypes(), inputs, outputs, maps, iterators,
                                        [&](OpBuilder &b, Location bodyLoc, ValueRange arguments) {
                                          auto results = body(b, arguments.take_front(inputs.size()),
                                                              arguments.drop_front(inputs.size()));
                                          linalg::YieldOp::create(b, bodyLoc, results);
                                        });
    return llvm::to_vector_of<Value>(op.getResults());
  }

private:
  OpBuilder &builder;
  Location loc;
  int64_t loops;
  SmallVector<utils::IteratorType> iterators;
  SmallVector<Value> inputs, outputs;
  SmallVector<AffineMap> inputMaps, outputMaps;
};

Value filled(OpBuilder &b, Location loc, Value tensor, double value) {
  Type element = getElementTypeOrSelf(tensor);
  return linalg::FillOp::create(b, loc, ValueRange{constantFloat(b, loc, element, value)}, ValueRange{tensor})
      .getResult(0);
}

/// `input` converted into `init`, element by element.
Value converted(OpBuilder &b, Location loc, Value input, Value init) {
  int64_t rank = rankOf(init);
  Rectangle rectangle(b, loc, rank);
  rectangle.input(input, rectangle.dims(0, rank));
  rectangle.output(init, rectangle.dims(0, rank));
  Type type = getElementTypeOrSelf(init);
  return rectangle.build([&](OpBuilder &body, ValueRange in, ValueRange) -> SmallVector<Value> {
    return {convertElement(body, loc, in[0], type)};
  })[0];
}

/// A sum into `init`, kept in `accumulator`'s type: `build` gets the zeroed destination and returns the sum.
Value summed(OpBuilder &b, Location loc, Value init, Type accumulator, llvm::function_ref<Value(Value)> build) {
  bool direct = getElementTypeOrSelf(init) == accumulator;
  Value zero = filled(b, loc, direct ? init : emptyLike(b, loc, init, accumulator), 0.0);
  Value sum = build(zero);
  return direct ? sum : converted(b, loc, sum, init);
}

// --- project ---

struct LowerProject : OpRewritePattern<ProjectOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ProjectOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto type = cast<RankedTensorType>(op.getInit().getType());
    int64_t leading = type.getRank() - 2;
    int64_t rank = type.getDimSize(leading);
    int64_t size = type.getDimSize(leading + 1);
    Type accumulator = rewriter.getF64Type();
    Value result = summed(rewriter, loc, op.getInit(), accumulator, [&](Value zero) {
      // Loops: leading, r, s, c.
      Rectangle rectangle(rewriter, loc, leading + 3, 1);
      AffineExpr r = rectangle.dim(leading), s = rectangle.dim(leading + 1), c = rectangle.dim(leading + 2);
      SmallVector<AffineExpr> tokens = rectangle.dims(0, leading);
      auto with = [&](ArrayRef<AffineExpr> more) {
        SmallVector<AffineExpr> indices(tokens);
        llvm::append_range(indices, more);
        return indices;
      };
      AffineExpr row = op.getRows() == WeightRows::rank_major ? r * size + s : s * rank + r;
      rectangle.input(op.getInput(), with({c}));
      rectangle.input(op.getWeight(), {row, c});
      rectangle.output(zero, with({r, s}));
      return rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange out) -> SmallVector<Value> {
        Value product = arith::MulFOp::create(b, loc, convertElement(b, loc, in[0], accumulator),
                                              convertElement(b, loc, in[1], accumulator));
        return {arith::AddFOp::create(b, loc, out[0], product)};
      })[0];
    });
    rewriter.replaceOp(op, result);
    return success();
  }
};

// --- contract ---

struct LowerContract : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    FactorizationAttr factorization = op.getFactorization();
    bool fixed = factorization.getHead().isFixed();
    int64_t leading = rankOf(op.getInit()) - 2;
    int64_t factors = factorization.getToken().size();
    Type accumulator = arithmeticType(getElementTypeOrSelf(op.getInit()));
    Value result = summed(rewriter, loc, op.getInit(), accumulator, [&](Value zero) {
      // Loops: leading, h, one per small factor, r. A fixed head factor has no sum: head h reads rank map(h).
      Rectangle rectangle(rewriter, loc, leading + 1 + factors + (fixed ? 0 : 1), fixed ? 0 : 1);
      AffineExpr h = rectangle.dim(leading);
      AffineExpr r = fixed ? rankOfHead(factorization, op.getHeads(), h) : rectangle.dim(leading + 1 + factors);
      auto indices = [&](Value tensor, ArrayRef<AffineExpr> trailing) {
        bool learned = rankOf(tensor) == static_cast<int64_t>(trailing.size());
        SmallVector<AffineExpr> result = rectangle.dims(0, learned ? 0 : leading);
        llvm::append_range(result, trailing);
        return result;
      };
      if (op.getHead())
        rectangle.input(op.getHead(), indices(op.getHead(), {r, h}));
      if (op.getScale())
        rectangle.input(op.getScale(), indices(op.getScale(), {r}));
      // vec: the first small factor's feature is the fastest.
      AffineExpr feature = rewriter.getAffineConstantExpr(0);
      int64_t stride = 1;
      for (auto [i, tensor, factor] : llvm::enumerate(op.getToken(), factorization.getToken())) {
        AffineExpr small = rectangle.dim(leading + 1 + i);
        rectangle.input(tensor, indices(tensor, {r, small}));
        feature = feature + small * stride;
        stride *= factor.getSize();
      }
      rectangle.output(zero, indices(zero, {h, feature}));
      double rankFactor = factorization.getRankFactor();
      return rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange out) -> SmallVector<Value> {
        Value term;
        auto multiply = [&](Value value) { term = term ? arith::MulFOp::create(b, loc, term, value) : value; };
        for (Value value : in)
          multiply(convertElement(b, loc, value, accumulator));
        if (rankFactor != 1.0)
          multiply(constantFloat(b, loc, accumulator, rankFactor));
        return {fixed ? term : arith::AddFOp::create(b, loc, out[0], term)};
      })[0];
    });
    rewriter.replaceOp(op, result);
    return success();
  }

private:
  static AffineExpr rankOfHead(FactorizationAttr factorization, HeadsAttr heads, AffineExpr h) {
    switch (*factorization.getHead().getMap()) {
    case HeadMap::one_hot:
      return h;
    case HeadMap::groups:
      return ((h + heads.getBegin()) * factorization.getRank()).floorDiv(heads.getTotal());
    case HeadMap::ones:
      return getAffineConstantExpr(0, h.getContext());
    }
    llvm_unreachable("unknown head map");
  }
};

// --- head_function ---

struct LowerHeadFunction : OpRewritePattern<HeadFunctionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(HeadFunctionOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    int64_t rank = rankOf(op.getInit());
    Type type = getElementTypeOrSelf(op.getInit());
    Type arithmetic = arithmeticType(type);
    switch (op.getFunction()) {
    case HeadFunction::identity:
      rewriter.replaceOp(op, converted(rewriter, loc, op.getInput(), op.getInit()));
      return success();
    case HeadFunction::sigmoid: {
      Rectangle rectangle(rewriter, loc, rank);
      rectangle.input(op.getInput(), rectangle.dims(0, rank));
      rectangle.output(op.getInit(), rectangle.dims(0, rank));
      rewriter.replaceOp(op, rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
        Value one = constantFloat(b, loc, arithmetic, 1.0);
        Value minus = arith::NegFOp::create(b, loc, convertElement(b, loc, in[0], arithmetic));
        Value denominator = arith::AddFOp::create(b, loc, one, math::ExpOp::create(b, loc, minus));
        return {convertElement(b, loc, arith::DivFOp::create(b, loc, one, denominator), type)};
      }));
      return success();
    }
    case HeadFunction::softmax:
      rewriter.replaceOp(op, lowerSoftmax(rewriter, op, arithmetic));
      return success();
    }
    llvm_unreachable("unknown head function");
  }

private:
  /// exp(a_h - max a) / sum_h exp(a_h - max a).
  static Value lowerSoftmax(PatternRewriter &rewriter, HeadFunctionOp op, Type arithmetic) {
    Location loc = op.getLoc();
    int64_t rank = rankOf(op.getInit());
    Value input = op.getInput();
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, input);
    Value perRow = emptyTensor(rewriter, loc, ArrayRef(sizes).drop_back(), arithmetic);
    auto reduce = [&](double start, llvm::function_ref<Value(OpBuilder &, Value in, Value max, Value out)> step,
                      Value max) {
      Rectangle rectangle(rewriter, loc, rank, 1);
      rectangle.input(input, rectangle.dims(0, rank));
      if (max)
        rectangle.input(max, rectangle.dims(0, rank - 1));
      rectangle.output(filled(rewriter, loc, perRow, start), rectangle.dims(0, rank - 1));
      return rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange out) -> SmallVector<Value> {
        return {step(b, convertElement(b, loc, in[0], arithmetic), max ? in[1] : Value(), out[0])};
      })[0];
    };
    auto exponential = [&](OpBuilder &b, Value value, Value max) -> Value {
      return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, value, max));
    };
    Value max = reduce(
        -std::numeric_limits<double>::infinity(),
        [&](OpBuilder &b, Value in, Value, Value out) -> Value { return arith::MaximumFOp::create(b, loc, in, out); },
        Value());
    Value sum = reduce(
        0.0,
        [&](OpBuilder &b, Value in, Value rowMax, Value out) -> Value {
          return arith::AddFOp::create(b, loc, out, exponential(b, in, rowMax));
        },
        max);
    Rectangle rectangle(rewriter, loc, rank);
    rectangle.input(input, rectangle.dims(0, rank));
    rectangle.input(max, rectangle.dims(0, rank - 1));
    rectangle.input(sum, rectangle.dims(0, rank - 1));
    rectangle.output(op.getInit(), rectangle.dims(0, rank));
    Type type = getElementTypeOrSelf(op.getInit());
    return rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      Value numerator = exponential(b, convertElement(b, loc, in[0], arithmetic), in[1]);
      return {convertElement(b, loc, arith::DivFOp::create(b, loc, numerator, in[2]), type)};
    })[0];
  }
};

// --- rope ---

struct LowerRope : OpRewritePattern<RopeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RopeOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    int64_t rank = rankOf(op.getInit());
    int64_t leading = rank - 2;
    bool learned = rankOf(op.getInput()) == 2 && leading != 0;
    RopeAttr rope = op.getRope();
    auto tableType = RankedTensorType::get({rope.getDRot() / 2}, rewriter.getF64Type());
    Value table = arith::ConstantOp::create(rewriter, loc,
                                            DenseElementsAttr::get(tableType, ArrayRef<double>(rope.getFrequencies())));

    Rectangle rectangle(rewriter, loc, rank);
    rectangle.input(op.getPositions(), rectangle.dims(0, leading));
    rectangle.output(op.getInit(), rectangle.dims(0, rank));
    rewriter.replaceOp(op, rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      SmallVector<Value> indices;
      for (int64_t i = learned ? leading : 0; i < rank; ++i)
        indices.push_back(linalg::IndexOp::create(b, loc, i));
      return {rotated(b, op, table, in[0], indices)};
    }));
    return success();
  }

private:
  /// The rotated element at `indices` of the input.
  static Value rotated(OpBuilder &b, RopeOp op, Value table, Value position, ArrayRef<Value> indices) {
    Location loc = op.getLoc();
    RopeAttr rope = op.getRope();
    Type type = getElementTypeOrSelf(op.getInit());
    Type arithmetic = arithmeticType(type);
    Type f64 = b.getF64Type();
    auto index = [&](int64_t value) { return constantIndex(b, loc, value); };
    auto load = [&](Value feature) {
      SmallVector<Value> at(indices);
      at.back() = feature;
      return convertElement(b, loc, tensor::ExtractOp::create(b, loc, op.getInput(), at), arithmetic);
    };

    // k counts features from the first rotated one of the block.
    Value feature = indices.back();
    Value k = arith::SubIOp::create(b, loc, arith::RemUIOp::create(b, loc, feature, index(op.getBlock())),
                                    index(rope.getOffset()));
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, k, index(rope.getDRot()));
    k = arith::SelectOp::create(b, loc, inside, k, index(0));

    // Pair number, whether this is the pair's first feature, and how far its partner is.
    int64_t half = rope.getDRot() / 2;
    bool isHalf = rope.getLayout() == RopeLayout::half;
    Value pair = isHalf ? Value(arith::RemUIOp::create(b, loc, k, index(half)))
                        : Value(arith::DivUIOp::create(b, loc, k, index(2)));
    Value isFirst = isHalf ? arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, k, index(half))
                           : arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                                   arith::RemUIOp::create(b, loc, k, index(2)), index(0));
    Value distance = index(isHalf ? half : 1);
    Value partner = arith::SelectOp::create(b, loc, isFirst, arith::AddIOp::create(b, loc, feature, distance),
                                            arith::SubIOp::create(b, loc, feature, distance));
    partner = arith::SelectOp::create(b, loc, inside, partner, feature);

    Value angle = arith::MulFOp::create(b, loc, arith::SIToFPOp::create(b, loc, f64, position),
                                        tensor::ExtractOp::create(b, loc, table, pair));
    Value amplitude = constantFloat(b, loc, f64, rope.getAmplitudeValue());
    Value cosine = arith::MulFOp::create(b, loc, math::CosOp::create(b, loc, angle), amplitude);
    Value sine = arith::MulFOp::create(b, loc, math::SinOp::create(b, loc, angle), amplitude);
    if (rope.getDirection() < 0)
      sine = arith::NegFOp::create(b, loc, sine);
    // Direction 1: first' = x1 cos - x2 sin, second' = x2 cos + x1 sin.
    sine = arith::SelectOp::create(b, loc, isFirst, arith::NegFOp::create(b, loc, sine), sine);

    Value own = load(feature);
    Value result =
        arith::AddFOp::create(b, loc, arith::MulFOp::create(b, loc, own, convertElement(b, loc, cosine, arithmetic)),
                              arith::MulFOp::create(b, loc, load(partner), convertElement(b, loc, sine, arithmetic)));
    return convertElement(b, loc, arith::SelectOp::create(b, loc, inside, result, own), type);
  }
};

// --- quantize, scale_head ---

struct LowerQuantize : OpRewritePattern<QuantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(QuantizeOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    int64_t rank = rankOf(op.getInput());
    Type type = getElementTypeOrSelf(op.getValuesInit());
    Type arithmetic = getElementTypeOrSelf(op.getScaleInit());

    Rectangle maxima(rewriter, loc, rank, 1);
    maxima.input(op.getInput(), maxima.dims(0, rank));
    maxima.output(filled(rewriter, loc, emptyLike(rewriter, loc, op.getScaleInit(), arithmetic), 0.0),
                  maxima.dims(0, rank - 1));
    Value largest = maxima.build([&](OpBuilder &b, ValueRange in, ValueRange out) -> SmallVector<Value> {
      Value magnitude = math::AbsFOp::create(b, loc, convertElement(b, loc, in[0], arithmetic));
      return {arith::MaximumFOp::create(b, loc, magnitude, out[0])};
    })[0];

    Rectangle scales(rewriter, loc, rank - 1);
    scales.input(largest, scales.dims(0, rank - 1));
    scales.output(op.getScaleInit(), scales.dims(0, rank - 1));
    Value scale = scales.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      Value ratio = arith::DivFOp::create(b, loc, in[0], constantFloat(b, loc, arithmetic, largestQuantized(type)));
      // Rows of zeros, and rows so small that the ratio underflows.
      Value isZero =
          arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, ratio, constantFloat(b, loc, arithmetic, 0.0));
      return {arith::SelectOp::create(b, loc, isZero, constantFloat(b, loc, arithmetic, 1.0), ratio)};
    })[0];

    Rectangle values(rewriter, loc, rank);
    values.input(op.getInput(), values.dims(0, rank));
    values.input(scale, values.dims(0, rank - 1));
    values.output(op.getValuesInit(), values.dims(0, rank));
    Value quantized = values.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      Value ratio = arith::DivFOp::create(b, loc, convertElement(b, loc, in[0], arithmetic), in[1]);
      return {quantizeElement(b, loc, ratio, type)};
    })[0];
    rewriter.replaceOp(op, {quantized, scale});
    return success();
  }
};

struct LowerScaleHead : OpRewritePattern<ScaleHeadOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScaleHeadOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    int64_t rank = rankOf(op.getInit());
    Type type = getElementTypeOrSelf(op.getInit());
    Type arithmetic = arithmeticType(getElementTypeOrSelf(op.getScale()));
    Rectangle rectangle(rewriter, loc, rank);
    rectangle.input(op.getHead(), rectangle.dims(0, rank));
    rectangle.input(op.getScale(), rectangle.dims(0, rank - 1));
    rectangle.output(op.getInit(), rectangle.dims(0, rank));
    rewriter.replaceOp(op, rectangle.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      Value product = arith::MulFOp::create(b, loc, convertElement(b, loc, in[0], arithmetic),
                                            convertElement(b, loc, in[1], arithmetic));
      return {convertElement(b, loc, product, type)};
    }));
    return success();
  }
};

// --- store_tokens ---

struct LowerStoreTokens : OpRewritePattern<StoreTokensOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(StoreTokensOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto index = [&](OpBuilder &b, Value tensor, Value at) -> Value {
      return arith::IndexCastOp::create(b, loc, b.getIndexType(), tensor::ExtractOp::create(b, loc, tensor, at));
    };
    Value zero = constantIndex(rewriter, loc, 0);
    Value one = constantIndex(rewriter, loc, 1);
    Value requests = getValueOrCreateConstantIndexOp(rewriter, loc, dimOf(rewriter, loc, op.getLengths(), 0));

    auto perRequest = [&](OpBuilder &b, Location, Value request, ValueRange carried) {
      Value begin = index(b, op.getTokenStart(), request);
      Value end = index(b, op.getTokenStart(), arith::AddIOp::create(b, loc, request, one));
      Value shift = arith::SubIOp::create(b, loc, index(b, op.getLengths(), request), begin);
      auto perToken = [&](OpBuilder &b, Location, Value token, ValueRange carried) {
        Value slot = arith::AddIOp::create(b, loc, token, shift);
        Value cache = copyRow(b, op, carried.front(), request, slot, token);
        scf::YieldOp::create(b, loc, cache);
      };
      auto loop = scf::ForOp::create(b, loc, begin, end, one, carried, perToken);
      scf::YieldOp::create(b, loc, loop.getResults());
    };
    auto loop = scf::ForOp::create(rewriter, loc, zero, requests, one, ValueRange{op.getInit()}, perRequest);
    rewriter.replaceOp(op, loop.getResults());
    return success();
  }

private:
  /// cache[request, slot, ...] = input[token, ...].
  static Value copyRow(OpBuilder &b, StoreTokensOp op, Value cache, Value request, Value slot, Value token) {
    Location loc = op.getLoc();
    SmallVector<Value> lower, upper, step;
    for (int64_t i = 1; i < rankOf(op.getInput()); ++i) {
      lower.push_back(constantIndex(b, loc, 0));
      upper.push_back(getValueOrCreateConstantIndexOp(b, loc, dimOf(b, loc, op.getInput(), i)));
      step.push_back(constantIndex(b, loc, 1));
    }
    auto copy = [&](OpBuilder &b, Location, ValueRange at, ValueRange carried) -> scf::ValueVector {
      SmallVector<Value> from{token};
      llvm::append_range(from, at);
      SmallVector<Value> to{request, slot};
      llvm::append_range(to, at);
      Value element = tensor::ExtractOp::create(b, loc, op.getInput(), from);
      Type type = getElementTypeOrSelf(op.getInit());
      if (element.getType() != type)
        element = convertElement(b, loc, element, type);
      return {tensor::InsertOp::create(b, loc, element, carried.front(), to)};
    };
    if (lower.empty())
      return copy(b, loc, {}, cache).front();
    return scf::buildLoopNest(b, loc, lower, upper, step, cache, copy).results.front();
  }
};

// --- merge ---

struct LowerMerge : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    size_t parts = op.getParts().size();
    Type arithmetic = arithmeticType(getElementTypeOrSelf(op.getLseInit()));
    double infinity = std::numeric_limits<double>::infinity();

    // max over parts, and the weights exp(lse - max), 0 for a part with lse = -inf.
    auto weigh = [&](OpBuilder &b, ValueRange lses) {
      Value minusInfinity = constantFloat(b, loc, arithmetic, -infinity);
      Value max = minusInfinity;
      for (Value lse : lses)
        max = arith::MaximumFOp::create(b, loc, max, convertElement(b, loc, lse, arithmetic));
      SmallVector<Value> weights;
      Value zero = constantFloat(b, loc, arithmetic, 0.0);
      Value sum = zero;
      for (Value lse : lses) {
        Value value = convertElement(b, loc, lse, arithmetic);
        Value isEmpty = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, value, minusInfinity);
        Value weight = math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, value, max));
        weights.push_back(arith::SelectOp::create(b, loc, isEmpty, zero, weight));
        sum = arith::AddFOp::create(b, loc, sum, weights.back());
      }
      Value isEmpty = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, max, minusInfinity);
      return std::make_tuple(max, weights, sum, isEmpty);
    };

    Rectangle states(rewriter, loc, 3);
    for (Value lse : op.getPartLses())
      states.input(lse, states.dims(0, 2));
    for (Value part : op.getParts())
      states.input(part, states.dims(0, 3));
    states.output(op.getOutInit(), states.dims(0, 3));
    Type outType = getElementTypeOrSelf(op.getOutInit());
    Value out = states.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      auto [max, weights, sum, isEmpty] = weigh(b, in.take_front(parts));
      Value zero = constantFloat(b, loc, arithmetic, 0.0);
      Value total = zero;
      for (auto [weight, part] : llvm::zip(weights, in.drop_front(parts))) {
        // A part of weight 0 may hold anything.
        Value isZero = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, weight, zero);
        Value term = arith::MulFOp::create(b, loc, weight, convertElement(b, loc, part, arithmetic));
        total = arith::AddFOp::create(b, loc, total, arith::SelectOp::create(b, loc, isZero, zero, term));
      }
      Value mean = arith::DivFOp::create(b, loc, total, sum);
      return {convertElement(b, loc, arith::SelectOp::create(b, loc, isEmpty, zero, mean), outType)};
    })[0];

    Rectangle logarithms(rewriter, loc, 2);
    for (Value lse : op.getPartLses())
      logarithms.input(lse, logarithms.dims(0, 2));
    logarithms.output(op.getLseInit(), logarithms.dims(0, 2));
    Type lseType = getElementTypeOrSelf(op.getLseInit());
    Value lse = logarithms.build([&](OpBuilder &b, ValueRange in, ValueRange) -> SmallVector<Value> {
      auto [max, weights, sum, isEmpty] = weigh(b, in);
      Value logarithm = arith::AddFOp::create(b, loc, max, math::LogOp::create(b, loc, sum));
      return {convertElement(b, loc, arith::SelectOp::create(b, loc, isEmpty, max, logarithm), lseType)};
    })[0];
    rewriter.replaceOp(op, {out, lse});
    return success();
  }
};

} // namespace

void tpa::populatePartLowerings(RewritePatternSet &patterns) {
  patterns.add<LowerContract, LowerHeadFunction, LowerMerge, LowerProject, LowerQuantize, LowerRope, LowerScaleHead,
               LowerStoreTokens>(patterns.getContext());
}
