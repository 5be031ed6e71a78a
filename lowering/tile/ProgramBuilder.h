// SPDX-License-Identifier: Apache-2.0
//
// Conveniences for writing tile programs in C++: tiles by axes, loads by tensor names. Knows no phase.

#ifndef TPAC_LOWERING_TILE_PROGRAMBUILDER_H
#define TPAC_LOWERING_TILE_PROGRAMBUILDER_H

#include "lowering/tile/TileDialect.h"

#include "mlir/IR/Builders.h"

#include <map>
#include <optional>

namespace mlir::tpa::tile {

/// One dimension of a memory access: an index, and the axis of the tile that runs from it (none: the index alone
/// counts). An axis in blocks comes twice, its limit with the first.
struct Along {
  Value index;
  StringRef axis = "";
  /// Elements that exist from `index` on; null where the tile never sticks out.
  Value limit = Value();
};

using Axes = SmallVector<std::pair<StringRef, int64_t>>;

class ProgramBuilder {
public:
  /// How loads and stores of a pool of pages find a token's page.
  struct Pages {
    /// The table, by name.
    StringRef table;
    /// Tokens in a row from the access's first on that are known to lie in one page.
    int64_t run;
  };

  /// `memory`: the memrefs of the program by the names of docs/variant.md.
  ProgramBuilder(OpBuilder &builder, Location loc, Type arithmetic, std::map<std::string, Value> memory)
      : b(builder), loc(loc), arithmetic(arithmetic), memory(std::move(memory)) {}

  // Index arithmetic.
  Value index(int64_t value);
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value min(Value x, Value y);
  Value max(Value x, Value y);
  /// The first index of accesses to the cache of `request`: itself or, where caches have pages, its row of the table.
  Value cacheRow(Value request);
  /// Element `at` of an i32 tensor, as an index.
  Value readIndex(StringRef name, Value at);
  bool has(StringRef name) const { return memory.count(name.str()) != 0; }
  Value get(StringRef name) const { return memory.at(name.str()); }
  /// From here on `name` means `tensor`.
  void setMemory(StringRef name, Value tensor) { memory[name.str()] = tensor; }

  // Tiles. Sizes of axes are those of `axes`; results are of the arithmetic type unless one is given.
  Value load(StringRef name, ArrayRef<Along> dimensions, const Axes &axes, std::optional<Pages> pages = std::nullopt);
  void store(Value tile, StringRef name, ArrayRef<Along> dimensions, std::optional<Pages> pages = std::nullopt);
  Value fill(double value, const Axes &axes);
  Value mul(Value lhs, Value rhs);
  Value addTiles(Value lhs, Value rhs);
  Value constantMul(Value tile, double factor);
  Value convert(Value tile, Type type);
  /// Contraction to the axes `result`, with an optional accumulator.
  Value dot(Value lhs, Value rhs, ArrayRef<StringRef> result, Value accumulator = Value());
  /// Joins axes `fast` of lhs and `slow` of rhs to `joined`.
  Value outer(Value lhs, Value rhs, StringRef fast, StringRef slow, StringRef joined);
  /// `tile` repeated along those of `axes` that it lacks.
  Value broadcast(Value tile, const Axes &axes);

  static TileType typeOf(Value tile) { return cast<TileType>(tile.getType()); }

  OpBuilder &b;
  Location loc;
  Type arithmetic;

private:
  TileType tileType(const Axes &axes, Type element) { return TileType::get(b.getContext(), axes, element); }

  std::map<std::string, Value> memory;
};

} // namespace mlir::tpa::tile

#endif // TPAC_LOWERING_TILE_PROGRAMBUILDER_H
