// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/GpuPrograms.h"

#include "lowering/gpu/CacheLayout.h"
#include "lowering/gpu/GpuSchedule.h"
#include "lowering/phases/BuildPhases.h"
#include "lowering/tile/ProgramBuilder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace mlir::tpa;

namespace {

using tpac::GpuCacheLayout;
using tpac::Phase;

DictionaryAttr attributeOf(Builder &b, VariantAttr variant, const GpuCacheLayout &layout) {
  auto entry = [&](StringRef name, int64_t value) { return b.getNamedAttr(name, b.getI64IntegerAttr(value)); };
  SmallVector<NamedAttribute> entries = {entry("planes", layout.planes), entry("row_bytes", layout.rowBytes),
                                         entry("key_features", variant.getKeyFeatures()),
                                         entry("scores", tpac::gpuScores(variant)),
                                         entry("head_factors", tpac::gpuCachesHeads(variant))};
  if (std::optional<int64_t> window = variant.getWindow())
    entries.push_back(entry("window", *window));
  return b.getDictionaryAttr(entries);
}

/// What the passes must know of an item: its schedule, the cache, and where each tensor is.
void annotate(func::FuncOp function, VariantAttr variant, ScheduleAttr schedule, const GpuCacheLayout &layout,
              ArrayRef<std::string> names, StringRef items) {
  Builder b(function.getContext());
  function->setAttr("tpac.schedule", schedule);
  function->setAttr("tpac.cache", attributeOf(b, variant, layout));
  if (!items.empty())
    function->setAttr("tpac.items", b.getStringAttr(items));
  for (auto [i, name] : llvm::enumerate(names)) {
    function.setArgAttr(i, "tpac.name", b.getStringAttr(name));
    if (const GpuCacheLayout::Segment *segment = layout.find(name))
      function.setArgAttr(i, "tpac.cached", b.getDenseI64ArrayAttr({segment->offset, segment->pitch}));
  }
}

/// [batch, tokens, ..], whether the cached tensor has pages or not.
MemRefType plainType(MemRefType cached) {
  SmallVector<int64_t> shape(cached.getShape());
  shape[1] = ShapedType::kDynamic;
  return MemRefType::get(shape, cached.getElementType(), cached.getLayout(), cached.getMemorySpace());
}

/// `@import_item`, `@export_item`: one token of a request from plain tensors, which have the shapes and types of the
/// cached ones, into the cache, or back. `append` has the cached tensors' types.
void buildMove(ModuleOp module, VariantAttr variant, func::FuncOp append, const tpac::PhaseSignature &signature,
               ScheduleAttr schedule, const GpuCacheLayout &layout, bool isImport) {
  OpBuilder b(module.getContext());
  Location loc = b.getUnknownLoc();
  b.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types;
  SmallVector<std::string> names;
  for (bool plain : {true, false})
    for (auto [tensor, type] : llvm::zip(signature.tensors, append.getArgumentTypes()))
      if (layout.find(tensor.name)) {
        types.push_back(plain ? plainType(cast<MemRefType>(type)) : type);
        names.push_back(plain ? tpac::plainName(tensor.name) : tensor.name);
      }
  for (auto [tensor, type] : llvm::zip(signature.tensors, append.getArgumentTypes()))
    if (tensor.name == "lengths" || tpac::saysPages(tensor.name)) {
      types.push_back(type);
      names.push_back(tensor.name);
    }
  types.append(2, b.getIndexType());
  auto function = func::FuncOp::create(b, loc, isImport ? "import_item" : "export_item", b.getFunctionType(types, {}));
  function.setPrivate();
  Block *entry = function.addEntryBlock();
  std::map<std::string, Value> memory;
  for (auto [name, argument] : llvm::zip(names, entry->getArguments()))
    memory[name] = argument;
  b.setInsertionPointToStart(entry);
  tile::ProgramBuilder p(b, loc, b.getF32Type(), memory);
  Value request = entry->getArgument(names.size()), token = entry->getArgument(names.size() + 1);
  Value row = p.cacheRow(request);
  for (const GpuCacheLayout::Segment &segment : layout.segments) {
    auto type = cast<MemRefType>(memory[segment.tensor].getType());
    tile::Axes axes = {{"n", 1}};
    SmallVector<tile::Along> inPlain = {{request}, {token, "n"}};
    constexpr StringLiteral trailing[] = {"r", "d"};
    for (int64_t i = 2; i < type.getRank(); ++i) {
      axes.emplace_back(trailing[i - 2], type.getDimSize(i));
      inPlain.push_back({p.index(0), trailing[i - 2]});
    }
    SmallVector<tile::Along> inCache(inPlain);
    inCache.front() = {row};
    std::string plain = tpac::plainName(segment.tensor);
    std::optional<tile::ProgramBuilder::Pages> pages;
    if (schedule.getPageSize() != 0)
      pages = {tpac::blockTableName, /*run=*/1};
    if (isImport)
      p.store(p.load(plain, inPlain, axes), segment.tensor, inCache, pages);
    else
      p.store(p.load(segment.tensor, inCache, axes, pages), plain, inPlain);
  }
  func::ReturnOp::create(b, loc);
  annotate(function, variant, schedule, layout, names, "cached_tokens");
}

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> tpac::buildGpuPrograms(tpa::VariantAttr variant,
                                                             ArrayRef<ScheduledPhase> phases) {
  auto programs = buildPrograms(variant, phases);
  if (!programs)
    return programs.takeError();
  OwningOpRef<ModuleOp> module = std::move(*programs);
  GpuCacheLayout layout = gpuCacheLayout(variant);
  for (const ScheduledPhase &scheduled : phases) {
    PhaseSignature signature = getPhaseSignature(variant, scheduled.phase, storageOf(scheduled.schedule));
    SmallVector<std::string> names;
    for (const PhaseTensor &tensor : signature.tensors)
      names.push_back(tensor.name);
    std::string name(phaseName(scheduled.phase));
    auto itemOf = [&](StringRef suffix) { return module->lookupSymbol<func::FuncOp>(name + suffix.str()); };
    switch (scheduled.phase) {
    case Phase::decode:
    case Phase::prefill:
      for (const char *suffix : {"_part_item", "_parts_item"})
        annotate(itemOf(suffix), variant, scheduled.schedule, layout, names, "");
      break;
    case Phase::append:
      annotate(itemOf("_item"), variant, scheduled.schedule, layout, names, "new_tokens");
      for (bool isImport : {true, false})
        buildMove(*module, variant, itemOf("_item"), signature, scheduled.schedule, layout, isImport);
      break;
    case Phase::merge:
      annotate(itemOf("_item"), variant, scheduled.schedule, layout, names, "rows");
      break;
    case Phase::project:
    case Phase::importCache:
    case Phase::exportCache:
      llvm_unreachable("no phase that has a schedule");
    }
  }
  return module;
}
