// SPDX-License-Identifier: Apache-2.0
//
// Medians of repeated measurements.

#include "bench/measure/Statistics.h"

#include <algorithm>
#include <limits>

namespace tpac::bench {

double median(std::vector<double> values) {
  if (values.empty())
    return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

} // namespace tpac::bench
