// SPDX-License-Identifier: Apache-2.0

#include "Phases.h"

#include "Errors.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace tpac::python {

namespace {

const std::map<std::string, int32_t> phaseNumbers = {{"append", TPAC_APPEND},   {"decode", TPAC_DECODE},
                                                     {"prefill", TPAC_PREFILL}, {"merge", TPAC_MERGE},
                                                     {"import", TPAC_IMPORT},   {"export", TPAC_EXPORT}};

/// "47", "tokens", "batch + 1", "capacity / 32".
Dimension readDimension(const std::string &text, const std::vector<std::string> &sizes) {
  std::istringstream words(text);
  std::string first, sign;
  Dimension dimension;
  words >> first;
  if (const auto size = std::ranges::find(sizes, first); size != sizes.end())
    dimension.size = static_cast<int>(size - sizes.begin());
  else
    dimension.extent = std::stoll(first);
  if (words >> sign) {
    int64_t &number = sign == "/" ? dimension.divisor : dimension.added;
    words >> number;
    if (sign == "-")
      number = -number;
  }
  return dimension;
}

template <typename Items> std::string listed(const Items &items) {
  std::ostringstream text;
  text << "[";
  const char *separator = "";
  for (const auto &item : items) {
    text << separator << item;
    separator = ", ";
  }
  text << "]";
  return text.str();
}

} // namespace

int64_t readThreadScratch(const std::string &manifest) {
  try {
    return nlohmann::json::parse(manifest).value("thread_scratch", int64_t{0});
  } catch (const std::exception &error) {
    refuse(std::string("the pack's manifest: ") + error.what());
  }
}

std::vector<PhaseDescription> readPhases(const std::string &manifest, int32_t deviceType,
                                         const tpac_cache_layout &layout) {
  std::vector<PhaseDescription> phases;
  try {
    const nlohmann::json parsed = nlohmann::json::parse(manifest);
    nlohmann::json all = parsed.at("phases");
    // GPUs move cached tokens, too.
    if (deviceType == TPAC_CUDA)
      for (const nlohmann::json &move : parsed.at("gpu").at("moves"))
        all.push_back(move);
    for (const nlohmann::json &described : all) {
      PhaseDescription phase;
      phase.name = described.at("name");
      const auto number = phaseNumbers.find(phase.name);
      if (number == phaseNumbers.end())
        continue;
      phase.number = number->second;
      phase.sizes = described.at("sizes").get<std::vector<std::string>>();
      phase.hasWorkspace = deviceType == TPAC_CUDA ? phase.number == TPAC_DECODE || phase.number == TPAC_PREFILL
                                                   : described.contains("workspace_size_function");
      auto add = [&](const std::string &name, const std::string &type, const std::vector<std::string> &shape,
                     bool isWritten) {
        TensorDescription description = {name, type, listed(shape), {}, isWritten};
        for (const std::string &dimension : shape)
          description.shape.push_back(readDimension(dimension, phase.sizes));
        phase.tensors.push_back(std::move(description));
      };
      std::optional<size_t> cache;
      for (const nlohmann::json &tensor : described.at("tensors")) {
        const std::string name = tensor.at("name");
        const bool isWritten = tensor.at("access") != "in";
        if (!layout.is_one_piece || !name.ends_with("_cache")) {
          phase.arguments.push_back(phase.tensors.size());
          add(name, tensor.at("type"), tensor.at("shape"), isWritten);
          phase.tensors.back().isOptional = tensor.value("optional", false);
          if (name == "block_table" && std::ranges::count(phase.sizes, "listed_pages") != 0)
            phase.pageList = {
                name, tensor.at("type"), "[listed_pages]", {readDimension("listed_pages", phase.sizes)}, isWritten};
          continue;
        }
        if (!cache) {
          cache = phase.tensors.size();
          const bool isPaged = layout.page_size > 0;
          add("cache", "u8",
              {isPaged ? "pages" : "batch", isPaged ? std::to_string(layout.page_size) : "capacity",
               std::to_string(layout.token_bytes)},
              isWritten);
          phase.tensors.back().isPiece = true;
        }
        phase.arguments.push_back(*cache);
      }
      phases.push_back(std::move(phase));
    }
  } catch (const std::exception &error) {
    refuse(std::string("the pack's manifest: ") + error.what());
  }
  return phases;
}

void CallSizes::give(const std::string &name, int64_t value) {
  const auto found = std::ranges::find(phase.sizes, name);
  if (found == phase.sizes.end())
    refuse(phase.name + ": " + name + " is given; the sizes of this phase are " + listed(phase.sizes));
  const auto size = static_cast<size_t>(found - phase.sizes.begin());
  values[size] = value;
  origins[size] = &argument;
}

void CallSizes::add(const TensorDescription &tensor, const std::vector<int64_t> &shape) {
  auto fail = [&](const std::string &cause) {
    refuse(phase.name + ": " + tensor.name + " has shape " + listed(shape) + "; expected " + tensor.shapeText + cause);
  };
  if (shape.size() != tensor.shape.size())
    fail("");
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const Dimension &dimension = tensor.shape[axis];
    if (dimension.size < 0) {
      if (shape[axis] != dimension.extent)
        fail("");
      continue;
    }
    const auto size = static_cast<size_t>(dimension.size);
    const int64_t found = dimension.sizeOf(shape[axis]);
    if (origins[size] == nullptr) {
      if (found < 0)
        fail("");
      values[size] = found;
      origins[size] = &tensor;
    } else if (values[size] != found) {
      fail(" with " + phase.sizes[size] + " = " + std::to_string(values[size]) + ", as in " + origins[size]->name);
    }
  }
}

const std::vector<int64_t> &CallSizes::all() const {
  for (size_t size = 0; size < values.size(); ++size)
    if (origins[size] == nullptr)
      refuse(phase.name + ": no tensor of this pack has the dimension '" + phase.sizes[size] +
             "', from which its value could be taken");
  return values;
}

int64_t CallSizes::at(const char *name) const {
  return values[static_cast<size_t>(std::ranges::find(phase.sizes, name) - phase.sizes.begin())];
}

} // namespace tpac::python
