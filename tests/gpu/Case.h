// SPDX-License-Identifier: Apache-2.0
//
// A call of decode or prefill whose inputs follow from a few numbers, so that the machine that computes what is
// expected and the machine with the GPU need not exchange them.

#ifndef TPAC_TESTS_GPU_CASE_H
#define TPAC_TESTS_GPU_CASE_H

#include "tests/oracle/Oracle.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tpac::gputest {

struct Case {
  std::string name;
  std::string kernel;
  std::vector<int64_t> lengths, queries;
  int64_t capacity = 0;
  uint64_t seed = 0;
  /// Factor on Q's token factors, a power of two: how peaked the softmax is.
  double gain = 1;
  /// Whether tensors of several dimensions are neither contiguous nor in the usual order.
  bool isStrided = false;
  /// The first tokens of the second request are those of the first one: pages that both may have.
  int64_t sharedTokens = 0;

  oracle::Sizes sizes() const;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Case, name, kernel, lengths, queries, capacity, seed, gain, isStrided, sharedTokens)

/// Every input of decode, as stored (rounded to its element type).
oracle::Tensors makeInputs(const oracle::Variant &variant, const Case &item);

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_CASE_H
