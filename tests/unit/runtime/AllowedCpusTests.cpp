// SPDX-License-Identifier: Apache-2.0
//
// CPUs by affinity, topology and control groups, the latter two from made-up files.

#include "runtime/cpu/AllowedCpus.h"
#include "tests/unit/runtime/TestFiles.h"

#include <gtest/gtest.h>

#include <sched.h>
#include <thread>

using namespace tpac::runtime;
using tpac::test::TemporaryFolder;

TEST(AllowedCpus, affinityIsThatOfTheCallingThread) {
  const std::vector<int> all = affinityCpus();
  ASSERT_FALSE(all.empty());
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.back(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(affinityCpus(), std::vector<int>{all.back()});
  }).join();
  EXPECT_EQ(affinityCpus(), all);
}

TEST(AllowedCpus, differentCoresComeFirst) {
  const TemporaryFolder root;
  // Four cores of two hardware threads: 0-1, 2-3, ...; the last of them known by the older file alone.
  for (int cpu = 0; cpu < 8; ++cpu) {
    const int core = cpu / 2 * 2;
    const char *file = cpu < 6 ? "/topology/core_cpus_list" : "/topology/thread_siblings_list";
    root.write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + file,
               std::to_string(core) + "-" + std::to_string(core + 1) + "\n");
  }
  const std::string path = root.path().string();
  EXPECT_EQ(orderByCore({0, 1, 2, 3, 4, 5, 6, 7}, 0, path), (std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7}));
  // The first CPU leads its core too.
  EXPECT_EQ(orderByCore({0, 1, 2, 3, 4, 5, 6, 7}, 3, path), (std::vector<int>{3, 0, 4, 6, 1, 2, 5, 7}));
  EXPECT_EQ(orderByCore({1, 2, 3}, 7, path), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(orderByCore({}, 0, path), std::vector<int>{});
  // Nothing known: every CPU is a core.
  EXPECT_EQ(orderByCore({0, 1, 2}, 1, path + "/nowhere"), (std::vector<int>{1, 0, 2}));
}

TEST(AllowedCpus, quotaOfVersion2) {
  const TemporaryFolder root;
  const std::string path = root.path().string();
  EXPECT_EQ(quotaCpus(path), 0);
  root.write("proc/self/cgroup", "0::/engine/worker\n");
  EXPECT_EQ(quotaCpus(path), 0);
  root.write("sys/fs/cgroup/engine/worker/cpu.max", "max 100000\n");
  EXPECT_EQ(quotaCpus(path), 0);
  // A group above limits those below it; a part of a CPU counts as one.
  root.write("sys/fs/cgroup/engine/cpu.max", "350000 100000\n");
  EXPECT_EQ(quotaCpus(path), 4);
  root.write("sys/fs/cgroup/engine/worker/cpu.max", "200000 100000\n");
  EXPECT_EQ(quotaCpus(path), 2);
  root.write("sys/fs/cgroup/cpu.max", "1000 100000\n");
  EXPECT_EQ(quotaCpus(path), 1);
}

TEST(AllowedCpus, quotaOfVersion1) {
  const TemporaryFolder root;
  const std::string path = root.path().string();
  root.write("proc/self/cgroup", "9:name=systemd:/other\n4:cpu,cpuacct:/box/inner\n3:cpuset:/box\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quotaCpus(path), 0);
  root.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "250000\n");
  root.write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quotaCpus(path), 5);
  // Not this process's group.
  root.write("sys/fs/cgroup/cpu/other/cpu.cfs_quota_us", "1000\n");
  root.write("sys/fs/cgroup/cpu/other/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quotaCpus(path), 5);
}

TEST(AllowedCpus, quotaOfAContainerWhosePathIsTheHosts) {
  const TemporaryFolder root;
  root.write("proc/self/cgroup", "4:cpu,cpuacct:/docker/0123456789abcdef\n0::/docker/0123456789abcdef\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quotaCpus(root.path().string()), 3);
}

TEST(AllowedCpus, theSmallerOfAffinityAndQuota) {
  EXPECT_EQ(usableCpus({0, 1, 2, 3}, 0), 4);
  EXPECT_EQ(usableCpus({0, 1, 2, 3}, 3), 3);
  EXPECT_EQ(usableCpus({0, 1, 2, 3}, 9), 4);
}
