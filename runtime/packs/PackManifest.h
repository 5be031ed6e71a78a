// SPDX-License-Identifier: Apache-2.0
//
// What the runtime reads of a pack's manifest (docs/packs.md).

#ifndef TPAC_RUNTIME_PACKS_PACKMANIFEST_H
#define TPAC_RUNTIME_PACKS_PACKMANIFEST_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::runtime {

/// Run-time sizes of argument blocks.
enum class Size { tokens, batch, capacity, pages, listedPages };
inline constexpr size_t sizeCount = 5;
const char *sizeName(Size size);

/// A dimension: a number, or a run-time size divided by `divisor` plus `offset`.
struct Dimension {
  std::optional<Size> size;
  int64_t divisor = 1, offset = 0;
};

struct PhaseTensor {
  std::string name;
  /// "bf16", and "bf16 [tokens, 6, 47]" for messages.
  std::string type, text;
  int64_t elementBytes;
  std::vector<Dimension> shape;
  /// Part of the cache.
  bool isCache;
  /// May be NULL.
  bool isOptional;
};

/// A phase's argument block: struct_size, sizes, tensors, then words that may be left out.
struct PhaseArguments {
  /// "append", "decode", ...
  std::string name;
  std::vector<Size> sizes;
  std::vector<PhaseTensor> tensors;
  /// Indices of block_table and page_starts in `tensors`; none where the phase has no pages.
  std::optional<size_t> blockTable, pageStarts;
  /// Bytes up to the last tensor.
  int64_t bytes;
};

/// How many thread blocks a kernel for GPUs is launched with.
enum class Grid {
  parts,        ///< as many as parts that the call's work is divided into
  rows,         ///< by the rows of results, a head of a query token each
  tokens,       ///< any number, for `tokens`
  cachedTokens, ///< any number, for batch times `tokens`
  states        ///< any number, for `tokens`
};

/// A parameter of a kernel: a tensor (a pointer, and strides where it has two dimensions or more), or one of these.
enum class Parameter { tensor, cache, workspace, tokens, batch, capacity, parts, warpsOfRow };

struct GpuKernel {
  struct Argument {
    Parameter kind;
    /// Of `tensor`: its index in the phase's tensors.
    size_t tensor;
  };
  std::string entry;
  Grid grid;
  int64_t threads, sharedBytes;
  /// May begin while the launch before it ends.
  bool overlaps;
  std::vector<Argument> arguments;
};

/// Kernels that compute a phase, launched one after another.
struct GpuPhase {
  std::string name;
  /// Query tokens of a request that they are made for; 0 where the phase has none.
  int64_t queries = 0;
  /// Of attention: tiles of query tokens and heads, cached tokens per block, bytes of a part's record.
  int64_t tileQueries = 0, tileHeads = 0, headTiles = 0, blockTokens = 0, recordBytes = 0;
  std::vector<GpuKernel> kernels;
};

struct GpuImage {
  /// "sm_90a"
  std::string target;
  bool isCubin;
  std::string file;
  std::vector<GpuPhase> phases;
};

/// How GPUs keep the cache: [request][plane][token][row], or [page][plane][token][row].
struct GpuCache {
  int64_t planes, rowBytes, pageSize, capacityUnit, swizzleMask, swizzleShift;
};

struct GpuPart {
  GpuCache cache;
  std::vector<GpuImage> images;
};

struct PackManifest {
  struct Phase {
    PhaseArguments arguments;
    /// C function in the pack's library, and the one that gives its workspace's size; empty where it has none.
    std::string function, workspaceSizeFunction;
  };
  struct File {
    std::string path;
    int64_t bytes;
  };

  std::string name;
  /// Of the library.
  std::vector<std::string> targets;
  /// Those of the library, then import and export where there are kernels for GPUs.
  std::vector<Phase> phases;
  std::vector<File> files;
  std::string cpuLevelFunction;
  int64_t cacheBytesPerToken = 0, pageSize = 0, valueBlock = 0;
  std::optional<GpuPart> gpu;

  /// The phase of that name, or null.
  const Phase *find(std::string_view phase) const;
  /// Path of the CPU's shared library; empty where the pack has none.
  std::string sharedLibrary() const;

  /// Throws Failure, which names the field that is wrong.
  static PackManifest parse(const std::string &text);
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_PACKMANIFEST_H
