// SPDX-License-Identifier: Apache-2.0
//
// Drives LLVM: translation, O2 pipeline, code generation.

#include "lowering/emit/ObjectFile.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#include <algorithm>
#include <mutex>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tpac {

namespace {

llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
}

const llvm::Target *lookUp(const llvm::Triple &triple) {
  initializeTargets();
  std::string ignored;
  return llvm::TargetRegistry::lookupTarget(triple, ignored);
}

/// This machine's triple where it has that architecture, else a generic Linux one.
llvm::Triple tripleFor(llvm::Triple::ArchType architecture) {
  llvm::Triple host(llvm::sys::getDefaultTargetTriple());
  if (host.getArch() == architecture)
    return host;
  return llvm::Triple(llvm::Triple::getArchTypeName(architecture) + "-unknown-linux-gnu");
}

/// Whether this process may use AMX tiles: Linux wants to be asked once, and threads inherit the answer.
bool mayUseTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
  return granted;
#else
  return false;
#endif
}

std::vector<CodeTarget> allTargets() {
  std::vector<CodeTarget> targets;
  CodeTarget host{"host", llvm::sys::getDefaultTargetTriple(), llvm::sys::getHostCPUName().str(), {}};
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    host.features.push_back((feature.second ? "+" : "-") + feature.first().str());
  std::sort(host.features.begin(), host.features.end());
  auto hostHas = [&](llvm::StringRef feature) { return llvm::is_contained(host.features, feature); };
  host.amx = hostHas("+amx-tile") && hostHas("+amx-bf16") && mayUseTiles();
  targets.push_back(std::move(host));
  for (const char *level : {"x86-64-v2", "x86-64-v3", "x86-64-v4"})
    targets.push_back({level, tripleFor(llvm::Triple::x86_64).str(), level, {}});
  targets.push_back({"x86-64-amx",
                     tripleFor(llvm::Triple::x86_64).str(),
                     "x86-64-v4",
                     {"+amx-bf16", "+amx-tile", "+avx512bf16", "+avx512fp16"},
                     /*amx=*/true});
  targets.push_back({"aarch64", tripleFor(llvm::Triple::aarch64).str(), "generic", {}});
  std::erase_if(targets, [](const CodeTarget &target) { return !lookUp(llvm::Triple(target.triple)); });
  return targets;
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>> makeMachine(const CodeTarget &target) {
  llvm::Triple triple(target.triple);
  const llvm::Target *found = lookUp(triple);
  if (!found)
    return makeError("target '" + target.name + "': this LLVM generates no code for " + target.triple);
  llvm::TargetOptions options;
  options.FunctionSections = true;
  std::unique_ptr<llvm::TargetMachine> machine(
      found->createTargetMachine(triple, target.cpu, llvm::join(target.features, ","), options, llvm::Reloc::PIC_));
  if (!machine)
    return makeError("target '" + target.name + "': LLVM has no target machine for " + target.triple);
  return machine;
}

llvm::Expected<std::unique_ptr<llvm::Module>> translate(mlir::ModuleOp module, llvm::LLVMContext &context,
                                                        llvm::TargetMachine &machine) {
  mlir::MLIRContext *mlirContext = module.getContext();
  mlir::registerBuiltinDialectTranslation(*mlirContext);
  mlir::registerLLVMDialectTranslation(*mlirContext);

  std::string diagnostics;
  mlir::ScopedDiagnosticHandler handler(mlirContext, [&](mlir::Diagnostic &diagnostic) {
    diagnostics += "\n" + diagnostic.str();
    return mlir::success();
  });
  // Known before the translation: it decides the alignment of loads and stores.
  mlir::OwningOpRef<mlir::ModuleOp> copy = module.clone();
  auto setAttribute = [&](llvm::StringRef name, const std::string &value) {
    (*copy)->setAttr(name, mlir::StringAttr::get(mlirContext, value));
  };
  setAttribute(mlir::LLVM::LLVMDialect::getDataLayoutAttrName(), machine.createDataLayout().getStringRepresentation());
  setAttribute(mlir::LLVM::LLVMDialect::getTargetTripleAttrName(), machine.getTargetTriple().str());
  std::unique_ptr<llvm::Module> translated = mlir::translateModuleToLLVMIR(*copy, context, "tpac");
  if (!translated)
    return makeError("the module cannot be translated to LLVM IR:" + diagnostics);
  translated->setPICLevel(llvm::PICLevel::BigPIC);
  if (llvm::Error error = mlir::makeOptimizingTransformer(2, 0, &machine)(translated.get()))
    return std::move(error);
  return translated;
}

llvm::Expected<std::string> emitCode(mlir::ModuleOp module, const CodeTarget &target, llvm::CodeGenFileType type) {
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  auto translated = translate(module, context, **machine);
  if (!translated)
    return translated.takeError();
  llvm::SmallString<0> code;
  llvm::raw_svector_ostream stream(code);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr, type))
    return makeError("target '" + target.name + "': LLVM cannot write this kind of file");
  passes.run(**translated);
  return std::string(code);
}

} // namespace

std::vector<std::string> acceptedTargets() {
  std::vector<std::string> names;
  for (const CodeTarget &target : allTargets())
    names.push_back(target.name);
  return names;
}

llvm::Expected<CodeTarget> findTarget(llvm::StringRef name) {
  for (CodeTarget &target : allTargets())
    if (target.name == name)
      return std::move(target);
  return makeError("target '" + name + "' is not known; accepted: " + llvm::join(acceptedTargets(), ", "));
}

llvm::Expected<std::string> emitLlvmIr(mlir::ModuleOp llvmDialectModule, const CodeTarget &target) {
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  auto translated = translate(llvmDialectModule, context, **machine);
  if (!translated)
    return translated.takeError();
  std::string text;
  llvm::raw_string_ostream stream(text);
  (*translated)->print(stream, nullptr);
  return text;
}

llvm::Expected<std::string> emitAssembly(mlir::ModuleOp llvmDialectModule, const CodeTarget &target) {
  return emitCode(llvmDialectModule, target, llvm::CodeGenFileType::AssemblyFile);
}

llvm::Expected<std::string> emitObject(mlir::ModuleOp llvmDialectModule, const CodeTarget &target) {
  return emitCode(llvmDialectModule, target, llvm::CodeGenFileType::ObjectFile);
}

} // namespace tpac
