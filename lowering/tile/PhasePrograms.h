// SPDX-License-Identifier: Apache-2.0
//
// The work items of single phases, shared between the files of buildPrograms.

#ifndef TPAC_LOWERING_TILE_PHASEPROGRAMS_H
#define TPAC_LOWERING_TILE_PHASEPROGRAMS_H

#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/ProgramBuilder.h"

namespace mlir::tpa::tile {

/// What of a phase one work item computes. Null where the phase has no such part; counts are null where every tile is
/// full.
struct WorkItem {
  /// The request.
  Value request;
  /// First token of the call (query or new token), and how many of the tile's exist.
  Value token, tokens;
  /// First local head, and how many of the item's exist.
  Value head, heads;
  /// Cached tokens [begin, end) of the request; the item sees no others.
  Value begin, end;
  /// Where the item computes one part of a split cache: its number. The state goes to part_out and part_lse.
  Value part;
};

void buildAttentionItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item);
void buildAppendItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item);
void buildMergeItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item);
/// Merges the parts 0 .. `parts` of a split cache into out and lse.
void buildPartsItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item, Value parts);

/// Stores the state of `item.part`, the only part of its cache, to out and lse.
void buildPartResult(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item);

/// Name of the feature axis of Q and K, and of V.
inline constexpr StringRef keyFeatures = "d", valueFeatures = "e";

/// Axis of small factor `i` of a token factor: the feature axis itself at order 2.
std::string smallAxis(FactorizationAttr factorization, StringRef features, size_t i);
/// Tensor of small factor `i`: "k_token", or "k_token1" at order 3 and above.
std::string smallName(FactorizationAttr factorization, StringRef side, size_t i);

} // namespace mlir::tpa::tile

#endif // TPAC_LOWERING_TILE_PHASEPROGRAMS_H
