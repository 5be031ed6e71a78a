// SPDX-License-Identifier: Apache-2.0
//
// A tile's elements on the host, and loops over named axes. What ops do with them is in TileArithmetic.h.

#ifndef TPAC_LOWERING_TILE_TILEVALUE_H
#define TPAC_LOWERING_TILE_TILEVALUE_H

#include "lowering/phases/PhaseSignature.h"
#include "lowering/tile/TileDialect.h"

#include <array>
#include <optional>
#include <vector>

namespace tpac {

/// Elements in the order of the type's axes, the last one fastest.
struct TileValue {
  mlir::tpa::tile::TileType type;
  std::vector<double> elements;

  explicit TileValue(mlir::tpa::tile::TileType type) : type(type), elements(type.getNumElements()) {}
};

/// The element type that `type` is, if tiles and memory of it can be interpreted.
std::optional<ElementType> elementTypeOf(mlir::Type type);

/// How far apart neighbours along `axis` are in a tile of this type; 0 where it lacks the axis, so that one element
/// serves all.
int64_t strideOf(mlir::tpa::tile::TileType type, llvm::StringRef axis);

/// Nested loops that keep an offset into each of some operands.
template <size_t Operands> class AxisLoops {
public:
  using Offsets = std::array<int64_t, Operands>;

  AxisLoops() = default;

  /// One loop per axis of `axes`, the last one innermost, over operands of these types.
  AxisLoops(mlir::tpa::tile::TileType axes, const std::array<mlir::tpa::tile::TileType, Operands> &operands) {
    for (auto [axis, size] : llvm::zip(axes.getAxes(), axes.getSizes()))
      addAxis(axis.getValue(), size, operands);
  }

  /// One loop per axis of `axes` but `axis`: over the rows that run along it.
  static AxisLoops without(llvm::StringRef axis, mlir::tpa::tile::TileType axes,
                           const std::array<mlir::tpa::tile::TileType, Operands> &operands) {
    AxisLoops result;
    for (auto [name, size] : llvm::zip(axes.getAxes(), axes.getSizes()))
      if (name.getValue() != axis)
        result.addAxis(name.getValue(), size, operands);
    return result;
  }

  void addAxis(llvm::StringRef axis, int64_t size, const std::array<mlir::tpa::tile::TileType, Operands> &operands) {
    Offsets strides;
    for (size_t i = 0; i < Operands; ++i)
      strides[i] = strideOf(operands[i], axis);
    add(size, strides);
  }

  /// Adds an innermost loop.
  void add(int64_t size, Offsets strides) { loops.push_back({size, strides}); }

  /// Calls `body(const Offsets &)` once per combination; once, too, without loops.
  template <typename Body> void forEach(Body &&body, Offsets start = {}) const {
    if (loops.empty())
      body(start);
    else
      run(llvm::ArrayRef<Loop>(loops), start, body);
  }

private:
  struct Loop {
    int64_t size;
    Offsets strides;
  };

  template <typename Body> static void run(llvm::ArrayRef<Loop> loops, Offsets at, Body &body) {
    const Loop &loop = loops.front();
    for (int64_t i = 0; i < loop.size; ++i) {
      if (loops.size() == 1)
        body(at);
      else
        run(loops.drop_front(), at, body);
      for (size_t k = 0; k < Operands; ++k)
        at[k] += loop.strides[k];
    }
  }

  llvm::SmallVector<Loop> loops;
};

} // namespace tpac

#endif // TPAC_LOWERING_TILE_TILEVALUE_H
