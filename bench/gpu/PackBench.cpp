// SPDX-License-Identifier: Apache-2.0

#include "bench/gpu/PackBench.h"

#include "bench/gpu/Rates.h"
#include "bench/measure/Statistics.h"
#include "bench/phases/Work.h"
#include "bench/phases/Workload.h"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace tpac::device {

using bench::Row;

namespace {

PackKernels open(const std::string &folder) {
  tpac_pack *opened = nullptr;
  require(tpac_pack_open(folder.c_str(), &opened));
  const std::unique_ptr<tpac_pack, decltype(&tpac_pack_close)> pack(opened, tpac_pack_close);
  return loadKernels(pack.get());
}

/// Random bytes that are small numbers as bf16, f16, f32, fp8 and i8 alike: 0x30 to 0x3f and 0xb0 to 0xbf, below 2 in
/// every type of floating-point numbers, and never NaN.
std::vector<uint64_t> randomBlock() {
  std::vector<uint64_t> block(size_t(4) << 20);
  uint64_t state = 1;
  for (uint64_t &word : block) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    word = ((state >> 7) & 0x8f8f8f8f8f8f8f8fu) | 0x3030303030303030u;
  }
  return block;
}

/// Sizes of a row's tensors.
class Shape {
public:
  Shape(const Row &row, const PhaseSignature &signature, const tpac_cache_layout &layout)
      : row(row), signature(signature), tokenBytes(layout.token_bytes) {
    const int64_t unit = layout.capacity_unit;
    capacity = (row.cached + unit - 1) / unit * unit;
    sizes = {{"tokens", row.requests * row.tokens},
             {"batch", row.requests},
             {"capacity", capacity},
             {"pages", layout.page_size != 0 ? row.requests * capacity / layout.page_size : 0},
             {std::string(listedPagesName), 0}};
  }

  size_t elementsOf(const PhaseTensor &tensor) const {
    int64_t elements = 1;
    for (const Dimension &dimension : tensor.shape)
      elements *= dimension.size + (dimension.symbol.empty() ? 0 : sizes.at(dimension.symbol) / dimension.divisor);
    return static_cast<size_t>(elements);
  }
  size_t bytesOf(const PhaseTensor &tensor) const {
    return elementsOf(tensor) * static_cast<size_t>(elementSize(tensor.elementType));
  }

  size_t cacheBytes() const {
    return row.phase == Phase::merge ? 0 : static_cast<size_t>(row.requests * capacity * tokenBytes);
  }

  double movedBytes() const {
    double bytes = 0;
    for (const PhaseTensor &tensor : signature.tensors)
      if (!isCache(tensor) && !tensor.isOptional)
        bytes += static_cast<double>(bytesOf(tensor));
    int64_t cached = row.phase == Phase::append ? row.tokens : 0;
    if (isAttention(row.phase))
      cached = row.cached - bench::firstVisible(bench::Dimensions(row.variant), row.tokens, row.cached);
    return bytes + static_cast<double>(row.requests * cached * tokenBytes);
  }

  int64_t capacity;

private:
  const Row &row;
  const PhaseSignature &signature;
  int64_t tokenBytes;
  std::map<std::string, int64_t> sizes;
};

/// Whether the tensor says where tokens are: all calls share it.
bool isAddress(const PhaseTensor &tensor) { return tensor.elementType == ElementType::i32 && !isCache(tensor); }

} // namespace

PackBench::PackBench(const std::string &folder, std::vector<PhaseSignature> itsSignatures,
                     const BenchSettings &itsSettings)
    : kernels(open(folder)), signatures(std::move(itsSignatures)), settings(itsSettings),
      // Beside it stand workspaces and tables.
      poolBytes(std::min(settings.poolBytes, driver.freeBytes() / 2) / tensorAlignment * tensorAlignment),
      pool(driver, poolBytes) {
  layout.struct_size = sizeof(layout);
  require(tpac_kernels_cache_layout(kernels.get(), &layout));
  fillWith(driver, pool.get(), poolBytes, std::as_bytes(std::span<const uint64_t>(randomBlock())));
}

double PackBench::copyRate() { return moveRates(driver, pool.get(), poolBytes, settings.repetitions).copy; }

BenchResult PackBench::measure(const Row &row) {
  const auto signature = std::ranges::find(signatures, row.phase, &PhaseSignature::phase);
  if (signature == signatures.end())
    throw std::runtime_error("the pack has no phase " + std::string(phaseName(row.phase)));
  const Shape shape(row, *signature, layout);

  // A set is one call's cache and tensors; sets stand in the pool one behind another.
  std::vector<size_t> offsets;
  std::vector<std::unique_ptr<DeviceBuffer>> addresses;
  size_t setBytes = alignedBytes(shape.cacheBytes());
  for (const PhaseTensor &tensor : signature->tensors) {
    offsets.push_back(setBytes);
    addresses.emplace_back();
    if (isCache(tensor) || tensor.isOptional)
      continue;
    if (!isAddress(tensor)) {
      setBytes += alignedBytes(shape.bytesOf(tensor));
      continue;
    }
    std::vector<int32_t> values(shape.elementsOf(tensor));
    bench::fillIntegers(row, tensor.name, shape.capacity, /*seed=*/1, values);
    addresses.back() = std::make_unique<DeviceBuffer>(driver, shape.bytesOf(tensor));
    driver.upload(addresses.back()->get(), values.data(), shape.bytesOf(tensor));
  }

  // Enough launches that starting a graph does not count, not so many that one takes long.
  constexpr double graphSeconds = 2.5e-3, launchSeconds = 5e-6, bytesPerSecond = 3e12, mostLaunches = 300;
  const double bytes = shape.movedBytes();
  const auto launches =
      static_cast<size_t>(std::clamp(graphSeconds / (launchSeconds + bytes / bytesPerSecond), 1.0, mostLaunches));
  const size_t sets = std::min(poolBytes / setBytes, launches);
  if (sets == 0)
    throw std::runtime_error(row.name() + ": " + std::to_string(setBytes >> 20) + " MiB are needed; expected at most " +
                             std::to_string(poolBytes >> 20) + " MiB");
  std::vector<PackCall> calls;
  for (size_t set = 0; set < sets; ++set)
    calls.emplace_back(row, *signature, shape.capacity, [&](size_t i) {
      return addresses[i] ? addresses[i]->get() : pool.get() + set * setBytes + offsets[i];
    });
  const size_t workspaceSize = calls.front().workspaceBytes(kernels);
  const DeviceBuffer workspace(driver, workspaceSize);

  std::vector<double> seconds = driver.timeGraph(settings.repetitions, [&] {
    for (size_t i = 0; i < launches; ++i)
      if (const std::string refused = calls[i % sets].launch(kernels, pool.get() + i % sets * setBytes, workspace.get(),
                                                             workspaceSize, driver.cudaStream());
          !refused.empty())
        throw std::runtime_error(row.name() + ": " + refused);
  });
  for (double &time : seconds)
    time /= static_cast<double>(launches);
  const auto [least, most] = std::ranges::minmax(seconds);
  return {bench::median(seconds), least, most, bytes, bytes * static_cast<double>(sets)};
}

} // namespace tpac::device
