// SPDX-License-Identifier: Apache-2.0
//
// Verifiers and type inference of the tpa ops. Messages end with the rule's tag (docs/spec.md).

#include "dialect/PhaseOperands.h"
#include "dialect/TPAOps.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::tpa;

#define GET_OP_CLASSES
#include "dialect/TPAOps.cpp.inc"

// --- Result types: those of the destinations ---

#define TPA_INFER_FROM_INIT(Op)                                                                                        \
  LogicalResult Op::inferReturnTypes(MLIRContext *, std::optional<Location>, Op::Adaptor adaptor,                      \
                                     SmallVectorImpl<Type> &types) {                                                   \
    types.push_back(adaptor.getInit().getType());                                                                      \
    return success();                                                                                                  \
  }
TPA_INFER_FROM_INIT(ContractOp)
TPA_INFER_FROM_INIT(HeadFunctionOp)
TPA_INFER_FROM_INIT(LoadPagesOp)
TPA_INFER_FROM_INIT(ProjectOp)
TPA_INFER_FROM_INIT(RopeOp)
TPA_INFER_FROM_INIT(ScaleHeadOp)
TPA_INFER_FROM_INIT(StorePagesOp)
TPA_INFER_FROM_INIT(StoreTokensOp)
#undef TPA_INFER_FROM_INIT

#define TPA_INFER_FROM_STATE(Op)                                                                                       \
  LogicalResult Op::inferReturnTypes(MLIRContext *, std::optional<Location>, Op::Adaptor adaptor,                      \
                                     SmallVectorImpl<Type> &types) {                                                   \
    types.push_back(adaptor.getOutInit().getType());                                                                   \
    types.push_back(adaptor.getLseInit().getType());                                                                   \
    return success();                                                                                                  \
  }
TPA_INFER_FROM_STATE(AttentionOp)
TPA_INFER_FROM_STATE(MergeOp)
#undef TPA_INFER_FROM_STATE

LogicalResult AppendOp::inferReturnTypes(MLIRContext *, std::optional<Location>, AppendOp::Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  llvm::append_range(types, adaptor.getInits().getTypes());
  return success();
}

LogicalResult QuantizeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, QuantizeOp::Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getValuesInit().getType());
  types.push_back(adaptor.getScaleInit().getType());
  return success();
}

// --- Shapes ---

static ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }

static Type elementTypeOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

static bool compatible(int64_t a, int64_t b) { return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b; }

static bool compatible(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  return a.size() == b.size() &&
         llvm::all_of(llvm::zip(a, b), [](auto pair) { return compatible(std::get<0>(pair), std::get<1>(pair)); });
}

/// "[?, 2, 64]".
static std::string printed(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << '[';
  llvm::interleaveComma(shape, os, [&](int64_t size) {
    if (ShapedType::isDynamic(size))
      os << '?';
    else
      os << size;
  });
  os << ']';
  return text;
}

static LogicalResult expectShape(Operation *op, StringRef what, Value value, ArrayRef<int64_t> expected,
                                 StringRef tag) {
  if (compatible(shapeOf(value), expected))
    return success();
  return op->emitOpError() << what << ": expected shape " << printed(expected) << ", got " << printed(shapeOf(value))
                           << " [" << tag << "]";
}

/// `shape` followed by `sizes`.
static SmallVector<int64_t> followedBy(ArrayRef<int64_t> shape, ArrayRef<int64_t> sizes) {
  SmallVector<int64_t> result(shape);
  llvm::append_range(result, sizes);
  return result;
}

// --- Operands that the variant asks for ---

namespace {

/// Checks the operands of a phase against what its variant asks for; sizes that stand for tokens, requests and slots
/// must agree.
class PhaseVerifier {
public:
  explicit PhaseVerifier(Operation *op) : op(op) {}

  LogicalResult check(StringRef group, ValueRange values, ArrayRef<PhaseOperand> expected) {
    if (values.size() != expected.size()) {
      InFlightDiagnostic diagnostic = op->emitOpError() << group << ": expected " << expected.size() << " tensors (";
      llvm::interleaveComma(expected, diagnostic, [&](const PhaseOperand &operand) { diagnostic << operand.name; });
      return diagnostic << "), got " << values.size() << " [P1]";
    }
    for (auto [value, operand] : llvm::zip(values, expected))
      if (failed(check(value, operand)))
        return failure();
    return success();
  }

  LogicalResult check(Value value, const PhaseOperand &expected) {
    if (elementTypeOf(value) != expected.elementType)
      return op->emitOpError() << expected.name << ": expected element type " << expected.elementType << ", got "
                               << elementTypeOf(value) << " [P2]";
    if (failed(expectShape(op, expected.name, value, expected.getShape(), "P3")))
      return failure();
    ArrayRef<int64_t> shape = shapeOf(value);
    switch (expected.leading) {
    case Leading::none:
      return success();
    case Leading::tokens:
      return bind(tokens, shape[0], "tokens", expected.name);
    case Leading::batch:
      return bind(batch, shape[0], "batch", expected.name);
    case Leading::offsets:
      if (shape[0] == 0)
        return op->emitOpError() << expected.name << ": expected one element more than requests, got none [P6]";
      return bind(batch, ShapedType::isDynamic(shape[0]) ? shape[0] : shape[0] - 1, "batch", expected.name);
    case Leading::cache:
      return success(succeeded(bind(batch, shape[0], "batch", expected.name)) &&
                     succeeded(bind(capacity, shape[1], "capacity", expected.name)));
    }
    llvm_unreachable("unknown leading dimensions");
  }

  /// An operand that must be given exactly where `needed`.
  LogicalResult checkOptional(Value value, bool needed, const PhaseOperand &expected) {
    if (needed != static_cast<bool>(value))
      return op->emitOpError() << expected.name << ": expected " << (needed ? "a tensor" : "none")
                               << " for this variant, got " << (needed ? "none" : "one") << " [P4]";
    return needed ? check(value, expected) : success();
  }

private:
  LogicalResult bind(int64_t &known, int64_t size, StringRef what, StringRef name) {
    if (!compatible(known, size))
      return op->emitOpError() << name << ": expected " << what << " = " << known << " as in earlier operands, got "
                               << size << " [P5]";
    if (ShapedType::isDynamic(known))
      known = size;
    return success();
  }

  Operation *op;
  int64_t tokens = ShapedType::kDynamic;
  int64_t batch = ShapedType::kDynamic;
  int64_t capacity = ShapedType::kDynamic;
};

} // namespace

LogicalResult AppendOp::verify() {
  VariantAttr variant = getVariant();
  PhaseVerifier verifier(*this);
  bool keyPositions = variant.rotatesKeysOnRead();
  PhaseOperands caches = getCacheOperands(variant, Side::k);
  llvm::append_range(caches, getCacheOperands(variant, Side::v));
  if (keyPositions)
    caches.push_back(getKeyPositionsOperand(variant));
  return success(succeeded(verifier.check("k", getK(), getProjectedOperands(variant, Side::k))) &&
                 succeeded(verifier.check("v", getV(), getProjectedOperands(variant, Side::v))) &&
                 succeeded(verifier.checkOptional(getPositions(), static_cast<bool>(variant.getRope()),
                                                  getPositionsOperand(variant))) &&
                 succeeded(verifier.check(getTokenStart(), getTokenStartOperand(variant))) &&
                 succeeded(verifier.check(getLengths(), getLengthsOperand(variant))) &&
                 succeeded(verifier.check("outs", getInits(), caches)));
}

LogicalResult AttentionOp::verify() {
  VariantAttr variant = getVariant();
  PhaseVerifier verifier(*this);
  return success(succeeded(verifier.check("q", getQ(), getQueryOperands(variant))) &&
                 succeeded(verifier.checkOptional(getPositions(), static_cast<bool>(variant.getRope()),
                                                  getPositionsOperand(variant))) &&
                 succeeded(verifier.check(getTokenStart(), getTokenStartOperand(variant))) &&
                 succeeded(verifier.check(getLengths(), getLengthsOperand(variant))) &&
                 succeeded(verifier.check("k", getK(), getKeyValueOperands(variant, Side::k))) &&
                 succeeded(verifier.check("v", getV(), getKeyValueOperands(variant, Side::v))) &&
                 succeeded(verifier.checkOptional(getKeyPositions(), variant.rotatesKeysOnRead(),
                                                  getKeyPositionsOperand(variant))) &&
                 succeeded(verifier.check(getOutInit(), getOutOperand(variant, "out"))) &&
                 succeeded(verifier.check(getLseInit(), getLseOperand(variant, "lse"))));
}

LogicalResult MergeOp::verify() {
  if (getParts().empty() || getParts().size() != getPartLses().size())
    return emitOpError() << "parts: expected one or more, as many as lse, got " << getParts().size() << " and "
                         << getPartLses().size() << " [M1]";
  if (shapeOf(getOutInit()).size() != 3)
    return emitOpError() << "outs: expected out of shape [tokens, heads, features], got "
                         << printed(shapeOf(getOutInit())) << " [M2]";
  ArrayRef<int64_t> shape = shapeOf(getOutInit());
  for (Value part : getParts())
    if (failed(expectShape(*this, "parts", part, shape, "M3")))
      return failure();
  for (Value lse : getPartLses())
    if (failed(expectShape(*this, "lse", lse, shape.drop_back(), "M4")))
      return failure();
  return expectShape(*this, "outs", getLseInit(), shape.drop_back(), "M4");
}

// --- Parts ---

LogicalResult ContractOp::verify() {
  FactorizationAttr factorization = getFactorization();
  if (factorization.isShared())
    return emitOpError() << "factorization: expected contextual or learned token factors, got shared [C1]";
  if (factorization.hasMap(HeadMap::one_hot) && factorization.getRank() != getHeads().getTotal())
    return emitOpError() << "rank: expected the number of heads, " << getHeads().getTotal()
                         << ", where head.map is one_hot, got " << factorization.getRank() << " [C2]";
  if (factorization.hasMap(HeadMap::groups) && factorization.getRank() > getHeads().getTotal())
    return emitOpError() << "rank: expected at most the number of heads, " << getHeads().getTotal()
                         << ", where head.map is groups, got " << factorization.getRank() << " [C10]";
  if (factorization.getHead().getFunction() != HeadFunction::identity)
    return emitOpError() << "head.function: expected identity, since a contraction takes head factors after their "
                            "function, got "
                         << stringifyHeadFunction(factorization.getHead().getFunction()) << " [C9]";
  bool needsHead = !factorization.getHead().isFixed();
  if (needsHead != static_cast<bool>(getHead()))
    return emitOpError() << "head: expected " << (needsHead ? "a tensor" : "none, since the head factor is fixed")
                         << ", got " << (needsHead ? "none" : "one") << " [C3]";
  if (getToken().size() != factorization.getToken().size())
    return emitOpError() << "token: expected " << factorization.getToken().size() << " small factors, got "
                         << getToken().size() << " [C4]";

  // Leading dimensions are those of any operand that has some.
  ArrayRef<int64_t> result = shapeOf(getInit());
  if (result.size() < 2)
    return emitOpError() << "outs: expected shape [.., heads, features], got " << printed(result) << " [C5]";
  ArrayRef<int64_t> leading = result.drop_back(2);
  int64_t rank = factorization.getLocalRank(getHeads());
  bool anyLeading = false;
  auto checkFactor = [&](StringRef what, Value value, ArrayRef<int64_t> trailing) {
    bool hasLeading = shapeOf(value).size() != trailing.size();
    anyLeading |= hasLeading;
    return expectShape(*this, what, value, hasLeading ? followedBy(leading, trailing) : SmallVector<int64_t>(trailing),
                       "C6");
  };
  if (getHead() && failed(checkFactor("head", getHead(), {rank, getHeads().getLocal()})))
    return failure();
  for (auto [value, factor] : llvm::zip(getToken(), factorization.getToken()))
    if (failed(checkFactor("token", value, {rank, factor.getSize()})))
      return failure();
  if (getScale() && failed(checkFactor("scale", getScale(), {rank})))
    return failure();
  if (!anyLeading && !leading.empty())
    return emitOpError() << "outs: expected no token dimensions where all factors are learned, got " << printed(result)
                         << " [C7]";
  return expectShape(*this, "outs", getInit(),
                     followedBy(leading, {getHeads().getLocal(), factorization.getFeatures()}), "C8");
}

LogicalResult HeadFunctionOp::verify() {
  if (shapeOf(getInput()).size() < 2)
    return emitOpError() << "ins: expected shape [.., rank, heads], got " << printed(shapeOf(getInput())) << " [N1]";
  return expectShape(*this, "outs", getInit(), shapeOf(getInput()), "N2");
}

LogicalResult ProjectOp::verify() {
  ArrayRef<int64_t> input = shapeOf(getInput());
  ArrayRef<int64_t> weight = shapeOf(getWeight());
  ArrayRef<int64_t> result = shapeOf(getInit());
  if (input.empty() || weight.size() != 2)
    return emitOpError() << "ins: expected input [.., channels] and weight [rows, channels], got " << printed(input)
                         << " and " << printed(weight) << " [J1]";
  if (result.size() != input.size() + 1 || !compatible(result.drop_back(2), input.drop_back()))
    return emitOpError() << "outs: expected the input's shape with two sizes in place of the channels, got "
                         << printed(result) << " for input " << printed(input) << " [J2]";
  if (!compatible(weight[1], input.back()))
    return emitOpError() << "weight: expected " << input.back() << " channels, got " << weight[1] << " [J3]";
  ArrayRef<int64_t> sizes = result.take_back(2);
  if (ShapedType::isDynamicShape(sizes) || ShapedType::isDynamic(weight[0]))
    return emitOpError() << "outs: expected static rank, size and weight rows, got " << printed(result) << " and "
                         << printed(weight) << " [J4]";
  if (weight[0] != sizes[0] * sizes[1])
    return emitOpError() << "weight: expected " << sizes[0] << " * " << sizes[1] << " rows, got " << weight[0]
                         << " [J5]";
  return success();
}

LogicalResult QuantizeOp::verify() {
  ArrayRef<int64_t> input = shapeOf(getInput());
  if (input.size() < 2)
    return emitOpError() << "ins: expected shape [.., rank, features], got " << printed(input) << " [Q1]";
  if (failed(expectShape(*this, "outs", getValuesInit(), input, "Q2")))
    return failure();
  return expectShape(*this, "scale", getScaleInit(), input.drop_back(), "Q3");
}

LogicalResult RopeOp::verify() {
  ArrayRef<int64_t> input = shapeOf(getInput());
  ArrayRef<int64_t> positions = shapeOf(getPositions());
  if (input.size() < 2 ||
      (input.size() != 2 && (input.size() != positions.size() + 2 || !compatible(input.drop_back(2), positions))))
    return emitOpError() << "ins: expected input [.., rank, features] with the positions' dimensions first, or none, "
                            "got input "
                         << printed(input) << " and positions " << printed(positions) << " [O1]";
  int64_t block = getBlock();
  if (block < 1 || ShapedType::isDynamic(input.back()) || input.back() % block != 0)
    return emitOpError() << "block: expected a divisor of the features, got " << block << " for input "
                         << printed(input) << " [O2]";
  if (getRope().getOffset() + getRope().getDRot() > block)
    return emitOpError() << "block: expected at least offset + d_rot = " << getRope().getOffset() + getRope().getDRot()
                         << ", got " << block << " [O3]";
  return expectShape(*this, "outs", getInit(), followedBy(positions, input.take_back(2)), "O4");
}

LogicalResult ScaleHeadOp::verify() {
  ArrayRef<int64_t> head = shapeOf(getHead());
  if (head.size() < 2)
    return emitOpError() << "ins: expected head [.., rank, heads], got " << printed(head) << " [S1]";
  if (failed(expectShape(*this, "scale", getScale(), head.drop_back(), "S2")))
    return failure();
  return expectShape(*this, "outs", getInit(), head, "S3");
}

LogicalResult StoreTokensOp::verify() {
  ArrayRef<int64_t> input = shapeOf(getInput());
  ArrayRef<int64_t> cache = shapeOf(getInit());
  if (input.empty() || cache.size() != input.size() + 1 || !compatible(input.drop_front(), cache.drop_front(2)))
    return emitOpError() << "outs: expected [batch, capacity] followed by the input's sizes per token, got "
                         << printed(cache) << " for input " << printed(input) << " [K1]";
  if (shapeOf(getTokenStart()).size() != 1 || shapeOf(getLengths()).size() != 1)
    return emitOpError() << "token_start: expected token_start [batch + 1] and lengths [batch], got "
                         << printed(shapeOf(getTokenStart())) << " and " << printed(shapeOf(getLengths())) << " [K2]";
  Type from = elementTypeOf(getInput());
  Type to = elementTypeOf(getInit());
  bool floats =
      isa<FloatType>(from) && isa<FloatType>(to) && !isa<Float8E4M3FNType>(from) && !isa<Float8E4M3FNType>(to);
  if (from != to && !floats)
    return emitOpError() << "outs: expected the input's element type or a conversion between f64, f32, bf16 and f16, "
                            "got "
                         << from << " to " << to << " [K3]";
  return success();
}

// --- Pages ---

/// A cache [batch, capacity, ...] and what holds it: a pool [pages, page_size, ...], and a table [batch, entries] or
/// list of pages.
static LogicalResult verifyPages(Operation *op, Value cache, Value pool, Value table, Value pageStarts, Value lengths) {
  ArrayRef<int64_t> cached = shapeOf(cache), pages = shapeOf(pool);
  if (cached.size() < 2 || pages.size() != cached.size() || ShapedType::isDynamic(pages[1]) || pages[1] < 1 ||
      !compatible(cached.drop_front(2), pages.drop_front(2)))
    return op->emitOpError() << "expected a pool [pages, page size, ...] with a size >= 1 that is known, for a cache "
                                "[batch, capacity, ...], got "
                             << printed(pages) << " for " << printed(cached) << " [K4]";
  if (shapeOf(table).size() != 2 || shapeOf(lengths).size() != 1)
    return op->emitOpError() << "expected a table [batch, entries] and lengths [batch], got " << printed(shapeOf(table))
                             << " and " << printed(shapeOf(lengths)) << " [K5]";
  if (pageStarts && shapeOf(pageStarts).size() != 1)
    return op->emitOpError() << "expected page_starts [batch + 1] or empty, got " << printed(shapeOf(pageStarts))
                             << " [K8]";
  if (elementTypeOf(cache) != elementTypeOf(pool))
    return op->emitOpError() << "expected a pool of the cache's element type " << elementTypeOf(cache) << ", got "
                             << elementTypeOf(pool) << " [K6]";
  return success();
}

LogicalResult LoadPagesOp::verify() {
  return verifyPages(*this, getInit(), getPool(), getTable(), getPageStarts(), getLengths());
}

LogicalResult StorePagesOp::verify() {
  if (failed(verifyPages(*this, getInput(), getInit(), getTable(), getPageStarts(), getLengths())))
    return failure();
  if (shapeOf(getTokenStart()).size() != 1)
    return emitOpError() << "expected token_start [batch + 1], got " << printed(shapeOf(getTokenStart())) << " [K7]";
  return success();
}
