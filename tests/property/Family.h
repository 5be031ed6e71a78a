// SPDX-License-Identifier: Apache-2.0
//
// Random members of the whole family with a workload each, from a seed. Follows the rules of docs/variant.md, so that
// every member must compile; knows nothing of compilers and oracles.

#ifndef TPAC_TESTS_PROPERTY_FAMILY_H
#define TPAC_TESTS_PROPERTY_FAMILY_H

#include <nlohmann/json.hpp>

#include <cstdint>
#include <vector>

namespace property {

/// What is asked of a member: the requests and how they are run.
struct Workload {
  /// Tokens appended, by call and request; a request's cached length is the sum over the calls.
  std::vector<std::vector<int64_t>> appended;
  /// Query tokens by request.
  std::vector<int64_t> queries;
  /// Tokens of the cache beyond the longest request.
  int64_t spareCapacity = 0;
  /// Rows before the first request's and after the last one's, of no request.
  int64_t leadingRows = 0;
  int64_t trailingRows = 0;
  /// Position of each request's first token.
  std::vector<int64_t> firstPositions;
  /// max |L| before the softcap that the queries are scaled to (within a factor of two).
  double largestLogit = 4.0;
  /// The first tokens of each request whose keys are small, so that maxima grow late.
  int64_t quietTokens = 0;
  bool strided = false;
  bool prefill = false;
  bool merge = false;

  int64_t batch() const { return static_cast<int64_t>(queries.size()); }
  int64_t length(int64_t request) const;
  int64_t capacity() const;
};

struct Member {
  uint64_t seed;
  nlohmann::json variant;
  Workload workload;
};

/// The member of `seed`, the same on every machine. Any twelve consecutive seeds hold an empty batch, a request of
/// length 0 with queries, a ragged batch, rows that see nothing, logits near 200, a merge, a prefill, strided
/// tensors and a request of several hundred tokens whose first ones have small keys.
Member generateMember(uint64_t seed);

/// A member with a variant of the caller's and the workload of `seed`.
Member memberOf(nlohmann::json variant, uint64_t seed);

/// The workload in one line.
std::string describe(const Workload &workload);

} // namespace property

#endif // TPAC_TESTS_PROPERTY_FAMILY_H
