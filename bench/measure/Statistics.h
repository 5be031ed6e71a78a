// SPDX-License-Identifier: Apache-2.0
//
// Medians of repeated measurements.

#ifndef TPAC_BENCH_MEASURE_STATISTICS_H
#define TPAC_BENCH_MEASURE_STATISTICS_H

#include <vector>

namespace tpac::bench {

/// The middle value (the mean of the two middle ones); NaN of none.
double median(std::vector<double> values);

} // namespace tpac::bench

#endif // TPAC_BENCH_MEASURE_STATISTICS_H
