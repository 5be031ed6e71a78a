// SPDX-License-Identifier: Apache-2.0
//
// Names and sizes of phases and element types. What a variant's phases take is decided elsewhere.

#include "lowering/phases/PhaseSignature.h"

#include <stdexcept>

namespace tpac {

std::string_view phaseName(Phase phase) {
  switch (phase) {
  case Phase::append:
    return "append";
  case Phase::decode:
    return "decode";
  case Phase::prefill:
    return "prefill";
  case Phase::merge:
    return "merge";
  case Phase::project:
    return "project";
  }
  throw std::invalid_argument("phaseName: no such phase");
}

bool isCache(const PhaseTensor &tensor) { return tensor.shape.size() > 1 && tensor.shape[1].symbol == "capacity"; }

int64_t valueBlockOf(const PhaseSignature &signature) {
  for (const PhaseTensor &tensor : signature.tensors)
    for (const Dimension &dimension : tensor.shape)
      if (dimension.divisor != 1)
        return dimension.divisor;
  return 0;
}

int64_t capacityFor(const PhaseSignature &signature, int64_t tokens) {
  int64_t block = valueBlockOf(signature);
  return block == 0 ? tokens : (tokens + block - 1) / block * block;
}

size_t requiredWords(const PhaseSignature &signature) {
  return 1 + signature.sizes.size() + 2 * signature.tensors.size();
}

std::string_view elementTypeName(ElementType type) {
  switch (type) {
  case ElementType::f64:
    return "f64";
  case ElementType::f32:
    return "f32";
  case ElementType::bf16:
    return "bf16";
  case ElementType::f16:
    return "f16";
  case ElementType::f8E4M3FN:
    return "f8E4M3FN";
  case ElementType::i8:
    return "i8";
  case ElementType::i32:
    return "i32";
  }
  throw std::invalid_argument("elementTypeName: no such element type");
}

int64_t elementSize(ElementType type) {
  switch (type) {
  case ElementType::f64:
    return 8;
  case ElementType::f32:
  case ElementType::i32:
    return 4;
  case ElementType::bf16:
  case ElementType::f16:
    return 2;
  case ElementType::f8E4M3FN:
  case ElementType::i8:
    return 1;
  }
  throw std::invalid_argument("elementSize: no such element type");
}

} // namespace tpac
