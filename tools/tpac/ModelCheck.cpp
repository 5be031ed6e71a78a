// SPDX-License-Identifier: Apache-2.0
//
// From a model's files to a table of errors: which weights a variant needs, their projection, the calls of the phases,
// the comparison. What the phases compute is none of this file's business.

#include "tools/tpac/ModelCheck.h"

#include "lowering/execute/Executable.h"
#include "safetensors/Convert.h"
#include "safetensors/File.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <stdexcept>

namespace tpac {

namespace {

using Json = nlohmann::json;

/// MATH: a row may be off by this many times the tolerance of the whole.
constexpr double rowFactor = 20;

//===--------------------------------------------------------------------------------------------------------------===//
// The variant, as far as weights depend on it
//===--------------------------------------------------------------------------------------------------------------===//

struct Side {
  /// "q", "k", "v".
  std::string name;
  int64_t rank;
  /// D, or E of v.
  int64_t features;
  bool contextualHead;
  /// The rank dimension is the heads: dense queries, MHA.
  bool oneHot;
};

struct VariantFacts {
  std::string name;
  int64_t heads;
  int64_t headBegin, headEnd;
  Side q, k, v;
  bool headMajor;
  /// null where the variant has no RoPE.
  Json rope;
  std::map<std::string, std::string> types;

  int64_t localHeads() const { return headEnd - headBegin; }
  std::array<const Side *, 3> sides() const { return {&q, &k, &v}; }
};

Side readSide(const Json &variant, const std::string &name, int64_t heads) {
  const Json &json = variant.at(name);
  if (json.contains("dense"))
    return {name, heads, json.at("dense").get<int64_t>(), false, true};
  const Json &token = json.at("token");
  if (token.size() != 1)
    throw std::runtime_error("variant: /" + name + "/token: found " + std::to_string(token.size()) +
                             " small factors, accepted with --model is 1: the published checkpoints are of order 2");
  std::string tokenSource = token[0].at("source");
  if (tokenSource != "contextual")
    throw std::runtime_error("variant: /" + name + "/token/0/source: found \"" + tokenSource +
                             "\", accepted with --model is \"contextual\": the published checkpoints hold no others");
  std::string headSource = json.at("head").at("source");
  if (headSource != "contextual" && headSource != "fixed")
    throw std::runtime_error("variant: /" + name + "/head/source: found \"" + headSource +
                             "\", accepted with --model are \"contextual\" and \"fixed\": the published checkpoints "
                             "hold no others");
  return {name, json.at("rank").get<int64_t>(), token[0].at("size").get<int64_t>(), headSource == "contextual",
          headSource == "fixed" && json.at("head").at("map") == "one_hot"};
}

VariantFacts readVariant(const std::string &text) {
  Json json = Json::parse(text);
  int64_t heads = json.at("heads");
  auto range = json.value("head_range", std::array<int64_t, 2>{0, heads});
  Json types = json.value("types", Json::object());
  VariantFacts variant = {json.at("name"),
                          heads,
                          range[0],
                          range[1],
                          readSide(json, "q", heads),
                          readSide(json, "k", heads),
                          readSide(json, "v", heads),
                          json.value("weights", Json::object()).value("head_factor_rows", "head_major") == "head_major",
                          json.value("rope", Json()),
                          {}};
  for (const char *role : {"activation", "head", "token", "output"})
    variant.types[role] = types.value(role, "bf16");
  return variant;
}

/// MATH's tolerances by the widest rounding among the types. The recording is stored as f32, so f64 has f32's. None for
/// fp8 and int8: MATH's 1e-2 holds against the quantised values, while the recording knows the unquantised ones.
double defaultTolerance(const VariantFacts &variant) {
  const std::map<std::string, double> tolerances = {{"f64", 2e-6}, {"f32", 2e-6}, {"f16", 3e-3}, {"bf16", 1e-2}};
  double tolerance = 0;
  for (const auto &[role, type] : variant.types) {
    auto it = tolerances.find(type);
    if (it == tolerances.end())
      throw std::runtime_error("variant " + variant.name + ": /types/" + role + ": found \"" + type +
                               "\", accepted with --model and no tolerance of its own are f64, f32, f16, bf16: the " +
                               "recorded output was computed without quantisation");
    tolerance = std::max(tolerance, it->second);
  }
  return tolerance;
}

bool hasOnlyFloatAndDouble(const VariantFacts &variant) {
  return std::ranges::all_of(variant.types,
                             [](const auto &role) { return role.second == "f32" || role.second == "f64"; });
}

//===--------------------------------------------------------------------------------------------------------------===//
// NAME.json against the variant
//===--------------------------------------------------------------------------------------------------------------===//

/// A model's configuration; every check names the field, what was found and what the variant accepts.
class ModelConfiguration {
public:
  ModelConfiguration(const std::filesystem::path &path, const VariantFacts &variant) : path(path), variant(variant) {
    std::ifstream stream(path);
    if (!stream)
      throw std::runtime_error(path.string() + ": cannot be opened");
    try {
      json = Json::parse(stream);
    } catch (const Json::exception &error) {
      throw std::runtime_error(path.string() + ": found no valid JSON: " + error.what());
    }
    if (!json.is_object())
      throw std::runtime_error(path.string() + ": found " + json.dump() + ", accepted is a JSON object");
  }

  void check() const {
    checkArchitecture();
    expectInteger("/n_head", variant.heads, "heads");
    for (const Side *side : variant.sides())
      expectInteger("/head_dim", side->features, "features of " + side->name);
    checkRope();
  }

private:
  [[noreturn]] void fail(const std::string &field, const std::string &accepted) const {
    Json::json_pointer pointer(field);
    std::string found = json.contains(pointer) ? json.at(pointer).dump() : "nothing";
    throw std::runtime_error(path.string() + ": " + field + ": found " + found + ", accepted is " + accepted);
  }

  std::string ofVariant(const std::string &what) const { return ", the " + what + " of variant " + variant.name; }

  Json at(const std::string &field) const {
    Json::json_pointer pointer(field);
    return json.contains(pointer) ? json.at(pointer) : Json();
  }

  void expectInteger(const std::string &field, int64_t expected, const std::string &what) const {
    Json found = at(field);
    if (!found.is_number_integer() || found != expected)
      fail(field, std::to_string(expected) + ofVariant(what));
  }

  void checkArchitecture() const {
    Json architecture = at("/architecture");
    bool kvContextual = variant.k.contextualHead && variant.v.contextualHead;
    bool kvFixed = !variant.k.contextualHead && !variant.v.contextualHead;
    std::string accepted = variant.q.contextualHead && kvContextual ? "T6"
                           : variant.q.oneHot && kvContextual       ? "T6_kvonly"
                           : variant.q.oneHot && kvFixed            ? "llama_gqa"
                                                                    : "";
    if (accepted.empty())
      throw std::runtime_error("variant " + variant.name +
                               ": found head factors of q, k, v that no known architecture " +
                               "has, accepted with --model are all contextual (T6), dense q with contextual k and v " +
                               "(T6_kvonly), dense q with fixed k and v (llama_gqa)");
    if (architecture != accepted)
      fail("/architecture", "\"" + accepted + "\"" + ofVariant("kind of factors"));
    if (accepted == "llama_gqa") {
      for (const Side *side : {&variant.k, &variant.v})
        if (variant.heads % side->rank != 0)
          fail("/group_size", "none: " + std::to_string(side->rank) + " groups of " + side->name + " do not divide " +
                                  std::to_string(variant.heads) + " heads" + ofVariant("groups"));
        else
          expectInteger("/group_size", variant.heads / side->rank, "heads per group of " + side->name);
      return;
    }
    expectInteger("/rank", variant.k.rank, "rank of k");
    expectInteger("/rank", variant.v.rank, "rank of v");
    if (accepted == "T6")
      expectInteger("/q_rank", variant.q.rank, "rank of q");
  }

  void checkRope() const {
    if (variant.rope.is_null()) {
      if (json.contains("rope"))
        fail("/rope", "none: variant " + variant.name + " has no rope");
      return;
    }
    const Json &rope = variant.rope;
    if (rope.contains("inv_freq"))
      throw std::runtime_error("variant " + variant.name +
                               ": /rope/inv_freq: found a table, accepted with --model is " + "base: " + path.string() +
                               " states theta");
    double base = rope.value("base", 10000.0);
    Json theta = at("/rope/theta");
    if (!theta.is_number() || theta.get<double>() != base)
      fail("/rope/theta", Json(base).dump() + ofVariant("base"));
    std::string layout = rope.value("layout", "half");
    if (at("/rope/layout") != layout)
      fail("/rope/layout", "\"" + layout + "\"" + ofVariant("layout"));
    std::string sign =
        rope.value("direction", -1) == 1 ? "x1*cos - x2*sin, x1*sin + x2*cos" : "x1*cos + x2*sin, x2*cos - x1*sin";
    if (at("/rope/sign") != sign)
      fail("/rope/sign", "\"" + sign + "\"" + ofVariant("direction"));
    expectInteger("/head_dim", rope.at("d_rot").get<int64_t>(), "rotated features (rope.d_rot)");
    if (rope.value("amplitude", 1.0) != 1.0)
      throw std::runtime_error("variant " + variant.name + ": /rope/amplitude: found " + rope.at("amplitude").dump() +
                               ", accepted with --model is 1");
  }

  std::filesystem::path path;
  const VariantFacts &variant;
  Json json;
};

//===--------------------------------------------------------------------------------------------------------------===//
// Weights and projection
//===--------------------------------------------------------------------------------------------------------------===//

/// A factor of every token: [T, rank, size], row-major.
struct Factor {
  int64_t tokens, rank, size;
  std::vector<double> values;
};

/// Which row of a weight makes (rank r, element s) of a factor with R ranks of S elements.
enum class RowOrder {
  rankMajor, ///< r*S + s: token factors, dense projections.
  rankMinor  ///< s*R + r: head factors of the published checkpoints (head-major).
};

/// x W^T in float64. input: [tokens, channels]; weight: [rank*size, channels].
Factor project(std::span<const double> input, int64_t tokens, std::span<const double> weight, int64_t rank,
               int64_t size, RowOrder order) {
  int64_t channels = static_cast<int64_t>(input.size()) / tokens;
  Factor factor = {tokens, rank, size, std::vector<double>(tokens * rank * size)};
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t s = 0; s < size; ++s) {
        int64_t row = order == RowOrder::rankMajor ? r * size + s : s * rank + r;
        double sum = 0;
        for (int64_t c = 0; c < channels; ++c)
          sum += input[t * channels + c] * weight[row * channels + c];
        factor.values[(t * rank + r) * size + s] = sum;
      }
  return factor;
}

/// Columns begin .. end of the last dimension (axis 2) or of the rank dimension (axis 1).
Factor slice(const Factor &factor, int axis, int64_t begin, int64_t end) {
  Factor part = {factor.tokens, axis == 1 ? end - begin : factor.rank, axis == 2 ? end - begin : factor.size, {}};
  int64_t rankBegin = axis == 1 ? begin : 0, sizeBegin = axis == 2 ? begin : 0;
  for (int64_t t = 0; t < part.tokens; ++t)
    for (int64_t r = 0; r < part.rank; ++r) {
      auto row = factor.values.begin() + (t * factor.rank + rankBegin + r) * factor.size + sizeBegin;
      part.values.insert(part.values.end(), row, row + part.size);
    }
  return part;
}

/// The first tensor of `candidates` under `prefix`, of shape [rows, channels], as float64.
std::vector<double> loadWeight(const safetensors::File &file, const std::string &prefix,
                               const std::vector<std::string> &candidates, int64_t rows, int64_t channels) {
  std::string lookedFor;
  for (const std::string &candidate : candidates) {
    std::string name = prefix + candidate;
    lookedFor += (lookedFor.empty() ? "" : " or ") + name;
    if (!file.contains(name))
      continue;
    const safetensors::View &view = file.tensor(name);
    std::vector<int64_t> shape = {rows, channels};
    if (view.shape != shape)
      throw std::runtime_error(file.path().string() + ": tensor " + name + ": shape: found " +
                               safetensors::shapeText(view.shape) + ", accepted is " + safetensors::shapeText(shape) +
                               " by the variant and the recorded input");
    try {
      return safetensors::toDouble(view);
    } catch (const std::invalid_argument &error) {
      throw std::runtime_error(file.path().string() + ": tensor " + name + ": " + error.what());
    }
  }
  std::string present;
  for (const std::string &name : file.names())
    if (name.starts_with(prefix))
      present += (present.empty() ? "" : ", ") + name;
  throw std::runtime_error(file.path().string() + ": looked for tensor " + lookedFor + ", found " +
                           (present.empty() ? "no tensor that begins with " + prefix : present));
}

/// The factors of all tokens by the names of the phases' tensors: "q_head", "k_token", ...
std::map<std::string, Factor> projectFactors(const VariantFacts &variant, const safetensors::File &weights,
                                             int64_t layer, std::span<const double> input, int64_t tokens) {
  std::string prefix = "transformer.h." + std::to_string(layer) + ".attn.";
  int64_t channels = static_cast<int64_t>(input.size()) / tokens;
  std::map<std::string, Factor> factors;
  for (const Side *side : variant.sides()) {
    std::vector<std::string> tokenNames;
    if (side->contextualHead) {
      std::vector<double> weight =
          loadWeight(weights, prefix, {"c_qkv.W_A_" + side->name + ".weight"}, side->rank * variant.heads, channels);
      Factor all = project(input, tokens, weight, side->rank, variant.heads,
                           variant.headMajor ? RowOrder::rankMinor : RowOrder::rankMajor);
      factors[side->name + "_head"] = slice(all, 2, variant.headBegin, variant.headEnd);
      tokenNames = {"c_qkv.W_B_" + side->name + ".weight"};
    } else {
      tokenNames = {"c_qkv.c_" + side->name + ".weight", "c_" + side->name + ".weight"};
    }
    std::vector<double> weight = loadWeight(weights, prefix, tokenNames, side->rank * side->features, channels);
    Factor all = project(input, tokens, weight, side->rank, side->features, RowOrder::rankMajor);
    factors[side->name + "_token"] = side->oneHot ? slice(all, 1, variant.headBegin, variant.headEnd) : all;
  }
  return factors;
}

//===--------------------------------------------------------------------------------------------------------------===//
// Recording
//===--------------------------------------------------------------------------------------------------------------===//

struct Recording {
  int64_t layer, tokens;
  /// [tokens, channels]
  std::vector<double> input;
  /// [tokens, local heads, E]
  std::vector<double> output;
};

std::vector<double> loadRecorded(const safetensors::File &file, const std::string &name, int64_t &tokens,
                                 std::optional<int64_t> lastSize) {
  const safetensors::View &view = file.tensor(name);
  bool valid = view.shape.size() == 3 && view.shape[0] == 1 && view.shape[1] >= 1 && view.shape[2] >= 1 &&
               (tokens == 0 || view.shape[1] == tokens) && (!lastSize || view.shape[2] == *lastSize);
  if (!valid)
    throw std::runtime_error(file.path().string() + ": tensor " + name + ": shape: found " +
                             safetensors::shapeText(view.shape) + ", accepted is [1, " +
                             (tokens == 0 ? "tokens" : std::to_string(tokens)) + ", " +
                             (lastSize ? std::to_string(*lastSize) : "channels") + "]");
  tokens = view.shape[1];
  try {
    return safetensors::toDouble(view);
  } catch (const std::invalid_argument &error) {
    throw std::runtime_error(file.path().string() + ": tensor " + name + ": " + error.what());
  }
}

std::vector<Recording> loadRecordings(const safetensors::File &file, const VariantFacts &variant) {
  std::vector<Recording> recordings;
  const std::string prefix = "layer", suffix = ".attention_input";
  for (const std::string &name : file.names()) {
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size())
      continue;
    std::string number = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
    if (number.size() > 6 || !std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    Recording recording = {std::stoll(number), 0, {}, {}};
    recording.input = loadRecorded(file, name, recording.tokens, std::nullopt);
    std::vector<double> output =
        loadRecorded(file, prefix + number + ".attention_output", recording.tokens, variant.heads * variant.v.features);
    Factor all = {recording.tokens, variant.heads, variant.v.features, std::move(output)};
    recording.output = slice(all, 1, variant.headBegin, variant.headEnd).values;
    recordings.push_back(std::move(recording));
  }
  if (recordings.empty())
    throw std::runtime_error(file.path().string() + ": looked for tensors layerL.attention_input and " +
                             "layerL.attention_output of layers L, found none");
  std::ranges::sort(recordings, {}, &Recording::layer);
  return recordings;
}

//===--------------------------------------------------------------------------------------------------------------===//
// Running the phases
//===--------------------------------------------------------------------------------------------------------------===//

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

/// One request in a cache with room for exactly its tokens, and all memory that the phases are given.
class Sequence {
public:
  Sequence(const Executable &executable, const std::map<std::string, Factor> &factors, int64_t tokens)
      : executable(executable), tokens(tokens), positions(tokens) {
    for (int64_t t = 0; t < tokens; ++t)
      positions[t] = static_cast<int32_t>(t);
    for (Phase phase : {Phase::append, Phase::decode, Phase::prefill})
      allocate(phase, factors);
  }

  /// Appends tokens first .. first + count, then attends with their queries. Both phases see ragged form: one request.
  void step(Phase attention, int64_t first, int64_t count) {
    // Before the append the request has `first` tokens, after it first + count.
    run(Phase::append, first, count, first);
    run(attention, first, count, first + count);
  }

  /// "out": [tokens, local heads, E], "lse": [tokens, local heads].
  std::vector<double> result(const std::string &name) const {
    const PhaseTensor &tensor = findTensor(Phase::prefill, name);
    const std::vector<std::byte> &bytes = memory.at(name);
    auto elements = static_cast<int64_t>(bytes.size()) / elementSize(tensor.elementType);
    return safetensors::toDouble({storedDtype(tensor), {elements}, bytes});
  }

private:
  const PhaseTensor &findTensor(Phase phase, const std::string &name) const {
    const std::vector<PhaseTensor> &tensors = executable.signature(phase).tensors;
    auto it = std::ranges::find(tensors, name, &PhaseTensor::name);
    if (it == tensors.end())
      throw std::runtime_error(std::string(phaseName(phase)) + ": looked for tensor " + name + ", found none");
    return *it;
  }

  PhaseCall sizedCall(Phase phase, int64_t count) const {
    PhaseCall call(executable.signature(phase));
    for (const std::string &size : executable.signature(phase).sizes)
      call.setSize(size, size == "tokens" ? count : size == "batch" ? 1 : tokens);
    return call;
  }

  /// Memory of every tensor for all tokens. Factors are rounded to the tensor's element type, the rest is zero.
  void allocate(Phase phase, const std::map<std::string, Factor> &factors) {
    PhaseCall call = sizedCall(phase, tokens);
    for (const PhaseTensor &tensor : executable.signature(phase).tensors) {
      if (memory.contains(tensor.name))
        continue;
      std::vector<int64_t> shape = call.shapeOf(tensor.name);
      auto it = factors.find(tensor.name);
      if (it != factors.end()) {
        std::vector<int64_t> projected = {it->second.tokens, it->second.rank, it->second.size};
        if (shape != projected)
          throw std::runtime_error("tensor " + tensor.name + ": shape: projected " + safetensors::shapeText(projected) +
                                   ", the phase accepts " + safetensors::shapeText(shape));
        memory[tensor.name] = safetensors::fromDouble(it->second.values, storedDtype(tensor));
        continue;
      }
      int64_t bytes = elementSize(tensor.elementType);
      for (int64_t size : shape)
        bytes *= size;
      memory[tensor.name].resize(bytes);
    }
  }

  /// The memory of `tensor` from the call's first token on.
  void *dataOf(const PhaseTensor &tensor, int64_t first) {
    if (tensor.name == "positions")
      return positions.data() + first;
    if (tensor.name == "token_start")
      return tokenStart.data();
    if (tensor.name == "lengths")
      return &length;
    std::vector<std::byte> &bytes = memory.at(tensor.name);
    bool perToken = tensor.shape.front().symbol == "tokens";
    return bytes.data() + (perToken ? first * static_cast<int64_t>(bytes.size()) / tokens : 0);
  }

  void run(Phase phase, int64_t first, int64_t count, int64_t lengthOfRequest) {
    tokenStart = {0, static_cast<int32_t>(count)};
    length = static_cast<int32_t>(lengthOfRequest);
    PhaseCall call = sizedCall(phase, count);
    for (const PhaseTensor &tensor : executable.signature(phase).tensors)
      call.setTensor(tensor.name, dataOf(tensor, first));
    if (int32_t status = call.run(executable.function(phase)))
      throw std::runtime_error(std::string(phaseName(phase)) + " of tokens " + std::to_string(first) + " to " +
                               std::to_string(first + count) + " failed: " + executable.statusMessage(status));
  }

  const Executable &executable;
  int64_t tokens;
  std::vector<int32_t> positions;
  std::array<int32_t, 2> tokenStart = {};
  int32_t length = 0;
  std::map<std::string, std::vector<std::byte>> memory;
};

//===--------------------------------------------------------------------------------------------------------------===//
// Comparison
//===--------------------------------------------------------------------------------------------------------------===//

struct Errors {
  double whole, worstRow;
};

/// What MATH allows a row beside the tolerance of the whole. There max|L| scales f32's; the LSE, at most log(tokens)
/// above the largest logit, stands for it here, because it needs no second implementation of attention.
double rowTolerance(const VariantFacts &variant, double tolerance, std::span<const double> lse) {
  if (!hasOnlyFloatAndDouble(variant))
    return rowFactor * tolerance;
  double largest = 0;
  for (double value : lse)
    if (std::isfinite(value))
      largest = std::max(largest, std::fabs(value));
  return rowFactor * tolerance * std::max(1.0, largest / 10);
}

/// found, expected: [rows, features]. NaN where an element is not finite.
Errors compare(std::span<const double> found, std::span<const double> expected, int64_t features) {
  if (found.size() != expected.size())
    throw std::runtime_error("tensor out: found " + std::to_string(found.size()) + " elements, accepted are the " +
                             std::to_string(expected.size()) + " recorded ones");
  double difference = 0, norm = 0, worstRow = 0;
  for (size_t row = 0; row < found.size(); row += features) {
    double rowDifference = 0, rowNorm = 0;
    for (int64_t e = 0; e < features; ++e) {
      double delta = found[row + e] - expected[row + e];
      rowDifference += delta * delta;
      rowNorm += expected[row + e] * expected[row + e];
    }
    difference += rowDifference;
    norm += rowNorm;
    double rowError = rowDifference == 0 ? 0 : std::sqrt(rowDifference / rowNorm);
    // Not std::max, which may drop a NaN.
    if (!(rowError <= worstRow))
      worstRow = rowError;
    if (std::isnan(rowError))
      return {rowError, rowError};
  }
  return {difference == 0 ? 0 : std::sqrt(difference / norm), worstRow};
}

} // namespace

std::vector<ModelCheckRow> checkModel(const ModelCheckOptions &options) {
  VariantFacts variant = readVariant(options.variantJson);
  auto file = [&](const char *ending) { return options.directory / (variant.name + ending); };
  double tolerance = options.tolerance ? *options.tolerance : defaultTolerance(variant);
  ModelConfiguration(file(".json"), variant).check();
  safetensors::File weights = safetensors::File::open(file(".safetensors"));
  safetensors::File reference = safetensors::File::open(file(".reference.safetensors"));
  std::vector<Recording> recordings = loadRecordings(reference, variant);

  std::array phases = {Phase::append, Phase::decode, Phase::prefill};
  std::unique_ptr<Executable> executable = Executable::compile(options.variantJson, phases);

  std::vector<ModelCheckRow> rows;
  for (const Recording &recording : recordings) {
    std::map<std::string, Factor> factors =
        projectFactors(variant, weights, recording.layer, recording.input, recording.tokens);
    for (Phase phase : {Phase::prefill, Phase::decode}) {
      Sequence sequence(*executable, factors, recording.tokens);
      auto start = std::chrono::steady_clock::now();
      int64_t tokensPerStep = phase == Phase::prefill ? recording.tokens : 1;
      for (int64_t first = 0; first < recording.tokens; first += tokensPerStep)
        sequence.step(phase, first, tokensPerStep);
      std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

      std::vector<double> lse = sequence.result("lse");
      Errors errors = compare(sequence.result("out"), recording.output, variant.v.features);
      ModelCheckRow row = {recording.layer,
                           std::string(phaseName(phase)),
                           variant.types.at("token"),
                           recording.tokens,
                           errors.whole,
                           errors.worstRow,
                           tolerance,
                           rowTolerance(variant, tolerance, lse),
                           false,
                           seconds.count()};
      // Every query sees itself at least, so no LSE may be infinite.
      bool finite = std::ranges::all_of(lse, [](double value) { return std::isfinite(value); });
      row.pass = finite && row.relativeError <= row.tolerance && row.worstRowError <= row.rowTolerance;
      rows.push_back(row);
    }
  }
  return rows;
}

} // namespace tpac
