// SPDX-License-Identifier: Apache-2.0
//
// Dense attention on contracted factors becomes attention on the factors (pass tpa-form-attention).

#include "dialect/Passes.h"
#include "dialect/PhaseOperands.h"
#include "dialect/TPAOps.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_FORMATTENTION
#include "dialect/TPAPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// Q, K or V of an attention: its factors' description and tensors.
struct SideFactors {
  FactorizationAttr factorization;
  SmallVector<Value> tensors;
};

/// Element types that the tensors of all sides ask for; fails where two of one kind differ.
class TypeCollector {
public:
  explicit TypeCollector(TypesAttr types) : original(types) {}

  LogicalResult add(Side side, const SideFactors &factors) {
    size_t next = 0;
    HeadFactorAttr head = factors.factorization.getHead();
    if (!head.isFixed() && failed(unify(kindOf(side, head.isLearned(), headType), factors.tensors[next++])))
      return failure();
    for (TokenFactorAttr factor : factors.factorization.getToken())
      if (!factor.isShared() && failed(unify(kindOf(side, factor.isLearned(), tokenType), factors.tensors[next++])))
        return failure();
    return success();
  }

  Type activation() const { return activationType ? activationType : original.getActivation(); }
  Type head() const { return headType ? headType : original.getHead(); }
  Type token() const { return tokenType ? tokenType : original.getToken(); }

private:
  Type &kindOf(Side side, bool learned, Type &cached) { return side == Side::q || learned ? activationType : cached; }

  LogicalResult unify(Type &known, Value tensor) {
    Type type = cast<RankedTensorType>(tensor.getType()).getElementType();
    if (!known)
      known = type;
    return success(known == type);
  }

  TypesAttr original;
  Type activationType, headType, tokenType;
};

/// The contraction that makes a dense side, if it can be taken apart.
ContractOp getContraction(FactorizationAttr factorization, ValueRange tensors, HeadsAttr heads) {
  if (!factorization.isDense())
    return {};
  auto contract = tensors.front().getDefiningOp<ContractOp>();
  if (!contract || contract.getHeads() != heads || contract.getScale())
    return {};
  return contract;
}

/// A contraction's factors; whether one is learned is read off its tensor.
SideFactors takeApart(ContractOp contract) {
  SideFactors result;
  MLIRContext *context = contract.getContext();
  auto sourceOf = [](Value tensor) {
    return cast<RankedTensorType>(tensor.getType()).getRank() == 2 ? Source::learned : Source::contextual;
  };
  FactorizationAttr factorization = contract.getFactorization();
  HeadFactorAttr head = factorization.getHead();
  if (contract.getHead()) {
    result.tensors.push_back(contract.getHead());
    head = HeadFactorAttr::get(context, sourceOf(contract.getHead()), std::nullopt, HeadFunction::identity);
  }
  SmallVector<TokenFactorAttr> factors;
  for (auto [tensor, factor] : llvm::zip(contract.getToken(), factorization.getToken())) {
    result.tensors.push_back(tensor);
    factors.push_back(TokenFactorAttr::get(context, sourceOf(tensor), factor.getSize()));
  }
  result.factorization =
      FactorizationAttr::get(context, factorization.getRank(), factorization.getNormalized(), head, factors);
  return result;
}

struct AbsorbContractions : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    VariantAttr variant = op.getVariant();
    if (variant.getRope())
      return rewriter.notifyMatchFailure(op, "RoPE of the attention would have to be undone");

    TypeCollector types(variant.getTypes());
    std::array<SideFactors, 3> sides;
    OperandRange operands[] = {op.getQ(), op.getK(), op.getV()};
    double rankFactor = 1.0;
    bool absorbed = false;
    for (Side side : {Side::q, Side::k, Side::v}) {
      SideFactors &factors = sides[static_cast<size_t>(side)];
      OperandRange tensors = operands[static_cast<size_t>(side)];
      factors = {getFactorization(variant, side), llvm::to_vector(tensors)};
      // A shared V reads the rows that K has; it cannot follow K to its factors.
      bool bound = side == Side::k && variant.getV().isShared();
      ContractOp contract = bound ? ContractOp() : getContraction(factors.factorization, tensors, variant.getHeads());
      if (contract) {
        factors = takeApart(contract);
        absorbed = true;
        if (side != Side::v)
          rankFactor *= factors.factorization.getRankFactor();
      }
      if (failed(types.add(side, factors)))
        return rewriter.notifyMatchFailure(op, "factors of one kind have different element types");
    }
    if (!absorbed)
      return rewriter.notifyMatchFailure(op, "no dense side is a contraction");

    if (variant.getQueryPrecision() == QueryPrecision::storage &&
        types.activation() != variant.getTypes().getActivation())
      return rewriter.notifyMatchFailure(op, "the merged query would be rounded to another type");

    // A scale given applied to dense Q and K, which held their rank factors.
    FloatAttr scale = variant.getScale();
    if (scale)
      scale = FloatAttr::get(scale.getType(), scale.getValueAsDouble() * rankFactor);
    TypesAttr old = variant.getTypes();
    ScopedDiagnosticHandler quiet(op.getContext(), [](Diagnostic &) { return success(); });
    auto emit = [&] { return emitError(op.getLoc()); };
    auto newTypes = TypesAttr::getChecked(emit, op.getContext(), types.activation(), types.head(), types.token(),
                                          old.getOutput(), old.getCompute());
    if (!newTypes)
      return rewriter.notifyMatchFailure(op, "the factors' element types are not legal together");
    auto formed = VariantAttr::getChecked(
        emit, op.getContext(), variant.getName(), variant.getHeads(), sides[0].factorization, sides[1].factorization,
        sides[2].factorization, RopeAttr(), std::optional<ValueSees>(), scale, variant.getSoftcap(),
        variant.getCausal(), variant.getWindow(), variant.getQueryPrecision(), variant.getHeadFactorRows(), newTypes);
    // A quantised side without its stored scales has another set of operands.
    if (!formed || getKeyValueOperands(formed, Side::k).size() != sides[1].tensors.size() ||
        getKeyValueOperands(formed, Side::v).size() != sides[2].tensors.size())
      return rewriter.notifyMatchFailure(op, "the variant on factors is not legal");
    rewriter.replaceOpWithNewOp<AttentionOp>(op, formed, sides[0].tensors, Value(), op.getTokenStart(), op.getLengths(),
                                             sides[1].tensors, sides[2].tensors, Value(), op.getOutInit(),
                                             op.getLseInit());
    return success();
  }
};

struct FormAttention : tpa::impl::FormAttentionBase<FormAttention> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<AbsorbContractions>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
