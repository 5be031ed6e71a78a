// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/cpu/TestKernel.h"

#include "lowering/emit/ObjectFile.h"
#include "lowering/reference/Registration.h"
#include "lowering/tile/ElementConversion.h"
#include "lowering/tile/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string_view>

using namespace mlir;

namespace tpac::test {

namespace {

template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

constexpr std::byte untouched{0x5a};

} // namespace

// --- TestTensor
// -----------------------------------------------------------------------------------------------------------

TestTensor::TestTensor(ElementType type, std::vector<int64_t> shape) : type(type), shape(std::move(shape)) {
  bytes.assign(count() * elementSize(type) + 2 * guard, untouched);
  for (int64_t i = 0; i < count(); ++i)
    set(i, type == ElementType::i8 || type == ElementType::i32 ? 99.0 : std::nan(""));
}

TestTensor TestTensor::random(ElementType type, std::vector<int64_t> shape, double scale, unsigned seed) {
  TestTensor tensor(type, std::move(shape));
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> distribution(-scale, scale);
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.set(i, distribution(generator));
  return tensor;
}

MemoryView TestTensor::view() const {
  return MemoryView::contiguous(type, const_cast<std::byte *>(bytes.data() + guard), shape);
}

double TestTensor::at(int64_t i) const { return readElement(type, bytes.data() + guard + i * elementSize(type)); }

void TestTensor::set(int64_t i, double value) {
  writeElement(type, bytes.data() + guard + i * elementSize(type), value);
}

int64_t TestTensor::count() const {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

bool TestTensor::isIntact() const {
  for (int64_t i = 0; i < guard; ++i)
    if (bytes[i] != untouched || bytes[bytes.size() - 1 - i] != untouched)
      return false;
  return true;
}

// --- TestKernel
// -----------------------------------------------------------------------------------------------------------

struct TestKernel::Implementation {
  static constexpr const char *wrapper = "_mlir_ciface_main";

  Implementation(const std::string &program, const tpac::CpuTraits &options) : context(dialects()) {
    std::string diagnostics;
    ScopedDiagnosticHandler collect(&context, [&](Diagnostic &diagnostic) {
      diagnostics += diagnostic.str() + '\n';
      return success();
    });
    module = parseSourceString<ModuleOp>(program, &context);
    if (!module)
      throw std::runtime_error("the program does not parse:\n" + diagnostics + program);
    OwningOpRef<ModuleOp> lowered = module->clone();
    auto function = lowered->lookupSymbol<func::FuncOp>("main");
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(), UnitAttr::get(&context));
    PassManager passes(&context);
    tpa::buildCpuPipeline(passes, options);
    if (failed(passes.run(*lowered)))
      throw std::runtime_error("the program cannot be lowered:\n" + diagnostics + program);
    if (auto bytes = lowered->lookupSymbol(wrapper)->getAttrOfType<IntegerAttr>("tpac.scratch"))
      scratchBytes = bytes.getInt();
    std::string object = take(emitObject(*lowered, take(findTarget("host"))));
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    jit = take(llvm::orc::LLJITBuilder().create());
    if (llvm::Error error = jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "kernel")))
      throw std::runtime_error(llvm::toString(std::move(error)));
    entry = take(jit->lookup(wrapper)).toPtr<void *>();
  }

  static DialectRegistry dialects() {
    DialectRegistry registry;
    tpa::registerReferenceDialects(registry);
    tpa::registerCpuDialects(registry);
    return registry;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  void *entry = nullptr;
  /// What the kernel takes as its last argument: memory for large tiles; 0: no such argument.
  int64_t scratchBytes = 0;
};

TestKernel::TestKernel(const std::string &program, const tpac::CpuTraits &options)
    : implementation(std::make_unique<Implementation>(program, options)) {}

TestKernel::~TestKernel() = default;

void TestKernel::run(const std::vector<MemoryView> &memory, const std::vector<int64_t> &indices) const {
  // Descriptors: allocated and aligned pointer, offset, sizes, strides.
  std::vector<std::vector<intptr_t>> descriptors;
  std::vector<intptr_t> arguments;
  for (const MemoryView &view : memory) {
    auto address = reinterpret_cast<intptr_t>(view.data);
    std::vector<intptr_t> descriptor = {address, address, 0};
    descriptor.insert(descriptor.end(), view.shape.begin(), view.shape.end());
    descriptor.insert(descriptor.end(), view.strides.begin(), view.strides.end());
    descriptors.push_back(std::move(descriptor));
  }
  for (auto &descriptor : descriptors)
    arguments.push_back(reinterpret_cast<intptr_t>(descriptor.data()));
  arguments.insert(arguments.end(), indices.begin(), indices.end());
  // NaN, whatever the type.
  constexpr size_t alignment = 64;
  std::vector<std::byte> scratch(static_cast<size_t>(implementation->scratchBytes) + alignment, std::byte{0xff});
  if (implementation->scratchBytes != 0) {
    auto address = reinterpret_cast<intptr_t>(scratch.data());
    arguments.push_back((address + alignment - 1) / alignment * alignment);
  }
  // Pointers and indices are passed alike, and a callee takes no notice of more arguments than it has.
  if (arguments.size() > 14)
    throw std::runtime_error("more arguments than a test kernel may have");
  arguments.resize(14);
  auto a = arguments.data();
  using I = intptr_t;
  reinterpret_cast<void (*)(I, I, I, I, I, I, I, I, I, I, I, I, I, I)>(implementation->entry)(
      a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13]);
}

void TestKernel::interpret(const std::vector<MemoryView> &memory, const std::vector<int64_t> &indices,
                           bool rounded) const {
  std::vector<InterpreterArgument> arguments(memory.begin(), memory.end());
  arguments.insert(arguments.end(), indices.begin(), indices.end());
  if (llvm::Error error = tpac::interpret(*implementation->module, "main", arguments,
                                          rounded ? Arithmetic::rounded : Arithmetic::exact))
    throw std::runtime_error(llvm::toString(std::move(error)));
}

bool isQuick() {
  const char *effort = std::getenv("TPAC_TEST_EFFORT");
  return effort && std::string_view(effort) == "quick";
}

std::span<const tpac::CpuTraits> testedOptions() {
  static const std::vector<tpac::CpuTraits> all = [] {
    std::vector<tpac::CpuTraits> options = {{16, 32}, {8, 16}, {4, 16}};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
      options.insert(options.begin(), {16, 32, /*amx=*/false, /*avx512=*/true});
#endif
    return options;
  }();
  return std::span(all).first(isQuick() ? 1 : all.size());
}

} // namespace tpac::test
