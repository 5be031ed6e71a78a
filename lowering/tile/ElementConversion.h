// SPDX-License-Identifier: Apache-2.0
//
// Storage types of elements as numbers: reading, writing and rounding single elements on the host. No MLIR in this
// header.

#ifndef TPAC_LOWERING_TILE_ELEMENTCONVERSION_H
#define TPAC_LOWERING_TILE_ELEMENTCONVERSION_H

#include "lowering/phases/PhaseSignature.h"

namespace tpac {

/// The number of type `type` nearest to `value`, ties to even. Beyond the largest finite number: infinity for f32, bf16
/// and f16; the largest number for f8E4M3FN, i8 and i32, which have no infinity. NaN becomes 0 in i8 and i32.
double roundElement(ElementType type, double value);

/// The element at `address`, exactly. The address needs no alignment.
double readElement(ElementType type, const void *address);

/// Writes `roundElement(type, value)`. The address needs no alignment.
void writeElement(ElementType type, void *address, double value);

} // namespace tpac

#endif // TPAC_LOWERING_TILE_ELEMENTCONVERSION_H
