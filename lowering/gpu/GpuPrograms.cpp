// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/GpuPrograms.h"

#include "lowering/gpu/CacheLayout.h"
#include "lowering/phases/BuildPhases.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

llvm::Expected<OwningOpRef<ModuleOp>> tpac::buildGpuPrograms(tpa::VariantAttr variant,
                                                             ArrayRef<ScheduledPhase> phases) {
  auto programs = buildPrograms(variant, phases);
  if (!programs)
    return programs.takeError();
  OwningOpRef<ModuleOp> module = std::move(*programs);
  GpuCacheLayout layout = gpuCacheLayout(variant);
  Builder b(variant.getContext());
  auto cache = b.getDictionaryAttr({b.getNamedAttr("planes", b.getI64IntegerAttr(layout.planes)),
                                    b.getNamedAttr("row_bytes", b.getI64IntegerAttr(layout.rowBytes))});
  for (const ScheduledPhase &scheduled : phases) {
    PhaseSignature signature = getPhaseSignature(variant, scheduled.phase);
    for (const char *suffix : {"_part_item", "_parts_item"}) {
      auto function = module->lookupSymbol<func::FuncOp>(std::string(phaseName(scheduled.phase)) + suffix);
      function->setAttr("tpac.schedule", scheduled.schedule);
      function->setAttr("tpac.cache", cache);
      for (auto [i, tensor] : llvm::enumerate(signature.tensors)) {
        function.setArgAttr(i, "tpac.name", b.getStringAttr(tensor.name));
        if (const GpuCacheLayout::Segment *segment = layout.find(tensor.name))
          function.setArgAttr(i, "tpac.cached", b.getDenseI64ArrayAttr({segment->offset, segment->pitch}));
      }
    }
  }
  return module;
}
