// SPDX-License-Identifier: Apache-2.0

#include "runtime/cuda/CudaKernels.h"

#include "runtime/Dispatch.h"
#include "runtime/Failure.h"

#include <algorithm>
#include <cstring>

namespace tpac::runtime::cuda {

namespace {

/// 8-byte slots of a kernel's parameters.
constexpr size_t mostParameters = 192;
constexpr size_t mostKernels = 4;
/// A kernel that takes items in turn gets so many thread blocks per multiprocessor at most.
constexpr int64_t blocksPerMultiprocessor = 8;
/// Rows of results that a thread block of the merge has warps for.
constexpr int64_t warpsOfMerge = 8;

int64_t divideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }

} // namespace

// --- Loading

CudaKernels::CudaKernels(const Pack &pack, int32_t device, int64_t partTokens)
    : driver(Driver::get()), isReporting(reportsDispatch()), partTokens(partTokens) {
  if (!pack.manifest.gpu)
    refuse("the pack has no kernels for GPUs; it is for CPUs alone");
  try {
    enterContext(device);
    readTraits();
    load(pack);
  } catch (...) {
    unload();
    throw;
  }
}

CudaKernels::~CudaKernels() { unload(); }

void CudaKernels::enterContext(int32_t ordinal) {
  int count = 0;
  driver.check(driver.DeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count)
    refuse("config.device is " + std::to_string(ordinal) + "; expected one of the " + std::to_string(count) +
           " CUDA devices of this machine, counted from 0");
  driver.check(driver.DeviceGet(&device, ordinal), "cuDeviceGet");
  driver.check(driver.CtxGetCurrent(&context), "cuCtxGetCurrent");
  if (!context) {
    driver.check(driver.DevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    retainsContext = true;
    return;
  }
  Device current = 0;
  driver.check(driver.CtxGetDevice(&current), "cuCtxGetDevice");
  if (current != device)
    refuse("config.device is " + std::to_string(ordinal) + ", and the calling thread's current context is of device " +
           std::to_string(current) + "; expected the same");
}

void CudaKernels::readTraits() {
  char name[256] = {};
  driver.check(driver.DeviceGetName(name, sizeof(name), device), "cuDeviceGetName");
  auto attribute = [&](int id) {
    int value = 0;
    driver.check(driver.DeviceGetAttribute(&value, id, device), "cuDeviceGetAttribute");
    return value;
  };
  traits = {name, 10 * attribute(capabilityMajor) + attribute(capabilityMinor), attribute(multiprocessorCount),
            attribute(maxSharedBytesOptin)};
}

void CudaKernels::load(const Pack &pack) {
  const GpuPart &gpu = *pack.manifest.gpu;
  const DeviceCode code = chooseImage(gpu, traits);
  packName = pack.manifest.name;
  targetName = code.image->isCubin ? code.image->target : code.image->target + " (PTX)";
  cache = gpu.cache;

  const CurrentContext current(driver, context);
  // NUL-terminated, as the driver wants PTX.
  const std::string image = pack.files.read(code.image->file);
  char log[512] = "";
  int options[] = {jitErrorLog, jitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  const Result result = driver.ModuleLoadDataEx(&module, image.c_str(), 2, options, values);
  try {
    driver.check(result, "cuModuleLoadDataEx");
  } catch (const Failure &failure) {
    module = nullptr;
    throw Failure(failure.status, code.image->file + ": " + failure.what() + (*log ? std::string("; ") + log : ""));
  }
  for (size_t index = 0; index < phases.size(); ++index) {
    const PackManifest::Phase *known = pack.manifest.find(phaseNames[index]);
    if (!known)
      continue;
    Phase &phase = phases[index];
    phase.arguments = known->arguments;
    checkHolds(phase.arguments);
    for (const GpuPhase &plan : code.image->phases) {
      if (plan.name != phaseNames[index])
        continue;
      if (plan.kernels.size() > mostKernels)
        refuse("manifest: phase " + plan.name + " takes " + std::to_string(plan.kernels.size()) +
               " kernels; this library launches at most " + std::to_string(mostKernels));
      Way way = {plan, {}};
      for (const GpuKernel &kernel : plan.kernels) {
        size_t slots = 0;
        for (const GpuKernel::Argument &argument : kernel.arguments)
          slots += argument.kind == Parameter::tensor ? 1 + phase.arguments.tensors[argument.tensor].shape.size() : 1;
        if (slots > mostParameters)
          refuse("manifest: " + kernel.entry + " takes " + std::to_string(slots) +
                 " parameters; this library launches kernels of at most " + std::to_string(mostParameters));
        way.kernels.push_back(loadKernel(kernel));
      }
      phase.ways.push_back(std::move(way));
    }
    std::ranges::sort(phase.ways, {}, [](const Way &way) { return way.plan.queries; });
  }
  if (isReporting)
    reportDispatch("%s on %s, compute capability %d.%d: %s (%s): %s", packName.c_str(), traits.name.c_str(),
                   traits.capability / 10, traits.capability % 10, code.image->file.c_str(), code.image->target.c_str(),
                   code.reason.c_str());
}

CudaKernels::Kernel CudaKernels::loadKernel(const GpuKernel &plan) const {
  Kernel kernel = {plan, nullptr};
  const Result found = driver.ModuleGetFunction(&kernel.function, module, plan.entry.c_str());
  driver.check(found, ("cuModuleGetFunction of " + plan.entry).c_str());
  driver.check(driver.FuncSetAttribute(kernel.function, maxDynamicSharedBytes, static_cast<int>(plan.sharedBytes)),
               ("cuFuncSetAttribute of " + plan.entry).c_str());
  return kernel;
}

void CudaKernels::unload() noexcept {
  if (module) {
    try {
      const CurrentContext current(driver, context);
      (void)driver.ModuleUnload(module);
    } catch (const std::exception &) {
      // The context is gone, and the module with it.
    }
  }
  if (retainsContext)
    (void)driver.DevicePrimaryCtxRelease(device);
}

// --- Asking

const CudaKernels::Phase &CudaKernels::at(int32_t phase) const {
  const Phase &found = phases[static_cast<size_t>(phase)];
  if (found.ways.empty())
    refuse(std::string("the pack has no phase ") + phaseNames[static_cast<size_t>(phase)] + " for GPUs");
  return found;
}

/// The most tiles of query tokens, times tiles of heads, that a call has, whichever requests its tokens belong to.
int64_t CudaKernels::itemsOf(const GpuPhase &plan, int64_t tokens, int64_t batch) const {
  const int64_t ragged = std::min(tokens, batch) * (plan.tileQueries - 1);
  return std::min(tokens, (tokens + ragged) / plan.tileQueries) * plan.headTiles;
}

/// 0: parts have no fixed size.
int64_t CudaKernels::blocksOfPart(const GpuPhase &plan) const { return divideUp(partTokens, plan.blockTokens); }

/// Records in the workspace of a call that `parts` thread blocks share.
int64_t CudaKernels::recordsOf(const GpuPhase &plan, int64_t items, int64_t parts, int64_t capacity) const {
  if (partTokens == 0)
    return parts + items;
  return items * std::max<int64_t>(divideUp(capacity, blocksOfPart(plan) * plan.blockTokens), 1);
}

/// Enough for every call of at most so many tokens, requests and cached tokens, however they are divided and computed.
int64_t CudaKernels::workspaceBytes(const Phase &phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  int64_t bytes = 0;
  for (const Way &way : phase.ways)
    if (way.plan.recordBytes != 0)
      bytes = std::max(bytes, recordsOf(way.plan, itemsOf(way.plan, tokens, batch), traits.multiprocessors, capacity) *
                                  way.plan.recordBytes);
  return bytes;
}

int64_t CudaKernels::workspaceSize(int32_t phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  const Phase &asked = at(phase);
  for (const int64_t size : {tokens, batch, capacity})
    if (size < 0 || size > INT32_MAX)
      return 0;
  return workspaceBytes(asked, tokens, batch, capacity);
}

void CudaKernels::cacheLayout(tpac_cache_layout &layout) const {
  layout.is_one_piece = 1;
  layout.page_size = cache.pageSize;
  layout.capacity_unit = cache.capacityUnit;
  layout.token_bytes = cache.planes * cache.rowBytes;
  layout.planes = cache.planes;
  layout.swizzle_mask = cache.swizzleMask;
  layout.swizzle_shift = cache.swizzleShift;
}

// --- Launching

const CudaKernels::Way &CudaKernels::wayFor(const Phase &phase, int64_t tokens, int64_t batch) const {
  // Which kernel computes a request must not depend on the others.
  if (partTokens != 0)
    return phase.ways.front();
  // How the tokens are spread over the requests is known on the device alone: their mean decides.
  const int64_t queries = batch > 0 ? divideUp(tokens, batch) : 0;
  for (const Way &way : phase.ways)
    if (way.plan.queries >= queries)
      return way;
  return phase.ways.back();
}

CudaKernels::Work CudaKernels::divide(const GpuPhase &plan, const ArgumentBlock &block) const {
  if (plan.recordBytes == 0)
    return {};
  Work work;
  work.items = itemsOf(plan, block[Size::tokens], block[Size::batch]);
  const int64_t blocks = work.items * std::max<int64_t>(divideUp(block[Size::capacity], plan.blockTokens), 1);
  // One part per multiprocessor; a few less where they then begin and end with whole items of equal length; two blocks
  // for each at least.
  work.parts = traits.multiprocessors;
  if (work.items <= work.parts && work.parts % work.items * 16 <= work.parts)
    work.parts -= work.parts % work.items;
  work.parts = std::clamp<int64_t>(blocks / 2, 1, work.parts);
  work.blocksOfPart = blocksOfPart(plan);
  work.records = recordsOf(plan, work.items, work.parts, block[Size::capacity]);
  // Few parts per row are merged by one warp, many by all of a thread block; so are few rows, one of which may have
  // nearly all parts. Between them four warps leave no more thread blocks than run at once.
  constexpr int64_t fewParts = 16, fewRows = 1024, fewestRows = 256, warpsBetween = 4;
  const int64_t rows = work.items * plan.tileQueries * plan.tileHeads;
  work.warpsOfRow = warpsOfMerge;
  if (work.blocksOfPart == 0 && work.parts <= fewParts * work.items && rows > fewestRows)
    work.warpsOfRow = rows > fewRows ? 1 : warpsBetween;
  return work;
}

int64_t CudaKernels::blocksOf(const GpuKernel &kernel, const GpuPhase &plan, const ArgumentBlock &block,
                              const Work &work) const {
  const int64_t most = blocksPerMultiprocessor * traits.multiprocessors;
  switch (kernel.grid) {
  case Grid::parts:
    return work.parts;
  case Grid::rows: {
    const int64_t blocks = divideUp(work.items * plan.tileQueries * plan.tileHeads * work.warpsOfRow, warpsOfMerge);
    if (blocks > INT32_MAX)
      refuse("args.tokens is " + std::to_string(block[Size::tokens]) +
             "; expected a number whose rows of results a grid of 2^31 - 1 thread blocks holds");
    return blocks;
  }
  case Grid::tokens:
  case Grid::states:
    return std::min(block[Size::tokens], most);
  case Grid::cachedTokens:
    if (block[Size::batch] * block[Size::tokens] > INT32_MAX)
      refuse("args.batch times args.tokens is " + std::to_string(block[Size::batch] * block[Size::tokens]) +
             "; expected at most 2^31 - 1");
    return std::min(block[Size::batch] * block[Size::tokens], most);
  }
  return 0;
}

void CudaKernels::launch(int32_t phaseNumber, const void *args, void *stream) const {
  const Phase &phase = at(phaseNumber);
  ArgumentBlock block;
  block.read(phase.arguments, cache, args);
  // Nothing to compute: an empty grid is none.
  const bool hasBatch = std::ranges::find(phase.arguments.sizes, Size::batch) != phase.arguments.sizes.end();
  if (block[Size::tokens] == 0 || (hasBatch && block[Size::batch] == 0))
    return;
  const Way &way = wayFor(phase, block[Size::tokens], block[Size::batch]);
  const Work work = divide(way.plan, block);
  if (way.plan.recordBytes != 0)
    block.checkWorkspace(work.records * way.plan.recordBytes);
  std::array<int64_t, mostKernels> blocks;
  for (size_t i = 0; i < way.kernels.size(); ++i)
    blocks[i] = blocksOf(way.kernels[i].plan, way.plan, block, work);
  if (isReporting)
    report(phase, way, block, work);
  const CurrentContext current(driver, context);
  for (size_t i = 0; i < way.kernels.size(); ++i)
    launch(way.kernels[i], phase, block, work, blocks[i], stream);
}

void CudaKernels::launch(const Kernel &kernel, const Phase &phase, const ArgumentBlock &block, const Work &work,
                         int64_t blocks, Stream stream) const {
  std::array<uint64_t, mostParameters> values;
  std::array<void *, mostParameters> parameters;
  size_t count = 0;
  auto add = [&](uint64_t value) {
    values[count] = value;
    parameters[count] = &values[count];
    ++count;
  };
  auto addSize = [&](int64_t value) { add(static_cast<uint64_t>(value)); };
  for (const GpuKernel::Argument &argument : kernel.plan.arguments)
    switch (argument.kind) {
    case Parameter::tensor: {
      const ArgumentBlock::Tensor &tensor = block.tensors[argument.tensor];
      add(tensor.data);
      const size_t rank = phase.arguments.tensors[argument.tensor].shape.size();
      for (size_t i = 0; rank > 1 && i < rank; ++i)
        addSize(tensor.strides[i]);
      break;
    }
    case Parameter::cache:
      add(block.cache);
      break;
    case Parameter::workspace:
      add(block.workspace);
      break;
    case Parameter::tokens:
      addSize(block[Size::tokens]);
      break;
    case Parameter::batch:
      addSize(block[Size::batch]);
      break;
    case Parameter::capacity:
      addSize(block[Size::capacity]);
      break;
    case Parameter::parts:
      // Kernels tell the size of parts from their number by its sign.
      addSize(work.blocksOfPart != 0 ? -work.blocksOfPart : work.parts);
      break;
    case Parameter::warpsOfRow:
      addSize(work.warpsOfRow);
      break;
    }
  LaunchAttribute overlap;
  std::memset(&overlap, 0, sizeof(overlap));
  overlap.id = programmaticStreamSerialization;
  overlap.value.number = 1;
  LaunchConfiguration configuration = {
      {static_cast<unsigned>(blocks), 1, 1},          {static_cast<unsigned>(kernel.plan.threads), 1, 1},
      static_cast<unsigned>(kernel.plan.sharedBytes), stream,
      kernel.plan.overlaps ? &overlap : nullptr,      kernel.plan.overlaps ? 1U : 0U};
  const Result result = driver.LaunchKernelEx(&configuration, kernel.function, parameters.data(), nullptr);
  if (result != 0)
    driver.check(result, ("cuLaunchKernelEx of " + kernel.plan.entry).c_str());
}

void CudaKernels::report(const Phase &phase, const Way &way, const ArgumentBlock &block, const Work &work) const {
  std::string text = packName + " " + phase.arguments.name + " (" + targetName + "):";
  for (const Size size : phase.arguments.sizes)
    text += std::string(" ") + sizeName(size) + " " + std::to_string(block[size]);
  for (const Kernel &kernel : way.kernels)
    text += std::string(&kernel == &way.kernels.front() ? "; " : ", ") + kernel.plan.entry + " in " +
            std::to_string(blocksOf(kernel.plan, way.plan, block, work)) + " thread blocks";
  if (way.plan.queries != 0)
    text += "; for up to " + std::to_string(way.plan.queries) + " query tokens per request, " +
            std::to_string(way.plan.tileQueries) + " at a time";
  if (work.blocksOfPart != 0)
    text += "; parts of " + std::to_string(work.blocksOfPart * way.plan.blockTokens) + " cached tokens";
  reportDispatch("%s", text.c_str());
}

} // namespace tpac::runtime::cuda
