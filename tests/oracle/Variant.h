// SPDX-License-Identifier: Apache-2.0
//
// What the oracle knows of a variant: its own reading of the JSON and its own statement of the tensors of every phase
// (docs/variant.md). Must not include anything of the compiler: the two readings are compared by tests.

#ifndef TPAC_TESTS_ORACLE_VARIANT_H
#define TPAC_TESTS_ORACLE_VARIANT_H

#include "tests/oracle/ElementTypes.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oracle {

enum class Source { contextual, learned, fixed, shared };
enum class HeadMap { none, oneHot, groups, ones };
enum class HeadFunction { identity, sigmoid, softmax };

struct TokenFactor {
  Source source;
  int64_t size;
};

/// How Q, K or V is made of factors.
struct Factorization {
  int64_t rank;
  bool normalized = true;
  Source headSource;
  HeadMap headMap = HeadMap::none;
  HeadFunction headFunction = HeadFunction::identity;
  std::vector<TokenFactor> token;

  /// Product of the token factors' sizes.
  int64_t features() const;
  /// 1/rank, or 1 where not normalised or fixed.
  double rankScale() const;
  /// V shares K's token factors.
  bool isShared() const { return token.front().source == Source::shared; }
};

struct Rope {
  bool interleaved = false;
  int direction = -1;
  double base = 10000.0;
  int64_t rotated;
  int64_t offset = 0;
  std::optional<std::vector<double>> inverseFrequencies;
  double amplitude = 1.0;
};

struct Variant {
  int64_t heads;
  int64_t headBegin;
  int64_t headEnd;
  Factorization q, k, v;
  std::optional<Rope> rope;
  /// Empty, "rotated" or "unrotated".
  std::string vSees;
  std::optional<double> scale;
  std::optional<double> softcap;
  bool causal = true;
  std::optional<int64_t> window;
  bool queryRounded = false;
  Type activation = Type::bf16;
  Type head = Type::bf16;
  Type token = Type::bf16;
  Type output = Type::bf16;
  Type compute = Type::f32;

  int64_t localHeads() const { return headEnd - headBegin; }
  /// Ranks that this pack holds: the local heads where the head factor is one_hot.
  int64_t localRank(const Factorization &side) const;
  /// Features that RoPE treats as one block; every rotated vector is a whole number of these.
  int64_t ropeBlock() const;
  /// K is stored unrotated and rotated by its stored position when read.
  bool rotatesOnRead() const;
  /// Value of a fixed head factor for a local rank and a local head: 0 or 1.
  double fixedHeadFactor(const Factorization &side, int64_t rank, int64_t head) const;
  /// A scale per (token, rank) is stored beside the rows of `side` (K's or V's own; V may instead read K's).
  bool hasScaleCache(const Factorization &side) const;
};

/// Reads a valid variant; throws nlohmann's or std::invalid_argument's exceptions for files that are not.
Variant parseVariant(const nlohmann::json &json);

/// Name of token factor `index` of side 'q', 'k' or 'v': "k_token" at order 2, "k_token0", ... above.
std::string tokenName(char side, const Factorization &factorization, size_t index);

/// A dimension: `size`, plus the run-time size named `symbol` where that is not empty.
struct Dimension {
  std::string symbol;
  int64_t size = 0;
};

struct TensorSpec {
  std::string name;
  Type type;
  std::vector<Dimension> shape;
  /// "in", "inout" or "out".
  std::string access;
};

/// Run-time sizes of a call.
struct Sizes {
  int64_t tokens = 0;
  int64_t batch = 0;
  int64_t capacity = 0;

  int64_t of(const Dimension &dimension) const;
  std::vector<int64_t> of(const std::vector<Dimension> &shape) const;
};

/// Names of the run-time sizes of `phase` ("append", "decode", "prefill", "merge"), in calling order.
std::vector<std::string> phaseSizes(std::string_view phase);
/// Tensors of `phase`, in calling order.
std::vector<TensorSpec> phaseTensors(const Variant &variant, std::string_view phase);

} // namespace oracle

#endif // TPAC_TESTS_ORACLE_VARIANT_H
