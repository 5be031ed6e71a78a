// SPDX-License-Identifier: Apache-2.0

#include "examples/t6/engine/Check.h"

#include "examples/t6/engine/Sampler.h"
#include "safetensors/Convert.h"
#include "safetensors/File.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace t6 {

namespace {

using tpac::safetensors::Dtype;
using tpac::safetensors::File;
using tpac::safetensors::View;

/// [rows, n] numbers of a recording.
std::vector<std::vector<int32_t>> readTokens(const File &file, const char *name) {
  const View &view = file.tensor(name);
  if (view.dtype != Dtype::I32 || view.shape.size() != 2)
    throw std::runtime_error(file.path().string() + ": " + name + ": found " + std::string(dtypeName(view.dtype)) +
                             " " + tpac::safetensors::shapeText(view.shape) + ", expected I32 of two dimensions");
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(view.shape[0]));
  const std::byte *from = view.bytes.data();
  for (std::vector<int32_t> &row : rows) {
    row.resize(static_cast<size_t>(view.shape[1]));
    std::memcpy(row.data(), from, row.size() * sizeof(int32_t));
    from += row.size() * sizeof(int32_t);
  }
  return rows;
}

struct Recording {
  explicit Recording(const File &file) : tokens(readTokens(file, "tokens")), greedy(readTokens(file, "greedy")) {
    const View &view = file.tensor(file.contains("logits") ? "logits" : "logits.last16");
    if (view.shape.size() != 3 || view.shape[0] != static_cast<int64_t>(tokens.size()) ||
        view.shape[1] > static_cast<int64_t>(tokens.front().size()))
      throw std::runtime_error(file.path().string() + ": logits: found " + tpac::safetensors::shapeText(view.shape) +
                               ", expected [" + std::to_string(tokens.size()) + ", at most " +
                               std::to_string(tokens.front().size()) + ", vocabulary]");
    logits = tpac::safetensors::toFloat(view);
    recorded = view.shape[1];
    vocabulary = view.shape[2];
  }

  std::vector<std::vector<int32_t>> tokens, greedy;
  /// Of the last `recorded` tokens of each prompt.
  std::vector<float> logits;
  int64_t recorded, vocabulary;
};

/// The norm of a - b relative to that of b; NaN where there is one, which passes no limit.
double errorOf(const float *a, const float *b, int64_t size) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < size; ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

/// The larger one; NaN where one is.
double worse(double one, double other) { return one >= other || std::isnan(one) ? one : other; }

/// A row may be so much worse than a prompt's rows together.
constexpr double rowFactor = 3;

struct Outcome {
  /// Of all rows of logits together, and of the worst row.
  double error = 0, worst = 0;
  int64_t greedyTokens = 0, greedyRight = 0;
};

/// Prompts `first` to `last` in one batch: all of a prompt at once, then token by token.
Outcome runTogether(const Weights &weights, const Kernels &kernels, const Recording &recording, size_t first,
                    size_t last) {
  Outcome outcome;
  const size_t count = last - first, length = recording.tokens.front().size(), more = recording.greedy.front().size();
  Batch batch(weights, kernels, static_cast<int64_t>(count), static_cast<int64_t>(length + more));
  const std::vector<std::vector<int32_t>> prompts(recording.tokens.begin() + static_cast<ptrdiff_t>(first),
                                                  recording.tokens.begin() + static_cast<ptrdiff_t>(last));
  const std::vector<float> logits = batch.run(prompts, /*all=*/true);
  const int64_t vocabulary = recording.vocabulary;
  std::vector<std::vector<int32_t>> next(count);
  Sampler sampler({});
  for (size_t prompt = 0; prompt < count; ++prompt) {
    const float *rows = logits.data() + prompt * length * static_cast<size_t>(vocabulary);
    const float *own = rows + (static_cast<int64_t>(length) - recording.recorded) * vocabulary;
    const float *expected =
        recording.logits.data() + static_cast<int64_t>(first + prompt) * recording.recorded * vocabulary;
    outcome.error = worse(outcome.error, errorOf(own, expected, recording.recorded * vocabulary));
    for (int64_t row = 0; row < recording.recorded; ++row)
      outcome.worst = worse(outcome.worst, errorOf(own + row * vocabulary, expected + row * vocabulary, vocabulary));
    next[prompt] = {
        sampler.pick({rows + (length - 1) * static_cast<size_t>(vocabulary), static_cast<size_t>(vocabulary)})};
  }
  for (size_t step = 0; step < more; ++step) {
    for (size_t prompt = 0; prompt < count; ++prompt) {
      ++outcome.greedyTokens;
      outcome.greedyRight += next[prompt].front() == recording.greedy[first + prompt][step];
      // After a difference the recording is followed, so that every token is a test of its own.
      next[prompt] = {recording.greedy[first + prompt][step]};
    }
    if (step + 1 == more)
      break;
    const std::vector<float> rows = batch.run(next);
    for (size_t prompt = 0; prompt < count; ++prompt)
      next[prompt] = {
          sampler.pick({rows.data() + prompt * static_cast<size_t>(vocabulary), static_cast<size_t>(vocabulary)})};
  }
  return outcome;
}

} // namespace

bool check(const Weights &weights, const Kernels &kernels, const CheckOptions &options) {
  const Recording recording(File::open(options.recording));
  if (recording.vocabulary != weights.vocabulary)
    throw std::runtime_error(options.recording + ": logits of " + std::to_string(recording.vocabulary) +
                             " tokens, expected " + std::to_string(weights.vocabulary) + ", the model's vocabulary");
  const size_t prompts = recording.tokens.size();
  bool isRight = true;
  const double rowTolerance = rowFactor * options.tolerance;
  std::printf("%-8s  %8s  %5s  %9s  %5s  %13s  %s\n", "prompts", "logits", "limit", "worst row", "limit",
              "greedy tokens", "result");
  for (size_t run = 0; run <= prompts; ++run) {
    const bool together = run == prompts;
    const Outcome outcome = together ? runTogether(weights, kernels, recording, 0, prompts)
                                     : runTogether(weights, kernels, recording, run, run + 1);
    const bool passes = outcome.error <= options.tolerance && outcome.worst <= rowTolerance &&
                        (!options.greedy || outcome.greedyRight == outcome.greedyTokens);
    isRight &= passes;
    const std::string greedy = std::to_string(outcome.greedyRight) + " of " + std::to_string(outcome.greedyTokens);
    std::printf("%-8s  %8.2e  %5.0e  %9.2e  %5.0e  %13s  %s\n", together ? "together" : std::to_string(run).c_str(),
                outcome.error, options.tolerance, outcome.worst, rowTolerance, greedy.c_str(),
                passes ? "pass" : "FAIL");
  }
  return isRight;
}

} // namespace t6
