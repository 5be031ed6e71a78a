// SPDX-License-Identifier: Apache-2.0

#include "lowering/execute/Executable.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/Manifest.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/emit/Take.h"
#include "lowering/phases/BuildPhases.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <stdexcept>

using namespace mlir;

namespace {

void check(llvm::Error error) {
  if (error)
    throw std::runtime_error(llvm::toString(std::move(error)));
}

DialectRegistry compilerDialects() {
  DialectRegistry registry;
  tpac::registerCompilerDialects(registry);
  return registry;
}

/// The target of that name, one that this machine runs. Also asks the kernel for tiles, once for the process.
tpac::CodeTarget runnableTarget(const std::string &name) {
  tpac::CodeTarget target = take(tpac::findTarget(name));
  if (target.level != TPAC_CPU_LEVEL_NONE &&
      tpac_best_cpu_level(1u << target.level, target.level) == TPAC_CPU_LEVEL_NONE)
    throw std::runtime_error("target '" + name + "': this CPU or operating system does not run it");
  return target;
}

std::string prefixOf(tpa::VariantAttr variant) {
  return tpac::symbolName(std::string_view(variant.getName().getValue()));
}

} // namespace

struct tpac::Executable::Implementation {
  /// A phase as compiled.
  struct Entry {
    PhaseSignature signature;
    PhaseFunction function;
    const char *(*statusMessage)(int32_t);
    /// nullptr where the phase never splits its cache.
    int64_t (*workspaceSize)(int64_t tokens, int64_t batch, int64_t capacity);
  };

  Implementation() {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    jit = take(llvm::orc::LLJITBuilder().create());
  }

  /// Compiles `phases` along `path` into one object, whose symbols begin with `prefix`.
  void add(tpa::VariantAttr variant, ArrayRef<Phase> phases, CodePath path, const CodeTarget &target,
           CacheStorage storage, const std::string &prefix) {
    if (!phases.empty())
      add(variant, phases, take(lowerPhases(variant, phases, Stage::target, path, target, storage)), target, storage,
          prefix);
  }

  /// Compiles `module`, which holds `phases` at the last stage.
  void add(tpa::VariantAttr variant, ArrayRef<Phase> phases, OwningOpRef<ModuleOp> module, const CodeTarget &target,
           CacheStorage storage, const std::string &prefix) {
    std::vector<PhaseSignature> signatures;
    for (Phase phase : phases)
      signatures.push_back(getPhaseSignature(variant, phase, storage));
    const std::string object = objectOf(*module, target, signatures, prefix);
    load(object, getCompiledSignatures(*module, signatures), prefix);
  }

  /// The machine code of `module`, which gets its C interface.
  static std::string objectOf(ModuleOp module, const CodeTarget &target, ArrayRef<PhaseSignature> signatures,
                              const std::string &prefix) {
    if (failed(addCInterface(module, prefix, signatures)))
      throw std::runtime_error("the C interface of '" + prefix + "' could not be made");
    return take(emitObject(module, target));
  }

  void load(const std::string &object, std::vector<PhaseSignature> signatures, const std::string &prefix) {
    codeHash += sha256(object);
    check(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, prefix)));
    auto message = take(jit->lookup(prefix + "_status_message")).toPtr<const char *(*)(int32_t)>();
    for (PhaseSignature &signature : signatures) {
      auto function = take(jit->lookup(functionName(prefix, signature.phase))).toPtr<PhaseFunction>();
      decltype(Entry::workspaceSize) workspaceSize = nullptr;
      if (signature.split > 0)
        workspaceSize = take(jit->lookup(workspaceSizeName(prefix, signature.phase)))
                            .toPtr<int64_t (*)(int64_t, int64_t, int64_t)>();
      entries.push_back({std::move(signature), function, message, workspaceSize});
    }
  }

  const Entry &of(Phase phase) const {
    for (const Entry &entry : entries)
      if (entry.signature.phase == phase)
        return entry;
    throw std::invalid_argument("phase '" + std::string(phaseName(phase)) + "' was not compiled");
  }

  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<Entry> entries;
  std::string codeHash;
};

tpac::Executable::Executable(std::unique_ptr<Implementation> implementation)
    : implementation(std::move(implementation)) {}

tpac::Executable::~Executable() = default;

std::unique_ptr<tpac::Executable> tpac::Executable::compile(const std::string &variantJson,
                                                            std::span<const Phase> phases, CodePath path,
                                                            const std::string &target,
                                                            std::optional<int64_t> valueBlock, int64_t pageSize) {
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  tpa::VariantAttr variant = take(tpa::readVariant(variantJson, "variant", context));
  CodeTarget codeTarget = runnableTarget(target);
  auto result = std::make_unique<Implementation>();
  SmallVector<Phase> ofPath, ofReference;
  for (Phase phase : phases)
    (path == CodePath::fused && phase != Phase::project ? ofPath : ofReference).push_back(phase);
  std::string prefix = prefixOf(variant);
  CacheStorage storage = {valueBlock.value_or(defaultValueBlock(variant, path, codeTarget, pageSize)), pageSize};
  result->add(variant, ofPath, path, codeTarget, storage, prefix);
  // `project` has no cache.
  result->add(variant, ofReference, CodePath::reference, codeTarget,
              path == CodePath::reference ? storage : CacheStorage(), prefix + "_reference");
  return std::unique_ptr<Executable>(new Executable(std::move(result)));
}

std::unique_ptr<tpac::Executable> tpac::Executable::compileScheduled(const std::string &variantJson, Phase phase,
                                                                     const std::string &schedule,
                                                                     const std::string &target) {
  runnableTarget(target);
  return load(variantJson, compileObject(variantJson, phase, schedule, target), target);
}

tpac::CompiledPhase tpac::Executable::compileObject(const std::string &variantJson, Phase phase,
                                                    const std::string &schedule, const std::string &target) {
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  tpa::VariantAttr variant = take(tpa::readVariant(variantJson, "variant", context));
  CodeTarget codeTarget = take(findTarget(target));
  tpa::ScheduleAttr attribute = take(parseSchedule(schedule, context));
  auto module = take(lowerScheduled(variant, ScheduledPhase{phase, attribute}, codeTarget));
  const CacheStorage storage = storageOf(attribute);
  const PhaseSignature signature = getPhaseSignature(variant, phase, storage);
  std::string object = Implementation::objectOf(*module, codeTarget, signature, prefixOf(variant));
  const PhaseSignature found = getCompiledSignatures(*module, signature).front();
  return {phase, {storage, found.split, found.scratch}, std::move(object)};
}

std::unique_ptr<tpac::Executable> tpac::Executable::load(const std::string &variantJson, const CompiledPhase &compiled,
                                                         const std::string &target) {
  runnableTarget(target);
  MLIRContext context(compilerDialects(), MLIRContext::Threading::DISABLED);
  tpa::VariantAttr variant = take(tpa::readVariant(variantJson, "variant", context));
  PhaseSignature signature = getPhaseSignature(variant, compiled.phase, compiled.memory.storage);
  signature.split = compiled.memory.split;
  signature.scratch = compiled.memory.scratch;
  auto result = std::make_unique<Implementation>();
  result->load(compiled.object, {std::move(signature)}, prefixOf(variant));
  return std::unique_ptr<Executable>(new Executable(std::move(result)));
}

const std::string &tpac::Executable::codeHash() const { return implementation->codeHash; }

const tpac::PhaseSignature &tpac::Executable::signature(Phase phase) const {
  return implementation->of(phase).signature;
}

tpac::PhaseFunction tpac::Executable::function(Phase phase) const { return implementation->of(phase).function; }

int64_t tpac::Executable::workspaceSize(Phase phase, int64_t tokens, int64_t batch, int64_t capacity) const {
  auto function = implementation->of(phase).workspaceSize;
  return function ? function(tokens, batch, capacity) : 0;
}

std::string tpac::Executable::statusMessage(Phase phase, int32_t status) const {
  return implementation->of(phase).statusMessage(status);
}
