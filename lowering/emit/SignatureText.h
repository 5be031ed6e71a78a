// SPDX-License-Identifier: Apache-2.0
//
// How names, shapes and types of a signature are written in messages, headers and manifests, and what follows from them
// by counting. No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_SIGNATURETEXT_H
#define TPAC_LOWERING_EMIT_SIGNATURETEXT_H

#include "lowering/phases/PhaseSignature.h"

#include <string>
#include <string_view>
#include <vector>

namespace tpac {

/// A variant's name as it stands in file names and C symbols: every character but [A-Za-z0-9] becomes '_'.
std::string symbolName(std::string_view variantName);
/// PREFIX_PHASE, the C function of a phase.
std::string functionName(std::string_view symbolPrefix, Phase phase);
/// PREFIX_PHASE_workspace_size, which a phase has that splits its cache.
std::string workspaceSizeName(std::string_view symbolPrefix, Phase phase);
/// PREFIX_status_message.
std::string statusMessageName(std::string_view symbolPrefix);
/// PREFIX_cpu_level.
std::string cpuLevelName(std::string_view symbolPrefix);

/// "tokens", "batch + 1", "capacity / 32", "47".
std::string dimensionText(const Dimension &dimension);
/// "bf16 [tokens, 6, 47]".
std::string tensorText(const PhaseTensor &tensor);
/// "in", "inout", "out".
std::string_view accessName(Access access);

/// Index of tensor `name` in `signature`, or -1.
int tensorIndex(const PhaseSignature &signature, std::string_view name);
/// Index of run-time size `name` in `signature`, or -1.
int sizeIndex(const PhaseSignature &signature, std::string_view name);

/// Bytes of the cache per token and request, by what they hold.
struct CacheBytes {
  int64_t head = 0;
  int64_t token = 0;
  int64_t scale = 0;
  int64_t position = 0;
  int64_t total() const { return head + token + scale + position; }
};

/// Counts the cache tensors (shape [batch, capacity, ...]) of the first signature that has any; zeros where none has.
CacheBytes cacheBytesPerToken(const std::vector<PhaseSignature> &signatures);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_SIGNATURETEXT_H
