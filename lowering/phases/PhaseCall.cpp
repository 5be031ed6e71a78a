// SPDX-License-Identifier: Apache-2.0
//
// Lays out the argument block of docs/variant.md, "Calling a phase". Checks names and completeness only: values are
// checked by the called function.

#include "lowering/phases/PhaseCall.h"

#include <cstring>
#include <stdexcept>

namespace tpac {

namespace {

// Stands for "setTensor was not called": nullptr is what an empty tensor may well have.
char notSet;

std::string joined(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

} // namespace

PhaseCall::PhaseCall(const PhaseSignature &signature)
    : signature(signature), sizes(signature.sizes.size()), data(signature.tensors.size(), &notSet),
      strides(signature.tensors.size()) {
  for (size_t index = 0; index < signature.tensors.size(); ++index)
    if (signature.tensors[index].isOptional)
      data[index] = nullptr;
  for (size_t index = 0; index < signature.sizes.size(); ++index)
    if (signature.sizes[index] == listedPagesName)
      sizes[index] = 0;
}

size_t PhaseCall::sizeIndex(std::string_view name) const {
  for (size_t index = 0; index < signature.sizes.size(); ++index)
    if (signature.sizes[index] == name)
      return index;
  throw std::invalid_argument(std::string(phaseName(signature.phase)) + " has no size '" + std::string(name) +
                              "'; its sizes are: " + joined(signature.sizes));
}

size_t PhaseCall::tensorIndex(std::string_view name) const {
  std::vector<std::string> names;
  for (size_t index = 0; index < signature.tensors.size(); ++index) {
    if (signature.tensors[index].name == name)
      return index;
    names.push_back(signature.tensors[index].name);
  }
  throw std::invalid_argument(std::string(phaseName(signature.phase)) + " has no tensor '" + std::string(name) +
                              "'; its tensors are: " + joined(names));
}

void PhaseCall::setSize(std::string_view name, int64_t value) { sizes[sizeIndex(name)] = value; }

void PhaseCall::setTensor(std::string_view name, void *tensorData, std::span<const int64_t> tensorStrides) {
  size_t index = tensorIndex(name);
  size_t rank = signature.tensors[index].shape.size();
  if (!tensorStrides.empty() && tensorStrides.size() != rank)
    throw std::invalid_argument("tensor '" + std::string(name) + "' was given " + std::to_string(tensorStrides.size()) +
                                " strides; expected " + std::to_string(rank) + ", or none for a contiguous tensor");
  data[index] = tensorData;
  strides[index].assign(tensorStrides.begin(), tensorStrides.end());
}

void PhaseCall::setExecutor(const void *given) { executor = given; }

void PhaseCall::setWorkspace(void *given, int64_t bytes) {
  workspace = given;
  workspaceSize = bytes;
}

void PhaseCall::setScratch(void *given, int64_t bytes) {
  scratch = given;
  scratchSize = bytes;
}

std::vector<int64_t> PhaseCall::shapeOf(std::string_view name) const {
  std::vector<int64_t> shape;
  for (const Dimension &dimension : signature.tensors[tensorIndex(name)].shape) {
    int64_t extent = dimension.size;
    if (!dimension.symbol.empty()) {
      const std::optional<int64_t> &size = sizes[sizeIndex(dimension.symbol)];
      if (!size)
        throw std::invalid_argument("the shape of tensor '" + std::string(name) + "' needs size '" + dimension.symbol +
                                    "', which was not set");
      extent += *size / dimension.divisor;
    }
    shape.push_back(extent);
  }
  return shape;
}

int32_t PhaseCall::run(PhaseFunction function) const {
  static_assert(sizeof(void *) == sizeof(int64_t), "the argument block is made of 8-byte words");
  std::vector<int64_t> words(requiredWords(signature) + optionalWords);
  words[0] = static_cast<int64_t>(words.size() * sizeof(int64_t));
  size_t word = 1;
  for (size_t index = 0; index < sizes.size(); ++index) {
    if (!sizes[index])
      throw std::invalid_argument(std::string(phaseName(signature.phase)) + ": size '" + signature.sizes[index] +
                                  "' was not set");
    words[word++] = *sizes[index];
  }
  for (size_t index = 0; index < data.size(); ++index) {
    if (data[index] == &notSet)
      throw std::invalid_argument(std::string(phaseName(signature.phase)) + ": tensor '" +
                                  signature.tensors[index].name + "' was not set");
    const int64_t *tensorStrides = strides[index].empty() ? nullptr : strides[index].data();
    std::memcpy(&words[word++], &data[index], sizeof(void *));
    std::memcpy(&words[word++], &tensorStrides, sizeof(void *));
  }
  std::memcpy(&words[word + executorWord], &executor, sizeof(void *));
  std::memcpy(&words[word + workspaceWord], &workspace, sizeof(void *));
  words[word + workspaceSizeWord] = workspaceSize;
  std::memcpy(&words[word + scratchWord], &scratch, sizeof(void *));
  words[word + scratchSizeWord] = scratchSize;
  return function(words.data());
}

} // namespace tpac
