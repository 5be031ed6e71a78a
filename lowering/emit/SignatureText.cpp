// SPDX-License-Identifier: Apache-2.0
//
// Writes signatures as text and counts the bytes of their cache tensors.

#include "lowering/emit/SignatureText.h"

#include <stdexcept>

namespace tpac {

std::string symbolName(std::string_view variantName) {
  std::string symbol(variantName);
  for (char &c : symbol)
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
      c = '_';
  return symbol;
}

std::string functionName(std::string_view symbolPrefix, Phase phase) {
  return std::string(symbolPrefix) + "_" + std::string(phaseName(phase));
}

std::string workspaceSizeName(std::string_view symbolPrefix, Phase phase) {
  return functionName(symbolPrefix, phase) + "_workspace_size";
}

std::string statusMessageName(std::string_view symbolPrefix) { return std::string(symbolPrefix) + "_status_message"; }

std::string cpuLevelName(std::string_view symbolPrefix) { return std::string(symbolPrefix) + "_cpu_level"; }

std::string dimensionText(const Dimension &dimension) {
  if (dimension.symbol.empty())
    return std::to_string(dimension.size);
  std::string symbol = dimension.symbol;
  if (dimension.divisor != 1)
    symbol += " / " + std::to_string(dimension.divisor);
  if (dimension.size == 0)
    return symbol;
  return symbol + (dimension.size < 0 ? " - " : " + ") +
         std::to_string(dimension.size < 0 ? -dimension.size : dimension.size);
}

std::string tensorText(const PhaseTensor &tensor) {
  std::string text = std::string(elementTypeName(tensor.elementType)) + " [";
  for (size_t index = 0; index < tensor.shape.size(); ++index)
    text += (index ? ", " : "") + dimensionText(tensor.shape[index]);
  return text + "]";
}

std::string_view accessName(Access access) {
  switch (access) {
  case Access::in:
    return "in";
  case Access::inout:
    return "inout";
  case Access::out:
    return "out";
  }
  throw std::invalid_argument("accessName: no such access");
}

int tensorIndex(const PhaseSignature &signature, std::string_view name) {
  for (size_t index = 0; index < signature.tensors.size(); ++index)
    if (signature.tensors[index].name == name)
      return static_cast<int>(index);
  return -1;
}

int sizeIndex(const PhaseSignature &signature, std::string_view name) {
  for (size_t index = 0; index < signature.sizes.size(); ++index)
    if (signature.sizes[index] == name)
      return static_cast<int>(index);
  return -1;
}

CacheBytes cacheBytesPerToken(const std::vector<PhaseSignature> &signatures) {
  CacheBytes bytes;
  for (const PhaseSignature &signature : signatures) {
    for (const PhaseTensor &tensor : signature.tensors) {
      if (!isCache(tensor))
        continue;
      int64_t perToken = elementSize(tensor.elementType);
      for (size_t index = 2; index < tensor.shape.size(); ++index)
        perToken *= tensor.shape[index].size;
      // Tokens in blocks are an extent more, and less of the second one.
      if (tensor.shape.size() == 5)
        perToken /= tensor.shape[4].size;
      if (tensor.name.find("_head_cache") != std::string::npos)
        bytes.head += perToken;
      else if (tensor.name.find("_scale_cache") != std::string::npos)
        bytes.scale += perToken;
      else if (tensor.name.find("positions_cache") != std::string::npos)
        bytes.position += perToken;
      else
        bytes.token += perToken;
    }
    if (bytes.total() > 0)
      break;
  }
  return bytes;
}

} // namespace tpac
