// SPDX-License-Identifier: Apache-2.0
//
// tpa-tiles-to-cpu: which buffer holds which tile, and when. How an op is computed from buffers into buffers is the
// Emitter's business.

#include "lowering/cpu/Deferral.h"
#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/Extents.h"
#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/Passes.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Iterators.h"
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
  Lowering(func::FuncOp function, const tpac::CpuTraits &cpu)
      : function(function), b(function.getLoc(), function.getContext()),
        emitter(
            b, cpu, [this](TileType type) { return acquire(type); }, [this](const Tile &tile) { give(tile.memory); }),
        amx(cpu.amx), deferral(function, cpu.amx) {}

  LogicalResult run() {
    emitter.setExtents(findExtents(function));
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

  Tile tileOf(Value value) {
    if (auto computed = unbuffered.find(value); computed != unbuffered.end())
      return computed->second;
    return {buffers.lookup(value), cast<TileType>(value.getType())};
  }

  /// Whether `op` alone reads `value` from here on, once, so that its buffer may be written over.
  bool diesHere(Value value, Operation *op) const {
    if (value.getParentBlock() != op->getBlock() || deferral.lastReader(value) != op || readByStages.contains(value))
      return false;
    int64_t reads = 0;
    deferral.forReaders(value, [&](Operation *user) { reads += op->isAncestor(user); });
    return reads == 1;
  }

  /// A buffer for `result`: the first one of the operands `candidates` that dies and has the result's layout, else a
  /// new one.
  Tile place(Value result, ArrayRef<unsigned> candidates) {
    auto type = cast<TileType>(result.getType());
    Operation *op = result.getDefiningOp();
    for (unsigned candidate : candidates)
      for (Value source : deferral.sourcesOf(op->getOperand(candidate))) {
        auto input = cast<TileType>(source.getType());
        if (input.getAxes() == type.getAxes() && emitter.bufferType(input) == emitter.bufferType(type) &&
            diesHere(source, op)) {
          buffers[result] = buffers.lookup(source);
          return tileOf(result);
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
    auto collect = [&](Value operand, auto &collect) -> void {
      if (!isTile(operand) || readByStages.contains(operand))
        return;
      Operation *definition = operand.getDefiningOp();
      if (definition && deferral.isDeferred(definition))
        for (Value source : definition->getOperands())
          collect(source, collect);
      else if (operand.getParentBlock() == op->getBlock() && deferral.lastReader(operand) == op)
        dying.insert(operand);
    };
    op->walk([&](Operation *user) {
      if (!deferral.isDeferred(user))
        for (Value operand : user->getOperands())
          collect(operand, collect);
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

  Tile computationOf(Operation *op) {
    using namespace tile;
    auto type = cast<TileType>(op->getResult(0).getType());
    SmallVector<Tile> in;
    for (Value operand : op->getOperands())
      in.push_back(tileOf(operand));
    return llvm::TypeSwitch<Operation *, Tile>(op)
        .Case([&](AddOp) { return emitter.sum(in[0], in[1], type); })
        .Case(
            [&](ConstantMulOp mul) { return emitter.constantProduct(in[0], mul.getFactor().convertToDouble(), type); })
        .Case([&](ConvertOp) { return emitter.converted(in[0], type); })
        .Case([&](MulOp) { return emitter.product(in[0], in[1], type); })
        .Case([&](SoftcapOp softcap) { return emitter.softcapped(in[0], softcap.getCap().convertToDouble(), type); })
        .DefaultUnreachable("an op that is not elementwise");
  }

  /// What is computed as queries are packed, but for elementwise ops.
  void emitPacked(Operation *op) {
    if (auto dot = dyn_cast<tile::DotOp>(op)) {
      unbuffered.insert({dot, emitter.contraction(tileOf(dot.getLhs()), tileOf(dot.getRhs()), dot.getType())});
      return;
    }
    auto split = cast<tile::SplitOp>(op);
    auto [high, low] = emitter.parts(tileOf(split.getInput()), split.getHigh().getType());
    unbuffered.insert({split.getHigh(), high});
    unbuffered.insert({split.getLow(), low});
  }

  void emitFinish(tile::FinishOp finish) {
    Tile lse = place(finish.getLse(), {1});
    auto take = [&](const Tile &out) {
      std::optional<Deferral::Turned> turned = deferral.turnedOf(finish);
      if (!turned)
        return emitter.convert(out, place(finish.getOut(), {0}));
      emitter.storeTurned(turned->store, out, turned->turn.getType(), [&](Tile value) {
        for (Operation *op : turned->rest) {
          auto type = cast<TileType>(op->getResult(0).getType());
          auto scale = dyn_cast<tile::ConstantMulOp>(op);
          value = scale ? emitter.constantProduct(value, scale.getFactor().convertToDouble(), type)
                        : emitter.converted(value, type);
        }
        return value;
      });
    };
    emitter.finish(tileOf(finish.getAccumulator()), {tileOf(finish.getMax()), tileOf(finish.getSum())}, take, lse);
  }

  void emit(Operation *op) {
    using namespace tile;
    if (deferral.isStored(op))
      return;
    if (deferral.isDeferred(op)) {
      if (auto load = dyn_cast<LoadOp>(op))
        unbuffered.insert({op->getResult(0), emitter.inPlace(load)});
      else if (Deferral::isElementwise(op))
        unbuffered.insert({op->getResult(0), computationOf(op)});
      else if (deferral.isPacked(op))
        emitPacked(op);
      return;
    }
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](LoadOp load) { emitter.load(load, place(load.getResult(), {})); })
        .Case([&](StoreOp store) { emitter.store(store, tileOf(store.getValue())); })
        .Case([&](FillOp fill) { emitter.fill(fill.getValue().convertToDouble(), place(fill.getResult(), {})); })
        .Case<AddOp, ConstantMulOp, ConvertOp, MulOp, SoftcapOp>([&](Operation *elementwise) {
          Value result = elementwise->getResult(0);
          SmallVector<unsigned> operands = llvm::to_vector(llvm::seq(elementwise->getNumOperands()));
          if (!Deferral::isElementwise(elementwise))
            emitter.convert(tileOf(elementwise->getOperand(0)), place(result, {}));
          else
            emitter.convert(computationOf(elementwise), place(result, operands));
        })
        .Case([&](SplitOp split) {
          Tile low = place(split.getLow(), {});
          emitter.split(tileOf(split.getInput()), place(split.getHigh(), {0}), low);
        })
        .Case([&](DotOp dot) {
          SmallVector<std::pair<Tile, Tile>> terms;
          DotOp first = dot;
          for (DotOp term = dot; term; term = deferral.deferredProduct(term)) {
            terms.push_back({tileOf(term.getLhs()), tileOf(term.getRhs())});
            first = term;
          }
          std::optional<Tile> accumulator;
          SmallVector<unsigned> candidates;
          if (dot.getAccumulator())
            candidates.push_back(2);
          if (first.getAccumulator())
            accumulator = tileOf(first.getAccumulator());
          std::reverse(terms.begin(), terms.end());
          emitter.dot(terms, accumulator, place(dot.getResult(), candidates));
        })
        .Case([&](OuterOp outer) {
          emitter.outer(outer, tileOf(outer.getLhs()), tileOf(outer.getRhs()), place(outer.getResult(), {}));
        })
        .Case([&](SliceOp slice) { emitter.slice(slice, tileOf(slice.getInput()), place(slice.getResult(), {})); })
        .Case([&](RopeOp rope) {
          emitter.rope(rope, tileOf(rope.getInput()), tileOf(rope.getPositions()), place(rope.getResult(), {0}));
        })
        .Case([&](HeadFunctionOp head) {
          emitter.headFunction(head.getFunction(), tileOf(head.getInput()), place(head.getResult(), {0}));
        })
        .Case([&](MaskOp mask) { emitter.mask(mask, tileOf(mask.getInput()), place(mask.getResult(), {0})); })
        .Case([&](SoftmaxStepOp step) {
          Tile logits = tileOf(step.getLogits());
          Tile probabilities = place(step.getProbabilities(), {0});
          Tile max = place(step.getNewMax(), {1}), sum = place(step.getNewSum(), {2});
          emitter.softmaxStep(logits, {tileOf(step.getMax()), tileOf(step.getSum())}, probabilities, {max, sum},
                              place(step.getCorrection(), {}));
        })
        .Case([&](FinishOp finish) { emitFinish(finish); })
        .Case([&](MergeOp merge) {
          Tile out = place(merge.getOut(), {0}), lse = place(merge.getLse(), {1});
          emitter.merge(tileOf(merge.getOut0()), tileOf(merge.getLse0()), tileOf(merge.getOut1()),
                        tileOf(merge.getLse1()), out, lse);
        })
        .Case([&](QuantizeOp quantize) {
          Tile values = place(quantize.getValues(), {0});
          emitter.quantize(quantize.getAxisAttr(), tileOf(quantize.getInput()), values, place(quantize.getScale(), {}));
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
      if (diesHere(operand.get(), loop)) {
        memory = buffers.lookup(operand.get());
      } else {
        Tile fresh = acquire(cast<TileType>(argument.getType()));
        copy(tileOf(operand.get()), fresh);
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
    // Few blocks of the cache are behind a mask, those at the ends of what queries see. Where an item has a thousand
    // queries (prefill on matrix tiles) they are not few, but then what takes the time is too long to be unrolled.
    std::optional<Emitter::Rarely> rarely;
    if (!loop.getBody()->getOps<tile::MaskOp>().empty())
      rarely.emplace(emitter);
    if (amx)
      if (std::optional<MatrixLoop> matrixLoop = MatrixLoop::match(loop))
        return lowerMatrixLoop(loop, *matrixLoop);
    SmallVector<Value> pinned = pinCarried(loop);
    emitter.enterLoop(loop);
    if (failed(lower(*loop.getBody())))
      return failure();
    emitter.leaveLoop();
    b.setInsertionPoint(loop.getBody()->getTerminator());
    yield(loop.getBody()->getTerminator()->getOperands(), loop.getResults());
    for (Value memory : pinned)
      carried.erase(memory);
    structured.push_back(loop);
    return success();
  }

  LogicalResult lowerMatrixLoop(scf::ForOp loop, MatrixLoop &matrixLoop) {
    SmallVector<Value> pinned = pinCarried(loop);
    SmallVector<Value> scratch;
    auto allocate = [&](MemRefType type) -> Value {
      SmallVector<Value> &free = matrixPool[type];
      if (free.empty()) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(&function.getBody().front());
        free.push_back(memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64)));
      }
      return scratch.emplace_back(free.pop_back_val());
    };
    MatrixLoopEmitter::Queries &queries = packedQueries[loop->getBlock()];
    MatrixLoopEmitter stages(emitter, b, matrixLoop, queries, [this](Value tile) { return tileOf(tile); }, allocate);
    // Packed queries serve later loops.
    auto giveScratch = [&] {
      for (Value memory : scratch)
        if (llvm::none_of(queries, [&](auto &entry) { return entry.second == memory; }))
          matrixPool[cast<MemRefType>(memory.getType())].push_back(memory);
    };
    b.setInsertionPoint(loop);
    stages.prepare();
    auto carriedTile = [&](unsigned number) { return tileOf(loop.getRegionIterArg(number)); };
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
      giveScratch();
      structured.push_back(loop);
      return success();
    }
    // What the stages neither compute nor read themselves comes before them.
    auto isStaged = [&](Operation &op) {
      return matrixLoop.staged.contains(&op) || matrixLoop.packed.contains(&op) ||
             (op.getNumResults() == 1 && isTile(op.getResult(0)) && stages.isDirect(op.getResult(0)));
    };
    // They read these behind all other ops.
    for (Operation &op : loop.getBody()->without_terminator())
      if (isStaged(op))
        for (Value operand : op.getOperands())
          if (isTile(operand) && operand.getDefiningOp() && operand.getParentBlock() == loop.getBody())
            readByStages.insert(operand);
    for (Operation &op : llvm::make_early_inc_range(loop.getBody()->without_terminator())) {
      b.setLoc(op.getLoc());
      b.setInsertionPoint(&op);
      bool isLater = isStaged(op);
      if (isa<tile::TileDialect>(op.getDialect())) {
        if (!isLater)
          emit(&op);
        tileOps.push_back(&op);
      }
      if (!isLater)
        releaseAfter(&op);
    }
    Operation *terminator = loop.getBody()->getTerminator();
    b.setInsertionPoint(terminator);
    stages.emitBlock(max, sum, accumulator);
    llvm::SmallSetVector<Value, 8> memories;
    for (Value value : readByStages)
      if (Value memory = buffers.lookup(value))
        memories.insert(memory);
    for (Value memory : memories)
      give(memory);
    readByStages.clear();
    giveScratch();
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
      Tile from = tileOf(value), to = tileOf(result);
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
  Deferral deferral;
  /// Tiles without buffers.
  llvm::DenseMap<Value, Tile> unbuffered;
  llvm::DenseMap<MemRefType, SmallVector<Value>> pool;
  /// Buffers of tiles that an enclosing loop carries: they belong to the loop, not to the pool.
  llvm::SmallDenseSet<Value> carried;
  /// Memory of matrix loops that are done, and the queries that those of a block have packed.
  llvm::DenseMap<MemRefType, SmallVector<Value>> matrixPool;
  llvm::DenseMap<Block *, MatrixLoopEmitter::Queries> packedQueries;
  /// Tiles that the stages of the matrix loop at hand read.
  llvm::SmallSetVector<Value, 8> readByStages;
  SmallVector<Operation *> tileOps;
  SmallVector<Operation *> structured;
  SmallVector<Operation *> placeholders;
};

/// tile.table_row in plain ops.
void expandTableRows(func::FuncOp function) {
  function.walk([](tile::TableRowOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value zero = arith::ConstantIndexOp::create(b, 0), size = memref::DimOp::create(b, op.getStarts(), zero);
    Value isGiven = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, size, zero);
    auto start = [&](OpBuilder &inner, Location loc) {
      Value row = memref::LoadOp::create(inner, loc, op.getStarts(), op.getRequest());
      scf::YieldOp::create(inner, loc, Value(arith::IndexCastOp::create(inner, loc, inner.getIndexType(), row)));
    };
    auto itself = [&](OpBuilder &inner, Location loc) { scf::YieldOp::create(inner, loc, op.getRequest()); };
    op.replaceAllUsesWith(scf::IfOp::create(b, isGiven, start, itself).getResult(0));
    op.erase();
  });
}

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
    expandTableRows(function);
    if (failed(Lowering(function, {lanes, registers, amx, avx512}).run()))
      signalPassFailure();
  }
};

} // namespace
