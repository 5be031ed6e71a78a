// SPDX-License-Identifier: Apache-2.0
//
// Runs one member of the family through compiled phases and judges every step with the oracle.

#ifndef TPAC_TESTS_PROPERTY_CHECK_H
#define TPAC_TESTS_PROPERTY_CHECK_H

#include "tests/oracle/Variant.h"
#include "tests/property/Family.h"
#include "tests/property/Program.h"

#include <map>
#include <string>

namespace property {

/// What a run met, so that a test can say that nothing was left out; and the worst figures.
struct Coverage {
  int64_t emptyBatches = 0;
  int64_t requestsOfLengthZero = 0;
  int64_t requestsOfLengthOne = 0;
  int64_t raggedBatches = 0;
  int64_t rowsThatSeeNothing = 0;
  int64_t rowsWithLseBeyond100 = 0;
  int64_t merges = 0;
  int64_t prefills = 0;
  int64_t strided = 0;
  int64_t quantised = 0;
  int64_t blocked = 0;
  int64_t paged = 0;
  int64_t sharedPages = 0;
  /// Calls that were given their pages as a list.
  int64_t pageLists = 0;
  /// Worst part of its limit that any compared figure used, by the tolerance that made the limit.
  std::map<double, double> worstShares;

  void add(const Coverage &other);
};

/// Compiles and runs `member` by `route`; throws std::runtime_error with what was wrong. Half of the members have
/// caches in pages, in any order, some of them shared by two requests, all others poisoned, by tables or by lists.
/// Where V's token factors are cached and the route is not the reference path, half have them in blocks of tokens.
Coverage check(const Member &member, const Route &route);

/// Compares names, order, element types, shapes and access of `phase` with the oracle's statement, caches being stored
/// as `storage` says; throws std::runtime_error with the first difference.
void checkSignature(const oracle::Variant &variant, const tpac::PhaseSignature &signature,
                    tpac::CacheStorage storage = {});

} // namespace property

#endif // TPAC_TESTS_PROPERTY_CHECK_H
