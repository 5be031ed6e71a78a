// SPDX-License-Identifier: Apache-2.0
//
// How much arithmetic a phase is: the counts by which kernels of different members of the family are compared. Counted
// from the variant's definition, not from what a kernel happens to do.

#ifndef TPAC_BENCH_PHASES_WORK_H
#define TPAC_BENCH_PHASES_WORK_H

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>

namespace tpac::bench {

/// What the counts need of a variant (docs/variant.md). Ranks are those of the definition; a dense side has rank heads.
struct Dimensions {
  enum class HeadFactor { contextual, learned, fixed };

  explicit Dimensions(const nlohmann::json &variant);

  int64_t heads; ///< local ones, of head_range
  int64_t d, e;  ///< features of Q and K, of V
  int64_t rankQ, rankK, rankV;
  HeadFactor headQ, headK, headV;
  bool causal;
  std::optional<int64_t> window;
  /// Whether merged queries are rounded once: query_precision is storage.
  bool roundsQueries;
};

/// Multiply-adds per query token and visible cached token in decode:
///   factored Q, K and V   RQ*RK*D + H*RQ*RK + H*RV*E
///   fixed head factors    H*D for the score where K's is fixed, H*E for the value where V's is
///   dense Q               H*RK*(D + 1) for the score: one product per head and rank, weighed by the head factor
/// At order 3 and above D and E are the products of the small sizes.
int64_t decodeMultiplyAdds(const Dimensions &dimensions);

/// Multiply-adds per query token and visible cached token in prefill: H*(D + E), the attention itself. Rebuilding keys
/// and values from factors is not counted, so that all members of the family have the same count.
int64_t prefillMultiplyAdds(const Dimensions &dimensions);

/// bf16 multiply-adds of prefill at the variant's precision, on a matrix unit that multiplies bf16 alone: those above,
/// with the score as often as its parts multiply. A query that is not rounded is two parts; keys rebuilt from several
/// ranks are two as well, and the product of the small parts is left out.
int64_t prefillMatrixMultiplyAdds(const Dimensions &dimensions);

/// Vector operations of a softmax per query, head and visible token: the subtraction of the maximum, the power (a
/// fraction, four multiply-adds, a scaling), the sum, and the rounding to bf16.
inline constexpr int64_t softmaxOperations = 10;

/// (query, cached token) pairs that the mask lets through: `queries` query tokens at the end of `cached` tokens.
int64_t visiblePairs(const Dimensions &dimensions, int64_t queries, int64_t cached);

/// The first of `cached` tokens that any of the last `queries` tokens sees.
int64_t firstVisible(const Dimensions &dimensions, int64_t queries, int64_t cached);

/// The member of the family that stores K and V themselves: dense Q, K and V with the heads, features, types, mask and
/// RoPE of `variant`. Throws std::invalid_argument for variants that have no such member of the same mathematics
/// (wide shared keys: MLA).
nlohmann::json materialised(const nlohmann::json &variant);

} // namespace tpac::bench

#endif // TPAC_BENCH_PHASES_WORK_H
