// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/TileValue.h"

using namespace mlir;
using namespace mlir::tpa::tile;
using namespace tpac;

std::optional<ElementType> tpac::elementTypeOf(Type type) {
  if (isa<Float64Type>(type))
    return ElementType::f64;
  if (isa<Float32Type>(type))
    return ElementType::f32;
  if (isa<BFloat16Type>(type))
    return ElementType::bf16;
  if (isa<Float16Type>(type))
    return ElementType::f16;
  if (isa<Float8E4M3FNType>(type))
    return ElementType::f8E4M3FN;
  if (type.isSignlessInteger(8))
    return ElementType::i8;
  if (type.isSignlessInteger(32))
    return ElementType::i32;
  return std::nullopt;
}

int64_t tpac::strideOf(TileType type, llvm::StringRef axis) {
  int64_t stride = 1;
  for (int64_t i = type.getRank() - 1; i >= 0; --i) {
    if (type.getAxes()[i].getValue() == axis)
      return stride;
    stride *= type.getSizes()[i];
  }
  return 0;
}
