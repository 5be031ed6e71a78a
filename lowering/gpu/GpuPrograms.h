// SPDX-License-Identifier: Apache-2.0
//
// Tile programs with what the GPU's passes must know of schedule and cache, as attributes.

#ifndef TPAC_LOWERING_GPU_GPUPROGRAMS_H
#define TPAC_LOWERING_GPU_GPUPROGRAMS_H

#include "lowering/tile/BuildPrograms.h"

namespace tpac {

/// Tile programs of phases, annotated for buildGpuPipeline; with append come `@import_item` and `@export_item`, which
/// move tokens between the cache and plain tensors. Schedules must pass checkGpuSchedule.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> buildGpuPrograms(mlir::tpa::VariantAttr variant,
                                                                   llvm::ArrayRef<ScheduledPhase> phases);

} // namespace tpac

#endif // TPAC_LOWERING_GPU_GPUPROGRAMS_H
