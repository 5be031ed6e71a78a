// SPDX-License-Identifier: Apache-2.0

#include "lowering/phases/BuildPhases.h"

#include "dialect/PhaseOperands.h"
#include "dialect/TPAOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringMap.h"

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
  case Phase::importCache:
  case Phase::exportCache:
    llvm_unreachable("moves have no op");
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

/// `tensor`, [batch, capacity, ...], as `storage` has it.
void setStorage(tpac::PhaseTensor &tensor, bool isValueToken, tpac::CacheStorage storage) {
  int64_t block = isValueToken ? storage.valueBlock : 0;
  if (block != 0) {
    tensor.shape[1].divisor = block;
    tensor.shape.push_back({"", block});
    tensor.description += ", in blocks of " + std::to_string(block) + " tokens";
  }
  if (storage.pageSize != 0) {
    tensor.shape[0] = {"pages", 0};
    tensor.shape[1] = {"", storage.pageSize / tensor.shape[1].divisor};
    tensor.description += ", in pages of " + std::to_string(storage.pageSize) + " tokens";
  }
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
  case Phase::importCache:
  case Phase::exportCache:
    break;
  }
  llvm_unreachable("moves have no op");
}

} // namespace

std::string tpac::plainName(StringRef cached) {
  cached.consume_back("_cache");
  return cached.str();
}

/// Import or export: plain tensors [batch, tokens, ...], then which requests and pages, then the cache.
static tpac::PhaseSignature moveSignature(VariantAttr variant, tpac::Phase phase, tpac::CacheStorage storage) {
  bool isImport = phase == tpac::Phase::importCache;
  tpac::PhaseSignature plain = getPhaseSignature(variant, tpac::Phase::append);
  tpac::PhaseSignature signature = getPhaseSignature(variant, tpac::Phase::append, storage);
  signature.phase = phase;
  std::vector<tpac::PhaseTensor> tensors;
  for (tpac::PhaseTensor &tensor : plain.tensors)
    if (isCache(tensor)) {
      tensor.name = tpac::plainName(tensor.name);
      tensor.shape[1] = {"tokens", 0};
      tensor.access = isImport ? Access::in : Access::out;
      tensor.description = "the first tokens of each request, as stored";
      tensors.push_back(tensor);
    }
  for (tpac::PhaseTensor &tensor : signature.tensors) {
    if (tensor.name == "lengths")
      tensor.description = "tokens of each request to move; those from `tokens` on are left out";
    if (isCache(tensor))
      tensor.access = isImport ? Access::inout : Access::in;
    if (tensor.name == "lengths" || tpac::saysPages(tensor.name) || isCache(tensor))
      tensors.push_back(tensor);
  }
  signature.tensors = std::move(tensors);
  return signature;
}

tpac::PhaseSignature tpac::getPhaseSignature(VariantAttr variant, Phase phase, CacheStorage storage) {
  if (phase == Phase::importCache || phase == Phase::exportCache)
    return moveSignature(variant, phase, storage);
  PhaseSignature signature;
  signature.phase = phase;
  signature.sizes = {"tokens"};
  bool hasCache = phase != Phase::project && phase != Phase::merge;
  if (phase == Phase::project)
    signature.sizes.push_back("channels");
  if (hasCache)
    signature.sizes.insert(signature.sizes.end(), {"batch", "capacity"});
  if (hasCache && storage.pageSize != 0)
    signature.sizes.insert(signature.sizes.end(), {"pages", std::string(listedPagesName)});
  for (const Operand &entry : operandsOf(variant, phase)) {
    PhaseTensor tensor = {entry.operand.name, elementTypeOf(entry.operand.elementType), shapeOf(entry.operand),
                          entry.access, entry.description.str()};
    if (entry.operand.leading == Leading::cache)
      setStorage(tensor, isValueTokenCache(entry.operand), storage);
    signature.tensors.push_back(std::move(tensor));
    if (storage.pageSize != 0 && signature.tensors.back().name == "lengths") {
      signature.tensors.push_back({std::string(blockTableName),
                                   ElementType::i32,
                                   {{"batch", 0}, {"capacity", 0, storage.pageSize}},
                                   Access::in,
                                   "pages of each request: entry i holds its tokens from " +
                                       std::to_string(storage.pageSize) +
                                       " i on; read up to its length. With page_starts: all requests' pages in one "
                                       "list [listed_pages]"});
      signature.tensors.push_back({std::string(pageStartsName),
                                   ElementType::i32,
                                   {{"batch", 1}},
                                   Access::in,
                                   "where the pages of request b begin in the list, and those of b + 1; NULL data: "
                                   "block_table is a table",
                                   /*isOptional=*/true});
    }
  }
  return signature;
}

namespace {

/// A function of a phase, and around its op the caches' pages.
class PhaseFunctionBuilder {
public:
  PhaseFunctionBuilder(OpBuilder &b, VariantAttr variant, Phase phase, int64_t pageSize)
      : b(b), loc(b.getUnknownLoc()), variant(variant), phase(phase), pageSize(pageSize),
        operands(operandsOf(variant, phase)) {}

  void build() {
    SmallVector<Type> inputs, results;
    SmallVector<StringRef> names;
    for (const Operand &entry : operands) {
      inputs.push_back(typeOf(entry.operand));
      names.push_back(entry.operand.name);
      if (entry.access != Access::in)
        results.push_back(inputs.back());
      if (pageSize != 0 && entry.operand.name == "lengths") {
        inputs.push_back(RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getI32Type()));
        inputs.push_back(RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type()));
        names.append({tpac::blockTableName, tpac::pageStartsName});
      }
    }
    auto function = func::FuncOp::create(b, loc, tpac::phaseName(phase), b.getFunctionType(inputs, results));
    // What a pack exports is its C interface; a private function may drop results that its caller has as destinations.
    function.setPrivate();
    Block *entry = function.addEntryBlock();
    for (auto [argument, name] : llvm::zip_equal(entry->getArguments(), names)) {
      argument.setLoc(NameLoc::get(b.getStringAttr(name)));
      arguments[name] = argument;
    }
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(entry);
    SmallVector<Value> tensors;
    for (const Operand &operand : operands)
      tensors.push_back(isPaged(operand.operand) ? cacheOf(operand) : arguments[operand.operand.name]);
    SmallVector<Value> values = buildBody(b, loc, variant, phase, tensors);
    auto value = values.begin();
    for (const Operand &operand : operands)
      if (operand.access != Access::in) {
        if (isPaged(operand.operand))
          *value =
              StorePagesOp::create(b, loc, *value, arguments[tpac::blockTableName], arguments[tpac::pageStartsName],
                                   arguments["token_start"], arguments["lengths"], arguments[operand.operand.name])
                  .getResult();
        ++value;
      }
    func::ReturnOp::create(b, loc, values);
  }

private:
  bool isPaged(const PhaseOperand &operand) const { return pageSize != 0 && operand.leading == Leading::cache; }

  Type typeOf(const PhaseOperand &operand) const {
    SmallVector<int64_t> shape = operand.getShape();
    if (isPaged(operand))
      shape[1] = pageSize;
    return RankedTensorType::get(shape, operand.elementType);
  }

  /// The cache in one piece: what append writes to, or read from its pages.
  Value cacheOf(const Operand &operand) {
    Value table = arguments[tpac::blockTableName], lengths = arguments["lengths"];
    Value batch = tensor::DimOp::create(b, loc, lengths, 0), entries = tensor::DimOp::create(b, loc, table, 1);
    Value capacity =
        arith::MulIOp::create(b, loc, entries, arith::ConstantIndexOp::create(b, loc, pageSize).getResult());
    Value empty = tensor::EmptyOp::create(b, loc, operand.operand.getType(), ValueRange{batch, capacity});
    if (operand.access != Access::in)
      return empty;
    return LoadPagesOp::create(b, loc, arguments[operand.operand.name], table, arguments[tpac::pageStartsName], lengths,
                               empty)
        .getResult();
  }

  OpBuilder &b;
  Location loc;
  VariantAttr variant;
  Phase phase;
  int64_t pageSize;
  SmallVector<Operand> operands;
  llvm::StringMap<Value> arguments;
};

} // namespace

OwningOpRef<ModuleOp> tpac::buildPhases(VariantAttr variant, ArrayRef<Phase> phases, int64_t pageSize) {
  MLIRContext *context = variant.getContext();
  context->loadDialect<TPADialect, arith::ArithDialect, func::FuncDialect, tensor::TensorDialect>();
  OpBuilder b(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(b.getUnknownLoc(), variant.getName());
  (*module)->setAttr(TPADialect::variantName, variant);
  b.setInsertionPointToEnd(module->getBody());
  for (Phase phase : phases)
    PhaseFunctionBuilder(b, variant, phase, pageSize).build();
  return module;
}
