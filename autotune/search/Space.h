// SPDX-License-Identifier: Apache-2.0
//
// A finite space of configurations: points that give each knob one of its values.

#ifndef TPAC_AUTOTUNE_SEARCH_SPACE_H
#define TPAC_AUTOTUNE_SEARCH_SPACE_H

#include <cstddef>
#include <vector>

namespace tpac::search {

/// Which of its values each knob has, by number.
using Point = std::vector<int>;

/// The legal points, each once.
struct Space {
  std::vector<Point> points;
};

/// Number of a point of a space.
using Index = size_t;

} // namespace tpac::search

#endif // TPAC_AUTOTUNE_SEARCH_SPACE_H
