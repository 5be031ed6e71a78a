// SPDX-License-Identifier: Apache-2.0

#include "lowering/execute/Executable.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <stdexcept>

using namespace mlir;

namespace {

/// The value of `expected`, or a std::runtime_error with its message.
template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

void check(llvm::Error error) {
  if (error)
    throw std::runtime_error(llvm::toString(std::move(error)));
}

} // namespace

struct tpac::Executable::Implementation {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<PhaseSignature> signatures;
  std::vector<PhaseFunction> functions;
  const char *(*statusMessage)(int32_t) = nullptr;

  size_t indexOf(Phase phase) const {
    for (size_t i = 0; i < signatures.size(); ++i)
      if (signatures[i].phase == phase)
        return i;
    throw std::invalid_argument("phase '" + std::string(phaseName(phase)) + "' was not compiled");
  }
};

tpac::Executable::Executable(std::unique_ptr<Implementation> implementation)
    : implementation(std::move(implementation)) {}

tpac::Executable::~Executable() = default;

std::unique_ptr<tpac::Executable> tpac::Executable::compile(const std::string &variantJson,
                                                            std::span<const Phase> phases) {
  DialectRegistry registry;
  registerCompilerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  tpa::VariantAttr variant = take(tpa::readVariant(variantJson, "variant", context));

  auto result = std::make_unique<Implementation>();
  for (Phase phase : phases)
    result->signatures.push_back(getPhaseSignature(variant, phase));
  std::string prefix = symbolName(std::string_view(variant.getName().getValue()));
  OwningOpRef<ModuleOp> module = take(lowerPhases(variant, {phases.data(), phases.size()}, Stage::target));
  if (failed(addCInterface(*module, prefix, result->signatures)))
    throw std::runtime_error("the C interface of '" + prefix + "' could not be made");
  std::string object = take(emitObject(*module, take(findTarget("host"))));

  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  result->jit = take(llvm::orc::LLJITBuilder().create());
  check(result->jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, prefix)));
  for (Phase phase : phases)
    result->functions.push_back(take(result->jit->lookup(functionName(prefix, phase))).toPtr<PhaseFunction>());
  result->statusMessage = take(result->jit->lookup(prefix + "_status_message")).toPtr<const char *(*)(int32_t)>();
  return std::unique_ptr<Executable>(new Executable(std::move(result)));
}

const tpac::PhaseSignature &tpac::Executable::signature(Phase phase) const {
  return implementation->signatures[implementation->indexOf(phase)];
}

tpac::PhaseFunction tpac::Executable::function(Phase phase) const {
  return implementation->functions[implementation->indexOf(phase)];
}

std::string tpac::Executable::statusMessage(int32_t status) const { return implementation->statusMessage(status); }
