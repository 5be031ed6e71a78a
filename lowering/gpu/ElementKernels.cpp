// SPDX-License-Identifier: Apache-2.0
//
// Kernels whose elements are computed one by one: append, import, export, merge of callers' states. Thread blocks take
// items in turn; the memory's bandwidth is the limit, so nothing more is done.

#include "lowering/gpu/KernelFrame.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

namespace {

constexpr int64_t threads = 128;

class ElementKernel : public KernelFrame {
public:
  explicit ElementKernel(func::FuncOp item) : KernelFrame(item) {}

  LogicalResult emit() {
    if (failed(readAttributes()))
      return failure();
    auto items = item->getAttrOfType<StringAttr>(itemsName).getValue();
    bool isRows = items == "rows", isCached = items == "cached_tokens";
    if (!isRows && !isCached && items != "new_tokens")
      return item.emitOpError() << itemsName << ": expected new_tokens, cached_tokens or rows, got " << items;
    // Results of a merge may stand where an operand does.
    plan.readsConstants = !isRows;
    Type i32 = b.getI32Type();
    SmallVector<Type> own = isRows     ? SmallVector<Type>{i32}
                            : isCached ? SmallVector<Type>{i32, i32, i32}
                                       : SmallVector<Type>{i32, i32};
    StringRef name = item.getSymName();
    name.consume_back("_item");
    SmallVector<Value> sizes = create(name.str(), threads, own);
    emitter->thread = emitter->isa.thread();
    bindTensors();
    LogicalResult result = success();
    if (isRows) {
      result = emitRows(sizes[0]);
    } else {
      emitter->wholeCache = cache;
      emitter->capacity = sizes[1];
      result = isCached ? emitCachedTokens(sizes[0], sizes[2]) : emitNewTokens(sizes[0]);
    }
    kernel->setAttr("tpac.shared_bytes", b.getI64IntegerAttr(emitter->sharedBytes()));
    return result;
  }

private:
  /// Items [begin, end), which the thread blocks take in turn.
  LogicalResult forItems(Value begin, Value end, llvm::function_ref<LogicalResult(Value)> body) {
    Isa &isa = emitter->isa;
    LogicalResult result = success();
    Value first = isa.add(begin, isa.block()), step = isa.blocks();
    scf::ForOp::create(b, first, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
      result = body(number);
      scf::YieldOp::create(b);
    });
    return result;
  }

  void bindIndices(ArrayRef<Value> values) {
    for (auto [argument, value] : llvm::zip_equal(item.getArguments().drop_front(memories), values))
      emitter->bind(argument, value);
  }

  /// The request of row `token` of the call: the last one that starts at or before it.
  Value requestOf(Value token, Value batch) {
    Isa &isa = emitter->isa;
    Value zero = isa.i32(0);
    SmallVector<Type> types(2, b.getI32Type());
    auto search = scf::WhileOp::create(
        b, types, ValueRange{zero, batch},
        [&](OpBuilder &, Location, ValueRange range) {
          scf::ConditionOp::create(b, isa.less(isa.add(range[0], 1), range[1]), range);
        },
        [&](OpBuilder &, Location, ValueRange range) {
          Value middle = isa.shiftRight(isa.add(range[0], range[1]), 1);
          Value starts = isa.compare(arith::CmpIPredicate::sle, readInt("token_start", middle), token);
          scf::YieldOp::create(b,
                               ValueRange{isa.select(starts, middle, range[0]), isa.select(starts, range[1], middle)});
        });
    return search.getResult(0);
  }

  LogicalResult emitNewTokens(Value batch) {
    Value begin = readInt("token_start", emitter->isa.i32(0)), end = readInt("token_start", batch);
    return forItems(begin, end, [&](Value token) {
      bindIndices({requestOf(token, batch), token});
      return emitter->emitElements(item);
    });
  }

  /// Each request's first `longest` tokens, as far as it has so many.
  LogicalResult emitCachedTokens(Value batch, Value longest) {
    Isa &isa = emitter->isa;
    return forItems(isa.i32(0), isa.mul(batch, longest), [&](Value number) {
      Value request = arith::DivUIOp::create(b, number, longest);
      Value token = isa.sub(number, isa.mul(request, longest));
      LogicalResult result = success();
      scf::IfOp::create(b, isa.less(token, readInt("lengths", request)), [&](OpBuilder &, Location) {
        bindIndices({request, token});
        result = emitter->emitElements(item);
        scf::YieldOp::create(b);
      });
      return result;
    });
  }

  LogicalResult emitRows(Value rows) {
    Isa &isa = emitter->isa;
    int64_t heads = cast<MemRefType>(item.getArgumentTypes().front()).getDimSize(1);
    int64_t tiles = heads / schedule.getHeads();
    return forItems(isa.i32(0), isa.mul(rows, tiles), [&](Value number) {
      bindIndices({isa.div(number, tiles), isa.mul(isa.rem(number, tiles), schedule.getHeads())});
      return emitter->emitElements(item);
    });
  }
};

} // namespace

LogicalResult mlir::tpa::gpu::emitElementKernel(func::FuncOp item) { return ElementKernel(item).emit(); }
