// SPDX-License-Identifier: Apache-2.0
//
// Variants derived from variants. Reading stands in VariantReader.cpp, writing in VariantWriter.cpp.

#include "dialect/json/VariantJson.h"

using namespace mlir;
using namespace mlir::tpa;

VariantAttr tpa::withStorage(VariantAttr variant, Type type) {
  MLIRContext *context = variant.getContext();
  Type compute = isa<Float64Type>(type) ? type : Float32Type::get(context);
  auto types = TypesAttr::get(context, type, type, type, type, compute);
  return VariantAttr::get(context, variant.getName(), variant.getHeads(), variant.getQ(), variant.getK(),
                          variant.getV(), variant.getRope(), variant.getVSees(), variant.getScale(),
                          variant.getSoftcap(), variant.getCausal(), variant.getWindow(), variant.getQueryPrecision(),
                          variant.getHeadFactorRows(), types);
}
