// SPDX-License-Identifier: Apache-2.0
//
// Memory and calls of one row.

#include "bench/phases/Workload.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace tpac::bench {

namespace {

/// splitmix64: the values matter to no result, only that they are finite and not all alike.
uint64_t nextRandom(uint64_t &state) {
  uint64_t value = state += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

/// Bits of a number with 1/16 <= |x| < 1, of a binary format; positive where `positive`.
uint64_t randomFloat(uint64_t random, int bits, int mantissaBits, int64_t bias, bool positive) {
  uint64_t mantissa = random & ((uint64_t(1) << mantissaBits) - 1);
  uint64_t exponent = bias - 4 + (random >> 54 & 3);
  uint64_t sign = positive ? 0 : random >> 63;
  return sign << (bits - 1) | exponent << mantissaBits | mantissa;
}

uint64_t randomElement(ElementType type, uint64_t random, bool positive) {
  switch (type) {
  case ElementType::f64:
    return randomFloat(random, 64, 52, 1023, positive);
  case ElementType::f32:
    return randomFloat(random, 32, 23, 127, positive);
  case ElementType::bf16:
    return randomFloat(random, 16, 7, 127, positive);
  case ElementType::f16:
    return randomFloat(random, 16, 10, 15, positive);
  case ElementType::f8E4M3FN:
    return randomFloat(random, 8, 3, 7, positive);
  case ElementType::i8:
    return random % 255 - 127;
  case ElementType::i32:
    return 0; // positions and lengths are written by name
  }
  throw std::invalid_argument("element type without random values");
}

/// About 256 KiB of random elements: copying them over and over fills memory at its own speed.
std::vector<std::byte> randomBlock(ElementType type, bool positive, uint64_t seed) {
  int64_t size = elementSize(type);
  std::vector<std::byte> block(32768 * size);
  for (size_t at = 0; at < block.size(); at += size) {
    uint64_t element = randomElement(type, nextRandom(seed), positive);
    std::memcpy(&block[at], &element, size); // little endian, as all targets are
  }
  return block;
}

bool endsWith(const std::string &text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

} // namespace

void fillIntegers(const Row &row, const std::string &name, int64_t capacity, uint64_t seed, std::span<int32_t> values) {
  if (name == blockTableName) {
    std::iota(values.begin(), values.end(), 0);
    for (size_t index = values.size(); index > 1; --index)
      std::swap(values[index - 1], values[nextRandom(seed) % index]);
    return;
  }
  for (size_t at = 0; at < values.size(); ++at) {
    const auto index = static_cast<int64_t>(at);
    int64_t value;
    if (name == "token_start")
      value = index * row.tokens;
    else if (name == "lengths")
      value = row.phase == Phase::append ? row.cached - row.tokens : row.cached;
    else if (name == "positions")
      value = row.cached - row.tokens + index % row.tokens;
    else if (name == "key_positions_cache")
      value = index % capacity;
    else
      throw std::invalid_argument("tensor '" + name + "' of " + std::string(phaseName(row.phase)) +
                                  " has no values in benchmarks");
    values[at] = static_cast<int32_t>(value);
  }
}

Workload::Workload(const Row &row, const PhaseSignature &signature, Arena &arena, ThreadTeam &team, int64_t poolBytes,
                   int64_t memoryLimit)
    : row(row), signature(signature), dimensions(row.variant), unitRequests(row.requests / row.threads),
      capacity(capacityFor(signature, row.cached)) {
  sizes = {{"tokens", unitRequests * row.tokens}, {"batch", unitRequests}, {"capacity", capacity}};
  if (int64_t pageSize = storageOf(signature).pageSize)
    sizes["pages"] = unitRequests * capacity / pageSize; // found by a table: nothing is listed
  if (row.phase == Phase::append) {
    firstRow = row.cached - row.tokens;
    rowsPerRequest = row.tokens;
  } else if (row.phase != Phase::merge) {
    firstRow = firstVisible(dimensions, row.tokens, row.cached);
    rowsPerRequest = row.cached - firstRow;
  }
  measureTensors();

  int64_t memory = 0, constant = 0;
  for (const Tensor &tensor : tensors)
    (tensor.perUnit ? memory : constant) += tensor.stride();
  constant += static_cast<int64_t>(tensors.size()) * Arena::slack;
  // Touched memory counts for the pool: where a call touches little of its caches, units are bounded in number instead.
  constexpr int64_t mostUnits = 16384;
  int64_t wanted = std::min({(poolBytes + touchedBytes - 1) / touchedBytes, mostUnits});
  int64_t possible = (memoryLimit - constant) / memory;
  // What is touched rarely fills the memory that is laid out for it; that is bounded, too.
  int64_t sensible = std::max<int64_t>(row.threads, (2 * poolBytes) / memory);
  unitCount =
      std::min({std::max<int64_t>(wanted, row.threads), sensible + row.threads, possible}) / row.threads * row.threads;
  if (unitCount == 0)
    throw std::invalid_argument(std::to_string(row.threads) + " times " + std::to_string(memory >> 20) +
                                " MiB are needed; the limit is " + std::to_string(memoryLimit >> 20) + " MiB");
  arena.reset(constant + memory * unitCount);
  for (Tensor &tensor : tensors)
    tensor.data = arena.allocate(tensor.perUnit ? tensor.stride() * unitCount : tensor.bytes);
  fill(team);
  makeBlocks();
}

int64_t Workload::sizeOf(const Dimension &dimension) const {
  return dimension.size + (dimension.symbol.empty() ? 0 : sizes.at(dimension.symbol) / dimension.divisor);
}

void Workload::measureTensors() {
  for (const PhaseTensor &spec : signature.tensors) {
    Tensor tensor{.spec = spec};
    int64_t elements = spec.isOptional ? 0 : 1;
    bool hasSymbol = false;
    for (const Dimension &dimension : spec.shape) {
      elements *= sizeOf(dimension);
      hasSymbol |= !dimension.symbol.empty();
    }
    tensor.bytes = elements * elementSize(spec.elementType);
    tensor.perUnit = hasSymbol; // learned factors are the same for all requests
    tensor.isCache = isCache(spec);
    if (tensor.isCache) {
      tensor.rowBytes = tensor.bytes / (unitRequests * capacity);
      touchedBytes += tensor.rowBytes * unitRequests * rowsPerRequest;
    } else {
      if (spec.shape[0].symbol == "tokens" && spec.shape[0].size == 0)
        tensor.rowBytes = tensor.bytes / sizes["tokens"];
      touchedBytes += tensor.bytes;
    }
    tensors.push_back(tensor);
  }
}

void Workload::fill(ThreadTeam &team) {
  for (size_t index = 0; index < tensors.size(); ++index) {
    const Tensor &tensor = tensors[index];
    bool positive = endsWith(tensor.spec.name, "_scale_cache");
    std::vector<std::byte> block = randomBlock(tensor.spec.elementType, positive, index);
    int64_t total = tensor.perUnit ? tensor.stride() * unitCount : tensor.bytes;
    team.run([&](int thread) {
      int64_t step = static_cast<int64_t>(block.size());
      for (int64_t at = thread * step; at < total; at += team.size() * step)
        std::memcpy(tensor.data + at, block.data(), std::min(step, total - at));
    });
  }
  for (int64_t unit = 0; unit < unitCount; ++unit)
    fillUnit(unit);
}

void Workload::fillUnit(int64_t unit) {
  for (const Tensor &tensor : tensors)
    if (tensor.spec.elementType == ElementType::i32)
      fillIntegers(row, tensor.spec.name, capacity, static_cast<uint64_t>(unit),
                   {reinterpret_cast<int32_t *>(tensor.at(unit)), static_cast<size_t>(tensor.bytes / 4)});
}

void Workload::makeBlocks() {
  for (int64_t unit = 0; unit < unitCount; ++unit) {
    std::vector<int64_t> words(1);
    for (const std::string &size : signature.sizes)
      words.push_back(size == listedPagesName ? 0 : sizes.at(size));
    for (const Tensor &tensor : tensors) {
      words.push_back(tensor.spec.isOptional ? 0 : reinterpret_cast<int64_t>(tensor.at(unit)));
      words.push_back(0); // no strides: contiguous
    }
    words.resize(words.size() + optionalWords);
    words[0] = static_cast<int64_t>(words.size() * sizeof(int64_t));
    blocks.push_back(std::move(words));
  }
}

int32_t Workload::call(PhaseFunction function, int64_t unit, std::span<std::byte> scratch) {
  int64_t *optional = blocks[unit].data() + (blocks[unit].size() - optionalWords);
  optional[scratchWord] = reinterpret_cast<int64_t>(scratch.empty() ? nullptr : scratch.data());
  optional[scratchSizeWord] = static_cast<int64_t>(scratch.size());
  return function(blocks[unit].data());
}

int64_t Workload::unitTokens() const { return unitRequests * (row.phase == Phase::decode ? row.cached : row.tokens); }

int64_t Workload::unitMultiplyAdds() const {
  int64_t perPair = row.phase == Phase::decode    ? decodeMultiplyAdds(dimensions)
                    : row.phase == Phase::prefill ? prefillMultiplyAdds(dimensions)
                                                  : 0;
  return perPair ? perPair * unitRequests * visiblePairs(dimensions, row.tokens, row.cached) : 0;
}

double Workload::unitBound(double fmaPeak, double amxPeak) const {
  if (row.phase != Phase::prefill)
    return 0;
  auto pairs = static_cast<double>(unitRequests * visiblePairs(dimensions, row.tokens, row.cached));
  double matrix = 2 * pairs * static_cast<double>(prefillMatrixMultiplyAdds(dimensions)) / amxPeak;
  // Beside a matrix unit's work vectors do one operation where they else do two multiply-adds.
  double softmax = 4 * pairs * static_cast<double>(dimensions.heads * softmaxOperations) / fmaPeak;
  return std::max(matrix, softmax);
}

std::vector<Workload::Memory> Workload::memory(int64_t unit) const {
  std::vector<Memory> result;
  for (const Tensor &tensor : tensors)
    result.push_back({&tensor.spec, {tensor.at(unit), static_cast<size_t>(tensor.bytes)}});
  return result;
}

std::vector<StreamGroup> Workload::streams(int64_t unit) const {
  std::vector<StreamGroup> groups;
  for (int64_t request = 0; request < unitRequests && rowsPerRequest; ++request) {
    StreamGroup group{{}, rowsPerRequest};
    for (const Tensor &tensor : tensors)
      if (tensor.isCache)
        group.streams.push_back({tensor.at(unit) + (request * capacity + firstRow) * tensor.rowBytes, tensor.rowBytes,
                                 tensor.spec.access != Access::in});
    groups.push_back(std::move(group));
  }
  StreamGroup tokens{{}, sizes.at("tokens")};
  for (const Tensor &tensor : tensors)
    if (!tensor.isCache && tensor.rowBytes && tensor.spec.elementType != ElementType::i32)
      tokens.streams.push_back({tensor.at(unit), tensor.rowBytes, tensor.spec.access != Access::in});
  groups.push_back(std::move(tokens));
  return groups;
}

} // namespace tpac::bench
