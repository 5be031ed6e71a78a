// SPDX-License-Identifier: Apache-2.0
//
// Tiles from and to memory, with every access checked against the memory's bounds. Errors are sentences without the op:
// the interpreter adds it.

#ifndef TPAC_LOWERING_TILE_MEMORYACCESS_H
#define TPAC_LOWERING_TILE_MEMORYACCESS_H

#include "lowering/tile/MemoryView.h"
#include "lowering/tile/TileValue.h"

#include "llvm/Support/Error.h"

namespace tpac {

/// `tile.load`: limits at most 0 read nothing, limits beyond the tile the whole tile. `table`: of the pages, null where
/// there are none. Fails where an element within the limits lies outside the memory or its page outside the table, and
/// where the index is no multiple of the runs that the op states.
llvm::Expected<TileValue> loadTile(mlir::tpa::tile::LoadOp op, const MemoryView &memory,
                                   llvm::ArrayRef<int64_t> indices, llvm::ArrayRef<int64_t> limits,
                                   const MemoryView *table);

/// `tile.store`: as `loadTile`; writes nothing where it fails.
llvm::Error storeTile(mlir::tpa::tile::StoreOp op, const TileValue &value, const MemoryView &memory,
                      llvm::ArrayRef<int64_t> indices, llvm::ArrayRef<int64_t> limits, const MemoryView *table);

/// The element at `indices` (one per dimension).
llvm::Expected<double> loadElement(const MemoryView &memory, llvm::ArrayRef<int64_t> indices);

/// The part with these offsets, sizes and strides, one of each per dimension; `dropped` dimensions are left out.
llvm::Expected<MemoryView> subview(const MemoryView &memory, llvm::ArrayRef<int64_t> offsets,
                                   llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<int64_t> strides,
                                   const llvm::SmallBitVector &dropped);

/// Fails where `memory` is no value of `type`: element type, rank, and sizes known when compiling. Strides may be any.
llvm::Error checkMemory(const MemoryView &memory, mlir::MemRefType type);

} // namespace tpac

#endif // TPAC_LOWERING_TILE_MEMORYACCESS_H
