// SPDX-License-Identifier: Apache-2.0
//
// The tpa dialect and its attributes.

#ifndef TPAC_DIALECT_TPADIALECT_H
#define TPAC_DIALECT_TPADIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"

#include <optional>

#include "dialect/TPADialect.h.inc"
#include "dialect/TPAEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/TPAAttributes.h.inc"

#endif // TPAC_DIALECT_TPADIALECT_H
