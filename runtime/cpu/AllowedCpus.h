// SPDX-License-Identifier: Apache-2.0
//
// Which CPUs, and how many, this process may use. Starts no threads and binds none.

#ifndef TPAC_RUNTIME_CPU_ALLOWEDCPUS_H
#define TPAC_RUNTIME_CPU_ALLOWEDCPUS_H

#include <string>
#include <vector>

namespace tpac::runtime {

/// The CPUs in the calling thread's affinity, ascending. Throws std::system_error.
std::vector<int> affinityCpus();

/// `cpus` in the order in which threads should be bound to them: different cores first, then their further hardware
/// threads. `first`, if it is one of them, leads. CPUs without topology files count as cores of their own. `root` is
/// where the system's /sys stands ("" but in tests).
std::vector<int> orderByCore(std::vector<int> cpus, int first, const std::string &root = "");

/// The CPU quota of this process's control groups (v1 and v2) and of all groups above them, in CPUs, rounded up; 0
/// where there is none. Reads the controllers where they are mounted by convention, under /sys/fs/cgroup of `root`.
int quotaCpus(const std::string &root = "");

/// How many threads can run at once: the affinity's size, or the quota where that is less; at least 1.
int usableCpus(const std::vector<int> &affinity, int quota);

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_CPU_ALLOWEDCPUS_H
