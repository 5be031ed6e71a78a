// SPDX-License-Identifier: Apache-2.0
//
// Anonymous memory in huge pages where the system gives them: a cache of gigabytes in 4 KiB pages measures the TLB.

#include "bench/measure/Arena.h"

#include <fstream>
#include <new>
#include <string>
#include <sys/mman.h>

namespace tpac::bench {

int64_t availableMemory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (int64_t kibibytes; file >> key >> kibibytes; std::getline(file, unit))
    if (key == "MemAvailable:")
      return kibibytes * 1024;
  return 0;
}

Arena::~Arena() { unmap(); }

void Arena::unmap() {
  if (memory)
    munmap(memory, capacity);
  memory = nullptr;
  capacity = 0;
}

void Arena::reset(int64_t bytes) {
  used = 0;
  if (bytes <= capacity)
    return;
  unmap();
  void *mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    throw std::bad_alloc();
  memory = static_cast<std::byte *>(mapped);
  capacity = bytes;
  madvise(mapped, bytes, MADV_HUGEPAGE); // a wish: without it everything still works
}

std::byte *Arena::allocate(int64_t bytes) {
  int64_t begin = (used + 63) / 64 * 64;
  // 17 cache lines further into the page than the last end: odd, so all places of a page occur.
  if (begin)
    begin += 17 * 64;
  if (begin + bytes > capacity)
    throw std::bad_alloc();
  used = begin + bytes;
  return memory + begin;
}

} // namespace tpac::bench
