// SPDX-License-Identifier: Apache-2.0
//
// CPUs by affinity, topology and control groups: what Linux says in system calls and in its /proc and /sys files.

#include "runtime/cpu/AllowedCpus.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <sched.h>
#include <string_view>
#include <system_error>

namespace tpac::runtime {

namespace {

/// The beginning of a file, which is all of the small files read here; "" where there is none.
std::string readFile(const std::string &path) {
  const std::unique_ptr<FILE, int (*)(FILE *)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file)
    return "";
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  return text;
}

/// Removes the text up to `separator` from `text` and returns it.
std::string_view takeUntil(std::string_view &text, char separator) {
  const std::string_view part = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

/// quota/period in CPUs, rounded up; 0 where either is no positive number ("max" and -1 say that there is no limit).
int quotient(const std::string &quota, const std::string &period) {
  const long long time = std::strtoll(quota.c_str(), nullptr, 10), unit = std::strtoll(period.c_str(), nullptr, 10);
  if (time <= 0 || unit <= 0)
    return 0;
  return static_cast<int>(std::min<long long>((time - 1) / unit + 1, 1 << 20));
}

/// The quota that one group states.
int quotaOfGroup(const std::string &folder, bool isVersion2) {
  if (!isVersion2)
    return quotient(readFile(folder + "/cpu.cfs_quota_us"), readFile(folder + "/cpu.cfs_period_us"));
  const std::string text = readFile(folder + "/cpu.max");
  std::string_view period = text;
  const std::string_view quota = takeUntil(period, ' ');
  return quotient(std::string(quota), std::string(period));
}

bool namesCpu(std::string_view controllers) {
  while (!controllers.empty())
    if (takeUntil(controllers, ',') == "cpu")
      return true;
  return false;
}

} // namespace

std::vector<int> affinityCpus() {
  // The kernel refuses sets that are smaller than its own, whose size it does not tell.
  for (int capacity = 1024;; capacity *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t *)> set(CPU_ALLOC(capacity), [](cpu_set_t *s) { CPU_FREE(s); });
    if (!set)
      throw std::bad_alloc();
    const size_t size = CPU_ALLOC_SIZE(capacity);
    CPU_ZERO_S(size, set.get());
    if (sched_getaffinity(0, size, set.get()) != 0) {
      if (errno == EINVAL && capacity < (1 << 20))
        continue;
      throw std::system_error(errno, std::generic_category(), "sched_getaffinity");
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < capacity; ++cpu)
      if (CPU_ISSET_S(cpu, size, set.get()))
        cpus.push_back(cpu);
    return cpus;
  }
}

std::vector<int> orderByCore(std::vector<int> cpus, int first, const std::string &root) {
  if (const auto found = std::find(cpus.begin(), cpus.end(), first); found != cpus.end())
    std::rotate(cpus.begin(), found, found + 1);

  // The list of a core's CPUs serves as its name. Rank: how many CPUs of the same core stand before.
  std::map<std::string, int> ranks;
  std::multimap<int, int> byRank;
  for (int cpu : cpus) {
    const std::string topology = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string core = readFile(topology + "core_cpus_list");
    if (core.empty())
      core = readFile(topology + "thread_siblings_list");
    byRank.emplace(core.empty() ? 0 : ranks[core]++, cpu);
  }
  // Equal keys keep the order in which they were put in.
  std::transform(byRank.begin(), byRank.end(), cpus.begin(), [](const auto &entry) { return entry.second; });
  return cpus;
}

int quotaCpus(const std::string &root) {
  const std::string groups = readFile(root + "/proc/self/cgroup");
  int quota = 0;
  for (std::string_view rest = groups; !rest.empty();) {
    // ID:CONTROLLERS:PATH, with no controllers for version 2.
    std::string_view line = takeUntil(rest, '\n');
    takeUntil(line, ':');
    const std::string_view controllers = takeUntil(line, ':');
    const bool isVersion2 = controllers.empty();
    if (!isVersion2 && !namesCpu(controllers))
      continue;
    const std::string mount = root + (isVersion2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
    // Inside a container the mounted tree may begin below the path's first folders, hence all of them are tried.
    for (std::string path(line);; path.resize(path.rfind('/'))) {
      const int limit = quotaOfGroup(mount + path, isVersion2);
      if (limit > 0 && (quota == 0 || limit < quota))
        quota = limit;
      if (path.rfind('/') == std::string::npos)
        break;
    }
  }
  return quota;
}

int usableCpus(const std::vector<int> &affinity, int quota) {
  const int cpus = std::max(1, static_cast<int>(affinity.size()));
  return quota > 0 ? std::min(cpus, quota) : cpus;
}

} // namespace tpac::runtime
