// SPDX-License-Identifier: Apache-2.0
//
// Writes the C entry points in the LLVM dialect: argument checks, loops over token_start and lengths, the call or the
// work items. How arguments are read stands in ArgumentBlock.cpp; what is checked, and its texts, in StatusChecks.cpp.

#include "lowering/emit/CInterface.h"

#include "lowering/emit/ArgumentBlock.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"
#include "lowering/emit/TextTable.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace tpac {

namespace {

/// Functions of a phase in the module, by their names (lowering/tile/BuildPrograms.h). The reference path has the
/// first alone.
struct PhaseFunctions {
  PhaseFunctions(ModuleOp module, Phase phase) {
    const StringRef name(phaseName(phase));
    auto find = [&](StringRef suffix) { return module.lookupSymbol<LLVM::LLVMFuncOp>((name + suffix).str()); };
    all = find("");
    items = find("_items");
    run = find("_run");
    splitItems = find("_split_items");
    splitRun = find("_split_run");
    mergeRun = find("_merge_run");
  }
  bool hasItems() const { return items && run; }
  bool canSplit() const { return hasItems() && splitItems && splitRun && mergeRun; }
  /// Bytes of tiles that they take from memory of their caller, which is their last argument (tpa-tile-memory).
  int64_t scratch() const {
    int64_t bytes = 0;
    for (LLVM::LLVMFuncOp function : {all, run, splitRun, mergeRun})
      bytes = std::max(bytes, scratchOf(function));
    return bytes;
  }
  static int64_t scratchOf(LLVM::LLVMFuncOp function) {
    auto bytes = function ? function->getAttrOfType<IntegerAttr>("tpac.scratch") : IntegerAttr();
    return bytes ? bytes.getInt() : 0;
  }

  LLVM::LLVMFuncOp all, items, run, splitItems, splitRun, mergeRun;
};

/// Cached tokens per part of a phase's split program.
constexpr llvm::StringLiteral splitAttribute = "tpac.split";

int64_t splitOf(ModuleOp module, Phase phase) {
  PhaseFunctions functions(module, phase);
  if (!functions.canSplit())
    return 0;
  auto split = functions.splitRun->getAttrOfType<IntegerAttr>(splitAttribute);
  return split ? split.getInt() : 0;
}

/// What stands at the head of each thread's scratch; in the first one's the next work item and their number, i64 both.
constexpr int64_t scratchHead = 64;

/// Functions that executors call for the work items of one kind.
struct Tasks {
  LLVM::LLVMFuncOp run;
  /// An item, by its number; tiles are on the stack.
  LLVM::LLVMFuncOp item;
  /// Items until there are none left, with the scratch of the thread's number; null where `run` needs none.
  LLVM::LLVMFuncOp withScratch;
};

/// Calls `function`, which takes scratch as its last argument where it takes any.
void callWithScratch(ArgumentBlock &block, LLVM::LLVMFuncOp function, SmallVector<Value> operands, Value scratch) {
  if (PhaseFunctions::scratchOf(function) != 0)
    operands.push_back(scratch);
  LLVM::CallOp::create(block.builder, block.loc, function, operands);
}

Value placeIn(ArgumentBlock &block, Value memory, Value offset) {
  return LLVM::GEPOp::create(block.builder, block.loc, block.pointer(), block.builder.getI8Type(), memory,
                             ValueRange{offset});
}

Value onStack(ArgumentBlock &block, int64_t bytes) {
  return LLVM::AllocaOp::create(block.builder, block.loc, block.pointer(), block.builder.getI8Type(),
                                block.constant(bytes), /*alignment=*/scratchHead);
}

/// Adds `llvm.func @name_task(%args, %index)`, which calls `run` with the tensors of the argument block, with the part
/// tensors where `hasParts`, and with the index; and `@name_scratch_task`.
Tasks addTasks(ModuleOp module, const PhaseSignature &signature, const std::string &name, LLVM::LLVMFuncOp run,
               bool hasParts) {
  Tasks tasks{run, {}, {}};
  auto build = [&](StringRef suffix, llvm::function_ref<void(ArgumentBlock &, ArrayRef<Value>, Value)> body) {
    ArgumentBlock block(module, signature);
    LLVM::LLVMFuncOp task = block.startFunction(name + suffix.str(), LLVM::LLVMVoidType::get(module.getContext()),
                                                {block.pointer(), block.i64()});
    block.loadAll();
    SmallVector<Value> operands = block.descriptors();
    if (hasParts) {
      Value workspace = block.loadWord(block.pointer(), requiredWords(signature) + workspaceWord);
      llvm::append_range(operands, block.partDescriptors(workspace));
    }
    body(block, operands, task.getArgument(1));
    LLVM::ReturnOp::create(block.builder, block.loc, ValueRange{});
    return task;
  };
  const int64_t bytes = PhaseFunctions::scratchOf(run);
  auto runItem = [&](ArgumentBlock &block, ArrayRef<Value> tensors, Value index, Value scratch) {
    SmallVector<Value> operands(tensors);
    operands.push_back(index);
    callWithScratch(block, run, operands, scratch);
  };
  tasks.item = build("_task", [&](ArgumentBlock &block, ArrayRef<Value> tensors, Value index) {
    runItem(block, tensors, index, bytes != 0 ? onStack(block, bytes) : Value());
  });
  if (bytes == 0)
    return tasks;
  tasks.withScratch = build("_scratch_task", [&](ArgumentBlock &block, ArrayRef<Value> tensors, Value thread) {
    Value scratch = block.loadWord(block.pointer(), requiredWords(signature) + scratchWord);
    Value offset = block.multiply(thread, block.constant(signature.scratch));
    Value tiles = placeIn(block, scratch, block.add(offset, block.constant(scratchHead)));
    Value count = block.loadElement(block.i64(), scratch, block.constant(1));
    Block *next = block.appendBlock();
    Block *inside = block.appendBlock();
    Block *after = block.appendBlock();
    LLVM::BrOp::create(block.builder, block.loc, ValueRange{}, next);
    block.builder.setInsertionPointToEnd(next);
    Value index = LLVM::AtomicRMWOp::create(block.builder, block.loc, LLVM::AtomicBinOp::add, scratch,
                                            block.constant(1), LLVM::AtomicOrdering::monotonic);
    Value more = block.compare(LLVM::ICmpPredicate::slt, index, count);
    LLVM::CondBrOp::create(block.builder, block.loc, more, inside, ValueRange{}, after, ValueRange{});
    block.builder.setInsertionPointToEnd(inside);
    runItem(block, tensors, index, tiles);
    LLVM::BrOp::create(block.builder, block.loc, ValueRange{}, next);
    block.builder.setInsertionPointToEnd(after);
  });
  return tasks;
}

/// PREFIX_PHASE_workspace_size(tokens, batch, capacity).
void addWorkspaceSize(ModuleOp module, const PhaseSignature &signature, StringRef name) {
  ArgumentBlock block(module, signature);
  const Type i64 = block.i64();
  LLVM::LLVMFuncOp function = block.startFunction(name, i64, {i64, i64, i64});
  if (signature.split == 0) {
    LLVM::ReturnOp::create(block.builder, block.loc, block.constant(0));
    return;
  }
  Value accepted;
  for (Value size : function.getArguments()) {
    Value inRange = block.compare(LLVM::ICmpPredicate::ule, size, block.constant(largestSize));
    accepted = accepted ? LLVM::AndOp::create(block.builder, block.loc, accepted, inRange).getResult() : inRange;
  }
  Value bytes = block.workspaceBytes(function.getArgument(0), block.partsOf(function.getArgument(2)));
  Value result = LLVM::SelectOp::create(block.builder, block.loc, accepted, bytes, block.constant(0));
  LLVM::ReturnOp::create(block.builder, block.loc, result);
}

/// Builds the body of one PREFIX_PHASE function.
class EntryBuilder : private ArgumentBlock {
public:
  EntryBuilder(ModuleOp module, const PhaseSignature &signature, const std::vector<StatusCheck> &checks)
      : ArgumentBlock(module, signature), checks(checks), functions(module, signature.phase) {}

  /// `suffix` stands behind the names of the functions that the module exports.
  void build(const std::string &name, const std::string &suffix) {
    Tasks whole, parts, merge;
    if (functions.hasItems())
      whole = addTasks(module, signature, name, functions.run, /*hasParts=*/false);
    if (signature.split > 0) {
      parts = addTasks(module, signature, name + "_split", functions.splitRun, /*hasParts=*/true);
      merge = addTasks(module, signature, name + "_merge", functions.mergeRun, /*hasParts=*/true);
    }

    startFunction(name + suffix, builder.getI32Type(), {pointer()});
    exit = appendBlock({builder.getI32Type()});
    {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToEnd(exit);
      LLVM::ReturnOp::create(builder, loc, exit->getArgument(0));
    }
    for (const StatusCheck &check : checks)
      if ((signature.split > 0 || !isOfWorkspace(check.kind)) && (functions.scratch() > 0 || !isOfScratch(check.kind)))
        emitCheck(check);

    SmallVector<Value> operands = descriptors();
    if (signature.split > 0)
      computeSplit(operands, parts, merge);
    if (functions.hasItems()) {
      // Without an executor this is what the phase's own loop does, without finding out how many items there are.
      Block *shared = appendBlock();
      Block *alone = appendBlock();
      LLVM::CondBrOp::create(builder, loc, isNull(executor), alone, ValueRange{}, shared, ValueRange{});
      builder.setInsertionPointToEnd(shared);
      runOnExecutor(call(functions.items, operands), whole);
      LLVM::BrOp::create(builder, loc, ValueRange{status(0)}, exit);
      builder.setInsertionPointToEnd(alone);
    }
    callWithScratch(*this, functions.all, operands, ownScratch());
    LLVM::BrOp::create(builder, loc, ValueRange{status(0)}, exit);
  }

private:
  Value status(int32_t value) {
    return LLVM::ConstantOp::create(builder, loc, builder.getI32Type(), builder.getI32IntegerAttr(value));
  }
  Value call(LLVM::LLVMFuncOp callee, ValueRange operands) {
    return LLVM::CallOp::create(builder, loc, callee, operands).getResult();
  }

  // --- Work items ---

  /// Field `index` of the executor: context, concurrency, run.
  Value executorField(int32_t index) {
    Type type = LLVM::LLVMStructType::getLiteral(module.getContext(), {pointer(), builder.getI32Type(), pointer()});
    Value address =
        LLVM::GEPOp::create(builder, loc, pointer(), type, executor, ArrayRef<LLVM::GEPArg>{int32_t(0), index});
    return LLVM::LoadOp::create(builder, loc, pointer(), address);
  }

  /// Memory for the tiles of the calling thread: the first thread's scratch, or, where there is none, on the stack.
  /// Null where the phase needs none.
  Value ownScratch() {
    const int64_t bytes = functions.scratch();
    if (bytes == 0)
      return {};
    Block *stack = appendBlock();
    Block *join = appendBlock({pointer()});
    Value given = placeIn(*this, scratch, constant(scratchHead));
    LLVM::CondBrOp::create(builder, loc, isNull(scratch), stack, ValueRange{}, join, ValueRange{given});
    builder.setInsertionPointToEnd(stack);
    LLVM::BrOp::create(builder, loc, ValueRange{onStack(*this, bytes)}, join);
    builder.setInsertionPointToEnd(join);
    return join->getArgument(0);
  }

  /// All `count` items by the executor. With scratch, its threads take items until there are none left: as many threads
  /// as there is scratch for.
  void runOnExecutor(Value count, const Tasks &tasks) {
    if (!tasks.withScratch)
      return runOnExecutor(count, tasks.item);
    Block *given = appendBlock();
    Block *stack = appendBlock();
    Block *after = appendBlock();
    LLVM::CondBrOp::create(builder, loc, isNull(scratch), stack, ValueRange{}, given, ValueRange{});
    builder.setInsertionPointToEnd(given);
    LLVM::StoreOp::create(builder, loc, constant(0), scratch);
    LLVM::StoreOp::create(builder, loc, count, placeIn(*this, scratch, constant(8)));
    Value threads = LLVM::UDivOp::create(builder, loc, scratchSize, constant(signature.scratch));
    Value fewer = compare(LLVM::ICmpPredicate::slt, count, threads);
    runOnExecutor(LLVM::SelectOp::create(builder, loc, fewer, count, threads), tasks.withScratch);
    LLVM::BrOp::create(builder, loc, ValueRange{}, after);
    builder.setInsertionPointToEnd(stack);
    runOnExecutor(count, tasks.item);
    LLVM::BrOp::create(builder, loc, ValueRange{}, after);
    builder.setInsertionPointToEnd(after);
  }

  /// executor->run(executor->context, task, args, count)
  void runOnExecutor(Value count, LLVM::LLVMFuncOp task) {
    Value context = executorField(0), run = executorField(2);
    Value address = LLVM::AddressOfOp::create(builder, loc, task);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(module.getContext()),
                                            {pointer(), pointer(), pointer(), i64()});
    LLVM::CallOp::create(builder, loc, type, ValueRange{run, context, address, args, count});
  }

  /// All `count` items: by the executor where there is one, else one after another.
  void runItems(Value count, const Tasks &tasks, ArrayRef<Value> operands) {
    Block *shared = appendBlock();
    Block *alone = appendBlock();
    Block *after = appendBlock();
    LLVM::CondBrOp::create(builder, loc, isNull(executor), alone, ValueRange{}, shared, ValueRange{});
    builder.setInsertionPointToEnd(shared);
    runOnExecutor(count, tasks);
    LLVM::BrOp::create(builder, loc, ValueRange{}, after);
    builder.setInsertionPointToEnd(alone);
    Value tiles = ownScratch();
    forEach(count, constant(0), [&](Value index, Value carried) {
      SmallVector<Value> withIndex(operands);
      withIndex.push_back(index);
      callWithScratch(*this, tasks.run, withIndex, tiles);
      return carried;
    });
    LLVM::BrOp::create(builder, loc, ValueRange{}, after);
    builder.setInsertionPointToEnd(after);
  }

  /// Where there is a workspace and more than one part: the parts, then their merge, and out. Else goes on.
  void computeSplit(ArrayRef<Value> operands, const Tasks &parts, const Tasks &merge) {
    Value many = compare(LLVM::ICmpPredicate::ugt, partsOf(size("capacity")), constant(1));
    Value given = compare(LLVM::ICmpPredicate::ne, workspace, null());
    Block *inParts = appendBlock();
    Block *whole = appendBlock();
    LLVM::CondBrOp::create(builder, loc, LLVM::AndOp::create(builder, loc, many, given), inParts, ValueRange{}, whole,
                           ValueRange{});
    builder.setInsertionPointToEnd(inParts);
    SmallVector<Value> withParts(operands);
    llvm::append_range(withParts, partDescriptors(workspace));
    runItems(call(functions.splitItems, withParts), parts, withParts);
    runItems(call(functions.items, operands), merge, withParts);
    LLVM::BrOp::create(builder, loc, ValueRange{status(0)}, exit);
    builder.setInsertionPointToEnd(whole);
  }

  // --- Checks ---

  /// Returns `failureStatus` from the function where `failed`, else goes on.
  void failIf(Value failed, int32_t failureStatus) {
    Block *next = appendBlock();
    LLVM::CondBrOp::create(builder, loc, failed, exit, ValueRange{status(failureStatus)}, next, ValueRange{});
    builder.setInsertionPointToEnd(next);
  }

  /// Returns `failureStatus` where `present` and what `failed` then finds, else goes on.
  void failIfPresent(Value present, llvm::function_ref<Value()> failed, int32_t failureStatus) {
    Block *look = appendBlock();
    Block *next = appendBlock();
    LLVM::CondBrOp::create(builder, loc, present, look, ValueRange{}, next, ValueRange{});
    builder.setInsertionPointToEnd(look);
    failIf(failed(), failureStatus);
    LLVM::BrOp::create(builder, loc, ValueRange{}, next);
    builder.setInsertionPointToEnd(next);
  }

  /// What `body` does, where there is a list of pages.
  void ifListed(llvm::function_ref<void()> body) {
    Block *look = appendBlock();
    Block *next = appendBlock();
    Value pageStarts = data[tensorIndex(signature, pageStartsName)];
    LLVM::CondBrOp::create(builder, loc, isNull(pageStarts), next, ValueRange{}, look, ValueRange{});
    builder.setInsertionPointToEnd(look);
    body();
    LLVM::BrOp::create(builder, loc, ValueRange{}, next);
    builder.setInsertionPointToEnd(next);
  }

  /// Fails where the i32 vector of the check decreases from `first`, its first element; gives its last one.
  Value checkOrder(const StatusCheck &check, Value first) {
    return forEachRequest(first, [&](Value request, Value previous) {
      Value next = loadInt(check.index, add(request, constant(1)));
      failIf(compare(LLVM::ICmpPredicate::slt, next, previous), check.status);
      return next;
    });
  }

  /// vector[request + 1] - vector[request]
  Value difference(size_t vector, Value request) {
    Value end = loadInt(vector, add(request, constant(1)));
    return LLVM::SubOp::create(builder, loc, end, loadInt(vector, request));
  }

  /// Tokens of `request` after append.
  Value lengthAfter(Value request) {
    const Value added = difference(tensorIndex(signature, "token_start"), request);
    return add(loadInt(tensorIndex(signature, "lengths"), request), added);
  }

  Value forEachRequest(Value initial, llvm::function_ref<Value(Value, Value)> body) {
    return forEach(size("batch"), initial, body);
  }

  /// Whether `address` is no multiple of `alignment`, a power of two.
  Value isMisaligned(Value address, int64_t alignment) {
    Value number = LLVM::PtrToIntOp::create(builder, loc, i64(), address);
    Value rest = LLVM::AndOp::create(builder, loc, number, constant(alignment - 1));
    return compare(LLVM::ICmpPredicate::ne, rest, constant(0));
  }

  /// Whether a check reads what only phases take that split their cache.
  static bool isOfWorkspace(CheckKind kind) {
    return kind == CheckKind::workspaceAlignment || kind == CheckKind::workspaceSize;
  }
  /// Whether it reads what only phases take that have large tiles.
  static bool isOfScratch(CheckKind kind) {
    return kind == CheckKind::scratchAlignment || kind == CheckKind::scratchSize;
  }

  void emitCheck(const StatusCheck &check) {
    using Predicate = LLVM::ICmpPredicate;

    switch (check.kind) {
    case CheckKind::argsNull:
      return failIf(isNull(args), check.status);
    case CheckKind::structSize: {
      Value expected = constant(static_cast<int64_t>(8 * requiredWords(signature)));
      return failIf(compare(Predicate::slt, loadWord(i64(), 0), expected), check.status);
    }
    case CheckKind::sizeRange:
      loadSize();
      // Unsigned, so that negative sizes are above the bound too.
      return failIf(compare(Predicate::ugt, sizes.back(), constant(largestSize)), check.status);
    case CheckKind::capacityBlock: {
      Value rest = LLVM::URemOp::create(builder, loc, sizes.back(), constant(capacityUnit(signature)));
      return failIf(compare(Predicate::ne, rest, constant(0)), check.status);
    }
    case CheckKind::dataNull: {
      loadData();
      Value failed = isNull(data.back());
      for (Value extent : shapes.back())
        failed = LLVM::AndOp::create(builder, loc, failed, compare(Predicate::ne, extent, constant(0)));
      return failIf(failed, check.status);
    }
    case CheckKind::dataAlignment:
      // Of an optional tensor this is the first check.
      if (data.size() == check.index)
        loadData();
      return failIf(isMisaligned(data.back(), elementSize(signature.tensors[check.index].elementType)), check.status);
    case CheckKind::strideNegative: {
      loadStrides();
      Value failed = LLVM::ConstantOp::create(builder, loc, builder.getI1Type(), builder.getBoolAttr(false));
      for (Value stride : strides.back())
        failed = LLVM::OrOp::create(builder, loc, failed, compare(Predicate::slt, stride, constant(0)));
      return failIf(failed, check.status);
    }
    case CheckKind::strideOfRow:
      return failIf(compare(Predicate::ne, strides.back().back(), constant(1)), check.status);
    case CheckKind::tokenStartNegative:
      firstTokenStart = loadInt(check.index, constant(0));
      return failIf(compare(Predicate::slt, firstTokenStart, constant(0)), check.status);
    case CheckKind::tokenStartOrder:
      lastTokenStart = checkOrder(check, firstTokenStart);
      return;
    case CheckKind::tokenStartLast:
      return failIf(compare(Predicate::sgt, lastTokenStart, size("tokens")), check.status);
    case CheckKind::pageStartsNegative:
      return ifListed(
          [&] { failIf(compare(Predicate::slt, loadInt(check.index, constant(0)), constant(0)), check.status); });
    case CheckKind::pageStartsOrder:
      return ifListed([&] { checkOrder(check, loadInt(check.index, constant(0))); });
    case CheckKind::pageStartsLast:
      return ifListed([&] {
        Value last = loadInt(check.index, size("batch"));
        failIf(compare(Predicate::sgt, last, size(listedPagesName)), check.status);
      });
    case CheckKind::lengthRange:
      forEachRequest(constant(0), [&](Value request, Value carried) {
        Value length = loadInt(check.index, request);
        failIf(compare(Predicate::ugt, length, size("capacity")), check.status);
        return carried;
      });
      return;
    case CheckKind::appendedLength:
      forEachRequest(constant(0), [&](Value request, Value carried) {
        failIf(compare(Predicate::sgt, lengthAfter(request), size("capacity")), check.status);
        return carried;
      });
      return;
    case CheckKind::listedLength:
      return ifListed([&] {
        const size_t starts = tensorIndex(signature, pageStartsName);
        forEachRequest(constant(0), [&](Value request, Value carried) {
          Value length = signature.phase == Phase::append ? lengthAfter(request) : loadInt(check.index, request);
          Value held = multiply(difference(starts, request), constant(storageOf(signature).pageSize));
          failIf(compare(Predicate::sgt, length, held), check.status);
          return carried;
        });
      });
    case CheckKind::executorRun: {
      executor = loadOptionalWord(pointer(), executorWord);
      Value given = compare(Predicate::ne, executor, null());
      return failIfPresent(given, [&] { return isNull(executorField(2)); }, check.status);
    }
    case CheckKind::workspaceAlignment:
      workspace = loadOptionalWord(pointer(), workspaceWord);
      return failIf(isMisaligned(workspace, workspaceAlignment), check.status);
    case CheckKind::workspaceSize: {
      Value bytes = loadOptionalWord(i64(), workspaceSizeWord);
      Value needed = workspaceBytes(size("tokens"), partsOf(size("capacity")));
      Value given = compare(Predicate::ne, workspace, null());
      Value small = compare(Predicate::slt, bytes, needed);
      return failIf(LLVM::AndOp::create(builder, loc, given, small), check.status);
    }
    case CheckKind::scratchAlignment:
      scratch = loadOptionalWord(pointer(), scratchWord);
      return failIf(isMisaligned(scratch, workspaceAlignment), check.status);
    case CheckKind::scratchSize: {
      scratchSize = loadOptionalWord(i64(), scratchSizeWord);
      Value given = compare(Predicate::ne, scratch, null());
      Value small = compare(Predicate::slt, scratchSize, constant(signature.scratch));
      return failIf(LLVM::AndOp::create(builder, loc, given, small), check.status);
    }
    }
  }

  const std::vector<StatusCheck> &checks;
  PhaseFunctions functions;

  /// Returns its argument.
  Block *exit = nullptr;
  Value firstTokenStart, lastTokenStart;
  Value executor, workspace, scratch, scratchSize;
};

/// Fails where `function`, called `name`, does not take the tensors of the phase, then the part tensors where
/// `hasParts`, then an i64 where `takesIndex`, or does not return `result`.
LogicalResult checkFunction(ModuleOp module, LLVM::LLVMFuncOp function, const Twine &name,
                            const PhaseSignature &signature, bool hasParts = false, bool takesIndex = false,
                            Type result = {}) {
  if (!function)
    return module.emitError() << "expected 'llvm.func @" << name << "' for the C interface; found none";
  MLIRContext *context = module.getContext();
  SmallVector<Type> expected = descriptorTypes(context, signature, hasParts);
  if (takesIndex)
    expected.push_back(IntegerType::get(context, 64));
  if (PhaseFunctions::scratchOf(function) != 0)
    expected.push_back(LLVM::LLVMPointerType::get(context));
  auto expectedType = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(context), expected);
  if (function.getFunctionType() != expectedType)
    return function.emitError() << "has type " << function.getFunctionType() << "; expected " << expectedType
                                << ", one memref descriptor per tensor of the phase";
  return success();
}

/// Fails where the module has a symbol called `name`.
LogicalResult checkFree(ModuleOp module, StringRef name) {
  if (Operation *taken = module.lookupSymbol(name))
    return taken->emitError() << "has the name of a C function of the pack, '" << name << "'";
  return success();
}

LogicalResult checkPhaseFunctions(ModuleOp module, const PhaseSignature &signature) {
  const StringRef name(phaseName(signature.phase));
  const Type i64 = IntegerType::get(module.getContext(), 64);
  PhaseFunctions functions(module, signature.phase);
  if (failed(checkFunction(module, functions.all, name, signature)))
    return failure();
  if (functions.hasItems() &&
      (failed(checkFunction(module, functions.items, name + "_items", signature, false, false, i64)) ||
       failed(checkFunction(module, functions.run, name + "_run", signature, false, true))))
    return failure();
  if (signature.split > 0 &&
      (failed(checkFunction(module, functions.splitItems, name + "_split_items", signature, true, false, i64)) ||
       failed(checkFunction(module, functions.splitRun, name + "_split_run", signature, true, true)) ||
       failed(checkFunction(module, functions.mergeRun, name + "_merge_run", signature, true, true))))
    return failure();
  return success();
}

} // namespace

std::vector<PhaseSignature> getCompiledSignatures(ModuleOp llvmDialectModule, ArrayRef<PhaseSignature> signatures) {
  std::vector<PhaseSignature> result(signatures.begin(), signatures.end());
  for (PhaseSignature &signature : result) {
    signature.split = splitOf(llvmDialectModule, signature.phase);
    const int64_t tiles = PhaseFunctions(llvmDialectModule, signature.phase).scratch();
    signature.scratch = tiles == 0 ? 0 : scratchHead + tiles;
  }
  return result;
}

LogicalResult addLevelInterface(ModuleOp llvmDialectModule, StringRef symbolPrefix, StringRef levelSuffix,
                                ArrayRef<PhaseSignature> signatures) {
  const std::string prefix = symbolPrefix.str();
  const std::string suffix = levelSuffix.str();
  std::vector<PhaseSignature> own = getCompiledSignatures(llvmDialectModule, signatures);
  // Callers give what the pack's signatures say.
  for (auto [level, pack] : llvm::zip(own, signatures))
    level.scratch = std::max(level.scratch, pack.scratch);

  llvm::StringSet<> exported, internal;
  for (const PhaseSignature &signature : signatures) {
    const std::string name = functionName(prefix, signature.phase);
    if (!exported.insert(name + suffix).second)
      return llvmDialectModule.emitError()
             << "phase '" << StringRef(phaseName(signature.phase)) << "' is listed twice for the C interface";
    if (signature.split > 0)
      exported.insert(workspaceSizeName(prefix, signature.phase) + suffix);
    for (const char *items : {"", "_split", "_merge"})
      for (const char *task : {"_task", "_scratch_task"})
        internal.insert(name + items + task);
  }
  for (const PhaseSignature &signature : own)
    if (failed(checkPhaseFunctions(llvmDialectModule, signature)))
      return failure();
  for (const llvm::StringSet<> *names : {&exported, &internal})
    for (const auto &name : *names)
      if (failed(checkFree(llvmDialectModule, name.getKey())))
        return failure();

  const auto checks = statusChecks(prefix, signatures);
  for (size_t index = 0; index < own.size(); ++index) {
    EntryBuilder(llvmDialectModule, own[index], checks[index]).build(functionName(prefix, own[index].phase), suffix);
    if (signatures[index].split > 0)
      addWorkspaceSize(llvmDialectModule, own[index], workspaceSizeName(prefix, own[index].phase) + suffix);
  }

  for (auto function : llvmDialectModule.getOps<LLVM::LLVMFuncOp>())
    if (!function.isExternal() && !exported.contains(function.getSymName()))
      function.setLinkage(LLVM::Linkage::Internal);
  for (auto global : llvmDialectModule.getOps<LLVM::GlobalOp>())
    if (global.getLinkage() == LLVM::Linkage::External && (global.getValueAttr() || global.getInitializerBlock()))
      global.setLinkage(LLVM::Linkage::Internal);
  return success();
}

LogicalResult addCInterface(ModuleOp llvmDialectModule, StringRef symbolPrefix, ArrayRef<PhaseSignature> signatures) {
  const std::string prefix = symbolPrefix.str();
  const std::vector<PhaseSignature> split = getCompiledSignatures(llvmDialectModule, signatures);
  if (failed(addLevelInterface(llvmDialectModule, prefix, "", split)) ||
      failed(checkFree(llvmDialectModule, statusMessageName(prefix))))
    return failure();
  addStatusMessage(llvmDialectModule, prefix, statusTable(prefix, split));
  return success();
}

} // namespace tpac
