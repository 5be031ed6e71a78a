// SPDX-License-Identifier: Apache-2.0
//
// Instructions of NVIDIA GPUs as functions that emit them: 32-bit index arithmetic, shared memory, tensor cores, copies
// and barriers. Knows nothing of tiles.

#ifndef TPAC_LOWERING_GPU_ISA_H
#define TPAC_LOWERING_GPU_ISA_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <functional>
#include <optional>

namespace mlir::tpa::gpu {

class Isa {
public:
  Isa(ImplicitLocOpBuilder &builder, Block *entry) : b(builder), entry(entry) {}

  ImplicitLocOpBuilder &b;
  /// Of the function; where constants stand.
  Block *entry;
  /// Calls of `multiply` so far.
  int64_t products = 0;

  // --- Numbers. Integers are i32 where nothing else is said.

  Value i32(int64_t value);
  Value f32(double value);
  static std::optional<int64_t> constantOf(Value value);
  Value add(Value x, Value y);
  Value add(Value x, int64_t y) { return y == 0 ? x : add(x, i32(y)); }
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value mul(Value x, int64_t y) { return mul(x, i32(y)); }
  /// Of numbers that are not negative.
  Value div(Value x, int64_t y);
  Value rem(Value x, int64_t y);
  Value ceilDiv(Value x, int64_t y) { return div(add(x, y - 1), y); }
  Value bitAnd(Value x, int64_t mask);
  Value bitXor(Value x, Value y);
  Value shiftRight(Value x, int64_t bits);
  Value min(Value x, Value y);
  Value max(Value x, Value y);
  Value compare(arith::CmpIPredicate predicate, Value x, Value y);
  Value less(Value x, Value y) { return compare(arith::CmpIPredicate::slt, x, y); }
  Value equals(Value x, int64_t y) { return compare(arith::CmpIPredicate::eq, x, i32(y)); }
  Value both(Value x, Value y);
  Value negate(Value condition);
  Value trailingZeros(Value x);
  Value select(Value condition, Value x, Value y);
  Value extend(Value x);
  /// An i64 or i32 that the compiler takes for another one each time.
  Value fresh(Value x);

  Value fadd(Value x, Value y);
  Value fsub(Value x, Value y);
  Value fmul(Value x, Value y);
  Value fdiv(Value x, Value y);
  Value fma(Value x, Value y, Value z);
  Value fmax(Value x, Value y);
  Value fabs(Value x);
  Value exp2(Value x);
  Value log2(Value x);
  Value sine(Value x);
  Value cosine(Value x);

  /// `type` (bf16, f16, i8, f8E4M3FN, f32, i32) as loaded to f32 or i32, and f32 rounded to `type`, as stored.
  Value widen(Value value, Type type);
  Value narrow(Value value, Type type);
  /// How `type` is loaded and stored.
  Type storedType(Type type);
  /// Two f32 rounded to `type` (bf16, f16) in one i32, `low` in its low half; and back.
  Value pack(Value low, Value high, Type type);
  std::pair<Value, Value> unpack(Value packed, Type type);
  /// Products of two pairs.
  Value multiplyPairs(Value x, Value y, Type type);
  /// The lower or the upper halves of two i32, `x`'s in the low half.
  Value selectHalves(Value x, Value y, bool upper);

  /// Four 8-bit elements of `type` (i8, f8E4M3FN) in one i32 as bf16, exactly: the first and third, packed, and the
  /// second and fourth.
  std::pair<Value, Value> expand(Value packed, Type type);

  // --- Who runs

  Value thread();
  /// The same, as a number that the compiler takes for another one each time: what follows from it is not kept in
  /// registers across loops.
  Value freshThread();
  Value block();
  Value blocks();

  // --- Memory

  Value global(Value pointer, Value bytes);
  Value shared(Value pointer, Value bytes);
  Value shared(Value pointer, int64_t bytes);
  Value load(Type type, Value pointer, int64_t alignment, bool invariant = false, bool isVolatile = false);
  void store(Value value, Value pointer, int64_t alignment, bool isVolatile = false);

  // --- Warps

  /// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
  SmallVector<Value> loadMatrices(Value pointer, bool transposed);
  /// The transposed one of an 8x8 matrix of 16-bit elements, of which lane l has, and gets, elements 2 (l % 4) and the
  /// next of row l / 4.
  Value transposeMatrix(Value pair);
  /// D = A (16x16, row-major) * B (16x8) + C, operands of `type` (bf16, f16) packed in pairs.
  SmallVector<Value> multiply(ArrayRef<Value> a, Value b0, Value b1, ArrayRef<Value> c, Type type);
  /// f32 or i32 of lane (own ^ laneMask), (own - distance), `lane`.
  Value exchange(Value value, int64_t laneMask);
  Value fromLaneBelow(Value value, int64_t distance);
  Value fromLane(Value value, Value lane);
  Value ballot(Value condition);
  Value any(Value condition);

  // --- Barriers and copies

  void syncThreads();
  /// The `threads` threads that call it with one `id`, 1 to 15.
  void syncNamed(Value id, int64_t threads);
  void syncWarp();
  void copy16(Value sharedPointer, Value globalPointer);
  void commitCopies();
  void waitCopies(int64_t pending);
  void initBarrier(Value sharedPointer, int64_t arrivals);
  void fenceBarrierInit();
  /// Generic writes to shared memory before this are seen by bulk copies after it.
  void fenceAsync();
  void expectBytes(Value barrier, Value bytes);
  /// One arrival; what the thread read or wrote in shared memory before is done for who waits.
  void arrive(Value barrier);
  void waitBarrier(Value barrier, Value parity);
  /// One arrival, and waits until all of the phase have arrived.
  void arriveAndWait(Value barrier);
  Value evictFirstPolicy();
  void copyBulk(Value sharedPointer, Value globalPointer, Value bytes, Value barrier, Value policy);
  void launchDependents();
  void waitForPrimary();

private:
  llvm::DenseMap<int64_t, Value> integers;
  Value intrinsic(Type result, StringRef name, ValueRange operands);
  void effect(StringRef name, ValueRange operands);
  Value assembly(Type result, StringRef text, StringRef constraints, ValueRange operands, bool hasEffect = true);
};

/// The shared memory of all kernels of a module: an external array, whose size the launch gives.
inline constexpr StringLiteral sharedMemoryName = "tpa_shared";

} // namespace mlir::tpa::gpu

#endif // TPAC_LOWERING_GPU_ISA_H
