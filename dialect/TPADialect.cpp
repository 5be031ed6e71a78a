// SPDX-License-Identifier: Apache-2.0
//
// Registration of the tpa dialect.

#include "dialect/TPADialect.h"

#include "dialect/TPAOps.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::tpa;

#include "dialect/TPADialect.cpp.inc"

namespace {
/// Prints variants once, at the top of the file, where they can be read.
struct VariantAliases : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  AliasResult getAlias(Attribute attribute, llvm::raw_ostream &os) const override {
    if (!isa<VariantAttr>(attribute))
      return AliasResult::NoAlias;
    os << "variant";
    return AliasResult::FinalAlias;
  }
};
} // namespace

void TPADialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialect/TPAOps.cpp.inc"
      >();
  addInterfaces<VariantAliases>();
}

LogicalResult TPADialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == scheduleName) {
    if (!isa<ScheduleAttr>(attribute.getValue()) || !isa<AppendOp, AttentionOp, MergeOp>(op))
      return op->emitOpError() << scheduleName
                               << ": expected #tpa.schedule on tpa.append, tpa.attention or tpa.merge, got "
                               << attribute.getValue() << " [D1]";
    return success();
  }
  if (attribute.getName() == variantName) {
    if (!isa<VariantAttr>(attribute.getValue()) || !isa<ModuleOp>(op))
      return op->emitOpError() << variantName << ": expected #tpa.variant on builtin.module, got "
                               << attribute.getValue() << " [D2]";
    return success();
  }
  return op->emitOpError() << attribute.getName() << ": expected " << scheduleName << " or " << variantName << " [D3]";
}
