// SPDX-License-Identifier: Apache-2.0

#include "lowering/phases/BuildPhases.h"

#include "dialect/PhaseOperands.h"
#include "dialect/TPAOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// A phase's operands in groups: the op's operand groups, in the order of the argument block.
struct Operand {
  PhaseOperand operand;
  tpac::Access access;
  StringRef description;
};

using tpac::Access;
using tpac::Phase;

/// Collects the operands of one phase.
class OperandList {
public:
  void add(PhaseOperand operand, Access access, StringRef description) {
    operands.push_back({std::move(operand), access, description});
  }

  void add(ArrayRef<PhaseOperand> group, Access access, StringRef description) {
    for (const PhaseOperand &operand : group)
      add(operand, access, operand.leading == Leading::none ? "learned" : description);
  }

  SmallVector<Operand> operands;
};

void addRequests(OperandList &list, VariantAttr variant, StringRef tokens, StringRef lengths) {
  if (variant.getRope())
    list.add(getPositionsOperand(variant), Access::in, "position of each token");
  list.add(getTokenStartOperand(variant), Access::in, tokens);
  list.add(getLengthsOperand(variant), Access::in, lengths);
}

/// Every factor that depends on the token, Q's before K's before V's.
SmallVector<PhaseOperand> projectedFactors(VariantAttr variant) {
  SmallVector<PhaseOperand> factors;
  for (Side side : {Side::q, Side::k, Side::v})
    llvm::append_range(factors, getProjectedOperands(variant, side));
  return factors;
}

SmallVector<Operand> operandsOf(VariantAttr variant, Phase phase) {
  OperandList list;
  switch (phase) {
  case Phase::append:
    list.add(getProjectedOperands(variant, Side::k), Access::in, "of the new tokens, as projected");
    list.add(getProjectedOperands(variant, Side::v), Access::in, "of the new tokens, as projected");
    addRequests(list, variant, "new tokens of request b: token_start[b] .. token_start[b+1]",
                "tokens in the cache before the append");
    list.add(getCacheOperands(variant, Side::k), Access::inout, "factor cache");
    list.add(getCacheOperands(variant, Side::v), Access::inout, "factor cache");
    if (variant.rotatesKeysOnRead())
      list.add(getKeyPositionsOperand(variant), Access::inout, "positions of the cached tokens");
    break;
  case Phase::decode:
  case Phase::prefill:
    list.add(getQueryOperands(variant), Access::in, "of the query tokens, as projected");
    addRequests(list, variant, "queries of request b: token_start[b] .. token_start[b+1]",
                "tokens in the cache, the queries' own included");
    list.add(getKeyValueOperands(variant, Side::k), Access::in, "factor cache");
    list.add(getKeyValueOperands(variant, Side::v), Access::in, "factor cache");
    if (variant.rotatesKeysOnRead())
      list.add(getKeyPositionsOperand(variant), Access::in, "positions of the cached tokens");
    list.add(getOutOperand(variant, "out"), Access::out, "attention");
    list.add(getLseOperand(variant, "lse"), Access::out, "log of the sum of exponentials, natural");
    break;
  case Phase::merge:
    for (StringRef i : {"0", "1"}) {
      list.add(getOutOperand(variant, ("out" + i).str()), Access::in, "attention over one set of tokens");
      list.add(getLseOperand(variant, ("lse" + i).str()), Access::in, "its log of the sum of exponentials");
    }
    list.add(getOutOperand(variant, "out"), Access::out, "attention over both");
    list.add(getLseOperand(variant, "lse"), Access::out, "log of the sum of exponentials, natural");
    break;
  case Phase::project: {
    Type activation = variant.getTypes().getActivation();
    list.add({"hidden", activation, Leading::tokens, {ShapedType::kDynamic}}, Access::in, "hidden states");
    SmallVector<PhaseOperand> factors = projectedFactors(variant);
    for (const PhaseOperand &factor : factors)
      list.add({factor.name + "_weight",
                activation,
                Leading::none,
                {factor.trailing[0] * factor.trailing[1], ShapedType::kDynamic}},
               Access::in, "weight, as in a checkpoint");
    list.add(factors, Access::out, "factor");
    break;
  }
  }
  return std::move(list.operands);
}

tpac::ElementType elementTypeOf(Type type) {
  if (isa<Float64Type>(type))
    return tpac::ElementType::f64;
  if (isa<Float32Type>(type))
    return tpac::ElementType::f32;
  if (isa<BFloat16Type>(type))
    return tpac::ElementType::bf16;
  if (isa<Float16Type>(type))
    return tpac::ElementType::f16;
  if (isa<Float8E4M3FNType>(type))
    return tpac::ElementType::f8E4M3FN;
  return type.isInteger(8) ? tpac::ElementType::i8 : tpac::ElementType::i32;
}

/// A cache of a token factor of V.
bool isValueTokenCache(const PhaseOperand &operand) {
  return operand.leading == Leading::cache && StringRef(operand.name).starts_with("v_token");
}

std::vector<tpac::Dimension> shapeOf(const PhaseOperand &operand) {
  std::vector<tpac::Dimension> shape;
  switch (operand.leading) {
  case Leading::none:
    break;
  case Leading::tokens:
    shape = {{"tokens", 0}};
    break;
  case Leading::cache:
    shape = {{"batch", 0}, {"capacity", 0}};
    break;
  case Leading::batch:
    shape = {{"batch", 0}};
    break;
  case Leading::offsets:
    shape = {{"batch", 1}};
    break;
  }
  for (int64_t size : operand.trailing)
    shape.push_back(ShapedType::isDynamic(size) ? tpac::Dimension{"channels", 0} : tpac::Dimension{"", size});
  return shape;
}

/// Hands out the arguments of a phase function in order.
class ArgumentReader {
public:
  explicit ArgumentReader(ValueRange arguments) : arguments(arguments) {}

  ValueRange take(size_t count) {
    ValueRange group = arguments.take_front(count);
    arguments = arguments.drop_front(count);
    return group;
  }
  Value takeOne() { return take(1).front(); }
  Value takeIf(bool present) { return present ? takeOne() : Value(); }

private:
  ValueRange arguments;
};

/// The op of a phase on the arguments of its function; returns its results.
SmallVector<Value> buildBody(OpBuilder &b, Location loc, VariantAttr variant, Phase phase, ValueRange arguments) {
  ArgumentReader reader(arguments);
  bool rope = static_cast<bool>(variant.getRope());
  bool keyPositions = variant.rotatesKeysOnRead();
  switch (phase) {
  case Phase::append: {
    ValueRange k = reader.take(getProjectedOperands(variant, Side::k).size());
    ValueRange v = reader.take(getProjectedOperands(variant, Side::v).size());
    Value positions = reader.takeIf(rope);
    Value tokenStart = reader.takeOne();
    Value lengths = reader.takeOne();
    ValueRange caches = reader.take(getCacheOperands(variant, Side::k).size() +
                                    getCacheOperands(variant, Side::v).size() + (keyPositions ? 1 : 0));
    return llvm::to_vector_of<Value>(
        AppendOp::create(b, loc, variant, k, v, positions, tokenStart, lengths, caches).getResults());
  }
  case Phase::decode:
  case Phase::prefill: {
    ValueRange q = reader.take(getQueryOperands(variant).size());
    Value positions = reader.takeIf(rope);
    Value tokenStart = reader.takeOne();
    Value lengths = reader.takeOne();
    ValueRange k = reader.take(getKeyValueOperands(variant, Side::k).size());
    ValueRange v = reader.take(getKeyValueOperands(variant, Side::v).size());
    Value cached = reader.takeIf(keyPositions);
    Value out = reader.takeOne();
    Value lse = reader.takeOne();
    auto op = AttentionOp::create(b, loc, variant, q, positions, tokenStart, lengths, k, v, cached, out, lse);
    return {op.getOut(), op.getLse()};
  }
  case Phase::merge: {
    SmallVector<Value> parts{reader.takeOne()};
    SmallVector<Value> lses{reader.takeOne()};
    parts.push_back(reader.takeOne());
    lses.push_back(reader.takeOne());
    Value out = reader.takeOne();
    Value lse = reader.takeOne();
    auto op = MergeOp::create(b, loc, parts, lses, out, lse);
    return {op.getOut(), op.getLse()};
  }
  case Phase::project: {
    Value hidden = reader.takeOne();
    SmallVector<PhaseOperand> factors = projectedFactors(variant);
    ValueRange weights = reader.take(factors.size());
    SmallVector<Value> results;
    for (auto [factor, weight] : llvm::zip(factors, weights)) {
      // Only head factors come in an order of the model's choosing.
      bool isHead = StringRef(factor.name).ends_with("_head");
      WeightRows rows = isHead ? variant.getHeadFactorRows() : WeightRows::rank_major;
      results.push_back(ProjectOp::create(b, loc, rows, hidden, weight, reader.takeOne()).getResult());
    }
    return results;
  }
  }
  llvm_unreachable("unknown phase");
}

} // namespace

tpac::PhaseSignature tpac::getPhaseSignature(VariantAttr variant, Phase phase, int64_t valueBlock) {
  PhaseSignature signature;
  signature.phase = phase;
  signature.sizes = {"tokens"};
  if (phase == Phase::project)
    signature.sizes.push_back("channels");
  else if (phase != Phase::merge)
    signature.sizes.insert(signature.sizes.end(), {"batch", "capacity"});
  for (const Operand &entry : operandsOf(variant, phase)) {
    PhaseTensor tensor = {entry.operand.name, elementTypeOf(entry.operand.elementType), shapeOf(entry.operand),
                          entry.access, entry.description.str()};
    if (valueBlock != 0 && isValueTokenCache(entry.operand)) {
      tensor.shape[1].divisor = valueBlock;
      tensor.shape.push_back({"", valueBlock});
      tensor.description += ", in blocks of " + std::to_string(valueBlock) + " tokens";
    }
    signature.tensors.push_back(std::move(tensor));
  }
  return signature;
}

OwningOpRef<ModuleOp> tpac::buildPhases(VariantAttr variant, ArrayRef<Phase> phases) {
  MLIRContext *context = variant.getContext();
  context->loadDialect<TPADialect, func::FuncDialect>();
  OpBuilder b(context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc, variant.getName());
  (*module)->setAttr(TPADialect::variantName, variant);
  b.setInsertionPointToEnd(module->getBody());
  for (Phase phase : phases) {
    SmallVector<Operand> operands = operandsOf(variant, phase);
    SmallVector<Type> inputs, results;
    for (const Operand &entry : operands) {
      inputs.push_back(entry.operand.getType());
      if (entry.access != Access::in)
        results.push_back(entry.operand.getType());
    }
    auto function = func::FuncOp::create(b, loc, phaseName(phase), b.getFunctionType(inputs, results));
    // What a pack exports is its C interface; a private function may drop results that its caller has as destinations.
    function.setPrivate();
    Block *entry = function.addEntryBlock();
    for (auto [argument, operand] : llvm::zip(entry->getArguments(), operands))
      argument.setLoc(NameLoc::get(b.getStringAttr(operand.operand.name)));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(entry);
    func::ReturnOp::create(b, loc, buildBody(b, loc, variant, phase, function.getArguments()));
  }
  return module;
}
