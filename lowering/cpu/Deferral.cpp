// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/Deferral.h"
#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/MatrixLoop.h"

#include "mlir/IR/Iterators.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

Deferral::Deferral(func::FuncOp function, bool amx) {
  llvm::SmallPtrSet<Operation *, 4> matrixLoops, columnLoops;
  if (amx)
    function.walk([&](scf::ForOp loop) {
      if (auto match = MatrixLoop::match(loop)) {
        match->dropTranspositions();
        matrixLoops.insert(loop);
        if (match->hasQueryColumns())
          columnLoops.insert(loop);
      }
    });
  function.walk([&](tile::FinishOp finish) { findTurned(finish); });
  // Readers before what they read.
  function.walk<WalkOrder::PostOrder, ReverseIterator>([&](Operation *op) {
    if (canPack(op, columnLoops))
      packed.insert(op);
    if (packed.contains(op) || (!matrixLoops.contains(op->getParentOp()) && canDefer(op)))
      deferred.insert(op);
  });
}

bool Deferral::isElementwise(Operation *op) {
  if (auto convert = dyn_cast<tile::ConvertOp>(op)) {
    TileType from = convert.getInput().getType(), to = convert.getType();
    return from.getRank() == 0 || from.getAxes().back() == to.getAxes().back();
  }
  return isa<tile::AddOp, tile::ConstantMulOp, tile::MulOp, tile::SoftcapOp>(op);
}

bool Deferral::isStoredBeforeRead(tile::LoadOp load) const {
  Operation *reader = lastReader(load.getResult());
  for (Operation *op = load->getNextNode(); op && op != reader; op = op->getNextNode())
    if (isa<tile::StoreOp>(op) || op->getNumRegions() != 0)
      return true;
  return false;
}

bool Deferral::canDefer(Operation *op) const {
  if (op->getNumResults() != 1 || !op->hasOneUse() || op->getBlock() != op->use_begin()->getOwner()->getBlock())
    return false;
  OpOperand &use = *op->use_begin();
  auto next = dyn_cast<tile::DotOp>(use.getOwner());
  bool isAccumulator = next && use.getOperandNumber() == 2;
  if (auto dot = dyn_cast<tile::DotOp>(op))
    return isAccumulator && Emitter::canAdd(dot, next);
  auto load = dyn_cast<tile::LoadOp>(op);
  if (!isElementwise(op) && !(load && Emitter::canReadInPlace(load) && !isStoredBeforeRead(load)))
    return false;
  Operation *user = use.getOwner();
  if (isElementwise(user) || isa<tile::ConvertOp>(user))
    return cast<TileType>(use.get().getType()).getNumElements() ==
           cast<TileType>(user->getResult(0).getType()).getNumElements();
  return isAccumulator || isa<tile::StoreOp>(user) || (isa<tile::SoftmaxStepOp>(user) && use.getOperandNumber() == 0);
}

bool Deferral::canPack(Operation *op, const llvm::SmallPtrSetImpl<Operation *> &loops) const {
  auto dot = dyn_cast<tile::DotOp>(op);
  bool isPackable = dot ? Emitter::canContractWhereRead(dot) : isa<tile::SplitOp>(op) || isElementwise(op);
  return isPackable && !op->use_empty() && llvm::all_of(op->getUsers(), [&](Operation *user) {
           Operation *loop = user->getParentOp();
           bool isProduct = isa<tile::DotOp>(user) && loops.contains(loop) && loop->getBlock() == op->getBlock();
           return isProduct || packed.contains(user);
         });
}

void Deferral::findTurned(tile::FinishOp finish) {
  Turned found;
  for (Value value = finish.getOut(); !found.store;) {
    Operation *user = value.hasOneUse() ? *value.user_begin() : nullptr;
    if (!user || user->getBlock() != finish->getBlock())
      return;
    if (auto store = dyn_cast<tile::StoreOp>(user)) {
      found.store = store;
      break;
    }
    auto convert = dyn_cast<tile::ConvertOp>(user);
    if (!found.turn && convert && !isElementwise(user))
      found.turn = convert;
    else if (found.turn && isElementwise(user) && isa<tile::ConstantMulOp, tile::ConvertOp>(user))
      found.rest.push_back(user);
    else
      return;
    value = user->getResult(0);
  }
  bool isNeededBefore = llvm::any_of(finish.getLse().getUsers(), [&](Operation *user) {
    Operation *reader = finish->getBlock()->findAncestorOpInBlock(*user);
    return !reader || reader->isBeforeInBlock(found.store);
  });
  if (!found.turn || isNeededBefore || !Emitter::canTurn(found.store, found.turn))
    return;
  finish->moveBefore(found.store);
  found.turn->moveBefore(found.store);
  stored.insert_range(ArrayRef<Operation *>{found.store, found.turn});
  for (Operation *op : found.rest)
    op->moveBefore(found.store);
  stored.insert_range(found.rest);
  turned[finish] = std::move(found);
}

void Deferral::forReaders(Value value, llvm::function_ref<void(Operation *)> body) const {
  for (Operation *user : value.getUsers())
    if (isDeferred(user))
      for (Value result : user->getResults())
        forReaders(result, body);
    else
      body(user);
}

Operation *Deferral::lastReader(Value value) const {
  Operation *last = nullptr;
  forReaders(value, [&](Operation *user) {
    Operation *ancestor = value.getParentBlock()->findAncestorOpInBlock(*user);
    if (!last || last->isBeforeInBlock(ancestor))
      last = ancestor;
  });
  return last;
}

SmallVector<Value> Deferral::sourcesOf(Value value) const {
  Operation *op = value.getDefiningOp();
  if (!op || !isDeferred(op))
    return {value};
  if (auto dot = dyn_cast<tile::DotOp>(op))
    return dot.getAccumulator() ? sourcesOf(dot.getAccumulator()) : SmallVector<Value>();
  SmallVector<Value> sources;
  for (Value operand : op->getOperands())
    if (isa<TileType>(operand.getType()))
      llvm::append_range(sources, sourcesOf(operand));
  return sources;
}

tile::DotOp Deferral::deferredProduct(tile::DotOp dot) const {
  auto before = dot.getAccumulator() ? dot.getAccumulator().getDefiningOp<tile::DotOp>() : tile::DotOp();
  return before && isDeferred(before) ? before : tile::DotOp();
}
