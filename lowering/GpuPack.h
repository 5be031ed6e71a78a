// SPDX-License-Identifier: Apache-2.0
//
// What a pack holds for GPUs: kernels of all phases, and the manifest's section that says how to launch them
// (docs/packs.md).

#ifndef TPAC_LOWERING_GPUPACK_H
#define TPAC_LOWERING_GPUPACK_H

#include "dialect/TPADialect.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/Pack.h"
#include "lowering/tile/BuildPrograms.h"

#include "llvm/ADT/ArrayRef.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <optional>

namespace tpac {

/// A schedule that somebody chose, and who.
struct GpuChoice {
  mlir::tpa::ScheduleAttr schedule;
  /// The tuning record's name and how near it was ("exact", ...); empty where it is the default.
  std::string record, match;
};

struct GpuPackOptions {
  /// Tokens per page of the cache; 0: no pages.
  int64_t pageSize = 0;
  /// Path of ptxas; empty: images are PTX.
  std::string ptxas;
  /// The schedule of decode or prefill for calls of up to so many query tokens per request; nothing, or no function:
  /// the default.
  std::function<std::optional<GpuChoice>(const CodeTarget &target, Phase phase, int64_t queries)> choose = nullptr;
};

/// Kernels of `variant` for each of `targets` (files gpu/NAME.TARGET.cubin, or .ptx without ptxas), and for other GPUs
/// from compute capability 8.0 on as PTX of a schedule that fits into the shared memory of any of them (gpu/NAME.ptx);
/// that one is left out where there is no such schedule. An error where a target has none.
llvm::Expected<GpuPart> buildGpuPart(mlir::tpa::VariantAttr variant, llvm::ArrayRef<CodeTarget> targets,
                                     const GpuPackOptions &options);

/// Kernels of decode or prefill by one schedule, for calls of up to `queries` query tokens per request: what a tuner
/// compares.
llvm::Expected<GpuPart> buildGpuPhase(mlir::tpa::VariantAttr variant, const CodeTarget &target,
                                      const ScheduledPhase &scheduled, int64_t queries, const GpuPackOptions &options);

/// How a GPU's cache of `variant` lies in memory, as manifests say it (docs/packs.md).
nlohmann::ordered_json gpuLayoutJson(mlir::tpa::VariantAttr variant, int64_t pageSize);

} // namespace tpac

#endif // TPAC_LOWERING_GPUPACK_H
