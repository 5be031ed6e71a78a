// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Model.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace t6 {

struct Batch::Plan {
  /// Of the new tokens of all requests, one after the other.
  std::vector<int32_t> tokens, positions;
  /// Where each request's new tokens begin; its length before and after; its last new token, or -1.
  std::vector<int32_t> start, before, after, last;
  /// The most that one request has.
  int64_t longest = 0;
};

struct Batch::Step {
  int64_t tokens;
  bool isPrefill;
  /// Whether the logits of all tokens are asked for.
  bool all;
  Memory numbers, positions, start, before, after, last;
};

struct Batch::Decode {
  Step step;
  int64_t steps = 0;
  Tensor logits;
  Machine::Recording recording;
};

Batch::Batch(const Weights &weights, const Kernels &kernels, int64_t requests, int64_t capacity)
    : weights(weights), kernels(kernels), machine(kernels.machine()), lengths(static_cast<size_t>(requests)),
      cache(kernels, weights.layers.size(), requests, capacity) {}

Batch::~Batch() = default;

int64_t Batch::cacheBytes() const {
  return cache.bytesUsed(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
}

Batch::Plan Batch::planOf(const std::vector<std::vector<int32_t>> &tokens) const {
  if (tokens.size() != lengths.size())
    throw std::runtime_error("run: found tokens of " + std::to_string(tokens.size()) + " requests, expected " +
                             std::to_string(lengths.size()));
  Plan plan;
  plan.start = {0};
  plan.before = plan.after = lengths;
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
      plan.tokens.push_back(token);
      plan.positions.push_back(plan.after[request]++);
    }
    plan.longest = std::max(plan.longest, count);
    plan.start.push_back(static_cast<int32_t>(plan.tokens.size()));
    plan.last.push_back(count == 0 ? -1 : plan.start.back() - 1);
  }
  return plan;
}

Batch::Step Batch::stepOf(const Plan &plan, bool all) {
  auto memory = [&](const std::vector<int32_t> &numbers) {
    return machine.allocate(static_cast<int64_t>(numbers.size() * sizeof(int32_t)));
  };
  return {static_cast<int64_t>(plan.tokens.size()),
          plan.longest > 1,
          all,
          memory(plan.tokens),
          memory(plan.positions),
          memory(plan.start),
          memory(plan.before),
          memory(plan.after),
          memory(plan.last)};
}

void Batch::write(const Plan &plan, Step &step) {
  auto upload = [&](const std::vector<int32_t> &from, const Memory &to) {
    machine.upload(from.data(), static_cast<int64_t>(from.size() * sizeof(int32_t)), to.get());
  };
  upload(plan.tokens, step.numbers);
  upload(plan.positions, step.positions);
  upload(plan.start, step.start);
  upload(plan.before, step.before);
  upload(plan.after, step.after);
  upload(plan.last, step.last);
}

std::vector<float> Batch::run(const std::vector<std::vector<int32_t>> &tokens, bool all) {
  const Plan plan = planOf(tokens);
  for (size_t request = 0; request < tokens.size(); ++request)
    cache.grow(request, static_cast<int64_t>(tokens[request].size()));
  cache.update();
  lengths = plan.after;
  if (plan.tokens.empty())
    return std::vector<float>(all ? 0 : tokens.size() * static_cast<size_t>(weights.vocabulary));
  if (all || plan.longest > 1 || plan.tokens.size() < tokens.size()) {
    Step step = stepOf(plan, all);
    write(plan, step);
    return machine.values(forward(step));
  }
  if (!decode)
    decode = std::make_unique<Decode>(Decode{stepOf(plan, all), 0, {}, nullptr});
  write(plan, decode->step);
  if (decode->steps++ == 1)
    decode->recording = machine.record([&] { decode->logits = forward(decode->step); });
  if (decode->recording)
    machine.repeat(decode->recording);
  else
    decode->logits = forward(decode->step);
  return machine.values(decode->logits);
}

/// Logits of the last token of each request, or of all tokens.
Tensor Batch::forward(const Step &step) {
  Tensor x = machine.gather(weights.embedding, step.numbers, step.tokens);
  for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
    attend(step, layer, x);
    feedForward(weights.layers[layer], x);
  }
  if (!step.all)
    x = machine.gather(x, step.last, requests());
  return machine.project(machine.normalise(x), weights.head, Type::f32);
}

/// x += attention of its normalised rows.
void Batch::attend(const Step &step, size_t index, Tensor &x) {
  const Layer &layer = weights.layers[index];
  const Tensor input = machine.normalise(x);
  std::map<std::string, Tensor> factors;
  std::map<std::string, void *> data;
  for (const auto &[name, projection] : layer.factors) {
    const Type type = kernels.tensor(name.front() == 'q' ? "decode" : "append", name).elementType();
    data[name] = (factors[name] = machine.project(input, projection, type)).data.get();
  }
  Sizes sizes = {{"tokens", step.tokens}};
  cache.addTo(sizes, data, index);
  data["positions"] = step.positions.get();
  data["token_start"] = step.start.get();
  const Tensor out =
      machine.tensor(step.tokens, weights.heads * weights.headSize, kernels.tensor("decode", "out").elementType());
  const Tensor lse = machine.tensor(step.tokens, weights.heads, Type::f32);
  data["out"] = out.data.get();
  data["lse"] = lse.data.get();

  data["lengths"] = step.before.get();
  kernels.run("append", sizes, data);
  data["lengths"] = step.after.get();
  kernels.run(step.isPrefill ? "prefill" : "decode", sizes, data);
  machine.project(out, layer.attentionOutput, x, /*adds=*/true);
}

/// x += SwiGLU of its normalised rows.
void Batch::feedForward(const Layer &layer, Tensor &x) {
  const Tensor input = machine.normalise(x);
  const Tensor gate = machine.project(input, layer.gate, Type::f32), up = machine.project(input, layer.up, Type::f32);
  machine.project(machine.gate(gate, up), layer.down, x, /*adds=*/true);
}

} // namespace t6
