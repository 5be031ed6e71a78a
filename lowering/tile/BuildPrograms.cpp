// SPDX-License-Identifier: Apache-2.0
//
// Phases as functions over work items, and what every schedule must respect.

#include "lowering/tile/BuildPrograms.h"

#include "dialect/PhaseOperands.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/tile/PhasePrograms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <numeric>

using namespace mlir;
using namespace mlir::tpa;

// --- Legality ---

int64_t tpac::largestHeadTile(VariantAttr variant) {
  HeadsAttr heads = variant.getHeads();
  int64_t tile = heads.getLocal();
  for (Side side : {Side::q, Side::k, Side::v}) {
    FactorizationAttr factorization = getFactorization(variant, side);
    if (!factorization.hasMap(HeadMap::groups))
      continue;
    // Tiles start at multiples of their size; all their heads must read one rank.
    int64_t groups = factorization.getRank();
    bool even = heads.getTotal() % groups == 0;
    int64_t group = even ? heads.getTotal() / groups : 1;
    tile = std::gcd(std::gcd(tile, group), heads.getBegin() == 0 ? group : std::gcd(group, heads.getBegin()));
  }
  return tile;
}

static llvm::Error illegal(const llvm::Twine &message) { return llvm::createStringError("schedule: " + message); }

static std::string printed(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

llvm::Error tpac::checkSchedule(VariantAttr variant, ScheduleAttr schedule) {
  int64_t heads = variant.getHeads().getLocal();
  int64_t largest = largestHeadTile(variant);
  bool hasGroups = false, hasSoftmax = false;
  for (Side side : {Side::q, Side::k, Side::v}) {
    FactorizationAttr factorization = getFactorization(variant, side);
    hasGroups |= factorization.hasMap(HeadMap::groups);
    // A cached head factor is through its function when attention reads it.
    hasSoftmax |= factorization.getHead().getFunction() == HeadFunction::softmax &&
                  (side == Side::q || factorization.getHead().isLearned());
  }
  if (schedule.getHeads() > heads)
    return illegal("heads: expected at most " + llvm::Twine(heads) + ", the heads computed, got " +
                   llvm::Twine(schedule.getHeads()));
  if (hasGroups && largest % schedule.getHeads() != 0)
    return illegal("heads: expected a divisor of " + llvm::Twine(largest) + ", the heads of a group, got " +
                   llvm::Twine(schedule.getHeads()));
  if (hasSoftmax && schedule.getHeads() != heads)
    return illegal("heads: expected all " + llvm::Twine(heads) + " where a head function is softmax, got " +
                   llvm::Twine(schedule.getHeads()));
  if (schedule.getScore() == ScoreOrder::factored && variant.getQ().getHead().isFixed())
    return illegal("score: expected merged or rebuilt where q's head factor is fixed, got factored");
  if (schedule.getScore() == ScoreOrder::factored && variant.getQueryPrecision() == QueryPrecision::storage)
    return illegal("score: expected merged or rebuilt where query_precision is storage, got factored: there is no "
                   "merged query to round");

  Type compute = variant.getTypes().getCompute();
  Type operands = schedule.getOperands();
  if (operands != compute) {
    // Narrow operands must hold what the cache holds.
    Type token = variant.getTypes().getToken();
    bool exact = token == operands || (variant.getTypes().isQuantized() && isa<BFloat16Type>(operands));
    if (!exact || isa<Float64Type>(compute))
      return illegal("operands: expected " + printed(compute) +
                     std::string(exact ? "" : " or the type of cached token factors") + ", got " + printed(operands));
  } else if (schedule.getQueryParts() != 1) {
    return illegal("query_parts: expected 1 where operands have the type of the arithmetic, got " +
                   llvm::Twine(schedule.getQueryParts()));
  }
  return llvm::Error::success();
}

// --- Functions ---

namespace {

using tile::ProgramBuilder;
using tile::WorkItem;
using tpac::Phase;

Type memoryType(const tpac::PhaseTensor &tensor, MLIRContext *context) {
  Builder b(context);
  SmallVector<int64_t> shape;
  for (const tpac::Dimension &dimension : tensor.shape)
    shape.push_back(dimension.symbol.empty() ? dimension.size : ShapedType::kDynamic);
  auto elementType = [&]() -> Type {
    switch (tensor.elementType) {
    case tpac::ElementType::f64:
      return b.getF64Type();
    case tpac::ElementType::f32:
      return b.getF32Type();
    case tpac::ElementType::bf16:
      return b.getBF16Type();
    case tpac::ElementType::f16:
      return b.getF16Type();
    case tpac::ElementType::f8E4M3FN:
      return Float8E4M3FNType::get(context);
    case tpac::ElementType::i8:
      return b.getI8Type();
    case tpac::ElementType::i32:
      return b.getI32Type();
    }
    llvm_unreachable("unknown element type");
  }();
  SmallVector<int64_t> strides(shape.size(), ShapedType::kDynamic);
  return MemRefType::get(shape, elementType, StridedLayoutAttr::get(context, ShapedType::kDynamic, strides));
}

/// The functions of one phase: `@PHASE_item` and `@PHASE`.
class PhaseFunctions {
public:
  PhaseFunctions(OpBuilder &b, VariantAttr variant, Phase phase, ScheduleAttr schedule)
      : b(b), loc(b.getUnknownLoc()), variant(variant), phase(phase), schedule(schedule),
        signature(tpac::getPhaseSignature(variant, phase)) {
    for (const tpac::PhaseTensor &tensor : signature.tensors)
      memoryTypes.push_back(memoryType(tensor, b.getContext()));
  }

  void build() {
    func::FuncOp item = buildItem();
    buildLoops(item);
  }

private:
  bool isAttention() const { return phase == Phase::decode || phase == Phase::prefill; }

  /// Names of a work item's parts, in the order in which the item's function takes them.
  SmallVector<StringRef> itemNames() const {
    SmallVector<StringRef> names;
    if (phase != Phase::merge)
      names.push_back("request");
    names.push_back("token");
    if (schedule.getQueries() > 1)
      names.push_back("tokens");
    if (phase != Phase::append) {
      names.push_back("head");
      if (!headsFit())
        names.push_back("heads");
    }
    if (isAttention())
      names.append({"begin", "end"});
    return names;
  }

  /// Whether every tile of heads is full.
  bool headsFit() const { return variant.getHeads().getLocal() % schedule.getHeads() == 0; }

  static Value &partOf(WorkItem &item, StringRef name) {
    return name == "request"  ? item.request
           : name == "token"  ? item.token
           : name == "tokens" ? item.tokens
           : name == "head"   ? item.head
           : name == "heads"  ? item.heads
           : name == "begin"  ? item.begin
                              : item.end;
  }

  ProgramBuilder programOf(ValueRange arguments) {
    std::map<std::string, Value> memory;
    for (auto [tensor, argument] : llvm::zip(signature.tensors, arguments))
      memory[tensor.name] = argument;
    return ProgramBuilder(b, loc, variant.getTypes().getCompute(), std::move(memory));
  }

  func::FuncOp createFunction(const std::string &name, ArrayRef<Type> types) {
    auto function = func::FuncOp::create(b, loc, name, b.getFunctionType(types, {}));
    function.setPrivate();
    Block *entry = function.addEntryBlock();
    for (auto [argument, tensor] : llvm::zip(entry->getArguments(), signature.tensors))
      argument.setLoc(NameLoc::get(b.getStringAttr(tensor.name)));
    b.setInsertionPointToStart(entry);
    return function;
  }

  func::FuncOp buildItem() {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<Type> types(memoryTypes);
    types.append(itemNames().size(), b.getIndexType());
    func::FuncOp function = createFunction(std::string(tpac::phaseName(phase)) + "_item", types);
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem item;
    for (auto [name, argument] : llvm::zip(itemNames(), function.getArguments().drop_front(memoryTypes.size()))) {
      argument.setLoc(NameLoc::get(b.getStringAttr(name)));
      partOf(item, name) = argument;
    }
    if (isAttention())
      tile::buildAttentionItem(p, variant, schedule, item);
    else if (phase == Phase::append)
      tile::buildAppendItem(p, variant, schedule, item);
    else
      tile::buildMergeItem(p, variant, schedule, item);
    func::ReturnOp::create(b, loc);
    return function;
  }

  using Body = llvm::function_ref<void(Value)>;

  void loop(ProgramBuilder &p, Value begin, Value end, int64_t step, Body body) {
    scf::ForOp::create(b, loc, begin, end, p.index(step), ValueRange(),
                       [&](OpBuilder &, Location, Value i, ValueRange) {
                         body(i);
                         scf::YieldOp::create(b, loc);
                       });
  }

  void buildLoops(func::FuncOp item) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction(std::string(tpac::phaseName(phase)), memoryTypes);
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem work;
    auto call = [&] {
      SmallVector<Value> operands(function.getArguments());
      for (StringRef name : itemNames())
        operands.push_back(partOf(work, name));
      func::CallOp::create(b, loc, item, operands);
    };
    auto overTokens = [&](Value begin, Value end, llvm::function_ref<void()> body) {
      loop(p, begin, end, schedule.getQueries(), [&](Value token) {
        work.token = token;
        if (schedule.getQueries() > 1)
          work.tokens = p.min(p.sub(end, token), p.index(schedule.getQueries()));
        body();
      });
    };
    auto overHeads = [&] {
      Value all = p.index(variant.getHeads().getLocal());
      loop(p, p.index(0), all, schedule.getHeads(), [&](Value head) {
        work.head = head;
        if (!headsFit())
          work.heads = p.min(p.sub(all, head), p.index(schedule.getHeads()));
        call();
      });
    };
    if (phase == Phase::merge) {
      Value rows = memref::DimOp::create(b, loc, p.get("out"), p.index(0));
      overTokens(p.index(0), rows, overHeads);
    } else {
      Value requests = memref::DimOp::create(b, loc, p.get("lengths"), p.index(0));
      loop(p, p.index(0), requests, 1, [&](Value request) {
        work.request = request;
        Value begin = p.readIndex("token_start", request);
        Value end = p.readIndex("token_start", p.add(request, p.index(1)));
        if (phase == Phase::append) {
          overTokens(begin, end, call);
          return;
        }
        work.begin = p.index(0);
        work.end = p.readIndex("lengths", request);
        overTokens(begin, end, overHeads);
      });
    }
    func::ReturnOp::create(b, loc);
  }

  OpBuilder &b;
  Location loc;
  VariantAttr variant;
  Phase phase;
  ScheduleAttr schedule;
  tpac::PhaseSignature signature;
  SmallVector<Type> memoryTypes;
};

} // namespace

OwningOpRef<ModuleOp> tpac::buildPrograms(VariantAttr variant, ArrayRef<ScheduledPhase> phases) {
  MLIRContext *context = variant.getContext();
  context->loadDialect<arith::ArithDialect, func::FuncDialect, memref::MemRefDialect, scf::SCFDialect,
                       tile::TileDialect>();
  OpBuilder b(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(b.getUnknownLoc(), variant.getName());
  b.setInsertionPointToEnd(module->getBody());
  for (const ScheduledPhase &scheduled : phases)
    PhaseFunctions(b, variant, scheduled.phase, scheduled.schedule).build();
  return module;
}
