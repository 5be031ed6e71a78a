// SPDX-License-Identifier: Apache-2.0
//
// Which point to measure next. First a portfolio (what won elsewhere, what a model likes, the default), then half
// neighbours of the best points and half what a surrogate predicts to be fast.

#ifndef TPAC_AUTOTUNE_SEARCH_SEARCH_H
#define TPAC_AUTOTUNE_SEARCH_SEARCH_H

#include "autotune/search/Space.h"

#include <map>
#include <optional>
#include <random>
#include <span>

namespace tpac::search {

class Search {
public:
  /// `portfolio`: points to measure first, in this order; numbers of `space.points`. The same seed and the same
  /// reports give the same points. `space` must outlive the search.
  Search(const Space &space, std::span<const Index> portfolio, uint64_t seed);

  /// The next point, one that was never handed out; nothing where none is left.
  std::optional<Index> next();
  /// What came of a point that was handed out: its time, or nothing where it has none (wrong, crashed, ...).
  void report(Index point, std::optional<double> seconds);

  /// Points handed out so far.
  size_t evaluations() const { return visited; }
  /// Points with a time, fastest first.
  std::vector<Index> ranking() const;

private:
  std::optional<Index> neighbour();
  std::optional<Index> predicted();
  std::optional<Index> anyOther();
  std::optional<Index> handOut(std::optional<Index> point);

  const Space &space;
  std::vector<Index> portfolio;
  std::vector<bool> isVisited;
  size_t visited = 0, fromPortfolio = 0;
  /// Of points without a time: infinity.
  std::map<Index, double> times;
  std::vector<Index> predictions;
  std::mt19937_64 random;
};

} // namespace tpac::search

#endif // TPAC_AUTOTUNE_SEARCH_SEARCH_H
