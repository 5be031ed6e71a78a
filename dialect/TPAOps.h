// SPDX-License-Identifier: Apache-2.0
//
// Operations of the tpa dialect.

#ifndef TPAC_DIALECT_TPAOPS_H
#define TPAC_DIALECT_TPAOPS_H

#include "dialect/TPADialect.h"

#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define GET_OP_CLASSES
#include "dialect/TPAOps.h.inc"

#endif // TPAC_DIALECT_TPAOPS_H
