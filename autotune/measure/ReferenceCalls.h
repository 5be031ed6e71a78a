// SPDX-License-Identifier: Apache-2.0
//
// Small calls whose results are known from the reference path: what candidates must compute, too.

#ifndef TPAC_AUTOTUNE_MEASURE_REFERENCECALLS_H
#define TPAC_AUTOTUNE_MEASURE_REFERENCECALLS_H

#include "bench/phases/Workload.h"

#include <memory>
#include <string>
#include <vector>

namespace tpac::autotune {

/// NaN in every floating-point type that outputs have.
inline constexpr std::byte poison{0xff};

/// One call, its caches stored token by token (in pages where candidates have them).
struct ReferenceCall {
  ReferenceCall(const bench::Row &row, const PhaseSignature &signature);

  /// Tensor `index` as it was before the call.
  std::span<const std::byte> input(size_t index) const;
  /// Bytes of the tensors that the call writes, in their order.
  std::string outputs() const;
  /// Throws std::runtime_error where it is not as long.
  void setOutputs(const std::string &bytes);

  bench::Row row;
  bench::Arena arena;
  bench::ThreadTeam team;
  bench::Workload workload;
  std::vector<bench::Workload::Memory> tensors;

private:
  std::vector<std::byte> start;
};

struct ReferenceCalls {
  /// Makes the inputs, the same on every machine; outputs are poisoned. `row` gives phase and variant. One call has a
  /// ragged tail and more than a block of tokens, one several query tokens.
  ReferenceCalls(const bench::Row &row, int64_t pageSize);

  /// Computes the outputs on this machine's CPU. Throws std::exception.
  void compute();
  /// Hexadecimal SHA-256 of all inputs.
  std::string inputsHash() const;

  int64_t pageSize;
  PhaseSignature signature;
  std::vector<std::unique_ptr<ReferenceCall>> calls;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_REFERENCECALLS_H
