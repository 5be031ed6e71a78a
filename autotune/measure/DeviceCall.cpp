// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/DeviceCall.h"

#include "autotune/measure/Deviation.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>

namespace tpac::autotune {

using device::alignedBytes;

namespace {

/// Also of the poison between tensors.
constexpr size_t alignment = device::tensorAlignment;

std::span<const int32_t> integers(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const int32_t *>(bytes.data()), bytes.size() / sizeof(int32_t)};
}

/// Reads `[from]` until it is 0: nothing there is a fault of memory, and what is never 0 keeps it for ever.
constexpr char waitSource[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry wait(.param .u64 from) {
  .reg .pred %p;
  .reg .b32 %r<2>;
  .reg .b64 %d<2>;
  ld.param.u64 %d1, [from];
NEXT:
  ld.volatile.global.u32 %r1, [%d1];
  setp.ne.u32 %p, %r1, 0;
  @%p bra NEXT;
  ret;
}
)";

} // namespace

int64_t DeviceCache::capacityFor(int64_t tokens) const {
  const int64_t unit = pageSize != 0 ? pageSize : gpuCapacityUnit;
  return (tokens + unit - 1) / unit * unit;
}

size_t DeviceCache::bytes(int64_t requests, int64_t capacity) const {
  return static_cast<size_t>(layout.planes * requests * capacity * layout.rowBytes);
}

std::vector<std::byte> DeviceCache::encode(const ReferenceCall &call) const {
  const int64_t capacity = capacityFor(call.row.cached);
  std::vector<std::byte> result(bytes(call.row.requests, capacity), poison);
  std::span<const int32_t> table;
  for (size_t i = 0; i < call.tensors.size(); ++i)
    if (call.tensors[i].spec->name == blockTableName)
      table = integers(call.input(i));
  for (size_t i = 0; i < call.tensors.size(); ++i) {
    const PhaseTensor &spec = *call.tensors[i].spec;
    const GpuCacheLayout::Segment *segment = layout.find(spec.name);
    if (!segment)
      continue;
    const std::span<const std::byte> source = call.input(i);
    const int64_t size = elementSize(segment->elementType), width = layout.planes * segment->ranks * segment->size;
    const int64_t sourceCapacity = static_cast<int64_t>(source.size()) / (width * size * call.row.requests);
    for (int64_t request = 0; request < call.row.requests; ++request)
      for (int64_t token = 0; token < call.row.cached; ++token) {
        // Pages, or requests without them, and the token's place there.
        int64_t page = request, within = token, ofPage = capacity, sourceRow = request * sourceCapacity + token;
        if (pageSize != 0) {
          page = table[static_cast<size_t>((request * capacity + token) / pageSize)];
          within = token % pageSize;
          ofPage = pageSize;
          sourceRow = page * pageSize + within;
        }
        const std::byte *from = &source[static_cast<size_t>(sourceRow * width * size)];
        for (int64_t plane = 0; plane < layout.planes; ++plane)
          for (int64_t rank = 0; rank < segment->ranks; ++rank)
            for (int64_t element = 0; element < segment->size; ++element, from += size) {
              const int64_t place = (segment->offset + rank * segment->pitch + element * size) ^
                                    (((token >> layout.swizzleShift) & layout.swizzleMask) * 16);
              const int64_t row = (page * layout.planes + plane) * ofPage + within;
              std::memcpy(&result[static_cast<size_t>(row * layout.rowBytes + place)], from, static_cast<size_t>(size));
            }
      }
  }
  return result;
}

DeviceProbe::DeviceProbe(device::Driver &driver, const ReferenceCall &reference, const PhaseSignature &signature,
                         const DeviceCache &layout)
    : driver(driver), reference(reference) {
  size_t next = alignment;
  for (const bench::Workload::Memory &tensor : reference.tensors) {
    offsets.push_back(next);
    if (!isCache(*tensor.spec))
      next += alignedBytes(tensor.bytes.size()) + alignment;
  }
  cacheOffset = next;
  const std::vector<std::byte> cache = layout.encode(reference);
  start.assign(next + alignedBytes(cache.size()) + alignment, poison);
  std::ranges::copy(cache, start.begin() + static_cast<std::ptrdiff_t>(cacheOffset));
  for (size_t i = 0; i < offsets.size(); ++i)
    if (!isCache(*reference.tensors[i].spec))
      std::ranges::copy(reference.input(i), start.begin() + static_cast<std::ptrdiff_t>(offsets[i]));
  memory = std::make_unique<DeviceBuffer>(driver, start.size());
  block = std::make_unique<PackCall>(reference.row, signature, layout.capacityFor(reference.row.cached),
                                     [&](size_t i) { return memory->get() + offsets[i]; });
}

std::string DeviceProbe::call(const PackKernels &kernels, const std::string &fault) {
  const size_t bytes = block->workspaceBytes(kernels);
  const DeviceBuffer workspace(driver, bytes + alignment);
  driver.upload(memory->get(), start.data(), start.size());
  driver.fill(workspace.get(), static_cast<uint8_t>(poison), bytes + alignment);
  const std::string refused = fault == "refuse" ? "as a test wants it"
                                                : block->launch(kernels, memory->get() + cacheOffset, workspace.get(),
                                                                bytes, driver.cudaStream());
  if (!refused.empty())
    return "refused: " + refused;
  disturb(fault);
  driver.synchronize();
  after.resize(start.size());
  driver.download(after.data(), memory->get(), after.size());
  std::vector<std::byte> behind(alignment);
  driver.download(behind.data(), workspace.get() + bytes, behind.size());
  if (std::ranges::any_of(behind, [](std::byte byte) { return byte != poison; }))
    return reference.row.name() + ": memory changed behind the workspace";
  return "";
}

void DeviceProbe::disturb(const std::string &fault) {
  ++calls;
  if (fault == "crash" || fault == "hang") {
    device::Launch launch;
    launch.function = driver.load(waitSource, "wait", 0);
    // Before the first tensor lies poison.
    launch.parameters = {fault == "crash" ? 0 : memory->get()};
    driver.launch(launch);
    return;
  }
  auto flip = [&](size_t offset, size_t count, std::byte bits) {
    std::vector<std::byte> bytes(count);
    driver.synchronize();
    driver.download(bytes.data(), memory->get() + offset, count);
    for (std::byte &byte : bytes)
      byte ^= bits;
    driver.upload(memory->get() + offset, bytes.data(), count);
  };
  for (size_t i = 0; i < offsets.size(); ++i) {
    const bool isOutput = reference.tensors[i].spec->access == Access::out;
    if (fault == "wrong" && isOutput)
      flip(offsets[i], reference.tensors[i].bytes.size(), std::byte{0x80});
    else if (fault == "unrepeatable" && isOutput && calls % 2 == 0)
      flip(offsets[i], 1, std::byte{1});
    else if (fault == "outside" && isOutput)
      flip(offsets[i] + reference.tensors[i].bytes.size(), 1, std::byte{1});
  }
}

std::string DeviceProbe::difference() const {
  for (size_t i = 0; i < offsets.size(); ++i) {
    const bench::Workload::Memory &expected = reference.tensors[i];
    if (expected.spec->access == Access::in)
      continue;
    const ElementType type = expected.spec->elementType;
    const std::vector<double> found = valuesOf(type, std::span(after).subspan(offsets[i], expected.bytes.size())),
                              wanted = valuesOf(type, expected.bytes);
    Deviation deviation(type);
    for (size_t at = 0; at < wanted.size(); ++at)
      deviation.add(found[at], wanted[at]);
    if (std::string problem = deviation.problem(); !problem.empty())
      return reference.row.name() + ": " + expected.spec->name + ": " + problem;
  }
  return "";
}

bool DeviceProbe::changedOthers() const {
  std::vector<std::byte> rest = after;
  for (size_t i = 0; i < offsets.size(); ++i)
    if (reference.tensors[i].spec->access != Access::in)
      std::copy_n(start.begin() + static_cast<std::ptrdiff_t>(offsets[i]), reference.tensors[i].bytes.size(),
                  rest.begin() + static_cast<std::ptrdiff_t>(offsets[i]));
  return rest != start;
}

std::string DeviceProbe::problemWith(const PackKernels &kernels, const std::string &fault) {
  if (std::string problem = call(kernels, fault); !problem.empty())
    return problem;
  if (std::string problem = difference(); !problem.empty())
    return problem;
  if (changedOthers())
    return reference.row.name() + ": memory changed that is no output's";
  const std::vector<std::byte> first = after;
  if (std::string problem = call(kernels, fault); !problem.empty())
    return problem;
  if (first != after)
    return reference.row.name() + ": called again, it gives other bits";
  return "";
}

DeviceWorkload::DeviceWorkload(device::Driver &driver, const bench::Row &row, const PhaseSignature &signature,
                               const DeviceCache &layout, int64_t pageSize, int64_t poolBytes)
    : driver(driver) {
  // A few tokens of each request, of which the rest are copies.
  const int64_t unit = std::lcm(gpuCapacityUnit, std::max<int64_t>(pageSize, 1));
  constexpr int64_t fewTokens = 2048;
  bench::Row few = row;
  few.threads = 1;
  few.cached = (std::max(std::min(row.cached, fewTokens), row.tokens) + unit - 1) / unit * unit;
  const ReferenceCall host(few, signature);
  const int64_t capacity = layout.capacityFor(row.cached);
  setBytes = layout.bytes(row.requests, capacity);

  std::vector<size_t> offsets;
  size_t bytes = 0;
  std::vector<std::byte> image;
  for (const bench::Workload::Memory &tensor : host.tensors) {
    offsets.push_back(bytes);
    const PhaseTensor &spec = *tensor.spec;
    if (isCache(spec))
      continue;
    std::vector<std::byte> content(tensor.bytes.begin(), tensor.bytes.end());
    if (spec.name == blockTableName)
      content.resize(static_cast<size_t>(row.requests * capacity / pageSize) * sizeof(int32_t));
    if (spec.elementType == ElementType::i32)
      bench::fillIntegers(row, spec.name, capacity, /*seed=*/1,
                          {reinterpret_cast<int32_t *>(content.data()), content.size() / sizeof(int32_t)});
    image.insert(image.end(), content.begin(), content.end());
    bytes += alignedBytes(content.size());
    image.resize(bytes);
  }
  tensors = std::make_unique<DeviceBuffer>(driver, bytes);
  driver.upload(tensors->get(), image.data(), bytes);
  block = std::make_unique<PackCall>(row, signature, capacity, [&](size_t i) { return tensors->get() + offsets[i]; });

  const size_t available = driver.freeBytes() / 10 * 9;
  if (setBytes > available)
    throw std::runtime_error("the cache of " + row.name() + " takes " + std::to_string(setBytes >> 20) +
                             " MiB; expected at most " + std::to_string(available >> 20) +
                             ", nine tenths of the device's free memory");
  sets = std::max<size_t>(1, std::min(static_cast<size_t>(poolBytes), available) / setBytes);
  pool = std::make_unique<DeviceBuffer>(driver, sets * setBytes);
  const std::vector<std::byte> tile = layout.encode(host);
  const size_t all = sets * setBytes;
  for (size_t at = 0; at < all;) {
    // What is there already, as often as it takes: the first time from here.
    const size_t count = std::min(at == 0 ? tile.size() : at, all - at);
    if (at == 0)
      driver.upload(pool->get(), tile.data(), count);
    else
      driver.copy(pool->get() + at, pool->get(), count);
    at += count;
  }
  driver.synchronize();
}

double DeviceWorkload::run(const PackKernels &kernels) {
  if (const size_t needed = block->workspaceBytes(kernels); needed > workspaceSize) {
    workspace = std::make_unique<DeviceBuffer>(driver, needed);
    workspaceSize = needed;
  }
  auto replay = [&](size_t count) {
    const std::vector<double> seconds = driver.timeGraph(1, [&] {
      for (size_t i = 0; i < count; ++i)
        if (std::string refused = block->launch(kernels, pool->get() + next++ % sets * setBytes, workspace->get(),
                                                workspaceSize, driver.cudaStream());
            !refused.empty())
          throw device::Failure(refused);
    });
    return seconds.front() / static_cast<double>(count);
  };
  // Enough that a replay is long beside what starts it.
  constexpr double wanted = 2.5e-3, most = 300;
  if (launches == 0)
    launches = static_cast<size_t>(std::clamp(wanted / replay(10), 1.0, most));
  return replay(launches);
}

} // namespace tpac::autotune
