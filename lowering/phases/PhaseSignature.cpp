// SPDX-License-Identifier: Apache-2.0
//
// Names and sizes of phases and element types. What a variant's phases take is decided elsewhere.

#include "lowering/phases/PhaseSignature.h"

#include <algorithm>
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
  case Phase::importCache:
    return "import";
  case Phase::exportCache:
    return "export";
  }
  throw std::invalid_argument("phaseName: no such phase");
}

bool isCache(const PhaseTensor &tensor) {
  if (tensor.shape.size() < 2 || tensor.name == blockTableName)
    return false;
  return tensor.shape[0].symbol == "pages" || tensor.shape[1].symbol == "capacity";
}

CacheStorage storageOf(const PhaseSignature &signature) {
  CacheStorage storage;
  for (const PhaseTensor &tensor : signature.tensors) {
    if (tensor.name == blockTableName)
      storage.pageSize = tensor.shape[1].divisor;
    // [batch, capacity / block, rank, size, block] or [pages, page_size / block, rank, size, block].
    if (isCache(tensor) && tensor.shape.size() == 5)
      storage.valueBlock = tensor.shape[4].size;
  }
  return storage;
}

CacheStorage storageOf(const std::vector<PhaseSignature> &signatures) {
  CacheStorage storage;
  for (const PhaseSignature &signature : signatures) {
    const CacheStorage own = storageOf(signature);
    storage.valueBlock = std::max(storage.valueBlock, own.valueBlock);
    storage.pageSize = std::max(storage.pageSize, own.pageSize);
  }
  return storage;
}

int64_t capacityUnit(const PhaseSignature &signature) {
  const CacheStorage storage = storageOf(signature);
  return std::max<int64_t>({1, storage.valueBlock, storage.pageSize});
}

int64_t capacityFor(const PhaseSignature &signature, int64_t tokens) {
  const int64_t unit = capacityUnit(signature);
  return (tokens + unit - 1) / unit * unit;
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
