// SPDX-License-Identifier: Apache-2.0

#include "lowering/gpu/KernelFrame.h"

#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

LogicalResult KernelFrame::readAttributes() {
  schedule = item->getAttrOfType<ScheduleAttr>(scheduleName);
  auto layout = item->getAttrOfType<DictionaryAttr>(cacheName);
  if (!schedule || !layout)
    return item.emitOpError() << "expected the attributes " << scheduleName << " and " << cacheName;
  for (auto [i, type] : llvm::enumerate(item.getArgumentTypes()))
    if (isa<MemRefType>(type))
      memories = i + 1;
  tensors = memories;
  for (auto [name, value] :
       {std::pair("row_bytes", &plan.rowBytes), std::pair("planes", &plan.planes),
        std::pair("key_features", &keyFeatures), std::pair("scores", &scores), std::pair("head_factors", &hasHeads)}) {
    auto field = layout.getAs<IntegerAttr>(name);
    if (!field)
      return item.emitOpError() << cacheName << ": expected an integer " << name << ", found none";
    *value = field.getInt();
  }
  if (auto field = layout.getAs<IntegerAttr>("window"))
    window = field.getInt();
  plan.pageSize = schedule.getPageSize();
  return success();
}

SmallVector<Value> KernelFrame::create(const std::string &name, int64_t threads, TypeRange own) {
  auto module = item->getParentOfType<ModuleOp>();
  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), globalSpace);
  SmallVector<Type> types;
  bool hasCache = item->getAttr(itemsName) != b.getStringAttr("rows");
  for (size_t i = 0; i < tensors; ++i) {
    if (isCached(i))
      continue;
    types.push_back(pointer);
    int64_t rank = cast<MemRefType>(item.getArgumentTypes()[i]).getRank();
    types.append(rank > 1 ? rank : 0, b.getI64Type());
  }
  if (hasCache)
    types.push_back(pointer);
  llvm::append_range(types, own);
  b.setInsertionPointToEnd(module.getBody());
  kernel =
      LLVM::LLVMFuncOp::create(b, name, LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), types));
  kernel.setCConv(LLVM::CConv::PTX_Kernel);
  kernel->setAttr("tpac.threads", b.getI64IntegerAttr(threads));
  // exp2 and the like flush denormals; so does the rest, which saves instructions around them.
  std::string threadsText = std::to_string(threads);
  kernel.setPassthroughAttr(
      b.getArrayAttr({b.getStrArrayAttr({"denormal-fp-math-f32", "preserve-sign,preserve-sign"}),
                      b.getStrArrayAttr({"nvvm.maxntid", threadsText}), b.getStrArrayAttr({"nvvm.minctasm", "1"})}));
  Block *entry = kernel.addEntryBlock(b);
  auto next = entry->args_begin();
  for (size_t i = 0; i < tensors; ++i) {
    Tensor &tensor = parameters.emplace_back();
    if (isCached(i))
      continue;
    tensor.pointer = *next++;
    int64_t rank = cast<MemRefType>(item.getArgumentTypes()[i]).getRank();
    for (int64_t dimension = 0; rank > 1 && dimension < rank; ++dimension)
      tensor.strides.push_back(*next++);
  }
  if (hasCache)
    cache = *next++;
  b.setInsertionPointToStart(entry);
  LLVM::ReturnOp::create(b, ValueRange());
  b.setInsertionPointToStart(entry);
  plan.threads = threads;
  Value shared = sharedMemory();
  emitter.emplace(b, entry, plan, shared);
  return SmallVector<Value>(next, entry->args_end());
}

void KernelFrame::bindTensors(bool isFresh) {
  for (size_t i = 0; i < tensors; ++i) {
    Memory memory;
    memory.pointer = parameters[i].pointer;
    memory.strides = parameters[i].strides;
    for (Value &stride : memory.strides)
      if (isFresh)
        stride = emitter->isa.fresh(stride);
    if (auto cached = item.getArgAttrOfType<DenseI64ArrayAttr>(i, cachedName)) {
      memory.kind = Memory::Kind::cached;
      memory.segment = {cached[0], cached[1]};
    }
    emitter->bind(item.getArgument(i), memory);
  }
}

Value KernelFrame::argumentOf(StringRef name) {
  for (size_t i = 0; i < tensors; ++i)
    if (auto own = item.getArgAttrOfType<StringAttr>(i, tensorName); own && own.getValue() == name)
      return item.getArgument(i);
  llvm_unreachable("the item has no such tensor");
}

Value KernelFrame::readInt(StringRef name, Value index) {
  Value base = parameters[cast<BlockArgument>(argumentOf(name)).getArgNumber()].pointer;
  Value pointer = LLVM::GEPOp::create(b, base.getType(), b.getI32Type(), base, ArrayRef<LLVM::GEPArg>{index});
  return emitter->isa.load(b.getI32Type(), pointer, 4, /*invariant=*/true);
}

Value KernelFrame::sharedMemory() {
  auto module = item->getParentOfType<ModuleOp>();
  auto global = module.lookupSymbol<LLVM::GlobalOp>(sharedMemoryName);
  if (!global) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    global = LLVM::GlobalOp::create(b, type, /*isConstant=*/false, LLVM::Linkage::External, sharedMemoryName,
                                    Attribute(), /*alignment=*/1024, sharedSpace);
  }
  return LLVM::AddressOfOp::create(b, global);
}
