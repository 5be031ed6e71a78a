// SPDX-License-Identifier: Apache-2.0
//
// The tile dialect: how a phase is computed, on no machine in particular.

#ifndef TPAC_LOWERING_TILE_TILEDIALECT_TD
#define TPAC_LOWERING_TILE_TILEDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::mlir::tpa::tile";
  let summary = "Tile programs: blocked attention on named axes";
  let description = [{
    A tile program computes one work item of a phase: some query tokens and heads of one request over a range of its cached tokens.
    It is a function of `tile` ops in `scf` loops; what differs between variants (ranks, orders, sources, masks) has been decided when it is built,
    and how a machine computes a tile is decided by a target.

    A tile is a small array whose axes have the names of docs/variant.md and the paper: n query token, h head, m cached token, d feature of Q and K,
    e feature of V, r rank of Q. Ops find axes by name, so a head factor `m x h` multiplies logits `n x h x m` without a word about
    broadcasting or transposition, and a contraction runs over the axes that its result lacks.
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::mlir::tpa::TPADialect"];
}

def Tile_TileType : TypeDef<Tile_Dialect, "Tile"> {
  let mnemonic = "tile";
  let summary = "a small array with named axes";
  let description = [{
    Sizes are static; a block that sticks out of its tensor is padded with zeros. The element type is the type in which the
    elements are kept: ops round their results to it.

    Example: `!tile.tile<h 47, d 64, f32>`.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr", "names of the axes, slowest first">:$axes,
                        ArrayRefParameter<"int64_t", "their sizes">:$sizes,
                        TypeParameter<"::mlir::Type", "element type">:$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let builders = [
    TypeBuilder<(ins "::llvm::ArrayRef<std::pair<::llvm::StringRef, int64_t>>":$axes, "::mlir::Type":$elementType)>
  ];
  let extraClassDeclaration = [{
    int64_t getRank() const { return getAxes().size(); }
    /// Position of axis `name`, or -1.
    int64_t indexOf(::llvm::StringRef name) const;
    bool hasAxis(::llvm::StringRef name) const { return indexOf(name) >= 0; }
    /// Size of axis `name`, which must exist.
    int64_t sizeOf(::llvm::StringRef name) const;
    int64_t getNumElements() const;
    TileType withElementType(::mlir::Type type) const;
    /// With axis `name`, which must exist, as the last one.
    TileType withLastAxis(::llvm::StringRef name) const;
  }];
}

#endif // TPAC_LOWERING_TILE_TILEDIALECT_TD
