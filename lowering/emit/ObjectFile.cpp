// SPDX-License-Identifier: Apache-2.0
//
// Drives LLVM: translation, O2 pipeline, code generation.

#include "lowering/emit/ObjectFile.h"

#include "lowering/emit/SignatureText.h"
#include "lowering/emit/levels/CpuLevelBitcode.h"

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
#include "llvm/ADT/StringSet.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/CodeGen/CodeGenTargetMachineImpl.h"
#include "llvm/CodeGen/MachineModuleInfo.h"
#include "llvm/CodeGen/Passes.h"
#include "llvm/CodeGen/TargetPassConfig.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "llvm/Transforms/IPO/GlobalDCE.h"
#include "llvm/Transforms/IPO/Internalize.h"

#include <algorithm>
#include <mutex>

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
    // For the inline assembly of CpuLevel.c.
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
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

std::vector<CodeTarget> allTargets() {
  std::vector<CodeTarget> targets;
  CodeTarget host{"host", llvm::sys::getDefaultTargetTriple(), llvm::sys::getHostCPUName().str(), {}};
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    host.features.push_back((feature.second ? "+" : "-") + feature.first().str());
  std::sort(host.features.begin(), host.features.end());
  auto hostHas = [&](llvm::StringRef feature) { return llvm::is_contained(host.features, feature); };
  host.amx = hostHas("+amx-tile") && hostHas("+amx-bf16") && tpac_request_amx();
  host.level = host.amx ? TPAC_CPU_LEVEL_AMX : TPAC_CPU_LEVEL_NONE;
  targets.push_back(std::move(host));
  const std::string x86 = tripleFor(llvm::Triple::x86_64).str();
  targets.push_back({"x86-64-v2", x86, "x86-64-v2", {}, /*amx=*/false, TPAC_CPU_LEVEL_V2});
  targets.push_back({"x86-64-v3", x86, "x86-64-v3", {}, /*amx=*/false, TPAC_CPU_LEVEL_V3});
  targets.push_back({"x86-64-v4", x86, "x86-64-v4", {}, /*amx=*/false, TPAC_CPU_LEVEL_V4});
  targets.push_back({"x86-64-amx",
                     x86,
                     "x86-64-v4",
                     {"+amx-bf16", "+amx-tile", "+avx512bf16", "+avx512fp16"},
                     /*amx=*/true,
                     TPAC_CPU_LEVEL_AMX});
  targets.push_back({"aarch64", tripleFor(llvm::Triple::aarch64).str(), "generic", {}});
  // movmatrix is of PTX 7.8, the least that LLVM writes for later chips.
  for (const char *chip : {"sm_80", "sm_86"})
    targets.push_back({chip, "nvptx64-nvidia-cuda", chip, {"+ptx78"}});
  for (const char *chip : {"sm_89", "sm_90a", "sm_100a", "sm_103a", "sm_120a"})
    targets.push_back({chip, "nvptx64-nvidia-cuda", chip, {}});
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
  // Of assembly as text: comments that name loops and spills.
  options.MCOptions.AsmVerbose = true;
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
  // Else LLVM makes memset of loops that clear a buffer, and of memset, which packs do not link, a loop over bytes.
  for (llvm::Function &function : *translated)
    if (!function.isDeclaration())
      function.addFnAttr("no-builtins");
  if (llvm::Error error = mlir::makeOptimizingTransformer(2, 0, &machine)(translated.get()))
    return std::move(error);
  return translated;
}

/// The code of `module`. Where it `hasTiles`, LLVM does not schedule it before registers are allocated: loops on AMX
/// tiles come interleaved as they are to run, with just enough live vectors, and the scheduler, which hoists loads,
/// makes LLVM spill dozens of vectors per iteration (8 % of the time of t6-medium's decode). Where there are no tiles,
/// the scheduler is worth up to 5 %.
llvm::Expected<std::string> generate(llvm::Module &module, llvm::TargetMachine &machine, llvm::CodeGenFileType type,
                                     bool hasTiles) {
  llvm::SmallString<0> code;
  llvm::raw_svector_ostream stream(code);
  // As TargetMachine::addPassesToEmitFile does it, which leaves no choice of passes.
  auto &generator = static_cast<llvm::CodeGenTargetMachineImpl &>(machine);
  llvm::legacy::PassManager passes;
  llvm::TargetPassConfig *config = generator.createPassConfig(passes);
  if (hasTiles)
    config->disablePass(&llvm::MachineSchedulerID);
  passes.add(config);
  auto *functions = new llvm::MachineModuleInfoWrapperPass(&generator);
  passes.add(functions);
  bool failed = config->addISelPasses();
  config->addMachinePasses();
  config->setInitialized();
  failed |= generator.addAsmPrinter(passes, stream, nullptr, type, functions->getMMI().getContext());
  if (failed)
    return makeError("LLVM cannot write this kind of file for " + machine.getTargetTriple().str());
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return std::string(code);
}

llvm::Expected<std::string> emitCode(mlir::ModuleOp module, const CodeTarget &target, llvm::CodeGenFileType type) {
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  auto translated = translate(module, context, **machine);
  if (!translated)
    return translated.takeError();
  return generate(**translated, **machine, type, target.amx);
}

/// `module` for `target`, as LLVM IR that may stand beside that of other targets: each function says what CPU it is
/// for, and internal ones are told apart by the target's name.
llvm::Expected<std::unique_ptr<llvm::Module>> translateLevel(mlir::ModuleOp module, llvm::LLVMContext &context,
                                                             const CodeTarget &target) {
  auto machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  auto translated = translate(module, context, **machine);
  if (!translated)
    return translated.takeError();
  const std::string features = llvm::join(target.features, ",");
  for (llvm::Function &function : **translated) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    if (!features.empty())
      function.addFnAttr("target-features", features);
    if (function.hasLocalLinkage())
      function.setName(function.getName() + levelSuffix(target));
  }
  return translated;
}

/// The functions of CpuLevel.h. Their triple may spell the same machine in another way.
llvm::Expected<std::unique_ptr<llvm::Module>> parseCpuLevel(llvm::LLVMContext &context, const llvm::Triple &triple) {
  auto module = llvm::parseBitcodeFile({cpuLevelBitcode(), "CpuLevel"}, context);
  if (module)
    (*module)->setTargetTriple(triple);
  return module;
}

/// Makes everything internal that `isExported` does not accept, and drops what is not used then.
void keepOnly(llvm::Module &module, llvm::function_ref<bool(llvm::StringRef)> isExported) {
  llvm::internalizeModule(module, [&](const llvm::GlobalValue &value) { return isExported(value.getName()); });
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::GlobalDCEPass().run(module, modules);
}

} // namespace

std::string levelSuffix(const CodeTarget &target) { return "__" + symbolName(target.name); }

static std::vector<std::string> namesOf(bool gpus) {
  std::vector<std::string> names;
  for (const CodeTarget &target : allTargets())
    if (isGpu(target) == gpus)
      names.push_back(target.name);
  return names;
}

std::vector<std::string> acceptedTargets() { return namesOf(/*gpus=*/false); }
std::vector<std::string> acceptedGpus() { return namesOf(/*gpus=*/true); }

llvm::Expected<CodeTarget> findTarget(llvm::StringRef name) {
  for (CodeTarget &target : allTargets())
    if (target.name == name)
      return std::move(target);
  return makeError("target '" + name + "' is not known; accepted: " + llvm::join(acceptedTargets(), ", ") + ", " +
                   llvm::join(acceptedGpus(), ", "));
}

llvm::Expected<std::vector<CodeTarget>> findPackTargets(llvm::ArrayRef<std::string> names) {
  if (names.empty())
    return makeError("a pack has no target; expected one or more of " + llvm::join(acceptedTargets(), ", "));
  std::vector<CodeTarget> targets;
  for (const std::string &name : names) {
    auto target = findTarget(name);
    if (!target)
      return target.takeError();
    if (names.size() > 1 && (name == "host" || target->level == TPAC_CPU_LEVEL_NONE))
      return makeError("target '" + name +
                       "' stands beside others; expected it alone, or CPU levels (x86-64-v2, x86-64-v3, ...) alone");
    if (llvm::is_contained(llvm::map_range(targets, [](const CodeTarget &other) { return other.name; }), name))
      return makeError("target '" + name + "' is given twice; expected each level once");
    targets.push_back(std::move(*target));
  }
  llvm::sort(targets, [](const CodeTarget &left, const CodeTarget &right) { return left.level < right.level; });
  return targets;
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

llvm::Expected<std::string> emitLevelsObject(mlir::ModuleOp dispatch, llvm::ArrayRef<TargetModule> levels) {
  const llvm::Triple triple(levels.front().target.triple);
  const CodeTarget anyCpu{"any", triple.str(), triple.isX86() ? "x86-64" : "generic", {}};
  llvm::LLVMContext context;
  auto whole = translateLevel(dispatch, context, anyCpu);
  if (!whole)
    return whole.takeError();
  llvm::StringSet<> exported;
  for (const llvm::GlobalValue &value : (*whole)->global_values())
    if (!value.isDeclaration() && !value.hasLocalLinkage())
      exported.insert(value.getName());

  llvm::Linker linker(**whole);
  auto add = [&](llvm::Expected<std::unique_ptr<llvm::Module>> part) {
    if (!part)
      return part.takeError();
    return linker.linkInModule(std::move(*part)) ? makeError("the levels of the pack cannot be put together")
                                                 : llvm::Error::success();
  };
  for (const TargetModule &level : levels)
    if (llvm::Error error = add(translateLevel(level.module, context, level.target)))
      return error;
  if (triple.isX86())
    if (llvm::Error error = add(parseCpuLevel(context, triple)))
      return error;
  keepOnly(**whole, [&](llvm::StringRef name) { return exported.contains(name); });

  auto machine = makeMachine(anyCpu);
  if (!machine)
    return machine.takeError();
  const bool hasTiles = llvm::any_of(levels, [](const TargetModule &level) { return level.target.amx; });
  return generate(**whole, **machine, llvm::CodeGenFileType::ObjectFile, hasTiles);
}

} // namespace tpac
