// SPDX-License-Identifier: Apache-2.0
//
// Which tiles of a function get no buffer, because they are computed where they are read.

#ifndef TPAC_LOWERING_CPU_DEFERRAL_H
#define TPAC_LOWERING_CPU_DEFERRAL_H

#include "lowering/tile/TileDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallPtrSet.h"

#include <optional>

namespace mlir::tpa::cpu {

class Deferral {
public:
  /// Decides for all ops of `function`; on CPUs with matrix tiles their loops are found, and lose transpositions that
  /// these do not need. Results that are turned as they are stored (turnedOf) move to their stores.
  Deferral(func::FuncOp function, bool amx);

  /// A result of attention whose vectors run along queries, and the store of rows that alone reads it.
  struct Turned {
    tile::StoreOp store;
    /// Changes the axis of the vectors.
    tile::ConvertOp turn;
    /// What follows it.
    SmallVector<Operation *> rest;
  };

  /// Whether `op` is an element-by-element function of its operands at the same point.
  static bool isElementwise(Operation *op);

  /// Whether `op` is computed where its result is read.
  bool isDeferred(Operation *op) const { return deferred.contains(op); }

  /// Whether it is, as the stages of a matrix loop pack queries.
  bool isPacked(Operation *op) const { return packed.contains(op); }

  /// Whether `op` is part of a store that turns what it stores.
  bool isStored(Operation *op) const { return stored.contains(op); }

  /// How the result of `finish` is turned as it is stored, if it is.
  std::optional<Turned> turnedOf(tile::FinishOp finish) const {
    auto found = turned.find(finish);
    return found == turned.end() ? std::nullopt : std::optional(found->second);
  }

  /// The ops in which `value` is read: those behind the deferred ones.
  void forReaders(Value value, llvm::function_ref<void(Operation *)> body) const;

  /// The op of `value`'s block in which it is last read; null where it is never read.
  Operation *lastReader(Value value) const;

  /// The values in buffers that reading `value` reads at the same point.
  SmallVector<Value> sourcesOf(Value value) const;

  /// The product that goes on in `dot`, if there is one.
  tile::DotOp deferredProduct(tile::DotOp dot) const;

private:
  /// Whether memory is written between `load` and what reads its only use.
  bool isStoredBeforeRead(tile::LoadOp load) const;

  /// A tile that its only user reads once, element by element, needs no buffer: `op` is computed there. So are products
  /// that go on in another product's accumulator.
  bool canDefer(Operation *op) const;

  /// Whether `op` is computed as the stages of `loops` pack queries, a few at a time: all heads of a tile then read
  /// what they share from the L1 cache.
  bool canPack(Operation *op, const llvm::SmallPtrSetImpl<Operation *> &loops) const;

  /// Moves `finish` to the store of its result, if it is turned in between and nothing else needs it there.
  void findTurned(tile::FinishOp finish);

  llvm::DenseSet<Operation *> deferred;
  /// Those of them that are computed as queries are packed.
  llvm::DenseSet<Operation *> packed;
  /// Results that are turned as they are stored; what is done with them.
  llvm::DenseMap<Operation *, Turned> turned;
  llvm::DenseSet<Operation *> stored;
};

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_DEFERRAL_H
