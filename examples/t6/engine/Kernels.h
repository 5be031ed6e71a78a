// SPDX-License-Identifier: Apache-2.0
//
// A kernel pack as this engine uses it: opened at run time, its phases called with tensors by name, so that one program
// runs every variant.

#ifndef TPAC_EXAMPLES_T6_KERNELS_H
#define TPAC_EXAMPLES_T6_KERNELS_H

#include "tpac/executor.h"
#include "tpac/pack.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace t6 {

/// Throws std::runtime_error with the message of a status of the runtime that is not success.
void requireSuccess(int32_t status);

/// Run-time sizes of a call: "tokens", "batch", "capacity", "pages".
using Sizes = std::map<std::string, int64_t>;

/// Storage types that the engine converts to and from float.
enum class Type { f32, bf16 };
int64_t sizeOf(Type type);
/// `to` holds values.size() elements of `type`; rounds to nearest, ties to even.
void store(std::span<const float> values, Type type, void *to);
void load(const void *from, Type type, std::span<float> values);

/// A tensor of a phase, as the manifest describes it.
struct TensorInfo {
  std::string name;
  /// "f32", "bf16", "i32", ...
  std::string type;
  std::vector<std::string> shape;

  /// Throws std::runtime_error where the engine does not handle the element type.
  Type elementType() const;
  /// Elements under run-time sizes.
  int64_t elements(const Sizes &sizes) const;
  /// Elements of one token: of all dimensions but the first.
  int64_t elementsPerToken() const;
};

/// Functions throw std::runtime_error with the message of the runtime or the pack.
class Kernels {
public:
  /// Opens the pack at `path`; its work runs on `threads` threads (0: all allowed CPUs).
  Kernels(const std::string &path, int threads);

  const std::string &name() const { return packName; }
  /// The variant of the pack, as JSON.
  const nlohmann::json &variant() const { return manifest.at("variant"); }
  int64_t cacheBytesPerToken() const { return manifest.at("cache_bytes_per_token").at("total"); }
  /// Tokens of a page of the caches; 0: they have none.
  int64_t pageSize() const { return manifest.at("page_size"); }
  const char *target() const { return tpac_kernels_target(kernels.get()); }
  int threads() const { return executor->concurrency; }

  /// Tensors of phase "append", "decode" or "prefill".
  const std::vector<TensorInfo> &tensors(const std::string &phase) const { return phases.at(phase).tensors; }
  const TensorInfo &tensor(const std::string &phase, const std::string &name) const;

  /// Calls a phase. `data`: contiguous memory of each of its tensors by name.
  void run(const std::string &phase, const Sizes &sizes, const std::map<std::string, void *> &data) const;

private:
  struct Phase {
    int32_t number;
    std::vector<std::string> sizes;
    std::vector<TensorInfo> tensors;
  };
  template <typename T> using Handle = std::unique_ptr<T, void (*)(T *)>;

  Handle<tpac_thread_pool> pool{nullptr, tpac_thread_pool_destroy};
  Handle<tpac_kernels> kernels{nullptr, tpac_kernels_destroy};
  const tpac_executor *executor = nullptr;
  std::string packName;
  nlohmann::json manifest;
  std::map<std::string, Phase> phases;
  /// Of the call in progress; it grows to the largest that was needed.
  mutable std::vector<std::byte> workspace;
};

} // namespace t6

#endif // TPAC_EXAMPLES_T6_KERNELS_H
