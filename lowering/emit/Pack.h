// SPDX-License-Identifier: Apache-2.0
//
// What a kernel pack is made from, besides code. No MLIR in this header.

#ifndef TPAC_LOWERING_EMIT_PACK_H
#define TPAC_LOWERING_EMIT_PACK_H

#include "lowering/phases/PhaseSignature.h"

#include <optional>
#include <string>
#include <vector>

namespace tpac {

/// Format of the manifest and the layout of a pack's directory.
inline constexpr int packFormatVersion = 1;

/// How a target computes a phase, and who chose so.
struct PhaseSchedule {
  Phase phase;
  std::string target;
  /// "heuristic": the target's default; "tuned": a tuning record's; "reference": the reference path, which has no
  /// schedules.
  std::string origin;
  /// The #tpa.schedule; empty on the reference path.
  std::string text;
  /// Tuned: the record's name and how near it was ("exact", ...).
  std::string record = {}, match = {};
};

/// A file of a pack with its content; `path` is relative to the pack's directory, with '/'.
struct PackFile {
  std::string path;
  std::string content;
};

/// What a pack holds for GPUs (lowering/GpuPack.h).
struct GpuPart {
  /// Section "gpu" of the manifest, as JSON text.
  std::string json;
  /// Cubins and PTX.
  std::vector<PackFile> files;
  /// Import and export.
  std::vector<PhaseSignature> moves;
  /// What ptxas said of each cubin, by target ("sm_90a"); no part of the pack.
  std::vector<std::pair<std::string, std::string>> assemblerLogs;
};

struct Pack {
  /// The variant's name.
  std::string name;
  /// The whole variant as JSON text, defaults spelled out.
  std::string variantJson;
  /// One per phase in the pack, in the order in which header and manifest list them.
  std::vector<PhaseSignature> signatures;
  /// Names of what its library is compiled for: one target, or CPU levels in ascending order. Empty: it has no library,
  /// and kernels for GPUs alone.
  std::vector<std::string> targets = {"host"};
  /// One per phase and target.
  std::vector<PhaseSchedule> schedules = {};
  /// What it holds for GPUs besides.
  std::optional<GpuPart> gpu = {};
};

} // namespace tpac

#endif // TPAC_LOWERING_EMIT_PACK_H
