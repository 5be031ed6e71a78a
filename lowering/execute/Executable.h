// SPDX-License-Identifier: Apache-2.0
//
// Compiles a variant's phases in this process (ORC) and hands out their C entry points. No MLIR in this header.

#ifndef TPAC_LOWERING_EXECUTE_EXECUTABLE_H
#define TPAC_LOWERING_EXECUTE_EXECUTABLE_H

#include "lowering/phases/CodePath.h"
#include "lowering/phases/PhaseCall.h"
#include "lowering/phases/PhaseSignature.h"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace tpac {

/// What callers of a phase's code must know that follows from how it is computed, not from the variant: how its caches
/// are stored, PhaseSignature::split and PhaseSignature::scratch.
struct CodeMemory {
  CacheStorage storage;
  int64_t split = 0;
  int64_t scratch = 0;
};

/// One phase compiled for a machine that need not be this one.
struct CompiledPhase {
  Phase phase;
  CodeMemory memory;
  /// A relocatable object file.
  std::string object;
};

class Executable {
public:
  /// Compiles `phases` of the variant given as JSON text for `target` ("host", or another that this machine can run),
  /// along `path`; `project` always goes along the reference path. Caches are in pages of `pageSize` tokens (0: none),
  /// V's token caches in blocks of `valueBlock` tokens, or as the target's kernels like them best. Throws
  /// std::runtime_error with the diagnostics.
  static std::unique_ptr<Executable> compile(const std::string &variantJson, std::span<const Phase> phases,
                                             CodePath path = CodePath::fused, const std::string &target = "host",
                                             std::optional<int64_t> valueBlock = std::nullopt, int64_t pageSize = 0);
  /// Compiles one phase for `target` by `schedule`, the text of a #tpa.schedule ("#tpa.schedule<tokens = 32, ...>"),
  /// which also says how caches are stored. Throws std::runtime_error with the diagnostics, where it is not legal too.
  static std::unique_ptr<Executable> compileScheduled(const std::string &variantJson, Phase phase,
                                                      const std::string &schedule, const std::string &target = "host");
  /// The first half of it: needs no machine that runs `target`.
  static CompiledPhase compileObject(const std::string &variantJson, Phase phase, const std::string &schedule,
                                     const std::string &target);
  /// The second half. Throws std::runtime_error where this machine does not run `target`, or the object is none of the
  /// phase.
  static std::unique_ptr<Executable> load(const std::string &variantJson, const CompiledPhase &compiled,
                                          const std::string &target);
  ~Executable();

  /// A hash of the code: of two of the same variant, equal only where the machine executes the same.
  const std::string &codeHash() const;
  const PhaseSignature &signature(Phase phase) const;
  PhaseFunction function(Phase phase) const;
  /// Bytes of the workspace with which `phase` splits its caches (PhaseCall::setWorkspace); 0 where it splits none.
  int64_t workspaceSize(Phase phase, int64_t tokens, int64_t batch, int64_t capacity) const;
  /// The text of a status that `function(phase)` returned.
  std::string statusMessage(Phase phase, int32_t status) const;

private:
  struct Implementation;
  explicit Executable(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation;
};

} // namespace tpac

#endif // TPAC_LOWERING_EXECUTE_EXECUTABLE_H
