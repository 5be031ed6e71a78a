// SPDX-License-Identifier: Apache-2.0
//
// NAME.json, the manifest of a kernel pack: what it computes, for which machine, and which files belong to it.
// No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_MANIFEST_H
#define TPAC_LOWERING_EMIT_MANIFEST_H

#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/Pack.h"

#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace tpac {

/// Lower-case hexadecimal SHA-256.
std::string sha256(llvm::StringRef content);

/// Text of the manifest, with size and SHA-256 of each of `files`. An error where the variant is not JSON.
llvm::Expected<std::string> manifestText(const Pack &pack, llvm::ArrayRef<CodeTarget> targets,
                                         const std::vector<PackFile> &files);

/// Paths of the files that a manifest lists; nothing where `text` is not a manifest of a format that this tpac knows.
std::optional<std::vector<std::string>> manifestFiles(const std::string &text);

/// What programs need of a manifest that load the pack.
struct PackContent {
  /// What C functions begin with.
  std::string name;
  std::string variantJson;
  /// Names of the targets, in ascending order of levels.
  std::vector<std::string> targets;
  /// Without their splits, and each with the scratch of the phase that takes most.
  std::vector<PhaseSignature> signatures;
  /// Path of the shared library in the pack; empty where it is for GPUs alone.
  std::string library;
};

/// An error names the field that is missing or not as manifestText writes it.
llvm::Expected<PackContent> readManifest(const std::string &text);

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_MANIFEST_H
