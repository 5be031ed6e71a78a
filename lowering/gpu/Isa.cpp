// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/Isa.h"

#include "lowering/reference/Elements.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::tpa::gpu;

// --- Numbers ---

Value Isa::i32(int64_t value) {
  // One op per number, so that equal indices are equal values.
  Value &known = integers[value];
  if (!known) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(entry);
    known = arith::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
  }
  return known;
}
Value Isa::f32(double value) { return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(value))); }

std::optional<int64_t> Isa::constantOf(Value value) {
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.getSExtValue();
  return std::nullopt;
}

Value Isa::add(Value x, Value y) {
  auto cx = constantOf(x), cy = constantOf(y);
  if (cx && cy)
    return i32(*cx + *cy);
  if (cx == 0)
    return y;
  if (cy == 0)
    return x;
  return arith::AddIOp::create(b, x, y);
}

Value Isa::sub(Value x, Value y) {
  auto cx = constantOf(x), cy = constantOf(y);
  if (cx && cy)
    return i32(*cx - *cy);
  return cy == 0 ? x : Value(arith::SubIOp::create(b, x, y));
}

Value Isa::mul(Value x, Value y) {
  auto cx = constantOf(x), cy = constantOf(y);
  if (cx && cy)
    return i32(*cx * *cy);
  if (cx == 0 || cy == 0)
    return i32(0);
  if (cx == 1)
    return y;
  return cy == 1 ? x : Value(arith::MulIOp::create(b, x, y));
}

Value Isa::div(Value x, int64_t y) {
  if (auto cx = constantOf(x))
    return i32(*cx / y);
  return y == 1 ? x : Value(arith::DivUIOp::create(b, x, i32(y)));
}

Value Isa::rem(Value x, int64_t y) {
  if (auto cx = constantOf(x))
    return i32(*cx % y);
  return y == 1 ? i32(0) : Value(arith::RemUIOp::create(b, x, i32(y)));
}

Value Isa::bitAnd(Value x, int64_t mask) { return arith::AndIOp::create(b, x, i32(mask)); }
Value Isa::bitXor(Value x, Value y) { return arith::XOrIOp::create(b, x, y); }
Value Isa::shiftRight(Value x, int64_t bits) { return arith::ShRUIOp::create(b, x, i32(bits)); }
Value Isa::min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
Value Isa::max(Value x, Value y) { return arith::MaxSIOp::create(b, x, y); }
Value Isa::compare(arith::CmpIPredicate predicate, Value x, Value y) {
  return arith::CmpIOp::create(b, predicate, x, y);
}
Value Isa::both(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
Value Isa::negate(Value condition) {
  Value yes = arith::ConstantOp::create(b, b.getBoolAttr(true));
  return arith::XOrIOp::create(b, condition, yes);
}
Value Isa::trailingZeros(Value x) { return LLVM::CountTrailingZerosOp::create(b, b.getI32Type(), x, false); }
Value Isa::select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, condition, x, y); }
Value Isa::extend(Value x) { return arith::ExtSIOp::create(b, b.getI64Type(), x); }

Value Isa::fadd(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
Value Isa::fsub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
Value Isa::fmul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
Value Isa::fdiv(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
Value Isa::fma(Value x, Value y, Value z) { return LLVM::FMAOp::create(b, x, y, z); }
Value Isa::fmax(Value x, Value y) { return intrinsic(b.getF32Type(), "llvm.nvvm.fmax.ftz.f", {x, y}); }
Value Isa::fabs(Value x) { return intrinsic(b.getF32Type(), "llvm.fabs", x); }
Value Isa::exp2(Value x) { return intrinsic(b.getF32Type(), "llvm.nvvm.ex2.approx.ftz", x); }
Value Isa::log2(Value x) { return intrinsic(b.getF32Type(), "llvm.nvvm.lg2.approx.ftz.f", x); }
Value Isa::sine(Value x) { return intrinsic(b.getF32Type(), "llvm.nvvm.sin.approx.ftz.f", x); }
Value Isa::cosine(Value x) { return intrinsic(b.getF32Type(), "llvm.nvvm.cos.approx.ftz.f", x); }

// --- Elements ---

Type Isa::storedType(Type type) {
  if (isa<Float8E4M3FNType>(type))
    return b.getI8Type();
  return isa<BFloat16Type>(type) ? Type(b.getI16Type()) : type;
}

Value Isa::widen(Value value, Type type) {
  if (type.isF32() || type.isInteger(32))
    return value;
  if (isa<BFloat16Type>(type)) {
    Value wide = arith::ExtUIOp::create(b, b.getI32Type(), value);
    return arith::BitcastOp::create(b, b.getF32Type(), arith::ShLIOp::create(b, wide, i32(16)));
  }
  if (type.isF16())
    return arith::ExtFOp::create(b, b.getF32Type(), value);
  if (isa<Float8E4M3FNType>(type)) {
    // Through bf16, which keeps the subnormal numbers that f32 arithmetic flushes here.
    Value packed = expand(arith::ExtUIOp::create(b, b.getI32Type(), value), type).first;
    return arith::BitcastOp::create(b, b.getF32Type(), arith::ShLIOp::create(b, packed, i32(16)));
  }
  return convertElement(b, b.getLoc(), value, b.getF32Type());
}

Value Isa::narrow(Value value, Type type) {
  if (value.getType() == type)
    return value;
  if (isa<BFloat16Type>(type)) // LLVM makes six integer operations of arith.truncf where the result is widened again.
    return arith::BitcastOp::create(b, b.getI16Type(), intrinsic(type, "llvm.nvvm.f2bf16.rn", value));
  if (type.isF16())
    return arith::TruncFOp::create(b, type, value);
  Value narrow = quantizeElement(b, b.getLoc(), value, type);
  if (!isa<Float8E4M3FNType>(type))
    return narrow;
  // Below 2^-6 numbers are multiples of 2^-9. There the way of all others has f32 subnormals, which are flushed here;
  // 2^23 rounds to whole multiples, to even.
  Value magnitude = fabs(value);
  Value isSmall = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, magnitude, f32(0x1p-6));
  auto bits = [&](Value x) -> Value { return arith::BitcastOp::create(b, b.getI32Type(), x); };
  Value multiple = bitAnd(bits(fma(magnitude, f32(0x1p9), f32(0x1p23))), 0xf);
  Value sign = bitAnd(shiftRight(bits(value), 24), 0x80);
  Value small = arith::TruncIOp::create(b, b.getI8Type(), arith::OrIOp::create(b, multiple, sign));
  return select(isSmall, small, arith::BitcastOp::create(b, b.getI8Type(), narrow));
}

Value Isa::pack(Value low, Value high, Type type) {
  Value pair = LLVM::PoisonOp::create(b, VectorType::get({2}, b.getF32Type()));
  pair = LLVM::InsertElementOp::create(b, pair, low, i32(0));
  pair = LLVM::InsertElementOp::create(b, pair, high, i32(1));
  Value narrow = LLVM::FPTruncOp::create(b, VectorType::get({2}, type), pair);
  return LLVM::BitcastOp::create(b, b.getI32Type(), narrow);
}

std::pair<Value, Value> Isa::unpack(Value packed, Type type) {
  if (isa<BFloat16Type>(type)) {
    Value low = arith::ShLIOp::create(b, packed, i32(16));
    Value high = bitAnd(packed, static_cast<int32_t>(0xffff0000));
    return {arith::BitcastOp::create(b, b.getF32Type(), low), arith::BitcastOp::create(b, b.getF32Type(), high)};
  }
  Value pair = LLVM::BitcastOp::create(b, VectorType::get({2}, type), packed);
  Value wide = LLVM::FPExtOp::create(b, VectorType::get({2}, b.getF32Type()), pair);
  return {LLVM::ExtractElementOp::create(b, wide, i32(0)), LLVM::ExtractElementOp::create(b, wide, i32(1))};
}

Value Isa::multiplyPairs(Value x, Value y, Type type) {
  // One instruction on all chips: before sm_90 bf16 has fma only.
  bool isBf16 = mlir::isa<BFloat16Type>(type);
  return assembly(b.getI32Type(), isBf16 ? "fma.rn.bf16x2 $0, $1, $2, $3;" : "fma.rn.f16x2 $0, $1, $2, $3;", "=r,r,r,r",
                  {x, y, i32(static_cast<int32_t>(0x80008000))}, /*hasEffect=*/false);
}

Value Isa::selectHalves(Value x, Value y, bool upper) {
  return intrinsic(b.getI32Type(), "llvm.nvvm.prmt", {x, y, i32(upper ? 0x7632 : 0x5410)});
}

std::pair<Value, Value> Isa::expand(Value packed, Type type) {
  auto either = [&](Value x, Value y) -> Value { return arith::OrIOp::create(b, x, y); };
  auto shiftLeft = [&](Value x, int64_t count) -> Value { return arith::ShLIOp::create(b, x, i32(count)); };
  // Pairs of bf16 in 32 bits. One instruction on all chips, which keeps subnormal numbers: what LLVM makes of its own
  // fma, or of the intrinsic where a factor is 1 or a summand 0, goes through f32 before sm_90.
  auto multiplyAdd = [&](Value x, uint32_t y, Value z) {
    return assembly(b.getI32Type(), "fma.rn.bf16x2 $0, $1, $2, $3;", "=r,r,r,r", {x, i32(static_cast<int32_t>(y)), z},
                    /*hasEffect=*/false);
  };
  constexpr uint32_t one = 0x3f803f80, two120 = 0x7b807b80, minusZero = 0x80008000;
  if (isa<Float8E4M3FNType>(type)) {
    // Exponent and mantissa in place, the exponent's bias is 120 too small; subnormal numbers are, too.
    auto scaled = [&](Value magnitude, Value sign) {
      Value value = either(bitAnd(magnitude, 0x07f007f0), bitAnd(sign, static_cast<int32_t>(minusZero)));
      return multiplyAdd(value, two120, i32(static_cast<int32_t>(minusZero)));
    };
    return {scaled(shiftLeft(packed, 4), shiftLeft(packed, 8)), scaled(shiftRight(packed, 4), packed)};
  }
  // The lower 7 bits x as 128 + x, less 128, or less 256 where the number is negative.
  auto converted = [&](Value bytes) {
    Value low = either(bitAnd(bytes, 0x007f007f), i32(0x43004300));
    Value origin = either(bitAnd(bytes, 0x00800080), i32(static_cast<int32_t>(0xc300c300)));
    return multiplyAdd(low, one, origin);
  };
  return {converted(packed), converted(shiftRight(packed, 8))};
}

// --- Who runs ---

Value Isa::intrinsic(Type result, StringRef name, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name), operands).getResult(0);
}

void Isa::effect(StringRef name, ValueRange operands) {
  LLVM::CallIntrinsicOp::create(b, b.getStringAttr(name), operands);
}

Value Isa::thread() { return intrinsic(b.getI32Type(), "llvm.nvvm.read.ptx.sreg.tid.x", {}); }
Value Isa::block() { return intrinsic(b.getI32Type(), "llvm.nvvm.read.ptx.sreg.ctaid.x", {}); }
Value Isa::blocks() { return intrinsic(b.getI32Type(), "llvm.nvvm.read.ptx.sreg.nctaid.x", {}); }

// --- Memory ---

Value Isa::global(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(b, pointer.getType(), b.getI8Type(), pointer, ArrayRef<LLVM::GEPArg>{bytes});
}

Value Isa::shared(Value pointer, Value bytes) {
  if (auto constant = constantOf(bytes))
    return shared(pointer, *constant);
  return global(pointer, bytes);
}

Value Isa::shared(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  return LLVM::GEPOp::create(b, pointer.getType(), b.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)});
}

Value Isa::load(Type type, Value pointer, int64_t alignment, bool invariant, bool isVolatile) {
  auto load = LLVM::LoadOp::create(b, type, pointer, alignment, isVolatile);
  load.setInvariant(invariant);
  return load;
}

void Isa::store(Value value, Value pointer, int64_t alignment, bool isVolatile) {
  LLVM::StoreOp::create(b, value, pointer, alignment, isVolatile);
}

// --- Warps ---

static SmallVector<Value> fields(ImplicitLocOpBuilder &b, Value structure) {
  SmallVector<Value> values;
  for (size_t i = 0; i < cast<LLVM::LLVMStructType>(structure.getType()).getBody().size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(b, structure, i));
  return values;
}

SmallVector<Value> Isa::loadMatrices(Value pointer, bool transposed) {
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, b.getI32Type()));
  return fields(b, intrinsic(type,
                             transposed ? "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3"
                                        : "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3",
                             pointer));
}

Value Isa::transposeMatrix(Value pair) {
  return assembly(b.getI32Type(), "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r", pair, /*hasEffect=*/false);
}

SmallVector<Value> Isa::multiply(ArrayRef<Value> a, Value b0, Value b1, ArrayRef<Value> c, Type type) {
  ++products;
  auto result = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, b.getF32Type()));
  SmallVector<Value> operands(a);
  operands.append({b0, b1});
  bool isBf16 = isa<BFloat16Type>(type);
  if (!isBf16)
    for (Value &operand : operands)
      operand = LLVM::BitcastOp::create(b, VectorType::get({2}, type), operand);
  llvm::append_range(operands, c);
  return fields(b, intrinsic(result,
                             isBf16 ? "llvm.nvvm.mma.m16n8k16.row.col.bf16" : "llvm.nvvm.mma.m16n8k16.row.col.f32.f32",
                             operands));
}

static StringRef shuffleName(StringRef kind, Type type) {
  bool isFloat = type.isF32();
  if (kind == "bfly")
    return isFloat ? "llvm.nvvm.shfl.sync.bfly.f32" : "llvm.nvvm.shfl.sync.bfly.i32";
  if (kind == "up")
    return isFloat ? "llvm.nvvm.shfl.sync.up.f32" : "llvm.nvvm.shfl.sync.up.i32";
  return isFloat ? "llvm.nvvm.shfl.sync.idx.f32" : "llvm.nvvm.shfl.sync.idx.i32";
}

Value Isa::exchange(Value value, int64_t laneMask) {
  Type type = value.getType();
  return intrinsic(type, shuffleName("bfly", type), {i32(-1), value, i32(laneMask), i32(31)});
}

Value Isa::fromLaneBelow(Value value, int64_t distance) {
  Type type = value.getType();
  return intrinsic(type, shuffleName("up", type), {i32(-1), value, i32(distance), i32(0)});
}

Value Isa::fromLane(Value value, Value lane) {
  Type type = value.getType();
  return intrinsic(type, shuffleName("idx", type), {i32(-1), value, lane, i32(31)});
}

Value Isa::ballot(Value condition) {
  return intrinsic(b.getI32Type(), "llvm.nvvm.vote.ballot.sync", {i32(-1), condition});
}

Value Isa::any(Value condition) { return intrinsic(b.getI1Type(), "llvm.nvvm.vote.any.sync", {i32(-1), condition}); }

// --- Barriers and copies ---

Value Isa::assembly(Type result, StringRef text, StringRef constraints, ValueRange operands, bool hasEffect) {
  std::string all = constraints.str();
  if (hasEffect)
    all += all.empty() ? "~{memory}" : ",~{memory}";
  auto op = LLVM::InlineAsmOp::create(b, result ? TypeRange(result) : TypeRange(), operands, text, all, hasEffect,
                                      /*is_align_stack=*/false, LLVM::TailCallKind::None, LLVM::AsmDialectAttr(),
                                      ArrayAttr());
  return result ? op.getResult(0) : Value();
}

Value Isa::fresh(Value x) {
  bool isWide = x.getType().isInteger(64);
  return assembly(x.getType(), isWide ? "mov.b64 $0, $1;" : "mov.b32 $0, $1;", isWide ? "=l,l" : "=r,r", x);
}

Value Isa::freshThread() { return assembly(b.getI32Type(), "mov.u32 $0, %tid.x;", "=r", {}); }

void Isa::syncThreads() { effect("llvm.nvvm.barrier.cta.sync.aligned.all", i32(0)); }
void Isa::syncNamed(Value id, int64_t threads) {
  effect("llvm.nvvm.barrier.cta.sync.aligned.count", {id, i32(threads)});
}
void Isa::syncWarp() { effect("llvm.nvvm.bar.warp.sync", i32(-1)); }

void Isa::copy16(Value sharedPointer, Value globalPointer) {
  effect("llvm.nvvm.cp.async.cg.shared.global.16", {sharedPointer, globalPointer});
}
void Isa::commitCopies() { effect("llvm.nvvm.cp.async.commit.group", {}); }
void Isa::waitCopies(int64_t pending) { assembly({}, "cp.async.wait_group " + std::to_string(pending) + ";", "", {}); }

void Isa::initBarrier(Value sharedPointer, int64_t arrivals) {
  assembly({}, "mbarrier.init.shared.b64 [$0], $1;", "l,r", {sharedPointer, i32(arrivals)});
}
void Isa::fenceBarrierInit() { assembly({}, "fence.mbarrier_init.release.cluster;", "", {}); }
void Isa::fenceAsync() { assembly({}, "fence.proxy.async.shared::cta;", "", {}); }
void Isa::expectBytes(Value barrier, Value bytes) {
  assembly({}, "mbarrier.arrive.expect_tx.shared.b64 _, [$0], $1;", "l,r", {barrier, bytes});
}
void Isa::arrive(Value barrier) { assembly({}, "mbarrier.arrive.shared.b64 _, [$0];", "l", barrier); }
void Isa::waitBarrier(Value barrier, Value parity) {
  assembly({},
           "{\n.reg .pred p;\nWAIT_${:uid}:\nmbarrier.try_wait.parity.shared.b64 p, [$0], $1;\n@!p bra "
           "WAIT_${:uid};\n}",
           "l,r", {barrier, parity});
}
void Isa::arriveAndWait(Value barrier) {
  assembly({},
           "{\n.reg .pred p;\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [$0];\nWAIT_${:uid}:\n"
           "mbarrier.try_wait.shared.b64 p, [$0], state;\n@!p bra WAIT_${:uid};\n}",
           "l", barrier);
}
Value Isa::evictFirstPolicy() {
  return assembly(b.getI64Type(), "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", "=l", {}, false);
}
void Isa::copyBulk(Value sharedPointer, Value globalPointer, Value bytes, Value barrier, Value policy) {
  assembly({},
           "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1], $2, [$3], $4;",
           "l,l,r,l,l", {sharedPointer, globalPointer, bytes, barrier, policy});
}
void Isa::launchDependents() { assembly({}, "griddepcontrol.launch_dependents;", "", {}); }
void Isa::waitForPrimary() { assembly({}, "griddepcontrol.wait;", "", {}); }
