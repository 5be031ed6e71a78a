// SPDX-License-Identifier: Apache-2.0
//
// What a phase of a variant takes and gives: names, element types, shapes and order of its tensors (docs/variant.md,
// "Phases"). The one source for the IR's function types, the C interface, the C header and the manifest.
// No MLIR in this header, so that callers of compiled phases need none.

#ifndef TPAC_LOWERING_PHASES_PHASESIGNATURE_H
#define TPAC_LOWERING_PHASES_PHASESIGNATURE_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tpac {

/// `project` makes factors from hidden states. It is compiled like the others, but no part of a pack: engines have
/// matrix products of their own. `importCache` and `exportCache` move cached tokens between plain tensors and the
/// layout of a device; kernels for GPUs come with them, CPUs have no such layout.
enum class Phase { append, decode, prefill, merge, project, importCache, exportCache };
/// The phases of a pack.
inline constexpr std::array<Phase, 4> packPhases = {Phase::append, Phase::decode, Phase::prefill, Phase::merge};

/// "append", "decode", "prefill", "merge", "project", "import", "export".
std::string_view phaseName(Phase phase);

/// Whether a phase passes over cached tokens: decode and prefill.
constexpr bool isAttention(Phase phase) { return phase == Phase::decode || phase == Phase::prefill; }

enum class ElementType { f64, f32, bf16, f16, f8E4M3FN, i8, i32 };

/// MLIR's spelling: "f64", "bf16", "f8E4M3FN", "i8", ...
std::string_view elementTypeName(ElementType type);
/// Bytes of one element.
int64_t elementSize(ElementType type);

/// A dimension: a number, or (where `symbol` is not empty) a run-time size, divided by `divisor`, plus `size`:
/// {"tokens", 0}, {"batch", 1} for `token_start`, {"capacity", 0, 32} for a cache in blocks of 32 tokens.
struct Dimension {
  std::string symbol;
  int64_t size = 0;
  int64_t divisor = 1;
};

/// How the phases of a pack store its caches. They must agree on it.
struct CacheStorage {
  /// Tokens per block of V's token caches; 0: token by token.
  int64_t valueBlock = 0;
  /// Tokens per page: cached tensors are [pages, page_size, ...], and `block_table`, alone or with `page_starts`, says
  /// which pages a request has; 0: they are [batch, capacity, ...].
  int64_t pageSize = 0;
};

/// Where caches are paged: [batch, capacity / page_size], numbers of pages. Entry i of a request holds its tokens
/// from i * page_size on.
inline constexpr std::string_view blockTableName = "block_table";
/// Behind it: [batch + 1], or NULL. Where it is given, `block_table` is a list of `listed_pages` numbers, of which
/// those of request b are page_starts[b] to page_starts[b + 1].
inline constexpr std::string_view pageStartsName = "page_starts";
inline constexpr std::string_view listedPagesName = "listed_pages";

enum class Access { in, inout, out };

struct PhaseTensor {
  std::string name;
  ElementType elementType;
  std::vector<Dimension> shape;
  Access access;
  /// One line for the C header.
  std::string description;
  /// NULL data means that there is none, whatever the shape.
  bool isOptional = false;
};

struct PhaseSignature {
  Phase phase;
  /// Run-time sizes in the order of the argument block: "tokens", "batch", "capacity", "pages", "listed_pages",
  /// "channels".
  std::vector<std::string> sizes;
  /// In the order of the argument block.
  std::vector<PhaseTensor> tensors;
  /// Cached tokens per part where a workspace lets the phase split its cache; 0: it never does. Follows from how the
  /// phase is computed, not from the variant: see getCompiledSignatures (lowering/emit/CInterface.h).
  int64_t split = 0;
  /// Bytes of scratch for each thread: tiles that are too large for the stack, and what threads share the work items
  /// by; 0: none. Follows as `split` does.
  int64_t scratch = 0;
};

/// Whether a tensor called so says which pages requests have.
constexpr bool saysPages(std::string_view name) { return name == blockTableName || name == pageStartsName; }
/// Whether `tensor` holds something of every cached token: [batch, capacity, ...] or [pages, ...]. Its last dimension
/// has stride 1.
bool isCache(const PhaseTensor &tensor);
/// How the phase's caches are stored; as without blocks and pages where it has no cache.
CacheStorage storageOf(const PhaseSignature &signature);
/// That of the phases of a pack that have caches.
CacheStorage storageOf(const std::vector<PhaseSignature> &signatures);
/// The number of tokens of which the capacity must be a multiple: those of a page, of a block, or 1.
int64_t capacityUnit(const PhaseSignature &signature);
/// The smallest capacity of a cache of `tokens` tokens that the phase takes.
int64_t capacityFor(const PhaseSignature &signature, int64_t tokens);

/// 8-byte words of a phase's argument block up to the last tensor: every block has them.
size_t requiredWords(const PhaseSignature &signature);

/// Words behind them, which a caller may leave out: a block that ends before a word holds 0 there.
inline constexpr size_t executorWord = 0, workspaceWord = 1, workspaceSizeWord = 2, scratchWord = 3,
                        scratchSizeWord = 4;
/// How many there are; the workspace's are read where the phase splits its cache, the scratch's where it takes any.
inline constexpr size_t optionalWords = 5;

} // namespace tpac

#endif // TPAC_LOWERING_PHASES_PHASESIGNATURE_H
