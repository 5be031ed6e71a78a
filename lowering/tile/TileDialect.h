// SPDX-License-Identifier: Apache-2.0
//
// The tile dialect and its ops.

#ifndef TPAC_LOWERING_TILE_TILEDIALECT_H
#define TPAC_LOWERING_TILE_TILEDIALECT_H

#include "dialect/TPADialect.h"

#include "mlir/IR/OpDefinition.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "lowering/tile/TileDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "lowering/tile/TileTypes.h.inc"

#define GET_OP_CLASSES
#include "lowering/tile/TileOps.h.inc"

#endif // TPAC_LOWERING_TILE_TILEDIALECT_H
