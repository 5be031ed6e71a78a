// SPDX-License-Identifier: Apache-2.0
//
// The loops over blocks of cached tokens: groups of warps take blocks in turn, copies of later blocks are in flight
// while one is computed, and the groups' softmax states are merged behind the loops.

#include "lowering/gpu/Emitter.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

static bool isTile(Value value) { return llvm::isa<tile::TileType>(value.getType()); }

static bool isBlockLoop(Operation *op) {
  auto loop = dyn_cast<scf::ForOp>(op);
  return loop && llvm::any_of(loop.getRegionIterArgs(), isTile);
}

LogicalResult Emitter::emitItem(func::FuncOp function) {
  Scope scope(*this);
  Block &body = function.getBody().front();
  SmallVector<scf::ForOp> loops;
  SmallVector<tile::StoreOp> stores;
  for (Operation &op : body) {
    if (isBlockLoop(&op)) {
      auto loop = cast<scf::ForOp>(op);
      if (!loops.empty() && (loop.getLowerBound() != loops.back().getUpperBound() ||
                             !llvm::equal(loop.getInitArgs(), loops.back().getResults())))
        return op.emitOpError("expected a loop that goes on where the loop over blocks before it ends");
      loops.push_back(loop);
    } else if (auto store = dyn_cast<tile::StoreOp>(op)) {
      stores.push_back(store);
    } else if (!llvm::isa<tile::TileDialect>(op.getDialect()) && !llvm::isa<func::ReturnOp>(op)) {
      if (failed(emitScalar(op)))
        return failure();
    }
  }
  if (loops.empty())
    return function.emitOpError("expected a loop over blocks");
  identify(isa.freshThread());
  if (failed(emitChain(loops)))
    return failure();
  for (tile::StoreOp store : stores)
    storeFragments(store);
  // What was read and written here is free for the next item.
  if (plan.bulk)
    isa.fenceAsync();
  isa.syncThreads();
  return status;
}

// --- Copies ---

Emitter::Values Emitter::findPages(Value token) {
  Values pages;
  for (int64_t piece = 0; plan.pageSize != 0 && piece < plan.pieces(); ++piece) {
    // A piece beyond the end is copied from anywhere that exists, and cleared.
    Value its = isa.min(isa.add(token, piece * plan.run), isa.sub(cachedEnd, isa.i32(1)));
    pages.push_back(findPage(pageTable, pageTableRow, its));
  }
  return pages;
}

Emitter::Values Emitter::findPagesIf(Value isAny, ValueRange tokens) {
  if (plan.pageSize == 0)
    return {};
  SmallVector<Type> types(tokens.size() * plan.pieces(), isa.b.getI32Type());
  auto found = scf::IfOp::create(isa.b, types, isAny, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(isa.b);
  isa.b.setInsertionPointToStart(found.thenBlock());
  Values pages;
  for (Value token : tokens)
    llvm::append_range(pages, findPages(token));
  scf::YieldOp::create(isa.b, pages);
  isa.b.setInsertionPointToStart(found.elseBlock());
  scf::YieldOp::create(isa.b, Values(types.size(), isa.i32(0)));
  return llvm::to_vector_of<Value>(found.getResults());
}

/// Of lanes that are through with a stage, one arrival each. One lane for its warp would do, but racecheck does not see
/// that the others were through before, and it is not faster.
Value Emitter::readersBarrier(Value slot) {
  return isa.shared(isa.shared(sharedMemory, 8 * plan.groups * plan.stages), isa.mul(slot, 8));
}

void Emitter::arriveAsReader(Value slot, Value condition) {
  if (!condition)
    return isa.arrive(readersBarrier(slot));
  scf::IfOp::create(isa.b, condition, [&](OpBuilder &, Location) {
    isa.arrive(readersBarrier(slot));
    scf::YieldOp::create(isa.b);
  });
}

Value Emitter::stageAddress(Value slot) {
  return isa.shared(isa.shared(sharedMemory, pipelineOffset), isa.mul(slot, plan.stageBytes()));
}

void Emitter::issueCopies(Value stageNumber, Value token, Value isNeeded, ValueRange pages, Value readersParity) {
  Value slot = isa.add(isa.mul(group, plan.stages), stageNumber);
  const int64_t pieces = plan.pieces(), pieceBytes = plan.stageBytes() / pieces;
  auto target = [&](int64_t piece) { return isa.shared(stageAddress(slot), piece * pieceBytes); };
  auto bytesTo = [&](Value number, int64_t size) {
    return arith::MulIOp::create(isa.b, isa.extend(number), isa.extend(isa.i32(size)));
  };
  auto source = [&](int64_t piece) {
    if (pages.empty())
      return isa.global(cacheRows, bytesTo(token, plan.rowBytes));
    Value page = isa.global(cacheRows, bytesTo(pages[piece], plan.planes * plan.pageSize * plan.rowBytes));
    Value place = isa.rem(isa.add(token, piece * plan.run), plan.pageSize);
    return isa.global(page, bytesTo(place, plan.rowBytes));
  };
  if (plan.bulk) {
    Value isLeader = isa.both(isa.equals(warpInGroup, 0), isa.equals(lane, 0));
    scf::IfOp::create(isa.b, isa.both(isNeeded, isLeader), [&](OpBuilder &, Location) {
      if (readersParity)
        isa.waitBarrier(readersBarrier(slot), readersParity);
      Value barrier = isa.shared(sharedMemory, isa.mul(slot, 8));
      isa.expectBytes(barrier, isa.i32(plan.stageBytes()));
      for (int64_t piece = 0; piece < pieces; ++piece)
        isa.copyBulk(target(piece), source(piece), isa.i32(pieceBytes), barrier, policy);
      scf::YieldOp::create(isa.b);
    });
    return;
  }
  int64_t chunks = pieceBytes / chunkBytes, threads = plan.warpsOfGroup() * warpSize;
  scf::IfOp::create(isa.b, isNeeded, [&](OpBuilder &, Location) {
    Value number = isa.add(isa.mul(warpInGroup, warpSize), lane);
    for (int64_t piece = 0; piece < pieces; ++piece) {
      Value from = isa.global(source(piece), isa.extend(isa.mul(number, chunkBytes)));
      Value to = isa.shared(target(piece), isa.mul(number, chunkBytes));
      auto copy = [&](int64_t first) {
        isa.copy16(isa.shared(to, first * chunkBytes), isa.global(from, isa.extend(isa.i32(first * chunkBytes))));
      };
      int64_t first = 0;
      for (; first + threads <= chunks; first += threads)
        copy(first);
      if (first < chunks)
        scf::IfOp::create(isa.b, isa.less(number, isa.i32(chunks - first)), [&](OpBuilder &, Location) {
          copy(first);
          scf::YieldOp::create(isa.b);
        });
    }
    scf::YieldOp::create(isa.b);
  });
}

/// Zeroes the rows of the block at hand from `limit` on: what the cache holds there is nobody's, and 0 times it must be
/// 0.
void Emitter::clearTail(Value limit) {
  Value isShort = isa.less(limit, isa.i32(plan.tokens));
  scf::IfOp::create(isa.b, isShort, [&](OpBuilder &, Location) {
    int64_t chunks = plan.rowBytes / chunkBytes;
    Value first = isa.add(isa.mul(isa.max(limit, isa.i32(0)), chunks), isa.add(isa.mul(warpInGroup, warpSize), lane));
    Value end = isa.i32(plan.tokens * chunks), step = isa.i32(plan.warpsOfGroup() * warpSize);
    auto type = VectorType::get({4}, isa.b.getI32Type());
    Value zero = arith::ConstantOp::create(isa.b, isa.b.getZeroAttr(type));
    scf::ForOp::create(isa.b, first, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
      isa.store(zero, isa.shared(stageRows, isa.mul(number, chunkBytes)), chunkBytes);
      scf::YieldOp::create(isa.b);
    });
    if (plan.bulk)
      isa.fenceAsync();
    meetGroup();
    scf::YieldOp::create(isa.b);
  });
}

// --- Loops ---

LogicalResult Emitter::emitChain(ArrayRef<scf::ForOp> loops) {
  int64_t tokens = plan.tokens;
  for (scf::ForOp loop : loops)
    if (Isa::constantOf(scalars.lookup(loop.getStep())) != tokens)
      return loop.emitOpError() << "expected blocks of " << tokens << " tokens, as the schedule says";
  scf::ForOp front = loops.front();
  // Without a window this is a multiple of a block. With one the mask hides what precedes it, so that blocks may begin
  // earlier: with pages at a multiple of the swizzle's period, else at one of a block, as a copy behind the capacity
  // would leave the cache.
  Value first = isa.bitAnd(scalars.lookup(front.getLowerBound()), plan.pageSize != 0 ? -swizzledTokens : -tokens);
  // Blocks up to the end of each loop, and how many of them this group takes.
  SmallVector<Value> counts;
  for (scf::ForOp loop : loops) {
    Value span = isa.max(isa.sub(scalars.lookup(loop.getUpperBound()), first), isa.i32(0));
    Value blocks = isa.ceilDiv(span, tokens);
    Value rest = isa.max(isa.sub(isa.add(blocks, plan.groups - 1), group), isa.i32(0));
    counts.push_back(isa.div(rest, plan.groups));
  }
  Value count = counts.back();
  auto tokenOf = [&](Value number) {
    return isa.add(first, isa.mul(isa.add(group, isa.mul(number, plan.groups)), tokens));
  };
  auto isBeyond = [&](Value number) { return isa.compare(arith::CmpIPredicate::sge, number, isa.i32(plan.stages)); };
  auto wrapped = [&](Value number) {
    return isa.select(isBeyond(number), isa.sub(number, isa.i32(plan.stages)), number);
  };
  SmallVector<size_t> lagging;
  for (scf::ForOp loop : loops)
    if (auto number = laggingAccumulator(loop))
      lagging.push_back(*number);
  const bool lags = lagging.size() == loops.size();
  auto laggingDot = [](scf::ForOp loop, size_t number) {
    return loop.getBody()->getTerminator()->getOperand(number).getDefiningOp<tile::DotOp>();
  };
  // Blocks that are asked for ahead of the one at hand. Where stages are plenty, warps may be a block apart; where
  // values are multiplied a block later, their stage is not free before.
  constexpr int64_t plentyStages = 4;
  const int64_t ahead = plan.stages - (lags ? 3 : countsReaders() && plan.stages >= plentyStages ? 2 : 1);
  // All lookups before the first copy, so that they are under way together; the last one is for the loop.
  Values firstTokens;
  for (int64_t i = 0; i <= ahead; ++i)
    firstTokens.push_back(tokenOf(isa.i32(i)));
  Values firstPages = findPagesIf(isa.less(isa.i32(0), count), firstTokens);
  size_t pagesOfBlock = firstPages.size() / firstTokens.size();
  for (int64_t i = 0; i < ahead; ++i) {
    issueCopies(wrapped(isa.add(stage, i)), firstTokens[i], isa.less(isa.i32(i), count),
                ArrayRef<Value>(firstPages).slice(i * pagesOfBlock, pagesOfBlock), /*readersParity=*/Value());
    if (!plan.bulk)
      isa.commitCopies();
  }
  // The pages of a block are found while the block before it is copied.
  Values nextPages(ArrayRef<Value>(firstPages).take_back(pagesOfBlock));
  // Scalars of the loops that are the same for all blocks.
  for (scf::ForOp loop : loops)
    for (Operation &op : loop.getBody()->without_terminator())
      if (!llvm::isa<tile::TileDialect>(op.getDialect()) &&
          llvm::all_of(op.getOperands(), [&](Value operand) { return scalars.contains(operand); }) &&
          failed(emitScalar(op)))
        return failure();
  findDeferred(loops);
  prepareQueries(loops);

  Values carried;
  SmallVector<size_t> sizes;
  for (auto [number, init] : llvm::enumerate(front.getInitArgs())) {
    Values values = deferred == number ? firstDeferred(front) : fragment(init);
    sizes.push_back(values.size());
    llvm::append_range(carried, values);
  }
  auto split = [&](ValueRange tiles, ValueRange values) {
    size_t at = 0;
    for (auto [tile, size] : llvm::zip(tiles, sizes)) {
      assign(tile, values.slice(at, size));
      at += size;
    }
  };
  Values weights;
  if (lags)
    weights.assign(plan.tokens / 16 * 4 * plan.rows.tiles, isa.i32(0));
  llvm::append_range(carried, weights);
  llvm::append_range(carried, nextPages);
  carried.append({stage, phase});
  auto slotBefore = [&](Value number) {
    Value before = isa.select(isa.equals(number, 0), isa.i32(plan.stages), number);
    return isa.add(isa.mul(group, plan.stages), isa.sub(before, isa.i32(1)));
  };
  const bool fillsAhead = canFillAhead(loops);
  // Tokens of a block that exist; what is behind them is not cleared when it is filled ahead.
  scf::ForOp back = loops.back();
  auto limitOf = [&](Value number) { return isa.sub(scalars.lookup(back.getUpperBound()), tokenOf(number)); };
  if (fillsAhead)
    fillAhead(front, isa.i32(0), limitOf(isa.i32(0)), isa.add(isa.mul(group, plan.stages), stage), phase,
              isa.less(isa.i32(0), count));
  Value lower = isa.i32(0), one = isa.i32(1);
  for (auto [i, upper] : llvm::enumerate(counts)) {
    scf::ForOp loop = loops[i];
    if (i > 0)
      identify(isa.freshThread());
    auto emitted = scf::ForOp::create(
        isa.b, lower, upper, one, carried, [&](OpBuilder &, Location, Value number, ValueRange inner) {
          Scope scope(*this);
          Value current = inner[inner.size() - 2], parity = inner[inner.size() - 1];
          split(loop.getRegionIterArgs(), inner);
          if (!plan.bulk)
            isa.waitCopies(plan.stages - 2);
          // The group is through with the stage that is filled next.
          Value filled = isa.add(current, ahead), readersParity;
          if (countsReaders())
            readersParity = isa.select(isBeyond(filled), parity, isa.bitXor(parity, isa.i32(1)));
          else
            syncGroup();
          hasMet = false;
          Value next = isa.add(number, ahead);
          issueCopies(wrapped(filled), tokenOf(next), isa.less(next, count),
                      inner.drop_back(2).take_back(nextPages.size()), readersParity);
          Values laterPages = findPages(tokenOf(isa.add(next, 1)));
          if (!plan.bulk)
            isa.commitCopies();
          Value slot = isa.add(isa.mul(group, plan.stages), current);
          if (plan.bulk)
            isa.waitBarrier(isa.shared(sharedMemory, isa.mul(slot, 8)), parity);
          stageRows = stageAddress(slot);
          // Half of the group's warps fill before their products, the others behind them, so that one half's tensor
          // cores are busy beside the other's arithmetic.
          auto fillNext = [&](Value isTurn) {
            Value nextStage = isa.add(current, 1), nextNumber = isa.add(number, 1);
            Value nextParity = isa.select(isBeyond(nextStage), isa.bitXor(parity, isa.i32(1)), parity);
            fillAhead(loop, nextNumber, limitOf(nextNumber), isa.add(isa.mul(group, plan.stages), wrapped(nextStage)),
                      nextParity, isa.both(isa.less(nextNumber, count), isTurn));
          };
          Value fillsFirst;
          if (fillsAhead) {
            fillsFirst = isa.less(warpInGroup, isa.i32(plan.warpsOfGroup() / 2));
            takeFilled(loop, number);
            fillNext(fillsFirst);
          }
          scalars[loop.getInductionVar()] = tokenOf(number);
          Values yielded, laterWeights;
          int64_t products = isa.products;
          // Of the first block nothing lags: its own stage stands for that of the block before it, whose weights are 0.
          Value finished = lags ? isa.select(isa.equals(number, 0), slot, slotBefore(current)) : slot;
          if (succeeded(emitBlock(loop))) {
            if (lags) {
              // Scores first: what follows from them is the longer way.
              auto dot = laggingDot(loop, lagging[i]);
              // One that another goes on from is computed with it.
              auto goesOn = [](tile::DotOp product) {
                auto next = dyn_cast<tile::DotOp>(*product->user_begin());
                return product->hasOneUse() && next && next.getAccumulator() == product.getResult();
              };
              for (auto other : loop.getBody()->getOps<tile::DotOp>())
                if (other != dot && columnAxis(other.getType()) && staged(throughConversions(other.getRhs())) &&
                    !goesOn(other))
                  fragment(other);
              Value sums = loop.getRegionIterArg(lagging[i]);
              assign(sums, addLagging(dot, inner.drop_back(2 + nextPages.size()).take_back(weights.size()), finished,
                                      fragment(sums)));
            }
            for (auto [tileNumber, tile] : llvm::enumerate(loop.getBody()->getTerminator()->getOperands()))
              llvm::append_range(yielded, deferred == tileNumber
                                              ? addDeferred(loop)
                                              : fragment(lags && tileNumber == lagging[i]
                                                             ? laggingDot(loop, tileNumber).getAccumulator()
                                                             : tile));
            if (lags)
              for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
                for (int64_t step = 0; step < plan.tokens / 16; ++step)
                  llvm::append_range(laterWeights,
                                     operandFragments(laggingDot(loop, lagging[i]).getLhs(), step, rowTile));
          }
          blockProducts = isa.products - products;
          if (size_t others = 2 + nextPages.size() + weights.size(); yielded.size() + others != carried.size()) {
            fail(loop, "this target cannot compute what the loop carries");
            llvm::append_range(yielded = {}, inner.drop_back(others));
            laterWeights.assign(weights.size(), isa.i32(0));
          }
          if (lags)
            arriveAsReader(finished, isa.less(isa.i32(0), number));
          else if (countsReaders())
            arriveAsReader(slot);
          if (fillsAhead)
            fillNext(isa.negate(fillsFirst));
          llvm::append_range(yielded, laterWeights);
          llvm::append_range(yielded, laterPages);
          Value later = isa.add(current, 1);
          Value wraps = isa.compare(arith::CmpIPredicate::eq, later, isa.i32(plan.stages));
          yielded.push_back(isa.select(wraps, isa.i32(0), later));
          yielded.push_back(isa.select(wraps, isa.bitXor(parity, isa.i32(1)), parity));
          scf::YieldOp::create(isa.b, yielded);
        });
    stageRows = Value();
    carried.assign(emitted.result_begin(), emitted.result_end());
    split(loop.getResults(), carried);
    lower = isa.max(lower, upper);
  }
  stage = carried[carried.size() - 2];
  phase = carried[carried.size() - 1];
  if (lags) {
    // The last block's values.
    scf::ForOp last = loops.back();
    Value result = last.getResult(lagging.back());
    Values sums = fragment(result);
    auto branch = scf::IfOp::create(
        isa.b, isa.less(isa.i32(0), count),
        [&](OpBuilder &, Location) {
          Value slot = slotBefore(stage);
          Values all = addLagging(laggingDot(last, lagging.back()),
                                  ArrayRef<Value>(carried).drop_back(2 + nextPages.size()).take_back(weights.size()),
                                  slot, sums);
          arriveAsReader(slot);
          scf::YieldOp::create(isa.b, all);
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(isa.b, sums); });
    assign(result, branch.getResults());
  }
  if (!plan.bulk)
    isa.waitCopies(0);
  identify(isa.freshThread());
  if (deferred) {
    scf::ForOp last = loops.back();
    Value result = last.getResult(*deferred);
    assign(result, finishDeferred(last, fragment(result)));
  }
  mergeGroups(loops);
  return status;
}

std::optional<size_t> Emitter::laggingAccumulator(scf::ForOp loop) {
  // Where a warp has two tiles of rows the tensor cores and the exponentials are what takes time, and few warps are
  // there to overlap one with the other.
  constexpr int64_t fewestStages = 5;
  if (plan.rows.tiles == 1 || layout.hasTokensOnRows() || !countsReaders() || plan.stages < fewestStages)
    return std::nullopt;
  std::optional<size_t> found;
  for (auto [i, tile] : llvm::enumerate(loop.getBody()->getTerminator()->getOperands())) {
    auto dot = tile.getDefiningOp<tile::DotOp>();
    if (!dot)
      continue;
    Value sums = dot.getAccumulator();
    auto load = throughConversions(dot.getRhs()).getDefiningOp<tile::LoadOp>();
    if (found || !sums || sums.getDefiningOp<tile::DotOp>() || !load || isWidened(load) ||
        memories.lookup(load.getMemory()).kind != Memory::Kind::cached)
      return std::nullopt;
    found = i;
  }
  return found;
}

SmallVector<Value> Emitter::addLagging(tile::DotOp dot, ValueRange weights, Value slot, Values sums) {
  Scope scope(*this);
  Value own = stageRows;
  stageRows = stageAddress(slot);
  queryRegisters[dot.getLhs()] = weights;
  addProducts(dot, sharedTile(dot.getRhs()), dot.getLhs(), sums);
  queryRegisters.erase(dot.getLhs());
  stageRows = own;
  return sums;
}

LogicalResult Emitter::emitBlock(scf::ForOp loop) {
  // Scalars first: none of them depends on a tile.
  for (Operation &op : loop.getBody()->without_terminator())
    if (!llvm::isa<tile::TileDialect>(op.getDialect()) && failed(emitScalar(op)))
      return failure();
  Value limit;
  for (auto load : loop.getBody()->getOps<tile::LoadOp>())
    for (auto [limited, value] : llvm::zip(load.getLimited().getAsRange<StringAttr>(), load.getLimits()))
      if (limited.getValue() == "m" && memories.lookup(load.getMemory()).kind == Memory::Kind::cached) {
        if (limit && limit != value)
          return load.emitOpError("expected one limit for all cached tensors of a block");
        limit = value;
      }
  if (limit)
    clearTail(scalars.lookup(limit));
  return success();
}

// --- Groups ---

/// Sums the lanes of a row, then merges the groups' states: afterwards all groups have the item's, each group those
/// columns of the accumulator that mergedQuads says.
void Emitter::mergeGroups(ArrayRef<scf::ForOp> loops) {
  tile::FinishOp finish;
  scf::ForOp last = loops.back();
  for (Value result : last.getResults())
    for (Operation *user : result.getUsers())
      if (auto op = dyn_cast<tile::FinishOp>(user))
        finish = op;
  if (!finish)
    return fail(last, "expected a softmax state that tile.finish takes");
  Value accTile = finish.getAccumulator(), maxTile = finish.getMax(), sumTile = finish.getSum();
  Values acc = fragment(accTile), max = fragment(maxTile), sum = fragment(sumTile);
  for (Value &value : sum)
    for (int64_t laneMask : layout.lanesOfRow())
      value = isa.fadd(value, isa.exchange(value, laneMask));
  mergedQuads.clear();
  if (plan.groups == 1)
    return assign(sumTile, sum);

  Value infinity = isa.f32(-std::numeric_limits<double>::infinity());
  int64_t rows = plan.rows.rows();
  auto pairType = VectorType::get({2}, isa.b.getF32Type());
  Value states = isa.shared(sharedMemory, reserve(plan.groups * rows * 8));
  Value writesState = isa.equals(laneColumn, 0);
  if (plan.columnParts > 1)
    writesState = isa.both(writesState, isa.equals(columnWarp, 0));
  scf::IfOp::create(isa.b, writesState, [&](OpBuilder &, Location) {
    for (auto [itsMax, itsSum, itsRow] : llvm::zip(max, sum, row)) {
      Value pair = LLVM::PoisonOp::create(isa.b, pairType);
      pair = LLVM::InsertElementOp::create(isa.b, pair, itsMax, isa.i32(0));
      pair = LLVM::InsertElementOp::create(isa.b, pair, itsSum, isa.i32(1));
      isa.store(pair, isa.shared(states, isa.mul(isa.add(isa.mul(group, rows), itsRow), 8)), 8);
    }
    scf::YieldOp::create(isa.b);
  });
  isa.syncThreads();
  Values scale;
  for (auto [itsMax, itsSum, itsRow] : llvm::zip(max, sum, row)) {
    Values groupMax, groupSum;
    Value largest = infinity;
    for (int64_t i = 0; i < plan.groups; ++i) {
      Value pair = isa.load(pairType, isa.shared(isa.shared(states, isa.mul(itsRow, 8)), i * rows * 8), 8);
      groupMax.push_back(LLVM::ExtractElementOp::create(isa.b, pair, isa.i32(0)));
      groupSum.push_back(LLVM::ExtractElementOp::create(isa.b, pair, isa.i32(1)));
      largest = isa.fmax(largest, groupMax.back());
    }
    Value isEmpty = arith::CmpFOp::create(isa.b, arith::CmpFPredicate::OEQ, largest, infinity);
    Value reference = isa.select(isEmpty, isa.f32(0.0), largest);
    Value total = isa.f32(0.0);
    for (auto [oneMax, oneSum] : llvm::zip(groupMax, groupSum))
      total = isa.fma(oneSum, isa.exp2(isa.fsub(oneMax, reference)), total);
    scale.push_back(isa.exp2(isa.fsub(itsMax, reference)));
    itsMax = largest;
    itsSum = total;
  }
  for (auto [i, value] : llvm::enumerate(acc))
    value = isa.fmul(value, scale[layout.rowOf(i, acc.size())]);

  // Every group writes its part, in accumulator order; then each sums some of the columns over all groups.
  auto quadType = VectorType::get({4}, isa.b.getF32Type());
  int64_t quads = static_cast<int64_t>(acc.size()) / 4;
  int64_t groupBytes = plan.warpsOfGroup() * quads * 512;
  int64_t exchangeBytes = plan.groups * groupBytes;
  Value exchange = isa.shared(sharedMemory, exchangeBytes <= pipelineBytes() ? pipelineOffset : reserve(exchangeBytes));
  exchange = isa.shared(exchange, isa.add(isa.mul(warpInGroup, quads * 512), isa.mul(lane, 16)));
  // Every group was through with the ring before the states were exchanged.
  Value target = isa.shared(exchange, isa.mul(group, groupBytes));
  for (int64_t i = 0; i < quads; ++i) {
    Value quad = LLVM::PoisonOp::create(isa.b, quadType);
    for (int64_t j = 0; j < 4; ++j)
      quad = LLVM::InsertElementOp::create(isa.b, quad, acc[4 * i + j], isa.i32(j));
    isa.store(quad, isa.shared(target, 512 * i), 16);
  }
  isa.syncThreads();
  Values sums;
  int64_t quadsOfTile = quads / plan.rows.tiles;
  for (int64_t rowTile = 0; rowTile < plan.rows.tiles; ++rowTile)
    for (int64_t first = 0; first < quadsOfTile; first += plan.groups) {
      Value quadNumber = isa.add(group, first);
      Value isLast = isa.less(quadNumber, isa.i32(quadsOfTile));
      mergedQuads.push_back({quadNumber, first + plan.groups <= quadsOfTile ? Value() : isLast});
      if (mergedQuads.back().second)
        quadNumber = isa.select(isLast, quadNumber, isa.i32(0));
      Value source = isa.shared(isa.shared(exchange, rowTile * quadsOfTile * 512), isa.mul(quadNumber, 512));
      Values own(4, isa.f32(0.0));
      for (int64_t i = 0; i < plan.groups; ++i) {
        Value quad = isa.load(quadType, isa.shared(source, i * groupBytes), 16);
        for (int64_t j = 0; j < 4; ++j)
          own[j] = isa.fadd(own[j], LLVM::ExtractElementOp::create(isa.b, quad, isa.i32(j)));
      }
      llvm::append_range(sums, own);
    }
  assign(accTile, sums);
  assign(maxTile, max);
  assign(sumTile, sum);
}

// --- Results ---

void Emitter::storeFragments(tile::StoreOp store) {
  const Memory memory = memories.lookup(store.getMemory());
  if (memory.kind != Memory::Kind::partOut && memory.kind != Memory::Kind::partLse)
    return fail(store, "expected the state of a part");
  auto type = cast<TileType>(store.getValue().getType());
  StringAttr column = columnAxis(type);
  Values values = fragment(store.getValue());
  const Value record = memory.locate();
  Value isFirst = isa.both(isa.equals(laneColumn, 0), isa.equals(group, 0));
  if (plan.columnParts > 1)
    isFirst = isa.both(isFirst, isa.equals(columnWarp, 0));
  size_t quadsOfTile = values.size() / 4 / plan.rows.tiles;
  for (size_t number = 0; number < row.size(); ++number) {
    Value inside = rowInside[number];
    for (auto [limited, limit] : llvm::zip(store.getLimited().getAsRange<StringAttr>(), store.getLimits())) {
      Value index = limited.getValue() == "n" ? rowQuery[number] : rowHead[number];
      inside = isa.both(inside, isa.less(index, scalars.lookup(limit)));
    }
    if (!column)
      inside = isa.both(inside, isFirst);
    scf::IfOp::create(isa.b, inside, [&](OpBuilder &, Location) {
      // A part's record: rows of heads within query tokens.
      Value place = isa.add(isa.mul(rowQuery[number], plan.rows.heads), rowHead[number]);
      if (!column) {
        isa.store(values[number], isa.global(record, isa.extend(isa.mul(place, 4))), 4);
      } else {
        bool isPermuted = hasNarrowValues.value_or(false);
        Value lanes = isa.add(isPermuted ? isa.mul(lanePair, 2) : laneColumn, firstColumn(type));
        Value offset = isa.mul(isa.add(isa.mul(place, type.sizeOf(column)), lanes), 4);
        Value pointer = isa.global(record, isa.extend(offset));
        auto pairType = VectorType::get({2}, isa.b.getF32Type());
        for (size_t itsQuad = 0; itsQuad < quadsOfTile; ++itsQuad) {
          size_t all = number / 2 * quadsOfTile + itsQuad;
          size_t i = 4 * all + (layout.hasTokensOnRows() ? number % 2 : 2 * (number % 2));
          auto [quad, exists] =
              mergedQuads.empty() ? std::pair(isa.i32(static_cast<int64_t>(itsQuad)), Value()) : mergedQuads[all];
          auto write = [&, i, quad = quad] {
            if (isPermuted) {
              // The first quad of 16 columns has the even ones, the second the odd ones.
              Value first = isa.add(isa.mul(isa.shiftRight(quad, 1), 64), isa.mul(isa.bitAnd(quad, 1), 4));
              Value target = isa.global(pointer, isa.extend(first));
              isa.store(values[i], target, 4);
              isa.store(values[i + 1], isa.shared(target, 8), 4);
              return;
            }
            if (layout.hasTokensOnRows()) {
              Value target = isa.global(pointer, isa.extend(isa.mul(quad, 4 * layout.columnsOfQuad())));
              isa.store(values[i], target, 4);
              isa.store(values[i + 2], isa.shared(target, 4 * 8), 4);
              return;
            }
            Value pair = LLVM::PoisonOp::create(isa.b, pairType);
            pair = LLVM::InsertElementOp::create(isa.b, pair, values[i], isa.i32(0));
            pair = LLVM::InsertElementOp::create(isa.b, pair, values[i + 1], isa.i32(1));
            isa.store(pair, isa.global(pointer, isa.extend(isa.mul(quad, 32))), 8);
          };
          if (!exists) {
            write();
            continue;
          }
          scf::IfOp::create(isa.b, exists, [&](OpBuilder &, Location) {
            write();
            scf::YieldOp::create(isa.b);
          });
        }
      }
      scf::YieldOp::create(isa.b);
    });
  }
}
