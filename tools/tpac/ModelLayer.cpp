// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/ModelLayer.h"

#include "safetensors/Convert.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace tpac {

namespace {

/// NaN in every floating-point type: what a phase should have written and did not, and what it must not read.
constexpr std::byte poison{0xff};

safetensors::Dtype storedDtype(const PhaseTensor &tensor) {
  switch (tensor.elementType) {
  case ElementType::f64:
    return safetensors::Dtype::F64;
  case ElementType::f32:
    return safetensors::Dtype::F32;
  case ElementType::bf16:
    return safetensors::Dtype::BF16;
  case ElementType::f16:
    return safetensors::Dtype::F16;
  default:
    throw std::runtime_error("tensor " + tensor.name + ": found element type " +
                             std::string(elementTypeName(tensor.elementType)) + ", accepted are f64, f32, bf16, f16");
  }
}

} // namespace

ModelLayer::ModelLayer(const Executable &executable, int64_t tokens, int64_t channels,
                       const std::map<std::string, std::vector<double>> &inputs)
    : executable(executable), tokens(tokens), channels(channels), positions(tokens) {
  std::iota(positions.begin(), positions.end(), 0);
  const PhaseSignature &append = executable.signature(Phase::append);
  if (int64_t pageSize = storageOf(append).pageSize)
    // Backwards, every other page: the others stay poisoned.
    for (int64_t left = capacityFor(append, tokens) / pageSize; left > 0; --left)
      blockTable.push_back(static_cast<int32_t>(2 * left - 1));
  for (Phase phase : phases)
    allocate(phase, inputs);
  run(Phase::project, 0, tokens);
}

void ModelLayer::attend(Phase attention, int64_t tokensPerCall) {
  for (Phase phase : {Phase::append, attention})
    for (const PhaseTensor &tensor : executable.signature(phase).tensors)
      if (tensor.access != Access::in)
        std::ranges::fill(memory.at(tensor.name), poison);
  for (int64_t first = 0; first < tokens; first += tokensPerCall) {
    int64_t count = std::min(tokensPerCall, tokens - first);
    length = static_cast<int32_t>(first);
    run(Phase::append, first, count);
    length += static_cast<int32_t>(count);
    run(attention, first, count);
  }
}

std::vector<double> ModelLayer::result(const std::string &name) const {
  const std::vector<PhaseTensor> &tensors = executable.signature(Phase::decode).tensors;
  auto tensor = std::ranges::find(tensors, name, &PhaseTensor::name);
  if (tensor == tensors.end())
    throw std::runtime_error("decode: looked for tensor " + name + ", found none");
  const std::vector<std::byte> &bytes = memory.at(name);
  auto elements = static_cast<int64_t>(bytes.size()) / elementSize(tensor->elementType);
  return safetensors::toDouble({storedDtype(*tensor), {elements}, bytes});
}

PhaseCall ModelLayer::sizedCall(Phase phase, int64_t count) const {
  const PhaseSignature &signature = executable.signature(phase);
  const std::map<std::string, int64_t> sizes = {{"tokens", count},
                                                {"channels", channels},
                                                {"batch", 1},
                                                {"capacity", capacityFor(signature, tokens)},
                                                {"pages", static_cast<int64_t>(2 * blockTable.size())},
                                                {std::string(listedPagesName), 0}};
  PhaseCall call(signature);
  for (const std::string &size : signature.sizes)
    call.setSize(size, sizes.at(size));
  return call;
}

/// Memory of every tensor for all tokens. Phases share tensors by name: project writes the factors that append reads.
void ModelLayer::allocate(Phase phase, const std::map<std::string, std::vector<double>> &inputs) {
  PhaseCall call = sizedCall(phase, tokens);
  for (const PhaseTensor &tensor : executable.signature(phase).tensors) {
    if (memory.contains(tensor.name) || tensor.isOptional)
      continue;
    std::vector<int64_t> shape = call.shapeOf(tensor.name);
    int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    if (phase != Phase::project || tensor.access != Access::in) {
      memory[tensor.name].assign(elements * elementSize(tensor.elementType), poison);
      continue;
    }
    auto input = inputs.find(tensor.name);
    if (input == inputs.end())
      throw std::runtime_error("project: tensor " + tensor.name + ": found none, accepted is " +
                               safetensors::shapeText(shape));
    if (static_cast<int64_t>(input->second.size()) != elements)
      throw std::runtime_error("project: tensor " + tensor.name + ": found " + std::to_string(input->second.size()) +
                               " elements, accepted is " + safetensors::shapeText(shape));
    memory[tensor.name] = safetensors::fromDouble(input->second, storedDtype(tensor));
  }
}

/// The memory of `tensor` from the call's first token on.
void *ModelLayer::dataOf(const PhaseTensor &tensor, int64_t first) {
  if (tensor.name == "positions")
    return positions.data() + first;
  if (tensor.name == "token_start")
    return tokenStart.data();
  if (tensor.name == "lengths")
    return &length;
  if (tensor.name == blockTableName)
    return blockTable.data();
  std::vector<std::byte> &bytes = memory.at(tensor.name);
  bool perToken = tensor.shape.front().symbol == "tokens";
  return bytes.data() + (perToken ? first * static_cast<int64_t>(bytes.size()) / tokens : 0);
}

/// One call, on `count` tokens from `first` on; both attention phases see the ragged form with one request.
void ModelLayer::run(Phase phase, int64_t first, int64_t count) {
  tokenStart = {0, static_cast<int32_t>(count)};
  PhaseCall call = sizedCall(phase, count);
  for (const PhaseTensor &tensor : executable.signature(phase).tensors)
    if (!tensor.isOptional)
      call.setTensor(tensor.name, dataOf(tensor, first));
  if (int32_t status = call.run(executable.function(phase)))
    throw std::runtime_error(std::string(phaseName(phase)) + " of tokens " + std::to_string(first) + " to " +
                             std::to_string(first + count) + " failed: " + executable.statusMessage(phase, status));
}

} // namespace tpac
