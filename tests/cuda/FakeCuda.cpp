// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/FakeCuda.h"

#include "tests/cuda/ptx/Machine.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace tpac::runtime::cuda;
namespace ptx = tpac::ptx;

namespace {

tpac::test::FakeCuda fake = [] {
  tpac::test::FakeCuda initial;
  initial.failingCall = std::getenv("FAKE_CUDA_FAILURE");
  const char *executes = std::getenv("FAKE_CUDA_EXECUTES");
  if (executes && std::strcmp(executes, "1") == 0) {
    initial.executes = true;
    // So few that a test's tokens are enough for all.
    initial.multiprocessors = 6;
  }
  return initial;
}();

constexpr int failure = 999, invalidValue = 1, invalidPtx = 218, invalidContext = 201, illegalAddress = 700;

/// Primary contexts of the devices.
char contexts[8];
thread_local std::vector<Context> stack;

struct LoadedFunction {
  std::string name;
  const ptx::Program *program = nullptr;
  /// What a launch may have: 48 KiB unless the function's attribute says more.
  size_t sharedBytes = 48 << 10;
};
/// By module and name; a module's go with it.
std::map<std::pair<void *, std::string>, LoadedFunction> functions;

ptx::GlobalMemory memory;
/// What a kernel did wrong; nothing is launched after that.
std::string fault;
/// What was not understood of the last module that was refused.
std::string refusal;

// --- Streams, of which each is the same one: what is launched, copied or filled happens at once, or when a graph is
// replayed.

/// Milliseconds; an instruction of a warp takes so long that who times calls is content with few of them.
constexpr double timeOfLaunch = 0.01, timeOfInstruction = 1e-3;
std::atomic<double> now = 0;

struct Graph {
  std::vector<std::function<Result()>> nodes;
};
bool isCapturing = false;
Graph captured;

Result enqueue(std::function<Result()> work) {
  if (!isCapturing)
    return work();
  captured.nodes.push_back(std::move(work));
  return 0;
}

bool fails(const char *call) { return fake.failingCall && std::strcmp(fake.failingCall, call) == 0; }

Result execute(const ptx::Program &program, const ptx::LaunchShape &shape, const std::vector<uint8_t> &parameters) {
  if (!fault.empty())
    return illegalAddress;
  try {
    // Another order for each launch, so that a kernel called again shows whether it depends on it; the same orders from
    // process to process, so that what goes wrong does so again.
    static uint64_t launches = 0;
    const uint64_t instructions = ptx::execute(program, shape, parameters, memory, ++launches);
    now += timeOfInstruction * static_cast<double>(instructions) / fake.multiprocessors;
  } catch (const ptx::Fault &error) {
    fault = error.what();
    return illegalAddress;
  }
  return 0;
}

} // namespace

extern "C" {

tpac::test::FakeCuda *fake_cuda() { return &fake; }

void fake_cuda_set_current(int device) {
  stack.clear();
  if (device >= 0)
    stack.push_back(&contexts[device]);
}

Result cuInit(unsigned) { return fails("cuInit") ? failure : 0; }

Result cuGetErrorString(Result result, const char **text) {
  *text = result == illegalAddress ? fault.c_str()
          : result == invalidPtx   ? refusal.c_str()
          : result == failure      ? "as the test wants it"
                                   : "invalid";
  return 0;
}

Result cuDeviceGetCount(int *count) {
  *count = fake.devices;
  return fails("cuDeviceGetCount") ? failure : 0;
}

Result cuDeviceGet(Device *device, int ordinal) {
  *device = ordinal;
  return fails("cuDeviceGet") ? failure : 0;
}

Result cuDeviceGetName(char *name, int size, Device device) {
  std::snprintf(name, static_cast<size_t>(size), "Fake GPU %d", device);
  return fails("cuDeviceGetName") ? failure : 0;
}

Result cuDeviceGetAttribute(int *value, int attribute, Device) {
  switch (attribute) {
  case multiprocessorCount:
    *value = fake.multiprocessors;
    break;
  case capabilityMajor:
    *value = fake.capability / 10;
    break;
  case capabilityMinor:
    *value = fake.capability % 10;
    break;
  case maxSharedBytesOptin:
    *value = fake.sharedBytes;
    break;
  // Clocks of processors and memory, width of memory, bytes of L2: what tuning records tell devices apart by.
  case 13:
  case 36:
    *value = 2000000;
    break;
  case 37:
    *value = 5120;
    break;
  case 38:
    *value = 50 << 20;
    break;
  default:
    return invalidValue;
  }
  return fails("cuDeviceGetAttribute") ? failure : 0;
}

Result cuDevicePrimaryCtxRetain(Context *context, Device device) {
  if (fails("cuDevicePrimaryCtxRetain"))
    return failure;
  *context = &contexts[device];
  ++fake.retained;
  return 0;
}

Result cuDevicePrimaryCtxRelease_v2(Device) {
  --fake.retained;
  return 0;
}

Result cuCtxGetCurrent(Context *context) {
  *context = stack.empty() ? nullptr : stack.back();
  return fails("cuCtxGetCurrent") ? failure : 0;
}

Result cuCtxGetDevice(Device *device) {
  if (fails("cuCtxGetDevice"))
    return failure;
  if (stack.empty())
    return invalidContext;
  *device = static_cast<Device>(static_cast<char *>(stack.back()) - contexts);
  return 0;
}

Result cuCtxPushCurrent_v2(Context context) {
  if (fails("cuCtxPushCurrent"))
    return failure;
  stack.push_back(context);
  ++fake.pushed;
  return 0;
}

Result cuCtxPopCurrent_v2(Context *context) {
  *context = stack.back();
  stack.pop_back();
  --fake.pushed;
  return 0;
}

Result cuModuleLoadDataEx(Module *module, const void *image, unsigned count, int *options, void **values) {
  if (stack.empty())
    return invalidContext;
  if (fails("cuModuleLoadDataEx")) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == jitErrorLog)
        std::strcpy(static_cast<char *>(values[i]), "line 1: no such thing");
    return failure;
  }
  auto loaded = std::make_unique<ptx::Module>();
  const auto *text = static_cast<const char *>(image);
  if (fake.executes) {
    try {
      *loaded = ptx::load(text);
    } catch (const std::exception &error) {
      refusal = error.what();
      for (unsigned i = 0; i < count; ++i)
        if (options[i] == jitErrorLog)
          std::strncpy(static_cast<char *>(values[i]), error.what(), 200);
      return invalidPtx;
    }
    for (const ptx::Global &global : loaded->globals)
      memory.add(global.begin(), global.bytes);
  }
  std::snprintf(fake.image, sizeof(fake.image), "%s", text);
  ++fake.modules;
  *module = loaded.release();
  return 0;
}

Result cuModuleUnload(Module module) {
  if (stack.empty())
    return invalidContext;
  const std::unique_ptr<ptx::Module> loaded(static_cast<ptx::Module *>(module));
  for (const ptx::Global &global : loaded->globals)
    memory.remove(global.begin());
  std::erase_if(functions, [&](const auto &entry) { return entry.first.first == module; });
  --fake.modules;
  return 0;
}

Result cuModuleGetFunction(Function *function, Module module, const char *name) {
  if (fails("cuModuleGetFunction"))
    return failure;
  LoadedFunction found;
  found.name = name;
  const auto &programs = static_cast<const ptx::Module *>(module)->programs;
  if (fake.executes) {
    constexpr Result notFound = 500;
    auto program = programs.find(name);
    if (program == programs.end())
      return notFound;
    found.program = &program->second;
  }
  // Entries of a map stay where they are.
  *function = &functions.insert_or_assign({module, name}, found).first->second;
  return 0;
}

Result cuFuncSetAttribute(Function function, int attribute, int value) {
  if (fails("cuFuncSetAttribute"))
    return failure;
  if (attribute != maxDynamicSharedBytes || value > fake.sharedBytes)
    return invalidValue;
  static_cast<LoadedFunction *>(function)->sharedBytes = static_cast<size_t>(value);
  return 0;
}

Result cuLaunchKernelEx(const LaunchConfiguration *configuration, Function function, void **parameters, void **) {
  if (stack.empty())
    return invalidContext;
  if (fails("cuLaunchKernelEx"))
    return failure;
  const auto *loaded = static_cast<const LoadedFunction *>(function);
  if (fake.launched)
    fake.launched(loaded->name.c_str(), *configuration, parameters);
  if (!loaded->program)
    return enqueue([] {
      now += timeOfLaunch;
      return 0;
    });
  const ptx::LaunchShape shape = {configuration->grid[0], configuration->block[0], configuration->sharedBytes};
  // One dimension is what our kernels have.
  if (configuration->grid[1] != 1 || configuration->grid[2] != 1 || configuration->block[1] != 1 ||
      configuration->block[2] != 1 || shape.sharedBytes > loaded->sharedBytes ||
      shape.threads > loaded->program->mostThreads)
    return invalidValue;
  // Eight bytes each, as programs expect them.
  std::vector<uint8_t> values(loaded->program->parameters.size() * sizeof(uint64_t));
  for (size_t i = 0; i < loaded->program->parameters.size(); ++i)
    std::memcpy(&values[i * sizeof(uint64_t)], parameters[i],
                static_cast<size_t>(loaded->program->parameters[i].bytes));
  return enqueue([program = loaded->program, shape, values = std::move(values)] {
    now += timeOfLaunch;
    return execute(*program, shape, values);
  });
}

// What benchmarks, tests and the tuner take besides (bench/gpu/Driver.h): memory of the host in the place of the
// device's, and graphs.

Result cuCtxSetCurrent(Context context) {
  stack = {context};
  return 0;
}

Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = *total = size_t(1) << 30;
  return 0;
}

Result cuMemAlloc_v2(uint64_t *pointer, size_t bytes) {
  *pointer = reinterpret_cast<uint64_t>(memory.allocate(bytes));
  return fails("cuMemAlloc") || *pointer == 0 ? failure : 0;
}

Result cuMemFree_v2(uint64_t pointer) { return memory.release(reinterpret_cast<void *>(pointer)) ? 0 : invalidValue; }

Result cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  if (!memory.contains(to, bytes))
    return invalidValue;
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return 0;
}

Result cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  if (!memory.contains(from, bytes))
    return invalidValue;
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return 0;
}

Result cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream) {
  if (!memory.contains(to, bytes) || !memory.contains(from, bytes))
    return invalidValue;
  return enqueue([=] {
    now += timeOfLaunch;
    std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
    return 0;
  });
}

Result cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, Stream) {
  if (!memory.contains(to, bytes))
    return invalidValue;
  return enqueue([=] {
    std::memset(reinterpret_cast<void *>(to), byte, bytes);
    return 0;
  });
}

Result cuStreamCreate(Stream *stream, unsigned) {
  *stream = &fake;
  return 0;
}

Result cuStreamSynchronize(Stream stream) {
  if (stream && fails("cuStreamSynchronize"))
    return failure;
  return fault.empty() ? 0 : illegalAddress;
}

Result cuModuleLoadData(Module *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

Result cuStreamBeginCapture_v2(Stream, int) {
  captured.nodes.clear();
  isCapturing = true;
  return 0;
}

Result cuStreamEndCapture(Stream, void **graph) {
  isCapturing = false;
  *graph = new Graph(std::move(captured));
  captured.nodes.clear();
  return 0;
}

Result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
  *executable = new Graph(*static_cast<const Graph *>(graph));
  return 0;
}

Result cuGraphDestroy(void *graph) {
  delete static_cast<Graph *>(graph);
  return 0;
}

Result cuGraphLaunch(void *executable, Stream) {
  if (fails("cuGraphLaunch"))
    return failure;
  for (const auto &node : static_cast<const Graph *>(executable)->nodes)
    if (Result result = node(); result != 0)
      return result;
  return 0;
}

Result cuGraphExecDestroy(void *executable) { return cuGraphDestroy(executable); }

Result cuEventCreate(void **event, unsigned) {
  *event = new double(0);
  return 0;
}

Result cuEventRecord(void *event, Stream) {
  *static_cast<double *>(event) = now;
  return 0;
}
Result cuEventSynchronize(void *) { return 0; }

Result cuEventElapsedTime(float *milliseconds, void *start, void *end) {
  *milliseconds = static_cast<float>(*static_cast<const double *>(end) - *static_cast<const double *>(start));
  return 0;
}

Result cuEventDestroy_v2(void *event) {
  delete static_cast<double *>(event);
  return 0;
}
}
