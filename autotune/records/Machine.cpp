// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/Machine.h"

#include <filesystem>
#include <fstream>
#include <sched.h>

namespace tpac::records {

using nlohmann::json;

namespace {

/// The value of `field` of the first CPU in /proc/cpuinfo.
std::string cpuInfo(const std::string &field) {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line) && !line.empty();)
    if (size_t colon = line.find(':'); colon != std::string::npos && line.substr(0, line.find('\t')) == field)
      return colon + 2 <= line.size() ? line.substr(colon + 2) : "";
  return "";
}

std::string firstLine(const std::filesystem::path &file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

} // namespace

json cpuSilicon(const std::string &isa) {
  json silicon = {{"isa", isa}};
  // x86, then ARM.
  if (std::string vendor = cpuInfo("vendor_id"); !vendor.empty())
    silicon["cpu"] = vendor + " " + cpuInfo("cpu family") + "/" + cpuInfo("model");
  else if (std::string implementer = cpuInfo("CPU implementer"); !implementer.empty())
    silicon["cpu"] = implementer + " " + cpuInfo("CPU part");
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
    silicon["cpus"] = CPU_COUNT(&cpus);
  const std::filesystem::path caches = "/sys/devices/system/cpu/cpu0/cache";
  std::error_code error;
  for (const auto &entry : std::filesystem::directory_iterator(caches, error)) {
    std::string type = firstLine(entry.path() / "type"), size = firstLine(entry.path() / "size");
    if (!size.empty() && type != "Instruction")
      silicon["l" + firstLine(entry.path() / "level")] = size;
  }
  return silicon;
}

} // namespace tpac::records
