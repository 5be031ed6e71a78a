// SPDX-License-Identifier: Apache-2.0
//
// tpa-tiles-to-gpu: kernels around the programs of work items. Which part of the call a thread block computes is
// decided here, on the device; how an item is computed is the Emitter's business.

#include "lowering/gpu/KernelFrame.h"
#include "lowering/gpu/Passes.h"
#include "lowering/phases/PhaseSignature.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinAttributes.h"

#include <limits>
#include <numbers>
#include <numeric>

namespace mlir::tpa {
#define GEN_PASS_DEF_TILESTOGPU
#include "lowering/gpu/GpuPasses.h.inc"
} // namespace mlir::tpa

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

namespace {

/// The two kernels of a phase of attention.
class AttentionKernel : public KernelFrame {
public:
  AttentionKernel(func::FuncOp item, StringRef suffix) : KernelFrame(item), suffix(suffix) {}

  LogicalResult readAttributes() {
    // part_out: [tokens, parts, heads, features]; behind it part_lse and the parts of the work item.
    if (failed(KernelFrame::readAttributes()))
      return failure();
    for (auto [i, type] : llvm::enumerate(item.getArgumentTypes()))
      if (auto memory = dyn_cast<MemRefType>(type))
        if (memory.getRank() == 4 && memory.getElementType().isF32() && memory.isDynamicDim(1))
          partOut = i;
    if (memories < 2 || partOut != memories - 2)
      return item.emitOpError("expected the tensors part_out and part_lse behind those of the phase");
    tensors = partOut;
    auto outType = cast<MemRefType>(item.getArgumentTypes()[partOut]);
    totalHeads = outType.getDimSize(2);
    features = outType.getDimSize(3);
    plan.rows = RowMap::of(schedule.getQueries(), schedule.getHeads(), hasHeads != 0, std::max(keyFeatures, features),
                           scores, schedule.getQueryParts(), schedule.getRows());
    if (schedule.getRows() == TileRows::tokens && schedule.getScore() == ScoreOrder::factored)
      return item.emitOpError("expected heads on rows where the score is factored");
    plan.tokens = schedule.getTokens();
    plan.stages = schedule.getStages();
    plan.groups = schedule.getGroups();
    plan.bulk = schedule.getBulk();
    plan.headTiles = llvm::divideCeil(totalHeads, schedule.getHeads());
    plan.totalHeads = totalHeads;
    plan.operandType = schedule.getOperands();
    plan.queryParts = schedule.getQueryParts();
    plan.features = features;
    plan.scores = scores;
    plan.columnParts = columnParts(features);
    plan.run = std::gcd(plan.pageSize, plan.tokens);
    return success();
  }

  /// A kernel of `threads` threads with the parameters that both kernels share; leaves the builder in it.
  void create(int64_t threads) {
    StringRef phase = item.getSymName().take_until([](char c) { return c == '_'; });
    Type pointer = LLVM::LLVMPointerType::get(b.getContext(), globalSpace), i32 = b.getI32Type();
    SmallVector<Value> own = KernelFrame::create((phase + suffix).str(), threads, {pointer, i32, i32, i32, i32});
    workspace = own[0];
    batch = own[1];
    capacity = own[2];
    splitsGiven = own[3];
    warpsOfRow = own[4];
    Isa &isa = emitter->isa;
    readSplits(splitsGiven);
    splits = isa.select(isFixed, isa.blocks(), splitsGiven);
  }

  void readSplits(Value number) {
    Isa &isa = emitter->isa;
    isFixed = isa.less(number, isa.i32(0));
    blocksOfUnit = isa.select(isFixed, isa.sub(isa.i32(0), number), isa.i32(1));
  }

  /// The rows of a request and a tile of heads, up to `end`.
  void bindCache(Value request, Value headTile, Value end) {
    Isa &isa = emitter->isa;
    auto product = [&](Value x, Value y) -> Value { return arith::MulIOp::create(b, isa.extend(x), isa.extend(y)); };
    if (plan.pageSize != 0) {
      Value plane = plan.planes > 1 ? headTile : isa.i32(0);
      emitter->cacheRows = isa.global(cache, product(plane, isa.i32(plan.pageSize * plan.rowBytes)));
      emitter->pageTable = emitter->memoryOf(argumentOf(tpac::blockTableName));
      emitter->pageTableRow = emitter->tableRow(emitter->memoryOf(argumentOf(tpac::pageStartsName)), request);
      emitter->cachedEnd = end;
      return;
    }
    Value plane = plan.planes > 1 ? isa.add(isa.mul(request, plan.planes), headTile) : request;
    // Not a register of the loops over blocks.
    Value rows = product(plane, isa.fresh(capacity));
    emitter->cacheRows = isa.global(cache, arith::MulIOp::create(b, rows, isa.extend(isa.i32(plan.rowBytes))));
  }

  // --- Requests

  struct Request {
    Value length, firstToken, endToken;
    /// The first block that any of its queries sees, where the units of its items begin.
    Value firstBlock;
    /// Units of cached tokens per item (at least one, so that empty requests get their result), items, their product.
    Value units, items, work;
  };

  Request readRequest(Value number) {
    Isa &isa = emitter->isa;
    Request request;
    request.length = readInt("lengths", number);
    request.firstToken = readInt("token_start", number);
    request.endToken = readInt("token_start", isa.add(number, 1));
    Value blocks = isa.ceilDiv(isa.max(request.length, isa.i32(0)), plan.tokens);
    request.firstBlock = isa.i32(0);
    if (window) {
      // The first query is token N of the last N where masks are causal, and sees `window` tokens up to itself. Parts
      // of a fixed size begin with the request, however long it has become.
      Value queries = isa.sub(request.endToken, request.firstToken);
      Value first = isa.sub(isa.add(request.length, 1 - *window), queries);
      Value visible = isa.div(isa.max(first, isa.i32(0)), plan.tokens);
      request.firstBlock = isa.select(isFixed, isa.i32(0), visible);
      blocks = isa.sub(blocks, request.firstBlock);
    }
    blocks = isa.max(blocks, isa.i32(1));
    auto units = scf::IfOp::create(
        b, isFixed,
        [&](OpBuilder &, Location) {
          Value last = isa.sub(isa.add(blocks, blocksOfUnit), isa.i32(1));
          scf::YieldOp::create(b, Value(arith::DivUIOp::create(b, last, blocksOfUnit)));
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, blocks); });
    request.units = units.getResult(0);
    Value tiles = isa.ceilDiv(isa.sub(request.endToken, request.firstToken), schedule.getQueries());
    request.items = isa.mul(tiles, plan.headTiles);
    request.work = isa.mul(request.units, request.items);
    return request;
  }

  /// The item function's arguments behind its tensors: the request, its tile's first token and head, how many of each
  /// there are where tiles may stick out, and `rest`.
  void bindItem(const Request &request, Value number, Value token, Value head, ArrayRef<Value> rest) {
    Isa &isa = emitter->isa;
    SmallVector<Value> indices = {number, token};
    if (schedule.getQueries() > 1)
      indices.push_back(isa.min(isa.sub(request.endToken, token), isa.i32(schedule.getQueries())));
    indices.push_back(head);
    if (totalHeads % schedule.getHeads() != 0)
      indices.push_back(isa.min(isa.sub(isa.i32(totalHeads), head), isa.i32(schedule.getHeads())));
    llvm::append_range(indices, rest);
    for (auto [argument, value] : llvm::zip(item.getArguments().drop_front(memories), indices))
      emitter->bind(argument, value);
  }

  /// What stands before a request, and it.
  struct Place {
    Value number, position, item;
  };

  /// Sum over the lanes up to this one.
  Value scan(Value value, Value lane) {
    Isa &isa = emitter->isa;
    for (int64_t distance = 1; distance < warpSize; distance *= 2) {
      Value below = isa.fromLaneBelow(value, distance);
      Value exists = isa.compare(arith::CmpIPredicate::sge, lane, isa.i32(distance));
      value = isa.add(value, isa.select(exists, below, isa.i32(0)));
    }
    return value;
  }

  /// The request of lane `lane` of a warp that reads 32 from `first` on; without work beyond the last one.
  Request readLanes(Value first, Value lane) {
    Isa &isa = emitter->isa;
    Value number = isa.add(first, lane);
    Value exists = isa.less(number, batch);
    Request request = readRequest(isa.select(exists, number, isa.i32(0)));
    request.items = isa.select(exists, request.items, isa.i32(0));
    request.work = isa.select(exists, request.work, isa.i32(0));
    return request;
  }

  /// Units of all items of the call. All lanes of the warp call it.
  Value totalWork(Value lane) {
    Isa &isa = emitter->isa;
    Value zero = isa.i32(0), step = isa.i32(warpSize);
    auto loop = scf::ForOp::create(b, zero, batch, step, zero, [&](OpBuilder &, Location, Value first, ValueRange sum) {
      Value own = readLanes(first, lane).work;
      for (int64_t mask : {16, 8, 4, 2, 1})
        own = isa.add(own, isa.exchange(own, mask));
      scf::YieldOp::create(b, isa.add(sum.front(), own));
    });
    return loop.getResult(0);
  }

  /// 32 requests, one per lane, and the sums of their work and items up to each.
  struct Lanes {
    Request request;
    Value work, items;
  };
  Lanes scanLanes(const Request &request, Value lane) {
    return {request, scan(request.work, lane), scan(request.items, lane)};
  }

  /// The one of `lanes`, which begin at `first`, that has unit `sought` of the call or, `byItem`, item `sought`:
  /// whether it is there, and its place; else that behind all of them. All lanes of the warp call it.
  std::pair<Value, Place> seek(const Lanes &lanes, Value sought, bool byItem, const Place &first) {
    Isa &isa = emitter->isa;
    Value end = byItem ? isa.add(first.item, lanes.items) : isa.add(first.position, lanes.work);
    Value beyond = isa.ballot(isa.less(sought, end));
    Value found = isa.compare(arith::CmpIPredicate::ne, beyond, isa.i32(0));
    Value holder = isa.bitAnd(isa.trailingZeros(beyond), warpSize - 1), last = isa.i32(warpSize - 1);
    auto upTo = [&](Value inclusive, Value own) {
      return isa.select(found, isa.fromLane(isa.sub(inclusive, own), holder), isa.fromLane(inclusive, last));
    };
    return {found,
            {isa.add(first.number, isa.select(found, holder, isa.i32(warpSize))),
             isa.add(first.position, upTo(lanes.work, lanes.request.work)),
             isa.add(first.item, upTo(lanes.items, lanes.request.items))}};
  }

  /// The place of a unit of the call or, `byItem`, of an item. A number beyond the batch where there is none. All lanes
  /// of the warp call it.
  Place findRequest(Value sought, bool byItem, Value lane) {
    Isa &isa = emitter->isa;
    SmallVector<Type> types(3, b.getI32Type());
    types.push_back(b.getI1Type());
    Value zero = isa.i32(0), no = arith::ConstantOp::create(b, b.getBoolAttr(false));
    auto search = scf::WhileOp::create(
        b, types, ValueRange{zero, zero, zero, no},
        [&](OpBuilder &, Location, ValueRange at) {
          Value goesOn = isa.both(isa.less(at[0], batch), isa.negate(at[3]));
          scf::ConditionOp::create(b, goesOn, at);
        },
        [&](OpBuilder &, Location, ValueRange at) {
          Lanes lanes = scanLanes(readLanes(at[0], lane), lane);
          auto [found, place] = seek(lanes, sought, byItem, {at[0], at[1], at[2]});
          scf::YieldOp::create(b, ValueRange{place.number, place.position, place.item, found});
        });
    return {search.getResult(0), search.getResult(1), search.getResult(2)};
  }

  /// What a kernel begins with: one reading of the requests tells how much work there is and who has what of it, where
  /// a warp's lanes suffice for them.
  struct Call {
    Lanes first;
    Value isShort, total;
  };
  Call readCall(const Request &own, Value lane) {
    Isa &isa = emitter->isa;
    Call call;
    call.first = scanLanes(own, lane);
    call.isShort = isa.compare(arith::CmpIPredicate::sle, batch, isa.i32(warpSize));
    auto total = scf::IfOp::create(
        b, call.isShort,
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, isa.fromLane(call.first.work, isa.i32(warpSize - 1))); },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, totalWork(lane)); });
    call.total = total.getResult(0);
    return call;
  }
  Place findRequest(const Call &call, Value sought, bool byItem, Value lane) {
    Isa &isa = emitter->isa;
    Value zero = isa.i32(0);
    auto yield = [&](const Place &place) {
      scf::YieldOp::create(b, ValueRange{place.number, place.position, place.item});
    };
    auto place = scf::IfOp::create(
        b, call.isShort,
        [&](OpBuilder &, Location) { yield(seek(call.first, sought, byItem, {zero, zero, zero}).second); },
        [&](OpBuilder &, Location) { yield(findRequest(sought, byItem, lane)); });
    return {place.getResult(0), place.getResult(1), place.getResult(2)};
  }

  /// How the call's units are divided: the first `extra` of `count` thread blocks take one more than `each`.
  struct Division {
    Value count, each, extra;
  };
  Division divide(Value total) {
    Isa &isa = emitter->isa;
    Division division;
    // At least one: where there is no work, nobody has any.
    division.count = isa.max(isa.min(splits, total), isa.i32(1));
    division.each = arith::DivUIOp::create(b, total, division.count);
    division.extra = isa.sub(total, isa.mul(division.each, division.count));
    return division;
  }
  Value boundary(const Division &division, Value number) {
    Isa &isa = emitter->isa;
    return isa.add(isa.mul(number, division.each), isa.min(number, division.extra));
  }
  /// The thread block that has unit `position`.
  Value ownerOf(const Division &division, Value position) {
    Isa &isa = emitter->isa;
    Value larger = isa.add(division.each, 1);
    Value threshold = isa.mul(division.extra, larger);
    Value isSmall = isa.compare(arith::CmpIPredicate::sge, position, threshold);
    Value offset = isa.select(isSmall, isa.sub(position, threshold), position);
    Value size = isa.select(isSmall, division.each, larger);
    Value number = arith::DivUIOp::create(b, offset, size);
    return isa.add(number, isa.select(isSmall, division.extra, isa.i32(0)));
  }

  /// A part's record in the workspace: [queries][heads][features] f32, then [queries][heads] f32.
  int64_t recordBytes() const {
    return llvm::alignTo(schedule.getQueries() * schedule.getHeads() * (features + 1) * 4, 16);
  }
  Value recordOf(Memory::Kind kind, Value slot) {
    Isa &isa = emitter->isa;
    Value bytes = arith::MulIOp::create(b, isa.extend(slot), isa.extend(isa.i32(recordBytes())));
    Value record = isa.global(workspace, bytes);
    const int64_t outBytes = schedule.getQueries() * schedule.getHeads() * features * 4;
    return kind == Memory::Kind::partLse ? isa.global(record, isa.extend(isa.i32(outBytes))) : record;
  }

  // --- Kernels

  /// Thread block i computes the units [i W / P, (i + 1) W / P) of the call's W, piece by piece where they belong to
  /// several items. A unit is one block of cached tokens, and a piece of item j goes to record i + j: both only grow,
  /// so that no two pieces share one. Or a unit has a fixed number of blocks (`isFixed`): each is a piece then, and
  /// goes to the record of its number, so that what is computed of a request does not depend on the others.
  LogicalResult emitParts() {
    create(plan.warps() * warpSize);
    // The merge may begin: it waits for what it reads.
    if (schedule.getBulk())
      emitter->isa.launchDependents();
    Isa &isa = emitter->isa;
    // The first loads are under way while the barriers are made.
    Value zero = isa.i32(0);
    Request ownRequest = readLanes(zero, isa.bitAnd(isa.thread(), warpSize - 1));
    emitter->begin();
    Call call = readCall(ownRequest, emitter->lane);
    Value total = call.total;
    Division division = divide(total);
    Value own = isa.block();
    Value begin = isa.min(boundary(division, own), total);
    Value end = isa.min(boundary(division, isa.add(own, 1)), total);

    // What only the loop over pieces needs takes no registers of the loops over blocks.
    auto loadEnd = emitter->stash(end);

    LogicalResult result = success();
    // Position, the place of its request, and the ring.
    Place front = findRequest(call, begin, /*byItem=*/false, emitter->lane);
    SmallVector<Value> inits = {begin, front.number, front.position, front.item, emitter->stage, emitter->phase};
    SmallVector<Type> types(inits.size(), b.getI32Type());
    scf::WhileOp::create(
        b, types, inits,
        [&](OpBuilder &, Location, ValueRange state) {
          scf::ConditionOp::create(b, isa.less(state[0], loadEnd()), state);
        },
        [&](OpBuilder &, Location, ValueRange state) {
          Value position = state[0];
          readSplits(isa.fresh(splitsGiven));
          Value number = state[1], firstPosition = state[2], firstItem = state[3];
          Request request = readRequest(number);
          Value offset = isa.sub(position, firstPosition);
          // A request of one item needs no division.
          auto quotient = scf::IfOp::create(
              b, isa.less(offset, request.units), [&](OpBuilder &, Location) { scf::YieldOp::create(b, zero); },
              [&](OpBuilder &, Location) {
                scf::YieldOp::create(b, Value(arith::DivUIOp::create(b, offset, request.units)));
              });
          Value itemNumber = quotient.getResult(0);
          Value unit = isa.sub(offset, isa.mul(itemNumber, request.units));
          Value units = isa.min(isa.sub(request.units, unit), isa.sub(loadEnd(), position));
          units = isa.select(isFixed, isa.i32(1), units);
          Value headTile = isa.rem(itemNumber, plan.headTiles);
          Value token =
              isa.add(request.firstToken, isa.mul(isa.div(itemNumber, plan.headTiles), schedule.getQueries()));
          Value head = isa.mul(headTile, schedule.getHeads());
          Value tokensOfUnit = isa.mul(blocksOfUnit, plan.tokens);
          Value cached = isa.add(isa.mul(request.firstBlock, plan.tokens), isa.mul(unit, tokensOfUnit));
          Value cachedEnd = isa.min(isa.add(cached, isa.mul(units, tokensOfUnit)), request.length);
          Value slot = isa.select(isFixed, position, isa.add(own, isa.add(firstItem, itemNumber)));

          bindTensors(/*isFresh=*/true);
          bindItem(request, number, token, head, {cached, cachedEnd, slot});
          auto loadSlot = emitter->stash(slot);
          for (auto [i, kind] : {std::pair(partOut, Memory::Kind::partOut), {partOut + 1, Memory::Kind::partLse}}) {
            Memory record;
            record.kind = kind;
            record.locate = [this, kind, loadSlot] { return recordOf(kind, loadSlot()); };
            emitter->bind(item.getArgument(i), record);
          }
          bindCache(number, headTile, cachedEnd);
          emitter->stage = state[4];
          emitter->phase = state[5];
          auto loadNext = emitter->stash(isa.add(position, units));
          result = emitter->emitItem(item);
          Value next = loadNext();
          auto later = scf::IfOp::create(
              b, isa.less(next, loadEnd()),
              [&](OpBuilder &, Location) {
                readSplits(isa.fresh(splitsGiven));
                Place place = findRequest(next, /*byItem=*/false, emitter->lane);
                scf::YieldOp::create(b, ValueRange{place.number, place.position, place.item});
              },
              [&](OpBuilder &, Location) { scf::YieldOp::create(b, ValueRange{zero, zero, zero}); });
          SmallVector<Value> following = {next};
          llvm::append_range(following, later.getResults());
          following.append({emitter->stage, emitter->phase});
          scf::YieldOp::create(b, following);
        });
    kernel->setAttr("tpac.shared_bytes", b.getI64IntegerAttr(emitter->sharedBytes()));
    kernel->setAttr("tpac.record_bytes", b.getI64IntegerAttr(recordBytes()));
    kernel->setAttr("tpac.products_of_block", b.getI64IntegerAttr(emitter->productsOfBlock()));
    return result;
  }

  /// A row, a head of a query token, is merged by `warps_of_row` warps (1, 2, 4 or 8), which take parts in turn: few
  /// where there are many rows of few parts.
  LogicalResult emitMerge() {
    tile::MergeOp merge;
    SmallVector<tile::StoreOp> stores;
    scf::ForOp loop;
    for (Operation &op : item.getBody().front()) {
      if (auto found = dyn_cast<scf::ForOp>(op)) {
        loop = found;
        found.walk([&](tile::MergeOp inner) { merge = inner; });
      }
      if (auto store = dyn_cast<tile::StoreOp>(op))
        stores.push_back(store);
    }
    if (!merge || loop.getNumResults() != 2 || loop.getResult(0).getType() != merge.getOut().getType())
      return item.emitOpError("expected a loop over parts that tile.merge folds");

    plan.groups = 1;
    create(mergeWarps * warpSize);
    Isa &isa = emitter->isa;
    bindTensors();
    for (Operation &op : item.getBody().front())
      if (isa_and_nonnull<arith::ArithDialect>(op.getDialect()) && failed(emitter->emitScalar(op)))
        return failure();
    Value thread = isa.thread();
    Value lane = isa.bitAnd(thread, warpSize - 1), warp = isa.shiftRight(thread, 5);
    Value zero = isa.i32(0);
    Call call = readCall(readLanes(zero, lane), lane);
    Value total = call.total;
    Division division = divide(total);
    int64_t rowsOfItem = schedule.getQueries() * schedule.getHeads();
    Value threadRow = arith::DivUIOp::create(b, warp, warpsOfRow);
    Value rowsOfBlock = arith::DivUIOp::create(b, isa.i32(mergeWarps), warpsOfRow);
    Value row = isa.add(isa.mul(isa.block(), rowsOfBlock), threadRow);
    Value warpOfRow = isa.sub(warp, isa.mul(threadRow, warpsOfRow));
    Value itemNumber = isa.div(row, rowsOfItem), rowNumber = isa.rem(row, rowsOfItem);
    Place place = findRequest(call, itemNumber, /*byItem=*/true, lane);
    Value number = place.number;
    LogicalResult result = success();
    // A warp beyond the last row has no parts: all meet at the barrier.
    Value exists = isa.less(number, batch);
    scf::IfOp::create(b, isa.less(zero, total), [&](OpBuilder &, Location) {
      for (Value *value : {&number, &itemNumber, &place.position, &place.item})
        *value = isa.select(exists, *value, zero);
      Request request = readRequest(number);
      Value own = isa.sub(itemNumber, place.item);
      Value first = isa.add(place.position, isa.mul(own, request.units));
      Value last = isa.sub(isa.add(first, request.units), isa.i32(1));
      Value firstPart = ownerOf(division, first), lastPart = ownerOf(division, last);
      Value parts = isa.select(isFixed, request.units, isa.add(isa.sub(lastPart, firstPart), 1));
      parts = isa.select(exists, parts, zero);
      Value slot = isa.select(isFixed, first, isa.add(firstPart, itemNumber));
      Value headTile = isa.rem(own, plan.headTiles);
      Value tokenTile = isa.div(own, plan.headTiles);
      Value query = isa.div(rowNumber, schedule.getHeads()), headNumber = isa.rem(rowNumber, schedule.getHeads());
      Value token = isa.add(request.firstToken, isa.mul(tokenTile, schedule.getQueries()));
      Value head = isa.mul(headTile, schedule.getHeads());

      bindItem(request, number, token, head, {zero, zero, parts});

      // Up to here nothing of the parts' kernel is read.
      if (schedule.getBulk())
        isa.waitForPrimary();
      MergedRow merged = {query, headNumber, rowNumber, slot, parts, exists};
      emitMergedRow(loop, stores, merged, lane, warp, warpOfRow);
      scf::YieldOp::create(b);
    });
    kernel->setAttr("tpac.shared_bytes", b.getI64IntegerAttr(mergeWarps * (features * 4 + 8)));
    return result;
  }

private:
  /// The sum of the parts' outputs, weighted by their LSE: of each warp's parts, then of the row's warps.
  struct MergedRow {
    Value query, head, number, slot, parts, exists;
  };
  void emitMergedRow(scf::ForOp folded, ArrayRef<tile::StoreOp> stores, const MergedRow &row, Value lane, Value warp,
                     Value warpOfRow) {
    Isa &isa = emitter->isa;
    Value rowNumber = row.number, slot = row.slot, parts = row.parts;
    constexpr double log2e = std::numbers::log2e;
    Value infinity = isa.f32(-std::numeric_limits<double>::infinity());
    Type f32 = b.getF32Type();
    Value out = recordOf(Memory::Kind::partOut, slot), lse = recordOf(Memory::Kind::partLse, slot);
    Value stride = isa.extend(isa.i32(recordBytes()));
    auto recordAt = [&](Value pointer, Value part, Value offset) {
      Value bytes = arith::MulIOp::create(b, isa.extend(part), stride);
      return isa.global(isa.global(pointer, bytes), isa.extend(offset));
    };
    auto lseOf = [&](Value part) {
      return isa.fmul(isa.load(f32, recordAt(lse, part, isa.mul(rowNumber, 4)), 4), isa.f32(log2e));
    };
    Value zero = isa.f32(0.0);
    // Parts in rounds, so that their loads are in flight together; beyond the last part its values count for nothing.
    auto partOf = [&](Value first) {
      return std::pair(isa.min(first, isa.sub(parts, isa.i32(1))), isa.less(first, parts));
    };
    // Weights relative to a largest one of them.
    auto referenceOf = [&](Value max) {
      Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, max, infinity);
      return std::pair(isa.select(isEmpty, zero, max), isEmpty);
    };
    // Features lane, lane + 32, ...
    int64_t chunks = llvm::divideCeil(features, warpSize);
    Value rowOffset = isa.mul(rowNumber, features * 4);
    auto featureOf = [&](int64_t chunk) {
      Value feature = isa.add(lane, chunk * warpSize);
      return features % warpSize == 0 ? feature : isa.min(feature, isa.i32(features - 1));
    };
    // A warp's parts: the largest LSE so far, the sum of weights, and the weighted sums. All lanes have the same LSEs,
    // so that none needs another's.
    int64_t round = chunks <= 2 ? 8 : 4;
    SmallVector<Value> inits(chunks + 2, zero);
    inits[0] = infinity;
    auto loop =
        scf::ForOp::create(b, isa.i32(0), parts, isa.mul(warpsOfRow, round), inits,
                           [&](OpBuilder &, Location, Value first, ValueRange state) {
                             SmallVector<Value> lses, values;
                             for (int64_t i = 0; i < round; ++i) {
                               auto [part, exists] = partOf(isa.add(isa.add(first, warpOfRow), isa.mul(warpsOfRow, i)));
                               lses.push_back(isa.select(exists, lseOf(part), infinity));
                               for (int64_t chunk = 0; chunk < chunks; ++chunk) {
                                 Value pointer = recordAt(out, part, isa.add(rowOffset, isa.mul(featureOf(chunk), 4)));
                                 values.push_back(isa.load(f32, pointer, 4));
                               }
                             }
                             Value max = state[0];
                             for (Value lse : lses)
                               max = isa.fmax(max, lse);
                             Value reference = referenceOf(max).first;
                             Value correction = isa.exp2(isa.fsub(state[0], reference));
                             SmallVector<Value> next = {max};
                             for (Value value : state.drop_front())
                               next.push_back(isa.fmul(value, correction));
                             for (int64_t i = 0; i < round; ++i) {
                               Value weight = isa.exp2(isa.fsub(lses[i], reference));
                               next[1] = isa.fadd(next[1], weight);
                               for (int64_t chunk = 0; chunk < chunks; ++chunk)
                                 next[2 + chunk] = isa.fma(weight, values[i * chunks + chunk], next[2 + chunk]);
                             }
                             scf::YieldOp::create(b, next);
                           });
    Value shared = LLVM::AddressOfOp::create(
        b, kernel->getParentOfType<ModuleOp>().lookupSymbol<LLVM::GlobalOp>(sharedMemoryName));
    auto placeOf = [&](Value itsWarp, int64_t chunk) {
      return isa.shared(shared, isa.mul(isa.add(isa.mul(itsWarp, features), featureOf(chunk)), 4));
    };
    auto stateOf = [&](Value itsWarp) {
      return isa.shared(isa.shared(shared, mergeWarps * features * 4), isa.mul(itsWarp, 8));
    };
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      isa.store(loop.getResult(2 + chunk), placeOf(warp, chunk), 4);
    for (int64_t i : {0, 1})
      isa.store(loop.getResult(i), isa.shared(stateOf(warp), 4 * i), 4);
    isa.syncThreads();

    // The row's first warp: the sums of all its warps, and the program's last ops.
    Value isFirst = isa.equals(warpOfRow, 0);
    scf::IfOp::create(b, isa.both(isFirst, row.exists), [&](OpBuilder &, Location) {
      SmallVector<Value> itsWarps, largest;
      Value max = infinity;
      for (int64_t i = 0; i < mergeWarps; ++i) {
        Value exists = isa.less(isa.i32(i), warpsOfRow);
        itsWarps.push_back(isa.add(warp, isa.select(exists, isa.i32(i), isa.i32(0))));
        largest.push_back(isa.select(exists, isa.load(f32, stateOf(itsWarps[i]), 4), infinity));
        max = isa.fmax(max, largest[i]);
      }
      auto [reference, isEmpty] = referenceOf(max);
      Value sum = zero;
      SmallVector<Value> sums(chunks, zero);
      for (int64_t i = 0; i < mergeWarps; ++i) {
        Value weight = isa.exp2(isa.fsub(largest[i], reference));
        sum = isa.fma(weight, isa.load(f32, isa.shared(stateOf(itsWarps[i]), 4), 4), sum);
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          sums[chunk] = isa.fma(weight, isa.load(f32, placeOf(itsWarps[i], chunk), 4), sums[chunk]);
      }
      Value inverse = isa.select(isEmpty, zero, isa.fdiv(isa.f32(1.0), sum));
      Value lseValue = isa.fmul(isa.fadd(reference, isa.log2(sum)), isa.f32(std::numbers::ln2));
      emitter->setElement(folded.getResult(1), isa.select(isEmpty, infinity, lseValue));
      Point point;
      point[b.getStringAttr("n")] = row.query;
      point[b.getStringAttr("h")] = row.head;
      for (tile::StoreOp store : stores) {
        bool hasFeatures = store.getValue().getType().hasAxis("e");
        for (int64_t chunk = 0; chunk < (hasFeatures ? chunks : 1); ++chunk) {
          point[b.getStringAttr("e")] = featureOf(chunk);
          emitter->setElement(folded.getResult(0), isa.fmul(sums[chunk], inverse));
          emitter->storeElement(store, point, hasFeatures ? Value() : isa.equals(lane, 0));
        }
      }
      scf::YieldOp::create(b);
    });
  }

  static constexpr int64_t mergeWarps = 8;
  StringRef suffix;
  size_t partOut = 0;
  int64_t totalHeads = 0, features = 0;
  /// P, or minus the blocks of a part.
  Value splitsGiven;
  Value workspace, batch, capacity, splits, warpsOfRow;
  /// Whether units have a fixed number of blocks; that number, or 1.
  Value isFixed, blocksOfUnit;
};

struct TilesToGpuPass : tpa::impl::TilesToGpuBase<TilesToGpuPass> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions) {
      if (function->hasAttr(itemsName)) {
        if (failed(emitElementKernel(function)))
          return signalPassFailure();
        continue;
      }
      bool isPart = function.getSymName().ends_with("_part_item"),
           isParts = function.getSymName().ends_with("_parts_item");
      if (!isPart && !isParts)
        continue;
      AttentionKernel kernel(function, isPart ? "_parts" : "_merge");
      if (failed(kernel.readAttributes()) || failed(isPart ? kernel.emitParts() : kernel.emitMerge()))
        return signalPassFailure();
    }
    for (func::FuncOp function : functions)
      function.erase();
  }
};

} // namespace
