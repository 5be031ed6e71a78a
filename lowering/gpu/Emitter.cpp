// SPDX-License-Identifier: Apache-2.0
//
// Single elements of tiles, and what threads know of themselves.

#include "lowering/gpu/Emitter.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

Emitter::Emitter(ImplicitLocOpBuilder &builder, Block *entry, const Plan &plan, Value sharedMemory)
    : isa(builder, entry), plan(plan), sharedMemory(sharedMemory), operandType(plan.operandType),
      reserved(pipelineOffset + pipelineBytes()) {
  elementScopes.emplace_back();
  fragmentScopes.emplace_back();
  tileScopes.emplace_back();
}

Emitter::Scope::Scope(Emitter &emitter) : emitter(emitter) {
  emitter.elementScopes.emplace_back();
  emitter.fragmentScopes.emplace_back();
  emitter.tileScopes.emplace_back();
}

Emitter::Scope::~Scope() {
  emitter.elementScopes.pop_back();
  emitter.fragmentScopes.pop_back();
  emitter.tileScopes.pop_back();
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

void Emitter::begin() {
  thread = isa.thread();
  lane = isa.bitAnd(thread, warpSize - 1);
  warp = isa.shiftRight(thread, 5);
  group = isa.div(warp, plan.warpsOfGroup());
  warpInGroup = isa.rem(warp, plan.warpsOfGroup());
  if (plan.groups == 1)
    group = isa.i32(0);
  laneGroup = isa.shiftRight(lane, 2);
  lanePair = isa.mul(isa.bitAnd(lane, 3), 2);
  for (int64_t half : {0, 1}) {
    row[half] = isa.add(isa.add(isa.mul(warpInGroup, rowsOfWarp), laneGroup), 8 * half);
    Value query = isa.div(row[half], plan.rows.pitch), head = isa.rem(row[half], plan.rows.pitch);
    rowInside[half] = isa.both(isa.less(query, isa.i32(plan.rows.queries)), isa.less(head, isa.i32(plan.rows.heads)));
    // Rows of padding compute what the last row does; nobody reads it.
    rowQuery[half] = plan.rows.queries == 1 ? isa.i32(0) : isa.min(query, isa.i32(plan.rows.queries - 1));
    rowHead[half] = plan.rows.heads == 1 ? isa.i32(0) : isa.min(head, isa.i32(plan.rows.heads - 1));
  }
  stage = phase = isa.i32(0);
  if (!plan.bulk)
    return;
  policy = isa.evictFirstPolicy();
  Value isFirst = isa.equals(thread, 0);
  scf::IfOp::create(isa.b, isFirst, [&](OpBuilder &, Location) {
    for (int64_t i = 0; i < plan.groups * plan.stages; ++i)
      isa.initBarrier(isa.shared(sharedMemory, 8 * i), 1);
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
                     .Case([&](arith::IndexCastOp) { return in(0); })
                     .Case([&](memref::LoadOp load) -> Value {
                       const Memory &memory = memories[load.getMemRef()];
                       if (memory.kind != Memory::Kind::global || load.getIndices().size() != 1)
                         return Value();
                       Value pointer = LLVM::GEPOp::create(isa.b, memory.pointer.getType(), isa.b.getI32Type(),
                                                           memory.pointer, ArrayRef<LLVM::GEPArg>{in(1)});
                       return isa.load(isa.b.getI32Type(), pointer, 4, /*invariant=*/true);
                     })
                     .Default([](Operation *) { return Value(); });
  if (!result)
    return op.emitOpError("expected integer arithmetic, or a load from a tensor of one dimension");
  scalars[op.getResult(0)] = result;
  return success();
}

// --- Elements ---

Point Emitter::rowPoint(int64_t half) {
  Point point;
  point[axis("n")] = rowQuery[half];
  point[axis("h")] = rowHead[half];
  return point;
}

Value Emitter::element(Value tile, const Point &point) {
  if (Value value = known.lookup(tile))
    return value;
  auto type = cast<TileType>(tile.getType());
  std::pair<void *, std::vector<void *>> key{tile.getAsOpaquePointer(), {}};
  Point own;
  for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    Value index = size == 1 ? isa.i32(0) : point.lookup(name);
    assert(index && "an axis without an index");
    own[name] = index;
    key.second.push_back(index.getAsOpaquePointer());
  }
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

Value Emitter::loadElement(tile::LoadOp load, const Point &point) {
  const Memory &memory = memories[load.getMemory()];
  auto memoryType = cast<MemRefType>(load.getMemory().getType());
  Type type = memoryType.getElementType();
  if (memory.kind == Memory::Kind::cached) {
    Value token = point.lookup(axis("m"));
    if (!stageRows || !token) {
      fail(load, "cached tensors are read in loops over blocks only");
      return isa.f32(0.0);
    }
    Value offset = isa.add(isa.mul(token, plan.rowBytes),
                           cachedOffset(memory, load.getAxes(), load.getIndices(), type, point, token));
    return isa.widen(isa.load(isa.storedType(type), isa.shared(stageRows, offset), type.getIntOrFloatBitWidth() / 8),
                     type);
  }
  Value inside;
  Value number = isa.i32(0);
  for (auto [dimension, name] : llvm::enumerate(load.getAxes().getAsRange<StringAttr>())) {
    Value index = scalars.lookup(load.getIndices()[dimension]);
    if (!name.empty()) {
      Value along = point.lookup(name);
      for (auto [limited, limit] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits())) {
        if (limited != name)
          continue;
        Value bound = scalars.lookup(limit);
        Value below = isa.less(along, bound);
        inside = inside ? isa.both(inside, below) : below;
        // Nothing beyond the limit is read: there the last element is.
        along = isa.max(isa.min(along, isa.sub(bound, isa.i32(1))), isa.i32(0));
      }
      index = isa.add(index, along);
    }
    int64_t size = memoryType.getShape()[dimension];
    number = dimension == 0 ? index : isa.add(isa.mul(number, size), index);
  }
  Type stored = isa.storedType(type);
  Value pointer =
      LLVM::GEPOp::create(isa.b, memory.pointer.getType(), stored, memory.pointer, ArrayRef<LLVM::GEPArg>{number});
  Value value = isa.widen(isa.load(stored, pointer, type.getIntOrFloatBitWidth() / 8, /*invariant=*/true), type);
  if (!inside)
    return value;
  return isa.select(inside, value, type.isInteger(32) ? isa.i32(0) : isa.f32(0.0));
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

/// A constant of the module: turns per position of each pair of features.
static Value frequencyTable(ImplicitLocOpBuilder &b, ModuleOp module, RopeAttr rope) {
  SmallVector<double> turns;
  for (double frequency : rope.getFrequencies())
    turns.push_back(frequency / (2 * std::numbers::pi));
  auto type = LLVM::LLVMArrayType::get(b.getF64Type(), turns.size());
  auto value = DenseElementsAttr::get(RankedTensorType::get(static_cast<int64_t>(turns.size()), b.getF64Type()),
                                      ArrayRef<double>(turns));
  constexpr unsigned constantSpace = 4;
  constexpr StringLiteral prefix = "tpa_frequencies";
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
    found = LLVM::GlobalOp::create(b, type, /*isConstant=*/true, LLVM::Linkage::Internal,
                                   (prefix + Twine(number)).str(), value, /*alignment=*/8, constantSpace);
  }
  return LLVM::AddressOfOp::create(b, found);
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

// --- Setup tiles in shared memory ---

void Emitter::keep(Value tile) {
  auto type = cast<TileType>(tile.getType());
  int64_t count = type.getNumElements();
  int64_t offset = reserve(4 * count);
  auto keepElement = [&](Value number) {
    Point point;
    Value rest = number;
    for (int64_t i = type.getRank() - 1; i >= 0; --i) {
      point[type.getAxes()[i]] = i == 0 ? rest : isa.rem(rest, type.getSizes()[i]);
      if (i > 0)
        rest = isa.div(rest, type.getSizes()[i]);
    }
    Value value = element(tile, point);
    isa.store(value, isa.shared(isa.shared(sharedMemory, offset), isa.mul(number, 4)), 4);
  };
  // Straight code where it is short: loads of all elements are then in flight together. Beyond the end the last element
  // is computed again.
  constexpr int64_t largestRounds = 16;
  int64_t rounds = llvm::divideCeil(count, plan.threads());
  if (rounds <= largestRounds) {
    for (int64_t i = 0; i < rounds; ++i) {
      Value number = isa.add(thread, i * plan.threads());
      keepElement((i + 1) * plan.threads() <= count ? number : isa.min(number, isa.i32(count - 1)));
    }
  } else {
    Value end = isa.i32(count), step = isa.i32(plan.threads());
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
  const Memory &memory = memories[store.getMemory()];
  auto memoryType = cast<MemRefType>(store.getMemory().getType());
  Type type = memoryType.getElementType();
  for (auto [limited, limit] : llvm::zip(store.getLimited().getAsRange<StringAttr>(), store.getLimits())) {
    Value below = isa.less(point.lookup(limited), scalars.lookup(limit));
    inside = inside ? isa.both(inside, below) : below;
  }
  Value value = isa.narrow(element(store.getValue(), point), type);
  auto write = [&] {
    Value number = isa.i32(0);
    for (auto [dimension, name] : llvm::enumerate(store.getAxes().getAsRange<StringAttr>())) {
      Value index = scalars.lookup(store.getIndices()[dimension]);
      if (!name.empty())
        index = isa.add(index, point.lookup(name));
      number = dimension == 0 ? index : isa.add(isa.mul(number, memoryType.getShape()[dimension]), index);
    }
    Value pointer = LLVM::GEPOp::create(isa.b, memory.pointer.getType(), isa.storedType(type), memory.pointer,
                                        ArrayRef<LLVM::GEPArg>{number});
    isa.store(value, pointer, type.getIntOrFloatBitWidth() / 8);
  };
  if (!inside)
    return write();
  scf::IfOp::create(isa.b, inside, [&](OpBuilder &, Location) {
    write();
    scf::YieldOp::create(isa.b);
  });
}
