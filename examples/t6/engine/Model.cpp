// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

namespace t6 {

namespace {

/// Rows of `x` divided by their root mean square.
std::vector<float> normalised(std::span<const float> x, int64_t width) {
  std::vector<float> result(x.size());
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(width)) {
    const auto values = x.subspan(row, static_cast<size_t>(width));
    double sum = 0;
    for (float value : values)
      sum += double{value} * value;
    const auto scale =
        static_cast<float>(1 / std::sqrt(sum / static_cast<double>(width) + std::numeric_limits<float>::epsilon()));
    std::ranges::transform(values, result.begin() + static_cast<ptrdiff_t>(row),
                           [scale](float value) { return value * scale; });
  }
  return result;
}

} // namespace

struct Batch::Step {
  int64_t tokens;
  /// Whether a request has more than a token: prefill, not decode.
  bool isPrefill;
  std::vector<int32_t> start, positions, before, after;
};

Batch::Batch(const Weights &weights, const Kernels &kernels, int64_t requests, int64_t capacity)
    : weights(weights), kernels(kernels), lengths(static_cast<size_t>(requests)),
      cache(kernels, weights.layers.size(), requests, capacity) {}

int64_t Batch::cacheBytes() const {
  return cache.bytesUsed(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
}

std::vector<float> Batch::run(const std::vector<std::vector<int32_t>> &tokens, bool all) {
  if (tokens.size() != lengths.size())
    throw std::runtime_error("run: found tokens of " + std::to_string(tokens.size()) + " requests, expected " +
                             std::to_string(lengths.size()));
  Step step = {0, false, {0}, {}, lengths, lengths};
  std::vector<float> x;
  const auto width = static_cast<size_t>(weights.width);
  for (size_t request = 0; request < tokens.size(); ++request) {
    const auto count = static_cast<int64_t>(tokens[request].size());
    if (lengths[request] + count > capacity())
      throw std::runtime_error("request " + std::to_string(request) + " has " + std::to_string(lengths[request]) +
                               " tokens and " + std::to_string(count) + " new ones; its cache holds " +
                               std::to_string(capacity()));
    for (int32_t token : tokens[request]) {
      if (token < 0 || token >= weights.vocabulary)
        throw std::runtime_error("token " + std::to_string(token) + " is not of the vocabulary of " +
                                 std::to_string(weights.vocabulary));
      step.positions.push_back(step.after[request]++);
      const float *row = weights.head.weight.data() + static_cast<size_t>(token) * width;
      x.insert(x.end(), row, row + width);
    }
    step.tokens += count;
    step.isPrefill |= count > 1;
    step.start.push_back(static_cast<int32_t>(step.tokens));
  }
  for (size_t request = 0; request < tokens.size(); ++request)
    cache.grow(request, static_cast<int64_t>(tokens[request].size()));
  cache.update();
  if (step.tokens > 0)
    for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
      attend(step, layer, x);
      feedForward(weights.layers[layer], x);
    }
  lengths = step.after;

  std::vector<float> last;
  if (!all)
    for (size_t request = 0; request < tokens.size(); ++request) {
      const auto end = static_cast<size_t>(step.start[request + 1]) * width;
      if (tokens[request].empty())
        last.resize(last.size() + width);
      else
        last.insert(last.end(), x.begin() + static_cast<ptrdiff_t>(end - width),
                    x.begin() + static_cast<ptrdiff_t>(end));
    }
  const std::vector<float> normal = normalised(all ? x : last, weights.width);
  const int64_t rows = static_cast<int64_t>(normal.size()) / weights.width;
  std::vector<float> logits(static_cast<size_t>(rows * weights.vocabulary));
  if (rows > 0)
    weights.head.apply(normal.data(), rows, logits.data());
  return logits;
}

/// x += attention of its normalised rows.
void Batch::attend(const Step &step, size_t index, std::span<float> x) {
  const Layer &layer = weights.layers[index];
  const std::vector<float> input = normalised(x, weights.width);
  std::map<std::string, std::vector<std::byte>> factors;
  std::map<std::string, void *> data;
  for (const auto &[name, projection] : layer.factors) {
    const Type type = kernels.tensor(name.front() == 'q' ? "decode" : "append", name).elementType();
    std::vector<float> values(static_cast<size_t>(step.tokens * projection.outputs));
    projection.apply(input.data(), step.tokens, values.data());
    std::vector<std::byte> &stored = factors[name];
    stored.resize(values.size() * static_cast<size_t>(sizeOf(type)));
    store(values, type, stored.data());
    data[name] = stored.data();
  }
  Sizes sizes = {{"tokens", step.tokens}};
  cache.addTo(sizes, data, index);
  auto address = [](const std::vector<int32_t> &numbers) { return const_cast<int32_t *>(numbers.data()); };
  data["positions"] = address(step.positions);
  data["token_start"] = address(step.start);

  const Type outputType = kernels.tensor("decode", "out").elementType();
  std::vector<float> values(static_cast<size_t>(step.tokens * weights.heads * weights.headSize));
  std::vector<std::byte> out(values.size() * static_cast<size_t>(sizeOf(outputType)));
  std::vector<float> lse(static_cast<size_t>(step.tokens * weights.heads));
  data["out"] = out.data();
  data["lse"] = lse.data();

  data["lengths"] = address(step.before);
  kernels.run("append", sizes, data);
  data["lengths"] = address(step.after);
  kernels.run(step.isPrefill ? "prefill" : "decode", sizes, data);
  load(out.data(), outputType, values);
  layer.attentionOutput.apply(values.data(), step.tokens, x.data(), /*beta=*/1);
}

/// x += SwiGLU of its normalised rows.
void Batch::feedForward(const Layer &layer, std::span<float> x) const {
  const std::vector<float> input = normalised(x, weights.width);
  const int64_t rows = static_cast<int64_t>(x.size()) / weights.width;
  std::vector<float> gate(static_cast<size_t>(rows * layer.gate.outputs)), up(gate.size());
  layer.gate.apply(input.data(), rows, gate.data());
  layer.up.apply(input.data(), rows, up.data());
  for (size_t i = 0; i < gate.size(); ++i)
    gate[i] *= up[i] / (1 + std::exp(-gate[i]));
  layer.down.apply(gate.data(), rows, x.data(), /*beta=*/1);
}

} // namespace t6
