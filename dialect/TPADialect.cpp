// SPDX-License-Identifier: Apache-2.0
//
// Registration of the tpa dialect.

#include "dialect/TPADialect.h"

#include "dialect/TPAOps.h"

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
