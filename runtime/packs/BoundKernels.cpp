// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/BoundKernels.h"

#include "runtime/Failure.h"

#include <algorithm>
#include <cstring>

namespace tpac::runtime {

namespace {

constexpr int64_t wordBytes = sizeof(int64_t), mostBytes = 4096;

/// Whether a tensor is the same for all tokens and requests: its shape is known when compiling.
bool isConstant(const PhaseTensor &tensor) {
  return std::ranges::none_of(tensor.shape, [](const Dimension &dimension) { return dimension.size.has_value(); });
}

/// "q_head, k_token"
std::string constantTensors(const Kernels &kernels) {
  std::vector<std::string> names;
  for (size_t phase = 0; phase < phaseNames.size(); ++phase)
    if (const PhaseArguments *arguments = kernels.arguments(static_cast<int32_t>(phase)))
      for (const PhaseTensor &tensor : arguments->tensors)
        if (isConstant(tensor) && std::ranges::find(names, tensor.name) == names.end())
          names.push_back(tensor.name);
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

[[noreturn]] void refuseName(const std::string &where, const char *name, const Kernels &kernels) {
  const std::string names = constantTensors(kernels);
  refuse(where + "tensor is " + (name ? "'" + std::string(name) + "'" : "NULL") + "; expected " +
         (names.empty() ? "none, since the pack has no tensor without run-time sizes"
                        : "one of the pack's tensors without run-time sizes: " + names));
}

} // namespace

BoundKernels::BoundKernels(std::shared_ptr<const Kernels> bound, const tpac_binding *bindings, int64_t count)
    : kernels(std::move(bound)), strides(static_cast<size_t>(count)) {
  for (int64_t i = 0; i < count; ++i) {
    const tpac_binding &binding = bindings[i];
    const std::string where = "bindings[" + std::to_string(i) + "].";
    std::vector<int64_t> &ownStrides = strides[static_cast<size_t>(i)];
    if (!binding.tensor)
      refuseName(where, nullptr, *kernels);
    if (std::any_of(bindings, bindings + i,
                    [&](const tpac_binding &other) { return std::strcmp(other.tensor, binding.tensor) == 0; }))
      refuse(where + "tensor is '" + binding.tensor + "', as that of a binding before it; expected each tensor once");
    bool isFound = false;
    for (size_t phase = 0; phase < phaseNames.size(); ++phase) {
      const PhaseArguments *arguments = kernels->arguments(static_cast<int32_t>(phase));
      if (!arguments)
        continue;
      const auto tensor = std::ranges::find(arguments->tensors, binding.tensor, &PhaseTensor::name);
      if (tensor == arguments->tensors.end())
        continue;
      if (!isConstant(*tensor))
        refuseName(where, binding.tensor, *kernels);
      if (arguments->bytes > mostBytes)
        refuse("manifest: the block of phase " + arguments->name + " has " + std::to_string(arguments->bytes) +
               " bytes; this library completes blocks of at most " + std::to_string(mostBytes));
      if (binding.strides && ownStrides.empty())
        ownStrides.assign(binding.strides, binding.strides + tensor->shape.size());
      const auto index = static_cast<size_t>(tensor - arguments->tensors.begin());
      places[phase].push_back(
          {1 + arguments->sizes.size() + 2 * index, binding.data, binding.strides ? ownStrides.data() : nullptr});
      isFound = true;
    }
    if (!isFound)
      refuseName(where, binding.tensor, *kernels);
    if (!binding.data)
      refuse(where + "data is NULL; expected the address of " + binding.tensor);
  }
}

void BoundKernels::launch(int32_t phase, const void *args, void *stream) const {
  const std::vector<Place> &known = places[static_cast<size_t>(phase)];
  int64_t bytes;
  std::memcpy(&bytes, args, sizeof(bytes));
  // Too short a block, or one of a phase that the kernels lack, is theirs to refuse.
  if (known.empty() || bytes < kernels->arguments(phase)->bytes)
    return kernels->launch(phase, args, stream);
  if (bytes > mostBytes)
    refuse("args.struct_size is " + std::to_string(bytes) + "; expected at most " + std::to_string(mostBytes));
  std::array<int64_t, mostBytes / wordBytes> words;
  std::memcpy(words.data(), args, static_cast<size_t>(bytes));
  for (const Place &place : known)
    if (words[place.word] == 0) {
      words[place.word] = static_cast<int64_t>(reinterpret_cast<intptr_t>(place.data));
      words[place.word + 1] = static_cast<int64_t>(reinterpret_cast<intptr_t>(place.strides));
    }
  kernels->launch(phase, words.data(), stream);
}

} // namespace tpac::runtime
