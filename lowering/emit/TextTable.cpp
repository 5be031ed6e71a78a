// SPDX-License-Identifier: Apache-2.0

#include "lowering/emit/TextTable.h"

#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;

namespace tpac {

/// All texts in one string and their offsets in a table, which needs no relocations.
Value textAt(OpBuilder &builder, ModuleOp module, StringRef name, const std::vector<std::string> &texts, Value index) {
  Location loc = module.getLoc();
  Type i8 = builder.getI8Type(), i32 = builder.getI32Type();
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());

  std::string joined;
  SmallVector<int32_t> offsets;
  for (const std::string &text : texts) {
    offsets.push_back(static_cast<int32_t>(joined.size()));
    joined += text + '\0';
  }
  LLVM::GlobalOp joinedGlobal, offsetsGlobal;
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(module.getBody());
    joinedGlobal = LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(i8, joined.size()),
                                          /*isConstant=*/true, LLVM::Linkage::Internal, (name + "_texts").str(),
                                          builder.getStringAttr(joined));
    offsetsGlobal = LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(i32, offsets.size()),
                                           /*isConstant=*/true, LLVM::Linkage::Internal, (name + "_offsets").str(),
                                           builder.getI32TensorAttr(offsets));
  }
  Value table = LLVM::AddressOfOp::create(builder, loc, offsetsGlobal);
  Value slot = LLVM::GEPOp::create(builder, loc, pointer, i32, table, ValueRange{index});
  Value offset = LLVM::LoadOp::create(builder, loc, i32, slot);
  Value base = LLVM::AddressOfOp::create(builder, loc, joinedGlobal);
  return LLVM::GEPOp::create(builder, loc, pointer, i8, base, ValueRange{offset});
}

void addStatusMessage(ModuleOp module, StringRef symbolPrefix, const std::vector<std::string> &table) {
  OpBuilder builder(module.getContext());
  builder.setInsertionPointToEnd(module.getBody());
  Location loc = module.getLoc();
  Type i32 = builder.getI32Type();
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());
  const std::string name = statusMessageName(std::string_view(symbolPrefix));

  std::vector<std::string> texts = table;
  texts.push_back(std::string(unknownStatusText()));
  auto function = LLVM::LLVMFuncOp::create(builder, loc, name, LLVM::LLVMFunctionType::get(pointer, {i32}));
  builder.setInsertionPointToEnd(function.addEntryBlock(builder));
  Value status = function.getArgument(0);
  const auto known = static_cast<int32_t>(table.size());
  Value last = LLVM::ConstantOp::create(builder, loc, i32, builder.getI32IntegerAttr(known));
  Value isKnown = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::ult, status, last);
  Value index = LLVM::SelectOp::create(builder, loc, isKnown, status, last);
  LLVM::ReturnOp::create(builder, loc, textAt(builder, module, (symbolPrefix + "_status").str(), texts, index));
}

} // namespace tpac
