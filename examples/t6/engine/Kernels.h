// SPDX-License-Identifier: Apache-2.0
//
// A kernel pack as this engine uses it: opened at run time, its phases called with tensors by name, so that one program
// runs every variant.

#ifndef TPAC_EXAMPLES_T6_KERNELS_H
#define TPAC_EXAMPLES_T6_KERNELS_H

#include "examples/t6/engine/Machine.h"

#include "tpac/pack.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace t6 {

/// Run-time sizes of a call: "tokens", "batch", "capacity", "pages".
using Sizes = std::map<std::string, int64_t>;

/// A tensor of a phase, as the manifest describes it.
struct TensorInfo {
  std::string name;
  /// "f32", "bf16", "i32", ...
  std::string type;
  std::vector<std::string> shape;
  /// May be NULL.
  bool isOptional = false;

  /// Throws std::runtime_error where the engine does not handle the element type.
  Type elementType() const;
  /// Elements under run-time sizes.
  int64_t elements(const Sizes &sizes) const;
  bool isCache() const { return name.ends_with("_cache"); }
  /// Elements of one token: of all dimensions but the first.
  int64_t elementsPerToken() const;
};

/// Functions throw std::runtime_error with the message of the runtime or the pack.
class Kernels {
public:
  /// Opens the pack at `path` for `machine`, which must live longer.
  Kernels(const std::string &path, Machine &machine);

  Machine &machine() const { return where; }
  const std::string &name() const { return packName; }
  /// The variant of the pack, as JSON.
  const nlohmann::json &variant() const { return manifest.at("variant"); }
  /// How the cache lies in the machine's memory, and how many bytes a token of it has there.
  const tpac_cache_layout &cacheLayout() const { return layout; }
  /// Tokens of a page of the caches; 0: they have none.
  int64_t pageSize() const { return manifest.at("page_size"); }
  const char *target() const { return tpac_kernels_target(kernels.get()); }

  /// Tensors of phase "append", "decode" or "prefill".
  const std::vector<TensorInfo> &tensors(const std::string &phase) const { return phases.at(phase).tensors; }
  const TensorInfo &tensor(const std::string &phase, const std::string &name) const;

  /// Calls a phase. `data`: contiguous memory of the machine of each of its tensors by name.
  void run(const std::string &phase, const Sizes &sizes, const std::map<std::string, void *> &data) const;

private:
  struct Phase {
    int32_t number;
    std::vector<std::string> sizes;
    std::vector<TensorInfo> tensors;
  };
  template <typename T> using Handle = std::unique_ptr<T, void (*)(T *)>;

  Machine &where;
  Handle<tpac_kernels> kernels{nullptr, tpac_kernels_destroy};
  tpac_cache_layout layout = {};
  std::string packName;
  nlohmann::json manifest;
  std::map<std::string, Phase> phases;
  /// For large tiles: stacks of engines' threads are small.
  Memory scratch;
  int64_t scratchBytes = 0;
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_KERNELS_H
