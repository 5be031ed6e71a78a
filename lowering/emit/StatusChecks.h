// SPDX-License-Identifier: Apache-2.0
//
// What a pack's C functions check before they compute, and the status and text of each failure: the one list that the
// generated checks, the status table and the documentation follow. No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_STATUSCHECKS_H
#define TPAC_LOWERING_EMIT_STATUSCHECKS_H

#include "lowering/phases/PhaseSignature.h"

#include <string>
#include <string_view>
#include <vector>

namespace tpac {

/// Run-time sizes are bounded so that i32 values can count them.
inline constexpr int64_t largestSize = 2147483647;

/// Bytes of which the addresses of a workspace and of scratch are multiples.
inline constexpr int64_t workspaceAlignment = 64;

enum class CheckKind {
  argsNull,           // the argument block's pointer
  structSize,         // struct_size smaller than the block up to the last tensor
  sizeRange,          // run-time size `index` outside 0 .. largestSize
  capacityBlock,      // the capacity, run-time size `index`, is no multiple of capacityUnit
  dataNull,           // data of tensor `index` is NULL and the tensor is not empty
  dataAlignment,      // data of tensor `index` is not a multiple of the element size
  strideNegative,     // a given stride of tensor `index` < 0
  strideOfRow,        // a given stride of the last dimension of cache tensor `index` is not 1
  tokenStartNegative, // token_start[0] < 0
  tokenStartOrder,    // token_start[b + 1] < token_start[b]
  tokenStartLast,     // token_start[batch] > tokens
  pageStartsNegative, // page_starts[0] < 0
  pageStartsOrder,    // page_starts[b + 1] < page_starts[b]
  pageStartsLast,     // page_starts[batch] > listed_pages
  lengthRange,        // lengths[b] outside 0 .. capacity
  appendedLength,     // lengths[b] plus the new tokens of b exceeds capacity
  listedLength,       // lengths[b], plus the new tokens of b in append, are more than the listed pages of b hold
  executorRun,        // an executor is given, whose `run` is NULL
  workspaceAlignment, // workspace is not a multiple of workspaceAlignment
  workspaceSize,      // a workspace is given, and smaller than the parts of the split cache
  scratchAlignment,   // scratch is not a multiple of workspaceAlignment
  scratchSize,        // scratch is given, and too small for one thread
};

struct StatusCheck {
  CheckKind kind;
  /// Of the run-time size or tensor that is checked.
  size_t index;
  /// What the function returns where the check fails.
  int32_t status;
  std::string message;
};

/// The checks of each signature, in the order in which they are made. Statuses count 1, 2, ... through all signatures.
std::vector<std::vector<StatusCheck>> statusChecks(std::string_view symbolPrefix,
                                                   const std::vector<PhaseSignature> &signatures);

/// Text of each status: element 0 is "success".
std::vector<std::string> statusTable(std::string_view symbolPrefix, const std::vector<PhaseSignature> &signatures);

/// Text of the status that every phase of a pack returns where this machine runs none of `levels`, the names of its
/// targets; its number is the first one that statusTable has not.
std::string noLevelText(std::string_view symbolPrefix, const std::vector<std::string> &levels);

/// What the status message function returns for any other number.
std::string_view unknownStatusText();

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_STATUSCHECKS_H
