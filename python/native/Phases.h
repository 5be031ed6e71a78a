// SPDX-License-Identifier: Apache-2.0
//
// The phases of a pack as its manifest describes them, and the sizes of a call out of its tensors' shapes. Nothing of
// Python here.

#ifndef TPAC_PYTHON_PHASES_H
#define TPAC_PYTHON_PHASES_H

#include "tpac/pack.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tpac::python {

/// A dimension of a shape: a number; or a size of the call, with a number added or as a divisor.
struct Dimension {
  /// Index into PhaseDescription::sizes; -1: the number `extent`.
  int size = -1;
  int64_t extent = 0, added = 0, divisor = 1;

  int64_t sizeOf(int64_t found) const { return (found - added) * divisor; }
};

struct TensorDescription {
  std::string name;
  /// "f32", "bf16", "i32", ...
  std::string type;
  /// "[tokens, 6, 11]".
  std::string shapeText;
  std::vector<Dimension> shape;
  bool isWritten;
  /// Memory without strides: a cache that is one piece.
  bool isPiece = false;
  bool isOptional = false;
};

struct PhaseDescription {
  std::string name;
  int32_t number;
  std::vector<std::string> sizes;
  /// What a call takes: a cache that is one piece of memory is one tensor, "cache".
  std::vector<TensorDescription> tensors;
  /// What block_table is where page_starts is given: a list of numbers. Its step is the stride of both dimensions.
  std::optional<TensorDescription> pageList;
  /// For each tensor of the phase's argument block, which of `tensors` it is.
  std::vector<size_t> arguments;
  bool hasWorkspace;
};

/// Bytes of scratch per thread that a manifest names; 0 where it names none.
int64_t readThreadScratch(const std::string &manifest);

/// Phases of a manifest (docs/packs.md) on a device whose caches are as `layout` says; those that this version of the
/// runtime cannot call there are left out. Throws StatusError where the manifest is not understood.
std::vector<PhaseDescription> readPhases(const std::string &manifest, int32_t deviceType,
                                         const tpac_cache_layout &layout);

/// Learns the sizes of a call from the shapes of its tensors, one after the other.
class CallSizes {
public:
  explicit CallSizes(const PhaseDescription &phase)
      : phase(phase), values(phase.sizes.size(), -1), origins(phase.sizes.size()) {}

  /// Size `name` is `value`, an argument of the call; throws StatusError where the phase has no such size.
  void give(const std::string &name, int64_t value);
  /// Throws StatusError: the tensor, its shape, the expected one.
  void add(const TensorDescription &tensor, const std::vector<int64_t> &shape);
  /// In the order of phase.sizes. Throws where a size has no tensor to learn it from.
  const std::vector<int64_t> &all() const;
  int64_t at(const char *name) const;

private:
  const PhaseDescription &phase;
  /// Stands for what is an argument.
  const TensorDescription argument = {"the arguments", "", "", {}, false};
  std::vector<int64_t> values;
  /// The tensor that gave each.
  std::vector<const TensorDescription *> origins;
};

} // namespace tpac::python

#endif // TPAC_PYTHON_PHASES_H
