// SPDX-License-Identifier: Apache-2.0
//
// Phases of a variant as tile programs. All that differs between variants - ranks, orders, sources, sharing, masks,
// ragged tails - is decided here, once, for all targets.

#ifndef TPAC_LOWERING_TILE_BUILDPROGRAMS_H
#define TPAC_LOWERING_TILE_BUILDPROGRAMS_H

#include "dialect/TPADialect.h"
#include "lowering/phases/PhaseSignature.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace tpac {

/// Why `schedule` cannot be used for the variant's attention, naming the field, what was found and what is accepted;
/// success where it can. Legality for every target; a target adds its own (lowering/TARGET/).
llvm::Error checkSchedule(mlir::tpa::VariantAttr variant, mlir::tpa::ScheduleAttr schedule);

/// Why the variant's caches cannot be stored as `storage` says; success where they can.
llvm::Error checkStorage(mlir::tpa::VariantAttr variant, CacheStorage storage);

/// How a pack with this schedule stores its caches.
CacheStorage storageOf(mlir::tpa::ScheduleAttr schedule);

/// The most heads of one tile: all, or those that read one rank of every `groups` factor.
int64_t largestHeadTile(mlir::tpa::VariantAttr variant);

/// Heads of a tile that checkSchedule accepts and that are worth trying, ascending: divisors of the largest tile, and
/// multiples of 8 and the sizes in `ragged` where the last tile may be ragged.
std::vector<int64_t> headTiles(mlir::tpa::VariantAttr variant, llvm::ArrayRef<int64_t> ragged = {});

/// Whether the order `factored` of the score exists: there is a query head factor, and no merged query to be rounded.
bool allowsFactoredScore(mlir::tpa::VariantAttr variant);

/// Whether products of narrow operands lose nothing that they should keep where the merged query has one part: it is
/// rounded anyway, and keys are not computed, which would round them too.
bool allowsOneQueryPart(mlir::tpa::VariantAttr variant);

/// The one type, beside that of the arithmetic, that operands of products may have: it holds all that the cache holds.
/// Null where there is none.
mlir::Type narrowOperands(mlir::tpa::VariantAttr variant);

/// A phase and how it is computed.
struct ScheduledPhase {
  Phase phase;
  mlir::tpa::ScheduleAttr schedule;
};

/// Tile programs of phases of a pack: for each a private function `@PHASE` on memrefs, one per tensor of its signature,
/// that loops over work items and calls `@PHASE_item`, the program of one of them. Schedules must pass checkSchedule.
/// An error where they do not agree on the layout of the cache.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> buildPrograms(mlir::tpa::VariantAttr variant,
                                                                llvm::ArrayRef<ScheduledPhase> phases);

} // namespace tpac

#endif // TPAC_LOWERING_TILE_BUILDPROGRAMS_H
