// SPDX-License-Identifier: Apache-2.0
//
// An NVIDIA GPU: matrix products are cuBLAS's, of bf16 with sums in f32; what is between them is transformer.nv.cpp's.

#include "examples/t6/engine/Machine.h"
#include "examples/t6/engine/cuda/Libraries.h"

#include <map>
#include <stdexcept>

namespace t6 {

namespace {

using cuda::Address;

/// PTX of transformer.nv.cpp, with a 0 at its end.
constexpr char transformerCode[] = {
#embed "transformer.ptx"
    , 0};

// Names of cuda.h and cublas_v2.h.
constexpr unsigned streamNonBlocking = 1;
constexpr int captureRelaxed = 2;
constexpr int notTransposed = 0, transposed = 1;
constexpr int computeF32 = 68, defaultAlgorithm = -1;
constexpr int cublasTypeOf(Type type) { return type == Type::f32 ? 0 : 14; }

constexpr size_t cublasWorkspaceBytes = size_t{32} << 20;
constexpr unsigned warp = 32, blockThreads = 256;

void *pointerOf(Address address) { return reinterpret_cast<void *>(address); }
Address addressOf(const void *pointer) { return reinterpret_cast<Address>(pointer); }

/// The context, while something of it lives; all threads that call use it in turn.
class Context {
public:
  Context(const cuda::Libraries &libraries, int number) : libraries(libraries) {
    libraries.checkDriver(libraries.cuInit(0), "cuInit");
    libraries.checkDriver(libraries.cuDeviceGet(&device, number), "cuDeviceGet");
    libraries.checkDriver(libraries.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    libraries.checkDriver(libraries.cuCtxSetCurrent(context), "cuCtxSetCurrent");
  }
  ~Context() { libraries.cuDevicePrimaryCtxRelease_v2(device); }
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  int device = 0;

private:
  const cuda::Libraries &libraries;
  void *context = nullptr;
};

/// Blocks of memory by size. They are given to later work of the same stream, so that nothing waits.
class Blocks {
public:
  explicit Blocks(const cuda::Libraries &libraries) : libraries(libraries) {}
  ~Blocks() {
    for (auto &[bytes, address] : free)
      libraries.cuMemFree_v2(address);
  }
  Blocks(const Blocks &) = delete;
  Blocks &operator=(const Blocks &) = delete;

  Address take(size_t bytes) {
    if (auto found = free.find(bytes); found != free.end()) {
      const Address address = found->second;
      free.erase(found);
      return address;
    }
    Address address = 0;
    libraries.checkDriver(libraries.cuMemAlloc_v2(&address, bytes), "cuMemAlloc");
    return address;
  }
  void give(size_t bytes, Address address) { free.emplace(bytes, address); }
  void giveAllTo(Blocks &other) { other.free.merge(free); }

private:
  const cuda::Libraries &libraries;
  std::multimap<size_t, Address> free;
};

class CudaMachine final : public Machine {
public:
  CudaMachine(int number, const std::string &cublas)
      : libraries(cublas), number(number), context(libraries, number), blocks(std::make_shared<Blocks>(libraries)) {
    char text[256] = {};
    driver(libraries.cuDeviceGetName(text, sizeof(text) - 1, context.device), "cuDeviceGetName");
    name = text;
    driver(libraries.cuStreamCreate(&queue, streamNonBlocking), "cuStreamCreate");
    driver(libraries.cuModuleLoadData(&module, transformerCode), "cuModuleLoadData");
    for (auto [function, symbol] :
         {std::pair{&gatherKernel, "gather"}, {&normaliseKernel, "normalise"}, {&gateKernel, "gate"}})
      driver(libraries.cuModuleGetFunction(function, module, symbol), "cuModuleGetFunction");
    products(libraries.cublasCreate_v2(&handle), "cublasCreate");
    products(libraries.cublasSetStream_v2(handle, queue), "cublasSetStream");
    // Its own memory would be allocated within what is recorded.
    workspace = allocate(cublasWorkspaceBytes);
    products(libraries.cublasSetWorkspace_v2(handle, workspace.get(), cublasWorkspaceBytes), "cublasSetWorkspace");
  }
  ~CudaMachine() override {
    libraries.cuStreamSynchronize(queue);
    libraries.cublasDestroy_v2(handle);
    libraries.cuModuleUnload(module);
    libraries.cuStreamDestroy_v2(queue);
  }

  tpac_kernels_config kernelsConfig() const override { return {sizeof(tpac_kernels_config), TPAC_CUDA, number, 0}; }
  const tpac_executor *executor() const override { return nullptr; }
  void *stream() const override { return queue; }
  std::string description() const override { return name; }
  Type operandType() const override { return Type::bf16; }

  Memory allocate(int64_t bytes) override {
    // Few sizes, so that blocks are found again.
    constexpr size_t step = 256;
    const size_t size = (static_cast<size_t>(bytes) + step) / step * step;
    const std::shared_ptr<Blocks> from = blocks;
    return {pointerOf(from->take(size)), [from, size](void *memory) { from->give(size, addressOf(memory)); }};
  }
  void upload(const void *from, int64_t bytes, void *to) override {
    if (bytes > 0)
      driver(libraries.cuMemcpyHtoDAsync_v2(addressOf(to), from, static_cast<size_t>(bytes), queue), "cuMemcpyHtoD");
  }
  void download(const void *from, int64_t bytes, void *to) override {
    driver(libraries.cuMemcpyDtoHAsync_v2(to, addressOf(from), static_cast<size_t>(bytes), queue), "cuMemcpyDtoH");
    driver(libraries.cuStreamSynchronize(queue), "cuStreamSynchronize");
  }

  Tensor gather(const Tensor &table, const Memory &numbers, int64_t count) override {
    Tensor result = tensor(count, table.width, Type::f32);
    launch(gatherKernel, count, blockThreads, table.data.get(), numbers.get(), result.data.get(),
           static_cast<int>(table.width));
    return result;
  }
  Tensor normalise(const Tensor &x) override {
    Tensor result = tensor(x.rows, x.width, Type::bf16);
    launch(normaliseKernel, x.rows, warp, x.data.get(), result.data.get(), static_cast<int>(x.width));
    return result;
  }
  Tensor gate(const Tensor &gate, const Tensor &up) override {
    Tensor result = tensor(gate.rows, gate.width, Type::bf16);
    const int64_t count = gate.elements();
    launch(gateKernel, (count + blockThreads - 1) / blockThreads, blockThreads, gate.data.get(), up.data.get(),
           result.data.get(), count);
    return result;
  }

  using Machine::project;
  void project(const Tensor &x, const Tensor &weight, Tensor &y, bool adds) override {
    if (x.type != Type::bf16)
      throw std::runtime_error("matrix products on a GPU: found an operand of f32, expected bf16; the pack's storage "
                               "must be bf16");
    // cuBLAS thinks in columns: the rows of y are columns of its transpose, weight * x.
    const float one = 1, beta = adds ? 1 : 0;
    const int outputs = static_cast<int>(weight.rows), inputs = static_cast<int>(weight.width);
    products(libraries.cublasGemmEx(handle, transposed, notTransposed, outputs, static_cast<int>(x.rows), inputs, &one,
                                    weight.data.get(), cublasTypeOf(weight.type), inputs, x.data.get(),
                                    cublasTypeOf(x.type), inputs, &beta, y.data.get(), cublasTypeOf(y.type), outputs,
                                    computeF32, defaultAlgorithm),
             "cublasGemmEx");
  }

  Recording record(const std::function<void()> &work) override {
    struct Graph {
      explicit Graph(CudaMachine &machine) : machine(machine), usual(machine.blocks) {}
      ~Graph() {
        if (executable)
          machine.libraries.cuGraphExecDestroy(executable);
        own->giveAllTo(*usual);
      }
      CudaMachine &machine;
      std::shared_ptr<Blocks> usual;
      /// What is repeated has its memory for itself.
      std::shared_ptr<Blocks> own = std::make_shared<Blocks>(machine.libraries);
      void *executable = nullptr;
    };
    auto graph = std::make_shared<Graph>(*this);
    void *recorded = nullptr;
    driver(libraries.cuStreamBeginCapture_v2(queue, captureRelaxed), "cuStreamBeginCapture");
    blocks = graph->own;
    try {
      work();
    } catch (...) {
      blocks = graph->usual;
      libraries.cuStreamEndCapture(queue, &recorded);
      if (recorded)
        libraries.cuGraphDestroy(recorded);
      throw;
    }
    blocks = graph->usual;
    driver(libraries.cuStreamEndCapture(queue, &recorded), "cuStreamEndCapture");
    const int result = libraries.cuGraphInstantiateWithFlags(&graph->executable, recorded, 0);
    libraries.cuGraphDestroy(recorded);
    driver(result, "cuGraphInstantiate");
    return {graph, graph->executable};
  }
  void repeat(const Recording &recording) override {
    driver(libraries.cuGraphLaunch(recording.get(), queue), "cuGraphLaunch");
  }

private:
  void driver(int result, const char *call) const { libraries.checkDriver(result, call); }
  void products(int result, const char *call) const { libraries.checkCublas(result, call); }

  template <typename... Arguments> void launch(void *kernel, int64_t grid, unsigned threads, Arguments... arguments) {
    void *parameters[] = {&arguments...};
    driver(libraries.cuLaunchKernel(kernel, static_cast<unsigned>(grid), 1, 1, threads, 1, 1, 0, queue, parameters,
                                    nullptr),
           "cuLaunchKernel");
  }

  cuda::Libraries libraries;
  int number;
  Context context;
  std::shared_ptr<Blocks> blocks;
  Memory workspace;
  std::string name;
  void *queue = nullptr, *module = nullptr, *handle = nullptr;
  void *gatherKernel = nullptr, *normaliseKernel = nullptr, *gateKernel = nullptr;
};

} // namespace

std::unique_ptr<Machine> makeCudaMachine(int device, const std::string &cublas) {
  return std::make_unique<CudaMachine>(device, cublas);
}

} // namespace t6
