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
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <array>
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

llvm::Error tpac::checkStorage(VariantAttr variant, CacheStorage storage) {
  int64_t valueBlock = storage.valueBlock;
  auto expected = [&](const llvm::Twine &what) {
    return illegal("value_block: expected " + what + ", got " + llvm::Twine(valueBlock));
  };
  if (!ScheduleAttr::isValueBlock(valueBlock))
    return expected("0 or a power of two from 2 to " + llvm::Twine(ScheduleAttr::largestValueBlock));
  bool isCached = llvm::any_of(variant.getV().getToken(), [](TokenFactorAttr factor) { return factor.isContextual(); });
  if (valueBlock != 0 && !isCached)
    return expected("0 where no token factor of v is contextual");
  if (!ScheduleAttr::isPageSize(storage.pageSize, valueBlock))
    return illegal("page_size: expected 0 or a multiple of " + llvm::Twine(std::max<int64_t>(valueBlock, 1)) +
                   ", at most " + llvm::Twine(ScheduleAttr::largestPage) + ", got " + llvm::Twine(storage.pageSize));
  return llvm::Error::success();
}

tpac::CacheStorage tpac::storageOf(ScheduleAttr schedule) { return {schedule.getValueBlock(), schedule.getPageSize()}; }

/// Whether a head function needs all heads of a row: a cached head factor is through its function when attention reads
/// it.
static bool hasSoftmaxOfHeads(VariantAttr variant) {
  return llvm::any_of(std::array{Side::q, Side::k, Side::v}, [&](Side side) {
    HeadFactorAttr head = getFactorization(variant, side).getHead();
    return head.getFunction() == HeadFunction::softmax && (side == Side::q || head.isLearned());
  });
}

static bool hasGroups(VariantAttr variant) {
  return llvm::any_of(std::array{Side::q, Side::k, Side::v},
                      [&](Side side) { return getFactorization(variant, side).hasMap(HeadMap::groups); });
}

std::vector<int64_t> tpac::headTiles(VariantAttr variant, llvm::ArrayRef<int64_t> ragged) {
  int64_t largest = largestHeadTile(variant);
  bool mayBeRagged = !hasGroups(variant) && !hasSoftmaxOfHeads(variant);
  std::vector<int64_t> tiles;
  for (int64_t heads = 1; heads <= largest; ++heads)
    if (largest % heads == 0 || (mayBeRagged && (heads % 8 == 0 || llvm::is_contained(ragged, heads))))
      tiles.push_back(heads);
  return tiles;
}

bool tpac::allowsFactoredScore(VariantAttr variant) {
  return !variant.getQ().getHead().isFixed() && variant.getQueryPrecision() != QueryPrecision::storage;
}

bool tpac::allowsOneQueryPart(VariantAttr variant) {
  return variant.getQueryPrecision() == QueryPrecision::storage && variant.getK().getOrder() == 2 &&
         !variant.rotatesKeysOnRead();
}

Type tpac::narrowOperands(VariantAttr variant) {
  Type token = variant.getTypes().getToken(), compute = variant.getTypes().getCompute();
  if (isa<Float64Type>(compute))
    return {};
  if (variant.getTypes().isQuantized())
    return BFloat16Type::get(variant.getContext());
  return token == compute ? Type() : token;
}

llvm::Error tpac::checkSchedule(VariantAttr variant, ScheduleAttr schedule) {
  int64_t heads = variant.getHeads().getLocal();
  int64_t largest = largestHeadTile(variant);
  if (schedule.getHeads() > heads)
    return illegal("heads: expected at most " + llvm::Twine(heads) + ", the heads computed, got " +
                   llvm::Twine(schedule.getHeads()));
  if (hasGroups(variant) && largest % schedule.getHeads() != 0)
    return illegal("heads: expected a divisor of " + llvm::Twine(largest) + ", the heads of a group, got " +
                   llvm::Twine(schedule.getHeads()));
  if (hasSoftmaxOfHeads(variant) && heads % schedule.getHeads() != 0)
    return illegal("heads: expected a divisor of " + llvm::Twine(heads) +
                   ", the heads computed, where a head function is softmax, got " + llvm::Twine(schedule.getHeads()));
  if (schedule.getScore() == ScoreOrder::factored && !allowsFactoredScore(variant))
    return illegal(variant.getQ().getHead().isFixed()
                       ? "score: expected merged or rebuilt where q's head factor is fixed, got factored"
                       : "score: expected merged or rebuilt where query_precision is storage, got factored: there is "
                         "no merged query to round");

  int64_t valueBlock = schedule.getValueBlock(), tokens = schedule.getTokens();
  if (llvm::Error error = checkStorage(variant, storageOf(schedule)))
    return error;
  if (valueBlock != 0 && tokens % valueBlock != 0 && valueBlock % tokens != 0)
    return illegal("value_block: expected a divisor or a multiple of tokens = " + llvm::Twine(tokens) + ", got " +
                   llvm::Twine(valueBlock));

  Type compute = variant.getTypes().getCompute();
  Type operands = schedule.getOperands();
  Type narrow = narrowOperands(variant);
  if (operands != compute && operands != narrow)
    return illegal("operands: expected " + printed(compute) + (narrow ? " or " + printed(narrow) : "") + ", got " +
                   printed(operands));
  if (operands != compute && schedule.getQueryParts() == 1 &&
      (!allowsOneQueryPart(variant) || schedule.getScore() != ScoreOrder::merged))
    return illegal("query_parts: expected 2 with operands narrower than the arithmetic, but for the order merged where "
                   "query_precision is storage and keys are multiplied as they are cached, got 1");
  if (operands == compute && schedule.getQueryParts() != 1)
    return illegal("query_parts: expected 1 where operands have the type of the arithmetic, got " +
                   llvm::Twine(schedule.getQueryParts()));
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
  if (tpac::isCache(tensor))
    strides.back() = 1;
  return MemRefType::get(shape, elementType, StridedLayoutAttr::get(context, ShapedType::kDynamic, strides));
}

/// The functions of one phase: `@PHASE_item`, one work item by its parts; `@PHASE_items`, how many there are;
/// `@PHASE_run`, one by its number; `@PHASE`, all of them.
class PhaseFunctions {
public:
  PhaseFunctions(OpBuilder &b, VariantAttr variant, Phase phase, ScheduleAttr schedule)
      : b(b), loc(b.getUnknownLoc()), variant(variant), phase(phase), schedule(schedule),
        signature(tpac::getPhaseSignature(variant, phase, tpac::storageOf(schedule))) {
    for (const tpac::PhaseTensor &tensor : signature.tensors)
      memoryTypes.push_back(memoryType(tensor, b.getContext()));
  }

  void build() {
    bool splits = isAttention(phase) && schedule.getSplit() > 0;
    func::FuncOp part = splits ? buildPartItem() : func::FuncOp();
    // Items of several tiles of heads have more of a state than one wants to keep.
    func::FuncOp item = splits && schedule.getItemHeads() == 0 ? buildWholeItem(part) : buildItem();
    func::FuncOp count = buildCount();
    func::FuncOp run = buildRun(item);
    buildSerial(count, run);
    if (splits)
      buildSplit(item, part);
  }

private:
  std::string name(StringRef suffix) const { return std::string(tpac::phaseName(phase)) + suffix.str(); }

  /// Heads of a work item.
  int64_t headsOfItem() const { return isAttention(phase) ? schedule.getHeadsOfItem() : schedule.getHeads(); }

  /// Whether every work item's heads are all there.
  bool headsFit() const { return variant.getHeads().getLocal() % headsOfItem() == 0; }

  /// Work items per tile of tokens.
  int64_t headTiles() const {
    return phase == Phase::append ? 1 : llvm::divideCeil(variant.getHeads().getLocal(), headsOfItem());
  }

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
    if (isAttention(phase))
      names.append({"begin", "end"});
    return names;
  }

  static Value &partOf(WorkItem &item, StringRef name) {
    return name == "request"  ? item.request
           : name == "token"  ? item.token
           : name == "tokens" ? item.tokens
           : name == "head"   ? item.head
           : name == "heads"  ? item.heads
           : name == "begin"  ? item.begin
           : name == "end"    ? item.end
                              : item.part;
  }

  /// The part tensors: [tokens, parts, heads, features], [tokens, parts, heads].
  SmallVector<Type> partTypes() {
    int64_t heads = variant.getHeads().getLocal();
    Type compute = variant.getTypes().getCompute();
    auto strided = [&](ArrayRef<int64_t> shape) {
      SmallVector<int64_t> strides(shape.size(), ShapedType::kDynamic);
      return MemRefType::get(shape, compute, StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, strides));
    };
    constexpr int64_t dynamic = ShapedType::kDynamic;
    return {strided({dynamic, dynamic, heads, variant.getValueFeatures()}), strided({dynamic, dynamic, heads})};
  }

  ProgramBuilder programOf(ValueRange arguments) {
    std::map<std::string, Value> memory;
    for (auto [tensor, argument] : llvm::zip(signature.tensors, arguments))
      memory[tensor.name] = argument;
    // A split program's parts follow the tensors.
    for (auto [partName, argument] : llvm::zip(partNames, arguments.drop_front(memoryTypes.size())))
      if (isa<MemRefType>(argument.getType()))
        memory[partName.str()] = argument;
    return ProgramBuilder(b, loc, variant.getTypes().getCompute(), std::move(memory));
  }

  /// A function of the phase's tensors and of `indices`; leaves the builder at the start of its body.
  func::FuncOp createFunction(StringRef suffix, ArrayRef<StringRef> indices, bool givesIndex = false,
                              bool hasParts = false) {
    SmallVector<Type> types(memoryTypes);
    if (hasParts)
      llvm::append_range(types, partTypes());
    types.append(indices.size(), b.getIndexType());
    SmallVector<Type> results(givesIndex ? 1 : 0, b.getIndexType());
    auto function = func::FuncOp::create(b, loc, name(suffix), b.getFunctionType(types, results));
    function.setPrivate();
    Block *entry = function.addEntryBlock();
    SmallVector<StringRef> names;
    for (const tpac::PhaseTensor &tensor : signature.tensors)
      names.push_back(tensor.name);
    if (hasParts)
      names.append(std::begin(partNames), std::end(partNames));
    llvm::append_range(names, indices);
    for (auto [argument, argumentName] : llvm::zip(entry->getArguments(), names))
      argument.setLoc(NameLoc::get(b.getStringAttr(argumentName)));
    b.setInsertionPointToStart(entry);
    return function;
  }

  /// The parts of a work item from the last arguments of its function.
  WorkItem itemOf(func::FuncOp function, ArrayRef<StringRef> names) {
    WorkItem item;
    for (auto [part, argument] : llvm::zip(names, function.getArguments().take_back(names.size())))
      partOf(item, part) = argument;
    return item;
  }

  func::FuncOp buildItem() {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_item", itemNames());
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem item = itemOf(function, itemNames());
    if (isAttention(phase))
      tile::buildAttentionItem(p, variant, schedule, item);
    else if (phase == Phase::append)
      tile::buildAppendItem(p, variant, schedule, item);
    else
      tile::buildMergeItem(p, variant, schedule, item);
    func::ReturnOp::create(b, loc);
    return function;
  }

  /// Rows of the call that request `request` has: [begin, end).
  std::pair<Value, Value> rowsOf(ProgramBuilder &p, Value request) {
    return {p.readIndex("token_start", request), p.readIndex("token_start", p.add(request, p.index(1)))};
  }

  /// Work items of `rows` rows.
  Value itemsOf(ProgramBuilder &p, Value rows) {
    Value tiles = arith::CeilDivSIOp::create(b, loc, rows, p.index(schedule.getQueries()));
    return arith::MulIOp::create(b, loc, tiles, p.index(headTiles()));
  }

  /// Work items of a request, and of each of its parts in a split program.
  Value itemsOfRequest(ProgramBuilder &p, Value request, bool hasParts) {
    auto [begin, end] = rowsOf(p, request);
    Value items = itemsOf(p, p.sub(end, begin));
    return hasParts ? arith::MulIOp::create(b, loc, items, partsOf(p, request)) : items;
  }

  /// Parts of a request's cache: at least one.
  Value partsOf(ProgramBuilder &p, Value request) {
    Value length = p.readIndex("lengths", request);
    return p.max(arith::CeilDivSIOp::create(b, loc, length, p.index(schedule.getSplit())), p.index(1));
  }

  Value requests(ProgramBuilder &p) { return memref::DimOp::create(b, loc, p.get("lengths"), p.index(0)); }

  /// `@PHASE_items`: how many work items the call has.
  func::FuncOp buildCount(StringRef suffix = "_items", bool hasParts = false) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction(suffix, {}, /*givesIndex=*/true, hasParts);
    ProgramBuilder p = programOf(function.getArguments());
    Value count;
    if (phase == Phase::merge) {
      count = itemsOf(p, memref::DimOp::create(b, loc, p.get("out"), p.index(0)));
    } else {
      auto loop = scf::ForOp::create(b, loc, p.index(0), requests(p), p.index(1), p.index(0),
                                     [&](OpBuilder &, Location, Value request, ValueRange sum) {
                                       Value items = itemsOfRequest(p, request, hasParts);
                                       scf::YieldOp::create(b, loc, p.add(sum.front(), items));
                                     });
      count = loop.getResult(0);
    }
    func::ReturnOp::create(b, loc, count);
    return function;
  }

  /// The request that holds work item `index`, and the item's number in it.
  std::pair<Value, Value> findRequest(ProgramBuilder &p, Value index, bool hasParts = false) {
    Value none = p.index(-1);
    auto loop =
        scf::ForOp::create(b, loc, p.index(0), requests(p), p.index(1), ValueRange{none, index},
                           [&](OpBuilder &, Location, Value request, ValueRange state) {
                             Value items = itemsOfRequest(p, request, hasParts);
                             Value searching = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, state[0], none);
                             Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, state[1], items);
                             Value here = arith::AndIOp::create(b, loc, searching, inside);
                             Value found = arith::SelectOp::create(b, loc, here, request, state[0]);
                             Value passed = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, found, none);
                             Value left = arith::SelectOp::create(b, loc, passed, p.sub(state[1], items), state[1]);
                             scf::YieldOp::create(b, loc, ValueRange{found, left});
                           });
    return {loop.getResult(0), loop.getResult(1)};
  }

  /// Tokens and heads of item `number` of the rows [begin, end).
  void placeItem(ProgramBuilder &p, WorkItem &work, Value number, Value begin, Value end) {
    Value tile = arith::DivUIOp::create(b, loc, number, p.index(headTiles()));
    Value headTile = arith::RemUIOp::create(b, loc, number, p.index(headTiles()));
    work.token = p.add(begin, arith::MulIOp::create(b, loc, tile, p.index(schedule.getQueries())));
    work.tokens = p.min(p.sub(end, work.token), p.index(schedule.getQueries()));
    work.head = arith::MulIOp::create(b, loc, headTile, p.index(headsOfItem()));
    work.heads = p.min(p.sub(p.index(variant.getHeads().getLocal()), work.head), p.index(headsOfItem()));
  }

  void callItem(func::FuncOp item, ValueRange memory, WorkItem &work, ArrayRef<StringRef> names) {
    SmallVector<Value> operands(memory);
    for (StringRef part : names)
      operands.push_back(partOf(work, part));
    func::CallOp::create(b, loc, item, operands);
  }

  /// `@PHASE_run`: computes one work item, by its number.
  func::FuncOp buildRun(func::FuncOp item) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_run", {"index"});
    ProgramBuilder p = programOf(function.getArguments());
    Value number = function.getArguments().back();
    WorkItem work;
    Value begin = p.index(0), end;
    if (phase == Phase::merge) {
      end = memref::DimOp::create(b, loc, p.get("out"), p.index(0));
    } else {
      std::tie(work.request, number) = findRequest(p, number);
      std::tie(begin, end) = rowsOf(p, work.request);
    }
    placeItem(p, work, number, begin, end);
    if (isAttention(phase)) {
      work.begin = p.index(0);
      work.end = p.readIndex("lengths", work.request);
    }
    callItem(item, function.getArguments().drop_back(), work, itemNames());
    func::ReturnOp::create(b, loc);
    return function;
  }

  /// `@PHASE`: all work items, one after another.
  void buildSerial(func::FuncOp count, func::FuncOp run) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("", {});
    ProgramBuilder p = programOf(function.getArguments());
    SmallVector<Value> operands(function.getArguments());
    Value items = func::CallOp::create(b, loc, count, operands).getResult(0);
    scf::ForOp::create(b, loc, p.index(0), items, p.index(1), ValueRange(),
                       [&](OpBuilder &, Location, Value index, ValueRange) {
                         operands.push_back(index);
                         func::CallOp::create(b, loc, run, operands);
                         scf::YieldOp::create(b, loc);
                       });
    func::ReturnOp::create(b, loc);
  }

  // --- Split caches ---

  /// Programs over parts of `split` cached tokens. Besides the tensors they take the part tensors:
  /// `@PHASE_split_items`, `@PHASE_split_run` compute the parts; then `@PHASE_items` calls of `@PHASE_merge_run` merge
  /// them. A request of one part is written directly.
  void buildSplit(func::FuncOp item, func::FuncOp partItem) {
    buildCount("_split_items", /*hasParts=*/true);
    buildSplitRun(item, partItem);
    buildMergeRun(buildPartsItem());
  }

  SmallVector<StringRef> partItemNames() const {
    SmallVector<StringRef> names = itemNames();
    names.push_back("part");
    return names;
  }

  func::FuncOp buildPartItem() {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_part_item", partItemNames(), false, /*hasParts=*/true);
    ProgramBuilder p = programOf(function.getArguments());
    tile::buildAttentionItem(p, variant, schedule, itemOf(function, partItemNames()));
    func::ReturnOp::create(b, loc);
    return function;
  }

  /// `@PHASE_item` where there is a program of parts: the part that is the whole. Its state goes to memory of the item
  /// and from there to the results, so that the loop over cached tokens exists once.
  func::FuncOp buildWholeItem(func::FuncOp partItem) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_item", itemNames());
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem item = itemOf(function, itemNames());
    SmallVector<Value> memory(function.getArguments().take_front(memoryTypes.size()));
    for (auto [partName, type] : llvm::zip(partNames, partTypes())) {
      Value window = allocateState(p, cast<MemRefType>(type), item);
      memory.push_back(window);
      p.setMemory(partName, window);
    }
    item.part = p.index(0);
    callItem(partItem, memory, item, partItemNames());
    tile::buildPartResult(p, variant, schedule, item);
    func::ReturnOp::create(b, loc);
    return function;
  }

  /// Memory for the state of one item, as a part tensor of `type` that has the item's rows and heads alone: others are
  /// beyond its ends.
  Value allocateState(ProgramBuilder &p, MemRefType type, const WorkItem &item) {
    SmallVector<int64_t> shape = {schedule.getQueries(), 1, headsOfItem()};
    llvm::append_range(shape, type.getShape().drop_front(shape.size()));
    Value state =
        memref::AllocaOp::create(b, loc, MemRefType::get(shape, type.getElementType()), b.getI64IntegerAttr(64));
    SmallVector<int64_t> strides = computeStrides(shape);
    Value before = p.add(arith::MulIOp::create(b, loc, item.token, p.index(strides[0])),
                         arith::MulIOp::create(b, loc, item.head, p.index(strides[2])));
    SmallVector<OpFoldResult> sizes = getAsIndexOpFoldResult(b.getContext(), type.getShape());
    sizes[0] = p.add(item.token, p.index(schedule.getQueries()));
    sizes[1] = b.getIndexAttr(1);
    return memref::ReinterpretCastOp::create(b, loc, type, state, p.sub(p.index(0), before), sizes,
                                             getAsIndexOpFoldResult(b.getContext(), strides));
  }

  func::FuncOp buildPartsItem() {
    OpBuilder::InsertionGuard guard(b);
    // The merge takes the number of parts in the place of a part.
    func::FuncOp function = createFunction("_parts_item", partItemNames(), false, /*hasParts=*/true);
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem item = itemOf(function, partItemNames());
    tile::buildPartsItem(p, variant, schedule, item, item.part);
    func::ReturnOp::create(b, loc);
    return function;
  }

  void buildSplitRun(func::FuncOp item, func::FuncOp partItem) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_split_run", {"index"}, false, /*hasParts=*/true);
    function->setAttr("tpac.split", b.getI64IntegerAttr(schedule.getSplit()));
    ProgramBuilder p = programOf(function.getArguments());
    ValueRange memory = function.getArguments().drop_back();
    WorkItem work;
    Value number;
    std::tie(work.request, number) = findRequest(p, function.getArguments().back(), /*hasParts=*/true);
    Value parts = partsOf(p, work.request);
    auto [begin, end] = rowsOf(p, work.request);
    placeItem(p, work, arith::DivUIOp::create(b, loc, number, parts), begin, end);
    work.part = arith::RemUIOp::create(b, loc, number, parts);
    Value length = p.readIndex("lengths", work.request);
    work.begin = arith::MulIOp::create(b, loc, work.part, p.index(schedule.getSplit()));
    work.end = p.min(p.add(work.begin, p.index(schedule.getSplit())), length);
    Value whole = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, parts, p.index(1));
    scf::IfOp::create(
        b, loc, whole,
        [&](OpBuilder &, Location) {
          callItem(item, memory.take_front(memoryTypes.size()), work, itemNames());
          scf::YieldOp::create(b, loc);
        },
        [&](OpBuilder &, Location) {
          callItem(partItem, memory, work, partItemNames());
          scf::YieldOp::create(b, loc);
        });
    func::ReturnOp::create(b, loc);
  }

  void buildMergeRun(func::FuncOp partsItem) {
    OpBuilder::InsertionGuard guard(b);
    func::FuncOp function = createFunction("_merge_run", {"index"}, false, /*hasParts=*/true);
    ProgramBuilder p = programOf(function.getArguments());
    WorkItem work;
    Value number;
    std::tie(work.request, number) = findRequest(p, function.getArguments().back());
    auto [begin, end] = rowsOf(p, work.request);
    placeItem(p, work, number, begin, end);
    work.begin = p.index(0);
    work.end = p.readIndex("lengths", work.request);
    work.part = partsOf(p, work.request);
    Value split = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, work.part, p.index(1));
    scf::IfOp::create(b, loc, split, [&](OpBuilder &, Location) {
      callItem(partsItem, function.getArguments().drop_back(), work, partItemNames());
      scf::YieldOp::create(b, loc);
    });
    func::ReturnOp::create(b, loc);
  }

  static constexpr StringLiteral partNames[] = {"part_out", "part_lse"};

  OpBuilder &b;
  Location loc;
  VariantAttr variant;
  Phase phase;
  ScheduleAttr schedule;
  tpac::PhaseSignature signature;
  SmallVector<Type> memoryTypes;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> tpac::buildPrograms(VariantAttr variant, ArrayRef<ScheduledPhase> phases) {
  auto differs = [&](StringRef field, const ScheduledPhase &scheduled, int64_t expected, int64_t found) {
    return illegal(field + ": expected " + llvm::Twine(expected) + " in all phases of a pack, as in " +
                   phaseName(phases.front().phase) + ", got " + llvm::Twine(found) + " in " +
                   phaseName(scheduled.phase));
  };
  for (const ScheduledPhase &scheduled : phases) {
    CacheStorage first = storageOf(phases.front().schedule), own = storageOf(scheduled.schedule);
    if (own.valueBlock != first.valueBlock)
      return differs("value_block", scheduled, first.valueBlock, own.valueBlock);
    if (own.pageSize != first.pageSize)
      return differs("page_size", scheduled, first.pageSize, own.pageSize);
  }
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
