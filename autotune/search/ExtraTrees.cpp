// SPDX-License-Identifier: Apache-2.0

#include "autotune/search/ExtraTrees.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace tpac::search {

namespace {

constexpr int treeCount = 30;
/// Leaves keep so many samples at least before they are split.
constexpr size_t leastSplit = 3;

struct Split {
  int knob, threshold;
};

/// Sum over both halves of the squared distances from the mean.
double lossOf(Split split, const std::vector<size_t> &samples, const std::vector<Point> &inputs,
              const std::vector<double> &targets) {
  double sums[2] = {0, 0}, squares[2] = {0, 0}, counts[2] = {0, 0};
  for (size_t i : samples) {
    bool right = inputs[i][static_cast<size_t>(split.knob)] >= split.threshold;
    sums[right] += targets[i];
    squares[right] += targets[i] * targets[i];
    counts[right] += 1;
  }
  return squares[0] - sums[0] * sums[0] / counts[0] + squares[1] - sums[1] * sums[1] / counts[1];
}

} // namespace

ExtraTrees::ExtraTrees(const std::vector<Point> &inputs, const std::vector<double> &targets, std::mt19937_64 &random) {
  std::vector<size_t> all(inputs.size());
  std::iota(all.begin(), all.end(), size_t(0));
  for (int i = 0; i < treeCount; ++i) {
    Tree tree;
    grow(tree, all, inputs, targets, random);
    trees.push_back(std::move(tree));
  }
}

size_t ExtraTrees::grow(Tree &tree, std::vector<size_t> samples, const std::vector<Point> &inputs,
                        const std::vector<double> &targets, std::mt19937_64 &random) const {
  const size_t node = tree.size();
  tree.emplace_back();
  double sum = 0;
  for (size_t i : samples)
    sum += targets[i];
  tree[node].mean = sum / static_cast<double>(samples.size());
  // One threshold per knob, drawn between its least and greatest value here; the best of them splits.
  std::optional<Split> best;
  double bestLoss = std::numeric_limits<double>::infinity();
  if (samples.size() >= leastSplit)
    for (size_t knob = 0; knob < inputs.front().size(); ++knob) {
      auto [least, most] = std::ranges::minmax(samples, {}, [&](size_t i) { return inputs[i][knob]; });
      const int low = inputs[least][knob], high = inputs[most][knob];
      if (low == high)
        continue;
      Split split = {static_cast<int>(knob), std::uniform_int_distribution(low + 1, high)(random)};
      if (double loss = lossOf(split, samples, inputs, targets); loss < bestLoss) {
        best = split;
        bestLoss = loss;
      }
    }
  if (!best)
    return node;
  auto middle = std::partition(samples.begin(), samples.end(),
                               [&](size_t i) { return inputs[i][static_cast<size_t>(best->knob)] < best->threshold; });
  size_t left = grow(tree, {samples.begin(), middle}, inputs, targets, random);
  size_t right = grow(tree, {middle, samples.end()}, inputs, targets, random);
  tree[node].knob = best->knob;
  tree[node].threshold = best->threshold;
  tree[node].left = left;
  tree[node].right = right;
  return node;
}

double ExtraTrees::predict(const Point &point) const {
  double sum = 0;
  for (const Tree &tree : trees) {
    size_t node = 0;
    while (tree[node].knob >= 0)
      node = point[static_cast<size_t>(tree[node].knob)] < tree[node].threshold ? tree[node].left : tree[node].right;
    sum += tree[node].mean;
  }
  return sum / static_cast<double>(trees.size());
}

} // namespace tpac::search
