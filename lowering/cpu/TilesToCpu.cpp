// SPDX-License-Identifier: Apache-2.0
//
// tpa-tiles-to-cpu: which buffer holds which tile, and when. How an op is computed from buffers into buffers is the
// Emitter's business.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/Passes.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::tpa {
#define GEN_PASS_DEF_TILESTOCPU
#include "lowering/cpu/CpuPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

namespace {

bool isTile(Value value) { return isa<TileType>(value.getType()); }

/// Lowers one function. Blocks are walked in order; a buffer goes back into the pool after the last use of its tile, so
/// a loop's body takes what is free before the loop.
class Lowering {
public:
  Lowering(func::FuncOp function, int64_t lanes, int64_t registers, bool amx)
      : function(function), b(function.getLoc(), function.getContext()),
        emitter(
            b, lanes, registers, [this](TileType type) { return acquire(type); },
            [this](const Tile &tile) { give(tile.memory); }),
        amx(amx) {}

  LogicalResult run() {
    if (failed(lower(function.getBody().front())))
      return failure();
    // Tile ops have no effect any more; loops and branches lose the tiles that they carried, innermost first.
    for (Operation *op : tileOps)
      op->dropAllReferences();
    for (Operation *op : structured)
      stripTiles(op);
    for (Operation *op : llvm::reverse(tileOps))
      op->erase();
    for (Operation *op : placeholders)
      op->erase();
    return success();
  }

private:
  // --- Buffers
  // --------------------------------------------------------------------------------------------------------

  Tile acquire(TileType type) {
    MemRefType memory = emitter.bufferType(type);
    SmallVector<Value> &free = pool[memory];
    if (!free.empty())
      return {free.pop_back_val(), type};
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function.getBody().front());
    return {memref::AllocaOp::create(b, memory, b.getI64IntegerAttr(64)), type};
  }

  void give(Value memory) {
    if (!carried.contains(memory))
      pool[cast<MemRefType>(memory.getType())].push_back(memory);
  }

  Tile bufferOf(Value value) { return {buffers.lookup(value), cast<TileType>(value.getType())}; }

  /// The op of `value`'s block in which it is last used; null where it is never used.
  static Operation *lastUser(Value value) {
    Operation *last = nullptr;
    for (Operation *user : value.getUsers()) {
      Operation *ancestor = value.getParentBlock()->findAncestorOpInBlock(*user);
      if (!last || last->isBeforeInBlock(ancestor))
        last = ancestor;
    }
    return last;
  }

  /// Whether `operand` is its value's only use in `op` and after it, so that its buffer may be written over.
  static bool diesHere(OpOperand &operand, Operation *op) {
    Value value = operand.get();
    if (value.getParentBlock() != op->getBlock() || lastUser(value) != op)
      return false;
    return llvm::count_if(value.getUses(), [&](OpOperand &use) { return op->isAncestor(use.getOwner()); }) == 1;
  }

  /// A buffer for `result`: that of the first of `candidates` (operand numbers) that dies and has the result's layout,
  /// else a new one.
  Tile place(Value result, ArrayRef<unsigned> candidates) {
    auto type = cast<TileType>(result.getType());
    Operation *op = result.getDefiningOp();
    for (unsigned candidate : candidates) {
      OpOperand &operand = op->getOpOperand(candidate);
      auto input = cast<TileType>(operand.get().getType());
      if (input.getAxes() == type.getAxes() && emitter.bufferType(input) == emitter.bufferType(type) &&
          diesHere(operand, op)) {
        buffers[result] = buffers.lookup(operand.get());
        return bufferOf(result);
      }
    }
    Tile tile = acquire(type);
    buffers[result] = tile.memory;
    return tile;
  }

  void copy(const Tile &from, const Tile &to) {
    if (from.memory != to.memory)
      emitter.convert(from, to);
  }

  // --- Ops
  // --------------------------------------------------------------------------------------------------------------

  LogicalResult lower(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      b.setLoc(op.getLoc());
      b.setInsertionPoint(&op);
      if (isa<tile::TileDialect>(op.getDialect())) {
        emit(&op);
        tileOps.push_back(&op);
      } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
        if (failed(lowerLoop(loop)))
          return failure();
      } else if (auto conditional = dyn_cast<scf::IfOp>(op)) {
        if (failed(lowerIf(conditional)))
          return failure();
      } else if (!isa<scf::YieldOp>(op) && llvm::any_of(op.getOperands(), isTile)) {
        return op.emitOpError() << "expected tiles in tile ops, scf.for and scf.if only";
      } else {
        for (Region &region : op.getRegions())
          for (Block &nested : region)
            if (failed(lower(nested)))
              return failure();
      }
      releaseAfter(&op);
    }
    return success();
  }

  /// Gives back the buffers of tiles that end with `op`.
  void releaseAfter(Operation *op) {
    llvm::SmallSetVector<Value, 4> dying;
    op->walk([&](Operation *user) {
      for (Value operand : user->getOperands())
        if (isTile(operand) && operand.getParentBlock() == op->getBlock() && lastUser(operand) == op)
          dying.insert(operand);
    });
    for (Value result : op->getResults())
      if (isTile(result) && result.use_empty())
        dying.insert(result);
    // A result may have taken over an operand's buffer.
    llvm::SmallDenseSet<Value> kept;
    for (Value result : op->getResults())
      if (isTile(result) && !result.use_empty())
        kept.insert(buffers.lookup(result));
    llvm::SmallSetVector<Value, 4> memories;
    for (Value value : dying)
      if (Value memory = buffers.lookup(value); memory && !kept.contains(memory))
        memories.insert(memory);
    for (Value memory : memories)
      give(memory);
  }

  void emit(Operation *op) {
    using namespace tile;
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](LoadOp load) { emitter.load(load, place(load.getResult(), {})); })
        .Case([&](StoreOp store) { emitter.store(store, bufferOf(store.getValue())); })
        .Case([&](FillOp fill) { emitter.fill(fill.getValue().convertToDouble(), place(fill.getResult(), {})); })
        .Case(
            [&](ConvertOp convert) { emitter.convert(bufferOf(convert.getInput()), place(convert.getResult(), {0})); })
        .Case([&](SplitOp split) {
          Tile low = place(split.getLow(), {});
          emitter.split(bufferOf(split.getInput()), place(split.getHigh(), {0}), low);
        })
        .Case([&](MulOp mul) {
          emitter.multiply(bufferOf(mul.getLhs()), bufferOf(mul.getRhs()), place(mul.getResult(), {0, 1}));
        })
        .Case([&](AddOp add) {
          emitter.add(bufferOf(add.getLhs()), bufferOf(add.getRhs()), place(add.getResult(), {0, 1}));
        })
        .Case([&](ConstantMulOp mul) {
          emitter.constantMultiply(bufferOf(mul.getInput()), mul.getFactor().convertToDouble(),
                                   place(mul.getResult(), {0}));
        })
        .Case([&](DotOp dot) {
          std::optional<Tile> accumulator;
          SmallVector<unsigned> candidates;
          if (dot.getAccumulator()) {
            accumulator = bufferOf(dot.getAccumulator());
            candidates.push_back(2);
          }
          emitter.dot(bufferOf(dot.getLhs()), bufferOf(dot.getRhs()), accumulator, place(dot.getResult(), candidates));
        })
        .Case([&](OuterOp outer) {
          emitter.outer(outer, bufferOf(outer.getLhs()), bufferOf(outer.getRhs()), place(outer.getResult(), {}));
        })
        .Case([&](SliceOp slice) { emitter.slice(slice, bufferOf(slice.getInput()), place(slice.getResult(), {})); })
        .Case([&](RopeOp rope) {
          emitter.rope(rope, bufferOf(rope.getInput()), bufferOf(rope.getPositions()), place(rope.getResult(), {0}));
        })
        .Case([&](HeadFunctionOp head) {
          emitter.headFunction(head.getFunction(), bufferOf(head.getInput()), place(head.getResult(), {0}));
        })
        .Case([&](SoftcapOp softcap) {
          emitter.softcap(bufferOf(softcap.getInput()), softcap.getCap().convertToDouble(),
                          place(softcap.getResult(), {0}));
        })
        .Case([&](MaskOp mask) { emitter.mask(mask, bufferOf(mask.getInput()), place(mask.getResult(), {0})); })
        .Case([&](SoftmaxStepOp step) {
          Tile logits = bufferOf(step.getLogits());
          Tile probabilities = place(step.getProbabilities(), {0});
          Tile max = place(step.getNewMax(), {1}), sum = place(step.getNewSum(), {2});
          emitter.softmaxStep(logits, {bufferOf(step.getMax()), bufferOf(step.getSum())}, probabilities, {max, sum},
                              place(step.getCorrection(), {}));
        })
        .Case([&](FinishOp finish) {
          Tile out = place(finish.getOut(), {0}), lse = place(finish.getLse(), {1});
          emitter.finish(bufferOf(finish.getAccumulator()), {bufferOf(finish.getMax()), bufferOf(finish.getSum())}, out,
                         lse);
        })
        .Case([&](MergeOp merge) {
          Tile out = place(merge.getOut(), {0}), lse = place(merge.getLse(), {1});
          emitter.merge(bufferOf(merge.getOut0()), bufferOf(merge.getLse0()), bufferOf(merge.getOut1()),
                        bufferOf(merge.getLse1()), out, lse);
        })
        .Case([&](QuantizeOp quantize) {
          Tile values = place(quantize.getValues(), {0});
          emitter.quantize(quantize.getAxisAttr(), bufferOf(quantize.getInput()), values,
                           place(quantize.getScale(), {}));
        })
        .DefaultUnreachable("a tile op without a lowering");
  }

  // --- Loops and branches
  // -------------------------------------------------------------------------------------------------

  /// Gives each tile that `loop` carries its buffer; these buffers belong to the loop until they are unpinned.
  SmallVector<Value> pinCarried(scf::ForOp loop) {
    SmallVector<Value> pinned;
    for (auto [operand, argument, result] :
         llvm::zip(loop.getInitArgsMutable(), loop.getRegionIterArgs(), loop.getResults())) {
      if (!isTile(argument))
        continue;
      Value memory;
      if (diesHere(operand, loop)) {
        memory = buffers.lookup(operand.get());
      } else {
        Tile fresh = acquire(cast<TileType>(argument.getType()));
        copy(bufferOf(operand.get()), fresh);
        memory = fresh.memory;
      }
      buffers[argument] = memory;
      buffers[result] = memory;
      if (carried.insert(memory).second)
        pinned.push_back(memory);
    }
    return pinned;
  }

  LogicalResult lowerLoop(scf::ForOp loop) {
    if (amx)
      if (std::optional<MatrixLoop> matrixLoop = MatrixLoop::match(loop))
        return lowerMatrixLoop(loop, *matrixLoop);
    SmallVector<Value> pinned = pinCarried(loop);
    if (failed(lower(*loop.getBody())))
      return failure();
    b.setInsertionPoint(loop.getBody()->getTerminator());
    yield(loop.getBody()->getTerminator()->getOperands(), loop.getResults());
    for (Value memory : pinned)
      carried.erase(memory);
    structured.push_back(loop);
    return success();
  }

  LogicalResult lowerMatrixLoop(scf::ForOp loop, MatrixLoop &matrixLoop) {
    SmallVector<Value> pinned = pinCarried(loop);
    auto allocate = [this](MemRefType type) -> Value {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&function.getBody().front());
      return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
    };
    MatrixLoopEmitter stages(emitter, b, matrixLoop, [this](Value tile) { return bufferOf(tile); }, allocate);
    b.setInsertionPoint(loop);
    stages.prepare();
    auto carriedTile = [&](unsigned number) { return bufferOf(loop.getRegionIterArg(number)); };
    Tile max = carriedTile(matrixLoop.maxNumber()), sum = carriedTile(matrixLoop.sumNumber()),
         accumulator = carriedTile(matrixLoop.accumulatorNumber());
    if (stages.canPipeline()) {
      stages.emitPipeline(max, sum, accumulator);
      for (Operation &op : loop.getBody()->without_terminator())
        if (isa<tile::TileDialect>(op.getDialect()))
          tileOps.push_back(&op);
      // What is left of the loop does nothing.
      for (Value memory : pinned)
        carried.erase(memory);
      structured.push_back(loop);
      return success();
    }
    // What the stages neither compute nor read themselves comes before them.
    SmallVector<Operation *> staged;
    for (Operation &op : llvm::make_early_inc_range(loop.getBody()->without_terminator())) {
      b.setLoc(op.getLoc());
      b.setInsertionPoint(&op);
      if (isa<tile::TileDialect>(op.getDialect())) {
        if (matrixLoop.staged.contains(&op) || stages.isDirect(op.getResult(0)))
          staged.push_back(&op);
        else
          emit(&op);
        tileOps.push_back(&op);
      }
      if (!llvm::is_contained(staged, &op))
        releaseAfter(&op);
    }
    Operation *terminator = loop.getBody()->getTerminator();
    b.setInsertionPoint(terminator);
    stages.emitBlock(max, sum, accumulator);
    for (Operation *op : staged)
      releaseAfter(op);
    for (Value memory : pinned)
      carried.erase(memory);
    structured.push_back(loop);
    return success();
  }

  LogicalResult lowerIf(scf::IfOp conditional) {
    for (Value result : conditional.getResults())
      if (isTile(result)) {
        Tile fresh = acquire(cast<TileType>(result.getType()));
        buffers[result] = fresh.memory;
      }
    for (Region &region : conditional->getRegions())
      for (Block &block : region) {
        if (failed(lower(block)))
          return failure();
        b.setInsertionPoint(block.getTerminator());
        yield(block.getTerminator()->getOperands(), conditional.getResults());
      }
    structured.push_back(conditional);
    return success();
  }

  /// Copies what is yielded into the buffers of the results, as if at once.
  void yield(ValueRange values, ValueRange results) {
    llvm::SmallDenseSet<Value> targets;
    for (Value result : results)
      if (isTile(result))
        targets.insert(buffers.lookup(result));
    SmallVector<std::pair<Tile, Tile>> copies;
    SmallVector<Tile> temporaries;
    for (auto [value, result] : llvm::zip(values, results)) {
      if (!isTile(result))
        continue;
      Tile from = bufferOf(value), to = bufferOf(result);
      if (from.memory == to.memory)
        continue;
      if (targets.contains(from.memory)) {
        temporaries.push_back(acquire(from.type));
        copy(from, temporaries.back());
        from = temporaries.back();
      }
      copies.push_back({from, to});
    }
    for (auto [from, to] : copies)
      copy(from, to);
    for (const Tile &temporary : temporaries)
      give(temporary.memory);
  }

  /// Replaces a loop or branch by one without tiles among its results.
  void stripTiles(Operation *op) {
    if (llvm::none_of(op->getResults(), isTile))
      return;
    b.setLoc(op->getLoc());
    b.setInsertionPoint(op);
    SmallVector<Value> kept;
    auto strip = [](Operation *yield) {
      SmallVector<Value> operands;
      for (Value operand : yield->getOperands())
        if (!isTile(operand))
          operands.push_back(operand);
      yield->setOperands(operands);
    };
    Operation *replacement;
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (Value init : loop.getInitArgs())
        if (!isTile(init))
          kept.push_back(init);
      strip(loop.getBody()->getTerminator());
      auto stripped = scf::ForOp::create(b, loop.getLowerBound(), loop.getUpperBound(), loop.getStep(), kept);
      // Without carried values the builder adds a terminator; the old one moves in with the body.
      if (kept.empty())
        stripped.getBody()->getTerminator()->erase();
      stripped.getBody()->getOperations().splice(stripped.getBody()->end(), loop.getBody()->getOperations());
      loop.getInductionVar().replaceAllUsesWith(stripped.getInductionVar());
      auto next = stripped.getRegionIterArgs().begin();
      for (Value argument : loop.getRegionIterArgs())
        if (isTile(argument))
          forget(argument);
        else
          argument.replaceAllUsesWith(*next++);
      replacement = stripped;
    } else {
      SmallVector<Type> types;
      for (Value result : op->getResults())
        if (!isTile(result))
          types.push_back(result.getType());
      auto conditional = cast<scf::IfOp>(op);
      auto stripped = scf::IfOp::create(b, types, conditional.getCondition(), /*withElseRegion=*/false);
      for (auto [from, to] : llvm::zip(conditional->getRegions(), stripped->getRegions())) {
        to.takeBody(from);
        if (!to.empty())
          strip(to.front().getTerminator());
      }
      replacement = stripped;
    }
    auto next = replacement->result_begin();
    for (Value result : op->getResults())
      if (isTile(result))
        forget(result);
      else
        result.replaceAllUsesWith(*next++);
    op->erase();
  }

  /// Other loops may still carry `value`: they lose it in their turn.
  void forget(Value value) {
    if (!isTile(value) || value.use_empty())
      return;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function.getBody().front());
    auto placeholder = UnrealizedConversionCastOp::create(b, value.getType(), ValueRange());
    value.replaceAllUsesWith(placeholder.getResult(0));
    placeholders.push_back(placeholder);
  }

  func::FuncOp function;
  ImplicitLocOpBuilder b;
  Emitter emitter;
  bool amx;
  llvm::DenseMap<Value, Value> buffers;
  llvm::DenseMap<MemRefType, SmallVector<Value>> pool;
  /// Buffers of tiles that an enclosing loop carries: they belong to the loop, not to the pool.
  llvm::SmallDenseSet<Value> carried;
  SmallVector<Operation *> tileOps;
  SmallVector<Operation *> structured;
  SmallVector<Operation *> placeholders;
};

struct TilesToCpuPass : tpa::impl::TilesToCpuBase<TilesToCpuPass> {
  using TilesToCpuBase::TilesToCpuBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    bool isPowerOfTwo = lanes > 0 && (lanes & (lanes - 1)) == 0;
    if (!isPowerOfTwo || registers < 8) {
      function.emitError() << "options: expected lanes to be a power of two and registers >= 8, got lanes = "
                           << lanes.getValue() << ", registers = " << registers.getValue();
      return signalPassFailure();
    }
    for (Type type : llvm::concat<const Type>(function.getArgumentTypes(), function.getResultTypes()))
      if (isa<TileType>(type)) {
        function.emitOpError() << "expected no tiles as arguments or results, got " << type;
        return signalPassFailure();
      }
    if (!function.getBody().hasOneBlock()) {
      function.emitOpError("expected one block");
      return signalPassFailure();
    }
    if (failed(Lowering(function, lanes, registers, amx).run()))
      signalPassFailure();
  }
};

} // namespace
