// SPDX-License-Identifier: Apache-2.0
//
// Extremely randomised trees (Geurts, Ernst and Wehenkel 2006): a regression that needs no tuning of its own and is
// trained in microseconds on the hundreds of measurements that a search makes.

#ifndef TPAC_AUTOTUNE_SEARCH_EXTRATREES_H
#define TPAC_AUTOTUNE_SEARCH_EXTRATREES_H

#include "autotune/search/Space.h"

#include <random>

namespace tpac::search {

class ExtraTrees {
public:
  /// Trees that predict `targets[i]` at `inputs[i]`; at least one of each, as many of one as of the other.
  ExtraTrees(const std::vector<Point> &inputs, const std::vector<double> &targets, std::mt19937_64 &random);

  double predict(const Point &point) const;

private:
  struct Node {
    /// Leaves: < 0.
    int knob = -1;
    /// Goes to `left` where the knob's value is below.
    int threshold = 0;
    size_t left = 0, right = 0;
    double mean = 0;
  };
  using Tree = std::vector<Node>;

  size_t grow(Tree &tree, std::vector<size_t> samples, const std::vector<Point> &inputs,
              const std::vector<double> &targets, std::mt19937_64 &random) const;

  std::vector<Tree> trees;
};

} // namespace tpac::search

#endif // TPAC_AUTOTUNE_SEARCH_EXTRATREES_H
