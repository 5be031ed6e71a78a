// SPDX-License-Identifier: Apache-2.0
//
// Measures the memory ceiling of given streams with a team of threads.

#ifndef TPAC_BENCH_CEILING_STREAMBENCH_H
#define TPAC_BENCH_CEILING_STREAMBENCH_H

#include "bench/ceiling/Streams.h"
#include "bench/measure/ThreadTeam.h"

#include <functional>

namespace tpac::bench {

/// The groups that thread `thread` walks through. Asked anew for every pass, so that passes can go to memory that no
/// cache holds.
using GroupsOfThread = std::function<std::vector<StreamGroup>(int thread)>;

/// Bytes per second of one pass.
double streamPass(ThreadTeam &team, const GroupsOfThread &groups, const StreamWalk &walk, Isa isa);

/// The fastest walk by the medians of `passes` interleaved passes; `advance` is called before each.
StreamWalk fastestWalk(ThreadTeam &team, const GroupsOfThread &groups, Isa isa, int passes,
                       const std::function<void()> &advance);

} // namespace tpac::bench

#endif // TPAC_BENCH_CEILING_STREAMBENCH_H
