// SPDX-License-Identifier: Apache-2.0

#include "lowering/emit/LevelDispatch.h"

#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"
#include "lowering/emit/TextTable.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;

namespace tpac {

namespace {

class DispatchBuilder {
public:
  DispatchBuilder(ModuleOp module, StringRef prefix, ArrayRef<CodeTarget> levels)
      : module(module), prefix(prefix.str()), levels(levels), builder(module.getContext()), loc(module.getLoc()) {}

  void build(ArrayRef<PhaseSignature> signatures) {
    const Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
    const std::vector<PhaseSignature> list(signatures.begin(), signatures.end());
    std::vector<std::string> texts = statusTable(prefix, list);
    const auto noLevel = static_cast<int64_t>(texts.size());
    if (hasChoice()) {
      std::vector<std::string> names;
      for (const CodeTarget &level : levels)
        names.push_back(level.name);
      texts.push_back(noLevelText(prefix, names));
      choose = LLVM::LLVMFuncOp::create(atEnd(), loc, "tpac_pack_cpu_level", LLVM::LLVMFunctionType::get(i32, {i32}));
    }
    for (const PhaseSignature &signature : signatures) {
      addForwarding(functionName(prefix, signature.phase), i32, {pointer()}, noLevel);
      if (signature.split > 0)
        addForwarding(workspaceSizeName(prefix, signature.phase), i64, {i64, i64, i64}, 0);
    }
    addStatusMessage(module, prefix, texts);
    addCpuLevel();
  }

private:
  /// Whether there is anything to find out.
  bool hasChoice() const { return levels.size() > 1 || levels.front().level != TPAC_CPU_LEVEL_NONE; }
  Type pointer() { return LLVM::LLVMPointerType::get(module.getContext()); }
  OpBuilder &atEnd() {
    builder.setInsertionPointToEnd(module.getBody());
    return builder;
  }
  Value constant(Type type, int64_t value) {
    return LLVM::ConstantOp::create(builder, loc, type, builder.getIntegerAttr(type, value));
  }

  /// The number of the chosen level.
  Value chosenLevel() {
    int64_t mask = 0;
    for (const CodeTarget &level : levels)
      mask |= int64_t(1) << level.level;
    Value levelMask = constant(builder.getI32Type(), mask);
    return LLVM::CallOp::create(builder, loc, choose, ValueRange{levelMask}).getResult();
  }

  /// `llvm.func @name`, which returns what the chosen level's function returns, or `otherwise` where there is none.
  void addForwarding(const std::string &name, Type result, ArrayRef<Type> arguments, int64_t otherwise) {
    auto type = LLVM::LLVMFunctionType::get(result, arguments);
    SmallVector<LLVM::LLVMFuncOp> callees;
    for (const CodeTarget &level : levels)
      callees.push_back(LLVM::LLVMFuncOp::create(atEnd(), loc, name + levelSuffix(level), type));
    auto function = LLVM::LLVMFuncOp::create(atEnd(), loc, name, type);
    Block *entry = function.addEntryBlock(builder);
    auto forward = [&](LLVM::LLVMFuncOp callee) {
      auto call = LLVM::CallOp::create(builder, loc, callee, entry->getArguments());
      LLVM::ReturnOp::create(builder, loc, call.getResult());
    };
    builder.setInsertionPointToEnd(entry);
    if (!hasChoice())
      return forward(callees.front());

    Region &body = function.getBody();
    SmallVector<int32_t> numbers;
    SmallVector<Block *> blocks;
    Block *none = builder.createBlock(&body, body.end());
    LLVM::ReturnOp::create(builder, loc, constant(result, otherwise));
    for (size_t index = 0; index < levels.size(); ++index) {
      numbers.push_back(levels[index].level);
      blocks.push_back(builder.createBlock(&body, body.end()));
      forward(callees[index]);
    }
    builder.setInsertionPointToEnd(entry);
    SmallVector<ValueRange> noOperands(blocks.size());
    LLVM::SwitchOp::create(builder, loc, chosenLevel(), none, ValueRange{}, numbers, blocks, noOperands);
  }

  void addCpuLevel() {
    auto function =
        LLVM::LLVMFuncOp::create(atEnd(), loc, cpuLevelName(prefix), LLVM::LLVMFunctionType::get(pointer(), {}));
    builder.setInsertionPointToEnd(function.addEntryBlock(builder));
    std::vector<std::string> texts(TPAC_CPU_LEVEL_COUNT, "none");
    for (const CodeTarget &level : levels)
      texts[level.level] = level.name;
    Value number = hasChoice() ? chosenLevel() : constant(builder.getI32Type(), TPAC_CPU_LEVEL_NONE);
    LLVM::ReturnOp::create(builder, loc, textAt(builder, module, prefix + "_cpu_level", texts, number));
  }

  ModuleOp module;
  std::string prefix;
  ArrayRef<CodeTarget> levels;
  OpBuilder builder;
  Location loc;
  LLVM::LLVMFuncOp choose;
};

} // namespace

OwningOpRef<ModuleOp> buildLevelDispatch(MLIRContext &context, StringRef symbolPrefix,
                                         ArrayRef<PhaseSignature> signatures, ArrayRef<CodeTarget> levels) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  DispatchBuilder(*module, symbolPrefix, levels).build(signatures);
  return module;
}

} // namespace tpac
