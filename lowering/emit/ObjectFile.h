// SPDX-License-Identifier: Apache-2.0
//
// From a module of the LLVM dialect to machine code in memory. Files and directories are PackWriter's business.

#ifndef TPAC_LOWERING_EMIT_OBJECTFILE_H
#define TPAC_LOWERING_EMIT_OBJECTFILE_H

#include "lowering/emit/levels/CpuLevel.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace tpac {

/// What code is generated for.
struct CodeTarget {
  /// As the user names it: "host", "x86-64-v3", ...
  std::string name;
  std::string triple;
  std::string cpu;
  /// "+avx2", "-avx512f": what differs from the CPU's own features, sorted. Of `host`: every feature, as detected.
  std::vector<std::string> features;
  /// Whether it has AMX tiles with bf16 products.
  bool amx = false;
  /// What a pack makes sure of before it runs this code: the level's instructions, and the kernel's permission for AMX.
  /// TPAC_CPU_LEVEL_NONE: nothing.
  tpac_cpu_level level = TPAC_CPU_LEVEL_NONE;
};

/// Whether code for `target` is kernels of an NVIDIA GPU, whose assembly is PTX.
inline bool isGpu(const CodeTarget &target) { return llvm::StringRef(target.triple).starts_with("nvptx"); }

/// The targets of packs: `host` (the CPU of this machine), `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, `x86-64-amx` (v4 with
/// AMX-BF16, as from Sapphire Rapids on), `aarch64`, as far as this LLVM has them.
std::vector<std::string> acceptedTargets();
/// The GPUs: `sm_80`, `sm_86`, `sm_89`, `sm_90a`, `sm_100a`, `sm_103a`, `sm_120a`.
std::vector<std::string> acceptedGpus();

/// The target of that name; an error that lists the accepted names where there is none.
llvm::Expected<CodeTarget> findTarget(llvm::StringRef name);

/// The targets of one pack, in ascending order of their levels. An error where there is none, a name is not known, or
/// several are given and they are not all different CPU levels.
llvm::Expected<std::vector<CodeTarget>> findPackTargets(llvm::ArrayRef<std::string> names);

/// These translate `llvmDialectModule` (which is not changed) to LLVM IR, set the target and optimise with the O2
/// pipeline; position independent. Errors carry MLIR's diagnostics.
/// LLVM IR as text.
llvm::Expected<std::string> emitLlvmIr(mlir::ModuleOp llvmDialectModule, const CodeTarget &target);
/// Assembly as text.
llvm::Expected<std::string> emitAssembly(mlir::ModuleOp llvmDialectModule, const CodeTarget &target);
/// The bytes of a relocatable object file.
llvm::Expected<std::string> emitObject(mlir::ModuleOp llvmDialectModule, const CodeTarget &target);

/// What stands behind the names of functions that exist once per level: "__x86_64_v3".
std::string levelSuffix(const CodeTarget &target);

/// A module and what it is compiled for.
struct TargetModule {
  mlir::ModuleOp module;
  CodeTarget target;
};
/// The bytes of one relocatable object file of a pack: each of `levels` for its own target, `dispatch`
/// (LevelDispatch.h) and, for x86-64, what levels/CpuLevel.h declares for every CPU. It exports what `dispatch`
/// exports, nothing else.
llvm::Expected<std::string> emitLevelsObject(mlir::ModuleOp dispatch, llvm::ArrayRef<TargetModule> levels);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_OBJECTFILE_H
