// SPDX-License-Identifier: Apache-2.0
//
// t6: continues prompts with a T6, KV-only or GQA model of bytes, whose attention is a kernel pack.

#include "examples/t6/engine/Check.h"
#include "examples/t6/engine/Sampler.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <iostream>

namespace {

struct Options {
  std::string pack, model;
  std::vector<std::string> prompts;
  int64_t tokens = 200;
  t6::SamplerOptions sampler;
  int threads = 0;
  std::string device = "cpu", cublas;
  t6::CheckOptions check;
};

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void generate(const t6::Weights &weights, const t6::Kernels &kernels, const Options &options) {
  std::vector<std::vector<int32_t>> next;
  std::vector<std::string> texts = options.prompts;
  size_t longest = 0, promptTokens = 0;
  for (const std::string &prompt : options.prompts) {
    if (prompt.empty())
      throw std::runtime_error("--prompt: found an empty text, expected at least one byte");
    next.emplace_back();
    for (unsigned char byte : prompt)
      next.back().push_back(byte);
    longest = std::max(longest, prompt.size());
    promptTokens += prompt.size();
  }
  const bool streams = texts.size() == 1;
  t6::Batch batch(weights, kernels, static_cast<int64_t>(next.size()), static_cast<int64_t>(longest) + options.tokens);
  std::vector<t6::Sampler> samplers;
  for (size_t i = 0; i < next.size(); ++i)
    samplers.emplace_back(
        t6::SamplerOptions{options.sampler.temperature, options.sampler.topP, options.sampler.seed + i});

  if (streams)
    std::cout << texts.front() << std::flush;
  auto start = std::chrono::steady_clock::now();
  std::vector<float> logits = batch.run(next);
  const double prefillSeconds = secondsSince(start);
  start = std::chrono::steady_clock::now();
  const auto vocabulary = static_cast<size_t>(weights.vocabulary);
  for (int64_t step = 0; step < options.tokens; ++step) {
    for (size_t i = 0; i < next.size(); ++i) {
      next[i] = {samplers[i].pick({logits.data() + i * vocabulary, vocabulary})};
      texts[i].push_back(static_cast<char>(next[i].front()));
    }
    if (streams)
      std::cout << texts.front().back() << std::flush;
    if (step + 1 < options.tokens)
      logits = batch.run(next);
  }
  const double decodeSeconds = secondsSince(start);
  if (streams)
    std::cout << "\n";
  else
    for (size_t i = 0; i < texts.size(); ++i)
      std::cout << "--- " << i << "\n" << texts[i] << "\n";

  // Multi-head attention of the same heads caches a key and a value of each, in the type of the pack's tokens.
  const int64_t element = t6::sizeOf(kernels.tensor("append", "k_token_cache").elementType());
  const int64_t dense = 2 * weights.heads * weights.headSize * element, own = kernels.cacheLayout().token_bytes;
  std::fprintf(stderr,
               "prompt: %zu tokens, %.0f tokens/s; generated: %lld tokens, %.0f tokens/s; kernels: %s, %s\n"
               "cache: %.1f KiB of %lld bytes per token and layer; multi-head attention: %lld, %.1f times as much\n",
               promptTokens, static_cast<double>(promptTokens) / prefillSeconds,
               static_cast<long long>(options.tokens * static_cast<int64_t>(next.size())),
               static_cast<double>(options.tokens * static_cast<int64_t>(next.size())) / decodeSeconds,
               kernels.target(), kernels.machine().description().c_str(),
               static_cast<double>(batch.cacheBytes()) / 1024, static_cast<long long>(own),
               static_cast<long long>(dense), static_cast<double>(dense) / static_cast<double>(own));
}

/// "cpu", "cuda" or "cuda:N".
std::unique_ptr<t6::Machine> machineOf(const Options &options) {
  if (options.device == "cpu")
    return t6::makeCpuMachine(options.threads);
  int device = 0, read = 0;
  if (options.device == "cuda" || (std::sscanf(options.device.c_str(), "cuda:%d%n", &device, &read) == 1 &&
                                   static_cast<size_t>(read) == options.device.size() && device >= 0))
    return t6::makeCudaMachine(device, options.cublas);
  throw std::runtime_error("--device: found '" + options.device + "', expected cpu, cuda or cuda:N");
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Continues prompts with a T6, KV-only or GQA model of bytes, whose attention is a kernel pack.");
  Options options;
  app.add_option("--pack", options.pack, "kernel pack of the model's variant: a directory or a tar archive")
      ->required();
  app.add_option("--model", options.model, "NAME.json and NAME.safetensors, given without their endings")->required();
  app.add_option("--prompt", options.prompts, "text to continue; repeatable: all run as one batch");
  app.add_option("--tokens", options.tokens, "tokens to generate")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--temperature", options.sampler.temperature, "0: the most probable token, always")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", options.sampler.topP, "draw from the most probable tokens of this probability")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--seed", options.sampler.seed, "of the draws; prompt i takes seed + i")->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--cublas", options.cublas, "cuBLAS's file, for --device cuda; default: where the system finds it");
  app.add_option("--threads", options.threads, "of --device cpu; 0: all that this process may use")
      ->capture_default_str();
  auto *check = app.add_option("--check", options.check.recording, "compare with a recording instead (safetensors)");
  app.add_option("--tolerance", options.check.tolerance, "of logits, relative")->needs(check)->capture_default_str();
  app.add_flag("!--any-greedy", options.check.greedy, "accept greedy tokens other than the recorded ones")
      ->needs(check);
  CLI11_PARSE(app, argc, argv);
  try {
    const std::unique_ptr<t6::Machine> machine = machineOf(options);
    const t6::Kernels kernels(options.pack, *machine);
    const t6::Weights weights = t6::loadWeights(options.model, kernels);
    if (!options.check.recording.empty())
      return t6::check(weights, kernels, options.check) ? 0 : 1;
    if (options.prompts.empty())
      throw std::runtime_error("found neither --prompt nor --check; expected one of them");
    generate(weights, kernels, options);
  } catch (const std::exception &error) {
    std::cerr << "t6: " << error.what() << "\n";
    return 1;
  }
}
