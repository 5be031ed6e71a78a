// SPDX-License-Identifier: Apache-2.0

#include "dialect/PhaseOperands.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::tpa;

SmallVector<int64_t> PhaseOperand::getShape() const {
  SmallVector<int64_t> shape;
  switch (leading) {
  case Leading::none:
    break;
  case Leading::tokens:
  case Leading::batch:
  case Leading::offsets:
    shape = {ShapedType::kDynamic};
    break;
  case Leading::cache:
    shape = {ShapedType::kDynamic, ShapedType::kDynamic};
    break;
  }
  llvm::append_range(shape, trailing);
  return shape;
}

FactorizationAttr mlir::tpa::getFactorization(VariantAttr variant, Side side) {
  return side == Side::q ? variant.getQ() : side == Side::k ? variant.getK() : variant.getV();
}

static std::string headName(Side side) { return side == Side::q ? "q_head" : side == Side::k ? "k_head" : "v_head"; }

static std::string tokenName(FactorizationAttr factorization, Side side, size_t i) {
  std::string name = side == Side::q ? "q_token" : side == Side::k ? "k_token" : "v_token";
  return factorization.getOrder() == 2 ? name : name + std::to_string(i);
}

namespace {
/// The factors of one side in order, handed to callbacks with their name and trailing dimensions.
void forEachFactor(VariantAttr variant, Side side,
                   llvm::function_ref<void(HeadFactorAttr, std::string, SmallVector<int64_t>)> onHead,
                   llvm::function_ref<void(TokenFactorAttr, std::string, SmallVector<int64_t>)> onToken) {
  FactorizationAttr factorization = getFactorization(variant, side);
  int64_t rank = factorization.getLocalRank(variant.getHeads());
  onHead(factorization.getHead(), headName(side), {rank, variant.getHeads().getLocal()});
  for (auto [i, factor] : llvm::enumerate(factorization.getToken()))
    onToken(factor, tokenName(factorization, side, i), {rank, factor.getSize()});
}
} // namespace

PhaseOperands mlir::tpa::getQueryOperands(VariantAttr variant) {
  Type activation = variant.getTypes().getActivation();
  PhaseOperands operands;
  auto add = [&](bool learned, std::string name, SmallVector<int64_t> trailing) {
    operands.push_back({std::move(name), activation, learned ? Leading::none : Leading::tokens, std::move(trailing)});
  };
  forEachFactor(
      variant, Side::q,
      [&](HeadFactorAttr head, std::string name, SmallVector<int64_t> trailing) {
        if (!head.isFixed())
          add(head.isLearned(), std::move(name), std::move(trailing));
      },
      [&](TokenFactorAttr factor, std::string name, SmallVector<int64_t> trailing) {
        add(factor.isLearned(), std::move(name), std::move(trailing));
      });
  return operands;
}

PhaseOperands mlir::tpa::getProjectedOperands(VariantAttr variant, Side side) {
  Type activation = variant.getTypes().getActivation();
  PhaseOperands operands;
  auto addContextual = [&](auto factor, std::string name, SmallVector<int64_t> trailing) {
    if (factor.isContextual())
      operands.push_back({std::move(name), activation, Leading::tokens, std::move(trailing)});
  };
  forEachFactor(variant, side, addContextual, addContextual);
  return operands;
}

/// Whether side's rows are (or, shared, are K's) cached and quantised.
static bool hasQuantizedRows(VariantAttr variant, Side side) {
  FactorizationAttr factorization = getFactorization(variant, side);
  if (factorization.isShared())
    factorization = variant.getK();
  return variant.getTypes().isQuantized() &&
         llvm::any_of(factorization.getToken(), [](TokenFactorAttr factor) { return factor.isContextual(); });
}

std::optional<Side> mlir::tpa::getScaleSource(VariantAttr variant, Side side) {
  if (!hasQuantizedRows(variant, side) || getFactorization(variant, side).getHead().isContextual())
    return std::nullopt;
  bool usesKeyScale = side == Side::v && variant.getV().isShared() && !variant.getK().getHead().isContextual();
  return usesKeyScale ? Side::k : side;
}

bool mlir::tpa::storesScale(VariantAttr variant, Side side) { return getScaleSource(variant, side) == side; }

static PhaseOperand scaleOperand(VariantAttr variant, Side side) {
  int64_t rank = getFactorization(variant, side).getLocalRank(variant.getHeads());
  return {side == Side::k ? "k_scale_cache" : "v_scale_cache", variant.getTypes().getCompute(), Leading::cache, {rank}};
}

PhaseOperands mlir::tpa::getKeyValueOperands(VariantAttr variant, Side side) {
  TypesAttr types = variant.getTypes();
  PhaseOperands operands;
  auto add = [&](Source source, std::string name, SmallVector<int64_t> trailing, Type cacheType) {
    if (source == Source::contextual)
      operands.push_back({name + "_cache", cacheType, Leading::cache, std::move(trailing)});
    else if (source == Source::learned)
      operands.push_back({std::move(name), types.getActivation(), Leading::none, std::move(trailing)});
  };
  forEachFactor(
      variant, side,
      [&](HeadFactorAttr head, std::string name, SmallVector<int64_t> trailing) {
        add(head.getSource(), std::move(name), std::move(trailing), types.getHead());
      },
      [&](TokenFactorAttr factor, std::string name, SmallVector<int64_t> trailing) {
        add(factor.getSource(), std::move(name), std::move(trailing), types.getToken());
      });
  if (storesScale(variant, side))
    operands.push_back(scaleOperand(variant, side));
  return operands;
}

PhaseOperands mlir::tpa::getCacheOperands(VariantAttr variant, Side side) {
  PhaseOperands operands = getKeyValueOperands(variant, side);
  llvm::erase_if(operands, [](const PhaseOperand &operand) { return operand.leading != Leading::cache; });
  return operands;
}

static Type i32(VariantAttr variant) { return IntegerType::get(variant.getContext(), 32); }

PhaseOperand mlir::tpa::getPositionsOperand(VariantAttr variant) {
  return {"positions", i32(variant), Leading::tokens, {}};
}

PhaseOperand mlir::tpa::getTokenStartOperand(VariantAttr variant) {
  return {"token_start", i32(variant), Leading::offsets, {}};
}

PhaseOperand mlir::tpa::getLengthsOperand(VariantAttr variant) { return {"lengths", i32(variant), Leading::batch, {}}; }

PhaseOperand mlir::tpa::getKeyPositionsOperand(VariantAttr variant) {
  return {"key_positions_cache", i32(variant), Leading::cache, {}};
}

PhaseOperand mlir::tpa::getOutOperand(VariantAttr variant, StringRef name) {
  return {name.str(),
          variant.getTypes().getOutput(),
          Leading::tokens,
          {variant.getHeads().getLocal(), variant.getValueFeatures()}};
}

PhaseOperand mlir::tpa::getLseOperand(VariantAttr variant, StringRef name) {
  return {name.str(), variant.getTypes().getCompute(), Leading::tokens, {variant.getHeads().getLocal()}};
}
