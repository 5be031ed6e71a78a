// SPDX-License-Identifier: Apache-2.0
//
// Single elements of tiles, and what threads know of themselves.

#include "lowering/gpu/Emitter.h"

#include "lowering/gpu/KernelFrame.h"
#include "lowering/reference/Elements.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

Emitter::Emitter(ImplicitLocOpBuilder &builder, Block *entry, const Plan &plan, Value sharedMemory)
    : isa(builder, entry), plan(plan), layout(plan.rows), sharedMemory(sharedMemory), operandType(plan.operandType),
      reserved(pipelineOffset + pipelineBytes()) {
  elementScopes.emplace_back();
  fragmentScopes.emplace_back();
  tileScopes.emplace_back();
  packedScopes.emplace_back();
}

Emitter::Scope::Scope(Emitter &emitter) : emitter(emitter) {
  emitter.elementScopes.emplace_back();
  emitter.fragmentScopes.emplace_back();
  emitter.tileScopes.emplace_back();
  emitter.packedScopes.emplace_back();
}

Emitter::Scope::~Scope() {
  emitter.elementScopes.pop_back();
  emitter.fragmentScopes.pop_back();
  emitter.tileScopes.pop_back();
  emitter.packedScopes.pop_back();
}

void Emitter::fail(Operation *op, const Twine &message) {
  if (succeeded(status))
    op->emitOpError() << message;
  status = failure();
}

int64_t Emitter::reserve(int64_t bytes, int64_t alignment) {
  int64_t offset = llvm::alignTo(reserved, alignment);
  reserved = offset + bytes;
  return offset;
}

std::function<Value()> Emitter::stash(Value value) {
  // Every warp has its own, so that none waits for another. Its lanes may still read what was there before.
  Value places = isa.shared(sharedMemory, reserve(4 * plan.threads / warpSize, 4));
  auto place = [this, places] { return isa.shared(places, isa.mul(isa.shiftRight(isa.freshThread(), 5), 4)); };
  isa.syncWarp();
  scf::IfOp::create(isa.b, isa.equals(lane, 0), [&](OpBuilder &, Location) {
    isa.store(value, place(), 4, /*isVolatile=*/true);
    scf::YieldOp::create(isa.b);
  });
  isa.syncWarp();
  return [this, place] { return isa.load(isa.b.getI32Type(), place(), 4, /*invariant=*/false, /*isVolatile=*/true); };
}

void Emitter::identify(Value threadNumber) {
  thread = threadNumber;
  lane = isa.bitAnd(thread, warpSize - 1);
  warp = isa.shiftRight(thread, 5);
  group = isa.div(warp, plan.warpsOfGroup());
  warpInGroup = isa.rem(warp, plan.warpsOfGroup());
  if (plan.groups == 1)
    group = isa.i32(0);
  rowWarp = isa.rem(warpInGroup, plan.rows.warps());
  columnWarp = isa.div(warpInGroup, plan.rows.warps());
  if (plan.columnParts == 1) {
    rowWarp = warpInGroup;
    columnWarp = isa.i32(0);
  }
  laneGroup = isa.shiftRight(lane, 2);
  lanePair = isa.mul(isa.bitAnd(lane, 3), 2);
  bool isTransposed = layout.hasTokensOnRows();
  laneColumn = isTransposed ? laneGroup : lanePair;
  for (Values *values : {&row, &rowQuery, &rowHead, &rowInside, &operandQuery, &operandHead})
    values->clear();
  // Of the warp's tile `tile`, row `first` + `offset`.
  auto numberOf = [&](int64_t tile, Value first, int64_t offset) {
    return isa.add(isa.add(isa.mul(rowWarp, plan.rows.rowsOfTile()), first),
                   tile * plan.rows.warps() * plan.rows.rowsOfTile() + offset);
  };
  // Rows of padding compute what the last row does; nobody reads it.
  auto existing = [&](Value number, int64_t count) {
    return count == 1 ? isa.i32(0) : isa.min(number, isa.i32(count - 1));
  };
  for (int64_t i = 0; i < layout.laneRows(); ++i) {
    Value number = numberOf(i / 2, isTransposed ? lanePair : laneGroup, i % 2 * layout.secondRow());
    Value query = isa.div(number, plan.rows.pitch), head = isa.rem(number, plan.rows.pitch);
    row.push_back(number);
    rowInside.push_back(
        isa.both(isa.less(query, isa.i32(plan.rows.queries)), isa.less(head, isa.i32(plan.rows.heads))));
    rowQuery.push_back(existing(query, plan.rows.queries));
    rowHead.push_back(existing(head, plan.rows.heads));
  }
  if (!isTransposed) {
    operandQuery = rowQuery;
    operandHead = rowHead;
    return;
  }
  for (int64_t tile = 0; tile < plan.rows.tiles; ++tile) {
    Value number = numberOf(tile, laneGroup, 0);
    operandQuery.push_back(existing(isa.div(number, plan.rows.pitch), plan.rows.queries));
    operandHead.push_back(existing(isa.rem(number, plan.rows.pitch), plan.rows.heads));
  }
}

void Emitter::begin() {
  identify(isa.thread());
  stage = phase = isa.i32(0);
  if (!plan.bulk)
    return;
  policy = isa.evictFirstPolicy();
  if (countsReaders())
    meetingOffset = reserve(8 * plan.groups, 8);
  Value isFirst = isa.equals(thread, 0);
  scf::IfOp::create(isa.b, isFirst, [&](OpBuilder &, Location) {
    for (int64_t i = 0; i < plan.groups * plan.stages; ++i) {
      isa.initBarrier(isa.shared(sharedMemory, 8 * i), 1);
      if (countsReaders())
        isa.initBarrier(readersBarrier(isa.i32(i)), plan.warpsOfGroup() * warpSize);
    }
    for (int64_t i = 0; countsReaders() && i < plan.groups; ++i)
      isa.initBarrier(isa.shared(sharedMemory, meetingOffset + 8 * i), plan.warpsOfGroup() * warpSize);
    isa.fenceBarrierInit();
    scf::YieldOp::create(isa.b);
  });
  isa.syncThreads();
}

// --- Scalars ---

LogicalResult Emitter::emitScalar(Operation &op) {
  auto in = [&](unsigned i) { return scalars.lookup(op.getOperand(i)); };
  for (Value operand : op.getOperands())
    if (!scalars.contains(operand) && !memories.contains(operand))
      return op.emitOpError("expected operands that this target computes as scalars");
  Value result = llvm::TypeSwitch<Operation *, Value>(&op)
                     .Case([&](arith::ConstantOp constant) -> Value {
                       auto integer = dyn_cast<IntegerAttr>(constant.getValue());
                       return integer ? isa.i32(integer.getInt()) : Value();
                     })
                     .Case([&](arith::AddIOp) { return isa.add(in(0), in(1)); })
                     .Case([&](arith::SubIOp) { return isa.sub(in(0), in(1)); })
                     .Case([&](arith::MulIOp) { return isa.mul(in(0), in(1)); })
                     .Case([&](arith::MinSIOp) { return isa.min(in(0), in(1)); })
                     .Case([&](arith::MaxSIOp) { return isa.max(in(0), in(1)); })
                     .Case([&](arith::DivSIOp) -> Value { return arith::DivSIOp::create(isa.b, in(0), in(1)); })
                     .Case([&](arith::RemUIOp) -> Value { return arith::RemUIOp::create(isa.b, in(0), in(1)); })
                     .Case([&](arith::IndexCastOp) { return in(0); })
                     .Case([&](memref::LoadOp load) -> Value {
                       const Memory &memory = memories[load.getMemRef()];
                       if (memory.kind != Memory::Kind::global || load.getIndices().size() != 1)
                         return Value();
                       Value pointer = LLVM::GEPOp::create(isa.b, memory.pointer.getType(), isa.b.getI32Type(),
                                                           memory.pointer, ArrayRef<LLVM::GEPArg>{in(1)});
                       return isa.load(isa.b.getI32Type(), pointer, 4, /*invariant=*/true);
                     })
                     .Case([&](tile::TableRowOp row) { return tableRow(memories[row.getStarts()], in(1)); })
                     .Default([](Operation *) { return Value(); });
  if (!result)
    return op.emitOpError("expected integer arithmetic, or a load from a tensor of one dimension");
  scalars[op.getResult(0)] = result;
  return success();
}

// --- Elements ---

Point Emitter::rowPoint(int64_t number) {
  Point point;
  point[axis("n")] = rowQuery[number];
  point[axis("h")] = rowHead[number];
  return point;
}

Point Emitter::operandPoint(int64_t rowTile, int64_t half) {
  Point point;
  point[axis("n")] = operandQuery[layout.operandRows() * rowTile + half];
  point[axis("h")] = operandHead[layout.operandRows() * rowTile + half];
  return point;
}

Point Emitter::indicesOf(TileType type, const Point &point) {
  Point own;
  for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    own[name] = size == 1 ? isa.i32(0) : point.lookup(name);
    assert(own[name] && "an axis without an index");
  }
  return own;
}

Emitter::ElementKey Emitter::keyOf(Value tile, const Point &indices) {
  ElementKey key{tile.getAsOpaquePointer(), {}};
  for (StringAttr name : cast<TileType>(tile.getType()).getAxes())
    key.second.push_back(indices.lookup(name).getAsOpaquePointer());
  return key;
}

Value Emitter::element(Value tile, const Point &point) {
  if (Value value = known.lookup(tile))
    return value;
  auto type = cast<TileType>(tile.getType());
  Point own = indicesOf(type, point);
  ElementKey key = keyOf(tile, own);
  for (auto &scope : elementScopes)
    if (auto found = scope.find(key); found != scope.end())
      return found->second;
  Value value;
  if (auto offset = kept.find(tile); offset != kept.end()) {
    Value number = isa.i32(0);
    for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes()))
      number = isa.add(isa.mul(number, size), own[name]);
    value = isa.load(isa.b.getF32Type(), isa.shared(isa.shared(sharedMemory, offset->second), isa.mul(number, 4)), 4);
  } else if (Operation *op = tile.getDefiningOp()) {
    value = compute(op, tile, own);
  }
  if (!value) {
    if (Operation *op = tile.getDefiningOp())
      fail(op, "this target computes no single elements of it");
    else
      emitError(tile.getLoc()) << "expected a tile that an op of the same item computes", status = failure();
    value = isa.f32(0.0);
  }
  return elementScopes.back()[key] = value;
}

Value Emitter::compute(Operation *op, Value result, const Point &point) {
  using namespace tile;
  auto rounded = [&](Value value, Type type) {
    if (type.isF32() || value.getType().isInteger(32))
      return value;
    return isa.widen(isa.narrow(value, type), type);
  };
  auto at = [&](Value tile) { return element(tile, point); };
  Type type = cast<TileType>(result.getType()).getElementType();
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](LoadOp load) { return loadElement(load, point); })
      .Case([&](FillOp fill) { return isa.f32(fill.getValue().convertToDouble()); })
      .Case([&](ConvertOp convert) { return rounded(at(convert.getInput()), type); })
      .Case([&](SplitOp split) {
        Value input = at(split.getInput());
        Value high = rounded(input, type);
        return result == split.getHigh() ? high : rounded(isa.fsub(input, high), type);
      })
      .Case([&](MulOp mul) { return rounded(isa.fmul(at(mul.getLhs()), at(mul.getRhs())), type); })
      .Case([&](AddOp add) { return rounded(isa.fadd(at(add.getLhs()), at(add.getRhs())), type); })
      .Case([&](ConstantMulOp mul) {
        return rounded(isa.fmul(at(mul.getInput()), isa.f32(mul.getFactor().convertToDouble())), type);
      })
      .Case([&](DotOp dot) { return rounded(dotElement(dot, point), type); })
      .Case([&](OuterOp outer) {
        Point lhs = point, rhs = point;
        Value joined = point.lookup(outer.getJoinedAttr());
        int64_t size = outer.getLhs().getType().sizeOf(outer.getFast());
        lhs[outer.getFastAttr()] = isa.rem(joined, size);
        rhs[outer.getSlowAttr()] = isa.div(joined, size);
        return rounded(isa.fmul(element(outer.getLhs(), lhs), element(outer.getRhs(), rhs)), type);
      })
      .Case([&](SliceOp slice) {
        Point input = point;
        Value offset = slice.getOffset() ? scalars.lookup(slice.getOffset()) : isa.i32(0);
        input[slice.getFromAttr()] = isa.add(point.lookup(slice.getToAttr()), offset);
        return element(slice.getInput(), input);
      })
      .Case([&](RopeOp rope) { return rounded(ropeElement(rope, point), type); })
      .Case([&](HeadFunctionOp head) { return rounded(headFunctionElement(head, point), type); })
      .Case([&](MergeOp merge) { return mergeElement(merge, result, point); })
      .Case([&](QuantizeOp quantize) { return quantizeElement(quantize, result, point); })
      .Case([&](SoftcapOp softcap) { return softcapOf(at(softcap.getInput()), softcap.getCap().convertToDouble()); })
      .Default([](Operation *) { return Value(); });
}

Value Emitter::swizzled(Value byteOffset, Value row) {
  auto swizzle = Swizzle::of(plan.rowBytes / chunkBytes);
  if (swizzle.mask == 0)
    return byteOffset;
  Value turn = isa.bitAnd(isa.shiftRight(row, swizzle.shift), swizzle.mask);
  return isa.bitXor(byteOffset, isa.mul(turn, chunkBytes));
}

/// Rank and number of an element of a cached tensor; the first two dimensions are request and token.
static std::pair<Value, Value> rankAndNumber(Isa &isa, ArrayAttr axes, ValueRange indices, const Point &point,
                                             const llvm::DenseMap<Value, Value> &scalars, bool isPlane) {
  auto at = [&](unsigned dimension) -> Value {
    if (dimension >= indices.size())
      return isa.i32(0);
    Value index = scalars.lookup(indices[dimension]);
    auto name = cast<StringAttr>(axes[dimension]);
    return name.empty() ? index : isa.add(index, point.lookup(name));
  };
  return {isPlane ? isa.i32(0) : at(2), at(3)};
}

Value Emitter::cachedOffset(const Memory &memory, ArrayAttr axes, ValueRange indices, Type type, const Point &point,
                            Value row) {
  auto [rank, number] = rankAndNumber(isa, axes, indices, point, scalars, plan.planes > 1);
  int64_t size = type.getIntOrFloatBitWidth() / 8;
  Value offset = isa.add(isa.add(isa.mul(rank, memory.segment.pitch), isa.mul(number, size)), memory.segment.offset);
  return swizzled(offset, row);
}

Value Emitter::tableRow(const Memory &starts, Value request) {
  Value none = LLVM::ZeroOp::create(isa.b, starts.pointer.getType());
  Value isGiven = LLVM::ICmpOp::create(isa.b, LLVM::ICmpPredicate::ne, starts.pointer, none);
  auto start = [&](OpBuilder &, Location) {
    Value pointer = LLVM::GEPOp::create(isa.b, starts.pointer.getType(), isa.b.getI32Type(), starts.pointer,
                                        ArrayRef<LLVM::GEPArg>{request});
    scf::YieldOp::create(isa.b, isa.load(isa.b.getI32Type(), pointer, 4, /*invariant=*/true));
  };
  auto itself = [&](OpBuilder &, Location) { scf::YieldOp::create(isa.b, request); };
  return scf::IfOp::create(isa.b, isGiven, start, itself).getResult(0);
}

Value Emitter::findPage(const Memory &table, Value row, Value token) {
  auto product = [&](Value x, Value y) -> Value { return arith::MulIOp::create(isa.b, isa.extend(x), y); };
  Value number = arith::AddIOp::create(isa.b, product(row, table.strides[0]),
                                       product(isa.div(token, plan.pageSize), table.strides[1]));
  Value entry = LLVM::GEPOp::create(isa.b, table.pointer.getType(), isa.b.getI32Type(), table.pointer,
                                    ArrayRef<LLVM::GEPArg>{number});
  return isa.load(isa.b.getI32Type(), entry, 4, /*invariant=*/true);
}

/// Of an access to the cache outside of loops over blocks, or to a tensor.
template <typename Op> Value Emitter::elementAddress(Op op, const Point &point) {
  const Memory &memory = memories[op.getMemory()];
  ArrayAttr axes = op.getAxes();
  ValueRange indices = op.getIndices();
  auto type = cast<MemRefType>(op.getMemory().getType());
  SmallVector<Value> at;
  for (auto [name, index] : llvm::zip(axes.getAsRange<StringAttr>(), indices)) {
    Value own = scalars.lookup(index);
    at.push_back(name.empty() ? own : isa.add(own, point.lookup(name)));
  }
  Type element = type.getElementType();
  auto wide = [&](Value x, Value y) -> Value { return arith::MulIOp::create(isa.b, x, y); };
  if (memory.kind == Memory::Kind::cached) {
    // A request's tokens are a page of its own where there are no others.
    Value page = at[0], place = at[1], tokens = capacity;
    if (op.getTable()) {
      page = findPage(memories[op.getTable()], at[0], at[1]);
      place = isa.rem(at[1], plan.pageSize);
      tokens = isa.i32(plan.pageSize);
    }
    Value plane = isa.extend(page);
    if (plan.planes > 1)
      plane = arith::AddIOp::create(isa.b, wide(plane, isa.extend(isa.i32(plan.planes))), isa.extend(at[2]));
    Value row = arith::AddIOp::create(isa.b, wide(plane, isa.extend(tokens)), isa.extend(place));
    Value bytes = wide(row, isa.extend(isa.i32(plan.rowBytes)));
    Value within = cachedOffset(memory, axes, indices, element, point, at[1]);
    return isa.global(isa.global(wholeCache, bytes), isa.extend(within));
  }
  Value number = isa.extend(at[0]);
  if (!memory.strides.empty()) {
    // What a token has is addressed by 32 bits; tokens, the first dimension or the first two, are not.
    size_t tokenDimensions = at.size() > 3 ? 2 : 1;
    Value rest = isa.i32(0);
    for (size_t i = tokenDimensions; i < at.size(); ++i)
      rest = isa.add(rest, isa.mul(at[i], arith::TruncIOp::create(isa.b, isa.b.getI32Type(), memory.strides[i])));
    number = wide(number, memory.strides[0]);
    if (tokenDimensions > 1)
      number = arith::AddIOp::create(isa.b, number, wide(isa.extend(at[1]), memory.strides[1]));
    number = arith::AddIOp::create(isa.b, number, isa.extend(rest));
  }
  return LLVM::GEPOp::create(isa.b, memory.pointer.getType(), isa.storedType(element), memory.pointer,
                             ArrayRef<LLVM::GEPArg>{number});
}

Value Emitter::loadStored(tile::LoadOp load, const Point &point, Value &inside) {
  const Memory &memory = memories[load.getMemory()];
  auto memoryType = cast<MemRefType>(load.getMemory().getType());
  Type type = memoryType.getElementType(), stored = isa.storedType(type);
  int64_t size = type.getIntOrFloatBitWidth() / 8;
  if (memory.kind == Memory::Kind::cached && !wholeCache) {
    Value token = point.lookup(axis("m"));
    if (!stageRows || !token) {
      fail(load, "cached tensors are read in loops over blocks only");
      return {};
    }
    Value offset = isa.add(isa.mul(token, plan.rowBytes),
                           cachedOffset(memory, load.getAxes(), load.getIndices(), type, point, token));
    return isa.load(stored, isa.shared(stageRows, offset), size);
  }
  Point bounded = point;
  for (auto [name, limit] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits())) {
    Value along = point.lookup(name), bound = scalars.lookup(limit);
    Value below = isa.less(along, bound);
    inside = inside ? isa.both(inside, below) : below;
    // Nothing beyond the limit is read: there the last element is.
    bounded[name] = isa.max(isa.min(along, isa.sub(bound, isa.i32(1))), isa.i32(0));
  }
  Value pointer = elementAddress(load, bounded);
  return isa.load(stored, pointer, size, /*invariant=*/plan.readsConstants);
}

Value Emitter::loadElement(tile::LoadOp load, const Point &point) {
  Type type = load.getType().getElementType();
  Value inside;
  Value stored = loadStored(load, point, inside);
  if (!stored)
    return isa.f32(0.0);
  Value value = isa.widen(stored, type);
  return inside ? isa.select(inside, value, type.isInteger(32) ? isa.i32(0) : isa.f32(0.0)) : value;
}

SmallVector<Value> Emitter::reduceElements(int64_t size, ArrayRef<Value> start,
                                           llvm::function_ref<Values(Value, ArrayRef<Value>)> step) {
  constexpr int64_t largestUnrolled = 16;
  Values carried(start);
  if (size <= largestUnrolled) {
    for (int64_t i = 0; i < size; ++i)
      carried = step(isa.i32(i), carried);
    return carried;
  }
  Value zero = isa.i32(0), end = isa.i32(size), one = isa.i32(1);
  auto loop =
      scf::ForOp::create(isa.b, zero, end, one, carried, [&](OpBuilder &, Location, Value index, ValueRange inner) {
        Scope scope(*this);
        Values values = step(index, Values(inner));
        scf::YieldOp::create(isa.b, values);
      });
  return Values(loop.getResults());
}

Value Emitter::dotElement(tile::DotOp dot, const Point &point) {
  StringAttr contracted;
  for (StringAttr name : dot.getLhs().getType().getAxes())
    if (!dot.getType().hasAxis(name)) {
      if (contracted)
        fail(dot, "this target contracts one axis at a time");
      contracted = name;
    }
  Value start = dot.getAccumulator() ? element(dot.getAccumulator(), point) : isa.f32(0.0);
  if (!contracted)
    return isa.fma(element(dot.getLhs(), point), element(dot.getRhs(), point), start);
  return reduceElements(dot.getLhs().getType().sizeOf(contracted), start,
                        [&](Value index, ArrayRef<Value> sum) {
                          Point inner = point;
                          inner[contracted] = index;
                          Value lhs = element(dot.getLhs(), inner), rhs = element(dot.getRhs(), inner);
                          return Values{isa.fma(lhs, rhs, sum.front())};
                        })
      .front();
}

bool mlir::tpa::gpu::isKeptOp(Operation *op) {
  auto head = dyn_cast<tile::HeadFunctionOp>(op);
  return llvm::isa<tile::RopeOp>(op) || (head && head.getFunction() == HeadFunction::softmax);
}

Value mlir::tpa::gpu::constantTable(ImplicitLocOpBuilder &b, ModuleOp module, StringRef prefix, Type element,
                                    DenseElementsAttr value) {
  int number = 0;
  LLVM::GlobalOp found;
  for (auto global : module.getOps<LLVM::GlobalOp>()) {
    if (!global.getSymName().starts_with(prefix))
      continue;
    ++number;
    if (global.getValueOrNull() == value)
      found = global;
  }
  if (!found) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(element, value.getNumElements());
    found = LLVM::GlobalOp::create(b, type, /*isConstant=*/true, LLVM::Linkage::Internal,
                                   (prefix + Twine(number)).str(), value, /*alignment=*/chunkBytes, globalSpace);
  }
  return LLVM::AddressOfOp::create(b, found);
}

/// Turns per position of each pair of features.
static Value frequencyTable(ImplicitLocOpBuilder &b, ModuleOp module, RopeAttr rope) {
  SmallVector<double> turns;
  for (double frequency : rope.getFrequencies())
    turns.push_back(frequency / (2 * std::numbers::pi));
  auto type = RankedTensorType::get(static_cast<int64_t>(turns.size()), b.getF64Type());
  return constantTable(b, module, "tpa_frequencies", b.getF64Type(),
                       DenseElementsAttr::get(type, ArrayRef<double>(turns)));
}

Value Emitter::ropeElement(tile::RopeOp op, const Point &point) {
  RopeAttr rope = op.getRope();
  int64_t half = rope.getDRot() / 2;
  bool isHalf = rope.getLayout() == RopeLayout::half;
  bool isWhole = rope.getOffset() == 0 && rope.getDRot() == static_cast<int64_t>(op.getBlock());
  Value feature = point.lookup(op.getAxisAttr());
  Value relative = isa.sub(isa.rem(feature, op.getBlock()), isa.i32(rope.getOffset()));
  Value rotates = isa.compare(arith::CmpIPredicate::ult, relative, isa.i32(rope.getDRot()));
  Value inside = isWhole ? relative : isa.select(rotates, relative, isa.i32(0));
  Value pair = isHalf ? isa.rem(inside, half) : isa.div(inside, 2);
  Value isSecond = isHalf ? isa.less(isa.i32(half - 1), inside) : isa.equals(isa.bitAnd(inside, 1), 1);
  int64_t distance = isHalf ? half : 1;
  Value partner = isa.add(feature, isa.select(isSecond, isa.i32(-distance), isa.i32(distance)));
  if (!isWhole)
    partner = isa.select(rotates, partner, feature);

  // The angle in turns, reduced in f64: what is left is exact to 1e-6 rad at any position.
  ImplicitLocOpBuilder &b = isa.b;
  Value table = frequencyTable(b, isa.entry->getParentOp()->getParentOfType<ModuleOp>(), rope);
  Value slot = LLVM::GEPOp::create(b, table.getType(), b.getF64Type(), table, ArrayRef<LLVM::GEPArg>{pair});
  Value turns = arith::MulFOp::create(b, arith::SIToFPOp::create(b, b.getF64Type(), element(op.getPositions(), point)),
                                      isa.load(b.getF64Type(), slot, 8, /*invariant=*/true));
  Value whole = LLVM::CallIntrinsicOp::create(b, b.getF64Type(), b.getStringAttr("llvm.rint"), turns).getResult(0);
  Value angle = arith::TruncFOp::create(b, b.getF32Type(), arith::SubFOp::create(b, turns, whole));
  angle = isa.fmul(angle, isa.f32(2 * std::numbers::pi));
  double amplitude = rope.getAmplitudeValue();
  Value cosine = isa.fmul(isa.cosine(angle), isa.f32(amplitude));
  Value sine = isa.fmul(isa.sine(angle), isa.f32(amplitude * static_cast<double>(rope.getDirection())));
  sine = isa.select(isSecond, sine, isa.fsub(isa.f32(-0.0), sine));

  Point other = point;
  other[op.getAxisAttr()] = partner;
  Value own = element(op.getInput(), point);
  Value rotated = isa.fma(own, cosine, isa.fmul(element(op.getInput(), other), sine));
  return isWhole ? rotated : isa.select(rotates, rotated, own);
}

Value Emitter::headFunctionElement(tile::HeadFunctionOp head, const Point &point) {
  Value input = element(head.getInput(), point);
  auto power = [&](Value x) { return isa.exp2(isa.fmul(x, isa.f32(std::numbers::log2e))); };
  switch (head.getFunction()) {
  case HeadFunction::identity:
    return input;
  case HeadFunction::sigmoid:
    return isa.fdiv(isa.f32(1.0), isa.fadd(isa.f32(1.0), power(isa.fsub(isa.f32(-0.0), input))));
  case HeadFunction::softmax:
    break;
  }
  int64_t heads = head.getInput().getType().sizeOf("h");
  auto at = [&](Value index) {
    Point other = point;
    other[axis("h")] = index;
    return element(head.getInput(), other);
  };
  Value max =
      reduceElements(heads, isa.f32(-std::numeric_limits<double>::infinity()),
                     [&](Value index, ArrayRef<Value> carried) { return Values{isa.fmax(carried.front(), at(index))}; })
          .front();
  Value sum = reduceElements(heads, isa.f32(0.0), [&](Value index, ArrayRef<Value> carried) {
                return Values{isa.fadd(carried.front(), power(isa.fsub(at(index), max)))};
              }).front();
  return isa.fdiv(power(isa.fsub(input, max)), sum);
}

Value Emitter::softcapOf(Value value, double cap) {
  // c tanh(x / c) = c - 2c / (e^(2x/c) + 1); e^(2x/c) may be infinite.
  Value power = isa.exp2(isa.fmul(value, isa.f32(2 * std::numbers::log2e / cap)));
  Value quotient = isa.fdiv(isa.f32(2 * cap), isa.fadd(power, isa.f32(1.0)));
  return isa.fsub(isa.f32(cap), quotient);
}

Value Emitter::mergeElement(tile::MergeOp merge, Value result, const Point &point) {
  Value infinity = isa.f32(-std::numeric_limits<double>::infinity()), zero = isa.f32(0.0);
  auto isEmpty = [&](Value lse) -> Value {
    return arith::CmpFOp::create(isa.b, arith::CmpFPredicate::OEQ, lse, infinity);
  };
  auto times = [&](Value x, double factor) { return isa.fmul(x, isa.f32(factor)); };
  Value lse0 = element(merge.getLse0(), point), lse1 = element(merge.getLse1(), point);
  Value max = isa.fmax(lse0, lse1);
  Value reference = isa.select(isEmpty(max), zero, max);
  auto weightOf = [&](Value lse) { return isa.exp2(times(isa.fsub(lse, reference), std::numbers::log2e)); };
  Value weight0 = weightOf(lse0), weight1 = weightOf(lse1);
  Value sum = isa.fadd(weight0, weight1);
  if (result == merge.getLse())
    return isa.select(isEmpty(max), infinity, isa.fadd(reference, times(isa.log2(sum), std::numbers::ln2)));
  // A state that saw nothing counts for nothing, whatever its output holds.
  auto termOf = [&](Value lse, Value weight, Value out) {
    return isa.select(isEmpty(lse), zero, isa.fmul(weight, element(out, point)));
  };
  Value both = isa.fadd(termOf(lse0, weight0, merge.getOut0()), termOf(lse1, weight1, merge.getOut1()));
  return isa.select(isEmpty(max), zero, isa.fdiv(both, sum));
}

Value Emitter::quantizeElement(tile::QuantizeOp quantize, Value result, const Point &point) {
  Type narrow = quantize.getValues().getType().getElementType();
  StringAttr along = quantize.getAxisAttr();
  if (result == quantize.getValues()) {
    Value quotient = isa.fdiv(element(quantize.getInput(), point), element(quantize.getScale(), point));
    return isa.widen(isa.narrow(quotient, narrow), narrow);
  }
  Value largest = reduceElements(quantize.getInput().getType().sizeOf(along), isa.f32(0.0),
                                 [&](Value index, ArrayRef<Value> carried) {
                                   Point inner = point;
                                   inner[along] = index;
                                   Value magnitude = isa.fabs(element(quantize.getInput(), inner));
                                   return Values{isa.fmax(carried.front(), magnitude)};
                                 })
                      .front();
  Value scale = isa.fdiv(largest, isa.f32(largestQuantized(narrow)));
  // Rows of zeros, and rows so small that the quotient underflows.
  Value isZero = arith::CmpFOp::create(isa.b, arith::CmpFPredicate::OEQ, scale, isa.f32(0.0));
  return isa.select(isZero, isa.f32(1.0), scale);
}

// --- Setup tiles in shared memory ---

Point Emitter::pointOf(TileType type, Value number) {
  Point point;
  for (int64_t i = type.getRank() - 1; i >= 0; --i) {
    point[type.getAxes()[i]] = i == 0 ? number : isa.rem(number, type.getSizes()[i]);
    if (i > 0)
      number = isa.div(number, type.getSizes()[i]);
  }
  return point;
}

void Emitter::keepAll(ArrayRef<Value> wanted) {
  auto isKept = [&](Value operand) { return llvm::isa<TileType>(operand.getType()) && dependsOnKept(operand); };
  for (Value tile : wanted) {
    // What a tile reads is complete before.
    if (llvm::any_of(tile.getDefiningOp()->getOperands(), isKept))
      isa.syncThreads();
    keep(tile);
  }
  isa.syncThreads();
}

void Emitter::keep(Value tile) {
  auto type = cast<TileType>(tile.getType());
  int64_t count = type.getNumElements();
  int64_t offset = reserve(4 * count);
  auto keepElement = [&](Value number) {
    Value value = element(tile, pointOf(type, number));
    isa.store(value, isa.shared(isa.shared(sharedMemory, offset), isa.mul(number, 4)), 4);
  };
  // Straight code where it is short: loads of all elements are then in flight together. Beyond the end the last element
  // is computed again.
  constexpr int64_t largestRounds = 16;
  int64_t rounds = llvm::divideCeil(count, plan.threads);
  if (rounds <= largestRounds) {
    for (int64_t i = 0; i < rounds; ++i) {
      Value number = isa.add(thread, i * plan.threads);
      keepElement((i + 1) * plan.threads <= count ? number : isa.min(number, isa.i32(count - 1)));
    }
  } else {
    Value end = isa.i32(count), step = isa.i32(plan.threads);
    scf::ForOp::create(isa.b, thread, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
      Scope scope(*this);
      keepElement(number);
      scf::YieldOp::create(isa.b);
    });
  }
  kept[tile] = offset;
}

// --- Stores of single elements ---

void Emitter::storeElement(tile::StoreOp store, const Point &point, Value inside) {
  auto memoryType = cast<MemRefType>(store.getMemory().getType());
  Type type = memoryType.getElementType();
  for (auto [limited, limit] : llvm::zip(store.getLimited().getAsRange<StringAttr>(), store.getLimits())) {
    Value below = isa.less(point.lookup(limited), scalars.lookup(limit));
    inside = inside ? isa.both(inside, below) : below;
  }
  // What is only moved keeps its bits.
  Value value, exists;
  if (auto load = store.getValue().getDefiningOp<tile::LoadOp>(); load && load.getLimits().empty())
    value = loadStored(load, point, exists);
  if (!value)
    value = isa.narrow(element(store.getValue(), point), type);
  auto write = [&] {
    Value pointer = elementAddress(store, point);
    isa.store(value, pointer, type.getIntOrFloatBitWidth() / 8);
  };
  if (!inside)
    return write();
  scf::IfOp::create(isa.b, inside, [&](OpBuilder &, Location) {
    write();
    scf::YieldOp::create(isa.b);
  });
}

LogicalResult Emitter::emitElements(func::FuncOp function) {
  Scope scope(*this);
  kept.clear();
  SmallVector<tile::StoreOp> stores;
  llvm::SmallSetVector<Value, 8> wanted;
  for (Operation &op : function.getBody().front()) {
    if (auto store = dyn_cast<tile::StoreOp>(op)) {
      stores.push_back(store);
    } else if (auto quantize = dyn_cast<tile::QuantizeOp>(op)) {
      wanted.insert(quantize.getInput());
      wanted.insert(quantize.getScale());
    } else if (isKeptOp(&op)) {
      wanted.insert(op.getResult(0));
    } else if (llvm::isa<tile::TableRowOp>(op) ||
               (!llvm::isa<tile::TileDialect>(op.getDialect()) && !llvm::isa<func::ReturnOp>(op))) {
      if (failed(emitScalar(op)))
        return failure();
    }
  }
  keepAll(wanted.getArrayRef());
  for (auto [i, store] : llvm::enumerate(stores)) {
    // Results may stand where operands of earlier stores stood (merge in place).
    if (i > 0 && !plan.readsConstants)
      isa.syncThreads();
    TileType type = store.getValue().getType();
    Value end = isa.i32(type.getNumElements()), step = isa.i32(plan.threads);
    scf::ForOp::create(isa.b, thread, end, step, ValueRange(),
                       [&, store = store](OpBuilder &, Location, Value number, ValueRange) {
                         Scope inner(*this);
                         storeElement(store, pointOf(type, number), Value());
                         scf::YieldOp::create(isa.b);
                       });
  }
  isa.syncThreads();
  return status;
}
