// SPDX-License-Identifier: Apache-2.0
//
// Writes the C entry points in the LLVM dialect: argument checks, loops over token_start and lengths, memref
// descriptors, the call. What is checked, and its texts, stand in StatusChecks.cpp.

#include "lowering/emit/CInterface.h"

#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace tpac {

namespace {

/// Builds the body of one PREFIX_PHASE function. The insertion point always stands at the end of the block in which
/// all checks so far have passed.
class EntryBuilder {
public:
  EntryBuilder(ModuleOp module, const PhaseSignature &signature, const std::vector<StatusCheck> &checks)
      : module(module), builder(module.getContext()), loc(module.getLoc()), signature(signature), checks(checks) {}

  void build(StringRef name, LLVM::LLVMFuncOp phaseFunction) {
    builder.setInsertionPointToEnd(module.getBody());
    auto pointer = LLVM::LLVMPointerType::get(module.getContext());
    function =
        LLVM::LLVMFuncOp::create(builder, loc, name, LLVM::LLVMFunctionType::get(builder.getI32Type(), {pointer}));
    Block *entry = function.addEntryBlock(builder);
    args = entry->getArgument(0);
    exit = builder.createBlock(&function.getBody());
    exit->addArgument(builder.getI32Type(), loc);
    LLVM::ReturnOp::create(builder, loc, exit->getArgument(0));
    builder.setInsertionPointToEnd(entry);

    for (const StatusCheck &check : checks)
      emitCheck(check);

    SmallVector<Value> operands;
    for (size_t index = 0; index < signature.tensors.size(); ++index) {
      operands.append({data[index], data[index], constant(0)});
      llvm::append_range(operands, shapes[index]);
      llvm::append_range(operands, strides[index]);
    }
    LLVM::CallOp::create(builder, loc, phaseFunction, operands);
    LLVM::BrOp::create(builder, loc, ValueRange{status(0)}, exit);
  }

private:
  Value constant(int64_t value) {
    return LLVM::ConstantOp::create(builder, loc, builder.getI64Type(), builder.getI64IntegerAttr(value));
  }
  Value status(int32_t value) {
    return LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(value));
  }
  Value compare(LLVM::ICmpPredicate predicate, Value left, Value right) {
    return LLVM::ICmpOp::create(builder, loc, predicate, left, right);
  }
  Value isNull(Value pointerValue) {
    Value null = LLVM::ZeroOp::create(builder, loc, pointerValue.getType());
    return compare(LLVM::ICmpPredicate::eq, pointerValue, null);
  }

  /// Element `index` of an array of `type` at `base`.
  Value loadElement(Type type, Value base, Value index) {
    Value address = LLVM::GEPOp::create(builder, loc, base.getType(), type, base, ValueRange{index});
    return LLVM::LoadOp::create(builder, loc, type, address);
  }
  /// Word `index` of the argument block.
  Value loadWord(Type type, size_t index) { return loadElement(type, args, constant(static_cast<int64_t>(index))); }
  /// Element `index` of the i32 vector `tensor`, as i64.
  Value loadInt(size_t tensor, Value index) {
    Value offset = LLVM::MulOp::create(builder, loc, index, strides[tensor][0]);
    Value element = loadElement(builder.getI32Type(), data[tensor], offset);
    return LLVM::SExtOp::create(builder, loc, builder.getI64Type(), element);
  }

  Block *appendBlock(TypeRange arguments = {}) {
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Location> locations(arguments.size(), loc);
    return builder.createBlock(exit, arguments, locations);
  }

  /// Returns `failureStatus` from the function where `failed`, else goes on.
  void failIf(Value failed, int32_t failureStatus) {
    Block *next = appendBlock();
    LLVM::CondBrOp::create(builder, loc, failed, exit, ValueRange{status(failureStatus)}, next, ValueRange{});
    builder.setInsertionPointToEnd(next);
  }

  /// for b in 0 .. batch: carried = body(b, carried). Returns the last `carried`.
  Value forEachRequest(Value initial, llvm::function_ref<Value(Value, Value)> body) {
    Type i64 = builder.getI64Type();
    Block *header = appendBlock({i64, i64});
    Block *inside = appendBlock();
    Block *after = appendBlock();
    LLVM::BrOp::create(builder, loc, ValueRange{constant(0), initial}, header);
    builder.setInsertionPointToEnd(header);
    Value request = header->getArgument(0), carried = header->getArgument(1);
    Value more = compare(LLVM::ICmpPredicate::slt, request, sizes[sizeIndex(signature, "batch")]);
    LLVM::CondBrOp::create(builder, loc, more, inside, ValueRange{}, after, ValueRange{});
    builder.setInsertionPointToEnd(inside);
    Value next = body(request, carried);
    Value nextRequest = LLVM::AddOp::create(builder, loc, request, constant(1));
    LLVM::BrOp::create(builder, loc, ValueRange{nextRequest, next}, header);
    builder.setInsertionPointToEnd(after);
    return carried;
  }

  void computeShape(const PhaseTensor &tensor) {
    SmallVector<Value> shape;
    for (const Dimension &dimension : tensor.shape) {
      Value extent = constant(dimension.size);
      if (!dimension.symbol.empty())
        extent = LLVM::AddOp::create(builder, loc, sizes[sizeIndex(signature, dimension.symbol)], extent);
      shape.push_back(extent);
    }
    shapes.push_back(shape);
  }

  /// Appends the strides of tensor `index`: those given, or row-major ones where the pointer is NULL.
  void loadStrides(size_t index) {
    auto pointer = LLVM::LLVMPointerType::get(module.getContext());
    const size_t rank = shapes[index].size();
    SmallVector<Value> contiguous(rank);
    Value running = constant(1);
    for (size_t dimension = rank; dimension-- > 0;) {
      contiguous[dimension] = running;
      if (dimension > 0)
        running = LLVM::MulOp::create(builder, loc, running, shapes[index][dimension]);
    }
    Value given = loadWord(pointer, firstTensorWord() + 2 * index + 1);
    Block *load = appendBlock();
    Block *join = appendBlock(SmallVector<Type>(rank, builder.getI64Type()));
    LLVM::CondBrOp::create(builder, loc, isNull(given), join, contiguous, load, ValueRange{});
    builder.setInsertionPointToEnd(load);
    SmallVector<Value> loaded;
    for (size_t dimension = 0; dimension < rank; ++dimension)
      loaded.push_back(loadElement(builder.getI64Type(), given, constant(static_cast<int64_t>(dimension))));
    LLVM::BrOp::create(builder, loc, loaded, join);
    builder.setInsertionPointToEnd(join);
    strides.push_back(SmallVector<Value>(join->getArguments()));
  }

  void emitCheck(const StatusCheck &check) {
    using Predicate = LLVM::ICmpPredicate;
    auto pointer = LLVM::LLVMPointerType::get(module.getContext());

    switch (check.kind) {
    case CheckKind::argsNull:
      return failIf(isNull(args), check.status);
    case CheckKind::structSize: {
      Value expected = constant(static_cast<int64_t>(8 * argumentWords(signature)));
      return failIf(compare(Predicate::slt, loadWord(builder.getI64Type(), 0), expected), check.status);
    }
    case CheckKind::sizeRange: {
      Value size = loadWord(builder.getI64Type(), 1 + check.index);
      sizes.push_back(size);
      // Unsigned, so that negative sizes are above the bound too.
      return failIf(compare(Predicate::ugt, size, constant(largestSize)), check.status);
    }
    case CheckKind::dataNull: {
      computeShape(signature.tensors[check.index]);
      data.push_back(loadWord(pointer, firstTensorWord() + 2 * check.index));
      Value failed = isNull(data.back());
      for (Value extent : shapes[check.index])
        failed = LLVM::AndOp::create(builder, loc, failed, compare(Predicate::ne, extent, constant(0)));
      return failIf(failed, check.status);
    }
    case CheckKind::dataAlignment: {
      Value address = LLVM::PtrToIntOp::create(builder, loc, builder.getI64Type(), data[check.index]);
      Value mask = constant(elementSize(signature.tensors[check.index].elementType) - 1);
      Value rest = LLVM::AndOp::create(builder, loc, address, mask);
      return failIf(compare(Predicate::ne, rest, constant(0)), check.status);
    }
    case CheckKind::strideNegative: {
      loadStrides(check.index);
      Value failed = LLVM::ConstantOp::create(builder, loc, builder.getI1Type(), builder.getBoolAttr(false));
      for (Value stride : strides[check.index])
        failed = LLVM::OrOp::create(builder, loc, failed, compare(Predicate::slt, stride, constant(0)));
      return failIf(failed, check.status);
    }
    case CheckKind::tokenStartNegative:
      firstTokenStart = loadInt(check.index, constant(0));
      return failIf(compare(Predicate::slt, firstTokenStart, constant(0)), check.status);
    case CheckKind::tokenStartOrder:
      lastTokenStart = forEachRequest(firstTokenStart, [&](Value request, Value previous) {
        Value next = loadInt(check.index, LLVM::AddOp::create(builder, loc, request, constant(1)));
        failIf(compare(Predicate::slt, next, previous), check.status);
        return next;
      });
      return;
    case CheckKind::tokenStartLast:
      return failIf(compare(Predicate::sgt, lastTokenStart, sizes[sizeIndex(signature, "tokens")]), check.status);
    case CheckKind::lengthRange:
      forEachRequest(constant(0), [&](Value request, Value carried) {
        Value length = loadInt(check.index, request);
        failIf(compare(Predicate::ugt, length, sizes[sizeIndex(signature, "capacity")]), check.status);
        return carried;
      });
      return;
    case CheckKind::appendedLength: {
      const size_t tokenStart = tensorIndex(signature, "token_start");
      forEachRequest(firstTokenStart, [&](Value request, Value begin) {
        Value end = loadInt(tokenStart, LLVM::AddOp::create(builder, loc, request, constant(1)));
        Value added = LLVM::SubOp::create(builder, loc, end, begin);
        Value length = LLVM::AddOp::create(builder, loc, loadInt(check.index, request), added);
        failIf(compare(Predicate::sgt, length, sizes[sizeIndex(signature, "capacity")]), check.status);
        return end;
      });
      return;
    }
    }
  }

  size_t firstTensorWord() const { return 1 + signature.sizes.size(); }

  ModuleOp module;
  OpBuilder builder;
  Location loc;
  const PhaseSignature &signature;
  const std::vector<StatusCheck> &checks;

  LLVM::LLVMFuncOp function;
  Value args;
  /// Returns its argument.
  Block *exit = nullptr;
  SmallVector<Value> sizes;
  SmallVector<Value> data;
  SmallVector<SmallVector<Value>> shapes;
  SmallVector<SmallVector<Value>> strides;
  Value firstTokenStart, lastTokenStart;
};

/// PREFIX_status_message: all texts in one string and their offsets in a table, which needs no relocations.
void addStatusMessage(ModuleOp module, StringRef symbolPrefix, const std::vector<std::string> &table) {
  OpBuilder builder(module.getContext());
  builder.setInsertionPointToEnd(module.getBody());
  Location loc = module.getLoc();
  Type i8 = builder.getI8Type(), i32 = builder.getI32Type();
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());

  std::string texts;
  SmallVector<int32_t> offsets;
  auto append = [&](StringRef text) {
    offsets.push_back(static_cast<int32_t>(texts.size()));
    texts.append(text.data(), text.size());
    texts.push_back('\0');
  };
  for (const std::string &text : table)
    append(text);
  append(unknownStatusText());

  const int32_t known = static_cast<int32_t>(table.size());
  auto textsGlobal = LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(i8, texts.size()),
                                            /*isConstant=*/true, LLVM::Linkage::Internal,
                                            (symbolPrefix + "_status_texts").str(), builder.getStringAttr(texts));
  auto offsetsGlobal = LLVM::GlobalOp::create(
      builder, loc, LLVM::LLVMArrayType::get(i32, offsets.size()), /*isConstant=*/true, LLVM::Linkage::Internal,
      (symbolPrefix + "_status_offsets").str(), builder.getI32TensorAttr(offsets));

  auto function = LLVM::LLVMFuncOp::create(builder, loc, (symbolPrefix + "_status_message").str(),
                                           LLVM::LLVMFunctionType::get(pointer, {i32}));
  builder.setInsertionPointToEnd(function.addEntryBlock(builder));
  Value status = function.getArgument(0);
  Value last = LLVM::ConstantOp::create(builder, loc, i32, builder.getI32IntegerAttr(known));
  Value isKnown = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::ult, status, last);
  Value index = LLVM::SelectOp::create(builder, loc, isKnown, status, last);
  Value table0 = LLVM::AddressOfOp::create(builder, loc, offsetsGlobal);
  Value slot = LLVM::GEPOp::create(builder, loc, pointer, i32, table0, ValueRange{index});
  Value offset = LLVM::LoadOp::create(builder, loc, i32, slot);
  Value text0 = LLVM::AddressOfOp::create(builder, loc, textsGlobal);
  Value text = LLVM::GEPOp::create(builder, loc, pointer, i8, text0, ValueRange{offset});
  LLVM::ReturnOp::create(builder, loc, text);
}

LogicalResult checkPhaseFunction(ModuleOp module, LLVM::LLVMFuncOp function, const PhaseSignature &signature) {
  std::string_view name = phaseName(signature.phase);
  if (!function)
    return module.emitError() << "expected 'llvm.func @" << StringRef(name) << "' for the C interface; found none";
  SmallVector<Type> expected;
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());
  Type i64 = IntegerType::get(module.getContext(), 64);
  for (const PhaseTensor &tensor : signature.tensors) {
    expected.append({pointer, pointer, i64});
    expected.append(2 * tensor.shape.size(), i64);
  }
  auto expectedType = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(module.getContext()), expected);
  if (function.getFunctionType() != expectedType)
    return function.emitError() << "has type " << function.getFunctionType() << "; expected " << expectedType
                                << ", one memref descriptor per tensor of the phase";
  return success();
}

} // namespace

LogicalResult addCInterface(ModuleOp llvmDialectModule, StringRef symbolPrefix, ArrayRef<PhaseSignature> signatures) {
  const std::string prefix = symbolPrefix.str();
  const std::vector<PhaseSignature> signatureList(signatures.begin(), signatures.end());

  llvm::StringSet<> exported;
  exported.insert(prefix + "_status_message");
  for (const PhaseSignature &signature : signatures) {
    auto phaseFunction = llvmDialectModule.lookupSymbol<LLVM::LLVMFuncOp>(StringRef(phaseName(signature.phase)));
    if (failed(checkPhaseFunction(llvmDialectModule, phaseFunction, signature)))
      return failure();
    if (!exported.insert(functionName(prefix, signature.phase)).second)
      return llvmDialectModule.emitError()
             << "phase '" << StringRef(phaseName(signature.phase)) << "' is listed twice for the C interface";
  }
  for (const auto &name : exported)
    if (Operation *taken = llvmDialectModule.lookupSymbol(name.getKey()))
      return taken->emitError() << "has the name of a C function of the pack, '" << name.getKey() << "'";

  const auto checks = statusChecks(prefix, signatureList);
  for (size_t index = 0; index < signatureList.size(); ++index) {
    const PhaseSignature &signature = signatureList[index];
    auto phaseFunction = llvmDialectModule.lookupSymbol<LLVM::LLVMFuncOp>(StringRef(phaseName(signature.phase)));
    EntryBuilder(llvmDialectModule, signature, checks[index])
        .build(functionName(prefix, signature.phase), phaseFunction);
  }
  addStatusMessage(llvmDialectModule, prefix, statusTable(prefix, signatureList));

  for (auto function : llvmDialectModule.getOps<LLVM::LLVMFuncOp>())
    if (!function.isExternal() && !exported.contains(function.getSymName()))
      function.setLinkage(LLVM::Linkage::Internal);
  for (auto global : llvmDialectModule.getOps<LLVM::GlobalOp>())
    if (global.getLinkage() == LLVM::Linkage::External && (global.getValueAttr() || global.getInitializerBlock()))
      global.setLinkage(LLVM::Linkage::Internal);
  return success();
}

} // namespace tpac
