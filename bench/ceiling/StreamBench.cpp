// SPDX-License-Identifier: Apache-2.0
//
// Measures the memory ceiling of given streams.

#include "bench/ceiling/StreamBench.h"

#include "bench/measure/Statistics.h"

namespace tpac::bench {

double streamPass(ThreadTeam &team, const GroupsOfThread &groups, const StreamWalk &walk, Isa isa) {
  std::vector<std::vector<StreamGroup>> ofThreads;
  int64_t bytes = 0;
  for (int thread = 0; thread < team.size(); ++thread) {
    ofThreads.push_back(groups(thread));
    for (const StreamGroup &group : ofThreads.back())
      bytes += streamBytes(group);
  }
  std::atomic<uint64_t> result{0}; // what was read must be used, or reading it could be left out
  double seconds = team.run([&](int thread) {
    uint64_t mine = 0;
    for (const StreamGroup &group : ofThreads[thread])
      mine ^= walkStreams(group, walk, isa);
    result ^= mine;
  });
  return static_cast<double>(bytes) / seconds;
}

StreamWalk fastestWalk(ThreadTeam &team, const GroupsOfThread &groups, Isa isa, int passes,
                       const std::function<void()> &advance) {
  std::span<const StreamWalk> walks = streamWalks();
  std::vector<std::vector<double>> speeds(walks.size());
  for (int pass = 0; pass < passes; ++pass)
    for (size_t index = 0; index < walks.size(); ++index) {
      advance();
      speeds[index].push_back(streamPass(team, groups, walks[index], isa));
    }
  size_t best = 0;
  for (size_t index = 1; index < walks.size(); ++index)
    if (median(speeds[index]) > median(speeds[best]))
      best = index;
  return walks[best];
}

} // namespace tpac::bench
