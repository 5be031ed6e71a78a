// SPDX-License-Identifier: Apache-2.0
//
// Loads from argument blocks, memref descriptors from them, and the layout of workspaces.

#include "lowering/emit/ArgumentBlock.h"

#include "lowering/emit/SignatureText.h"

#include <limits>

using namespace mlir;

namespace tpac {

/// Ranks of part_out [tokens, parts, heads, features] and part_lse [tokens, parts, heads].
static constexpr size_t partRanks[] = {4, 3};

SmallVector<Type> descriptorTypes(MLIRContext *context, ArrayRef<size_t> ranks) {
  auto pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  SmallVector<Type> types;
  for (size_t rank : ranks) {
    types.append({pointer, pointer, i64});
    types.append(2 * rank, i64);
  }
  return types;
}

SmallVector<Type> descriptorTypes(MLIRContext *context, const PhaseSignature &signature, bool hasParts) {
  SmallVector<size_t> ranks;
  for (const PhaseTensor &tensor : signature.tensors)
    ranks.push_back(tensor.shape.size());
  if (hasParts)
    ranks.append(std::begin(partRanks), std::end(partRanks));
  return descriptorTypes(context, ranks);
}

LLVM::LLVMFuncOp ArgumentBlock::startFunction(StringRef name, Type result, ArrayRef<Type> arguments) {
  builder.setInsertionPointToEnd(module.getBody());
  function = LLVM::LLVMFuncOp::create(builder, loc, name, LLVM::LLVMFunctionType::get(result, arguments));
  Block *entry = function.addEntryBlock(builder);
  args = entry->getArgument(0);
  builder.setInsertionPointToEnd(entry);
  return function;
}

// --- Values and blocks ---

Value ArgumentBlock::constant(int64_t value) {
  return LLVM::ConstantOp::create(builder, loc, i64(), builder.getI64IntegerAttr(value));
}

Value ArgumentBlock::null() { return LLVM::ZeroOp::create(builder, loc, pointer()); }

Value ArgumentBlock::add(Value left, Value right) { return LLVM::AddOp::create(builder, loc, left, right); }

Value ArgumentBlock::multiply(Value left, Value right) { return LLVM::MulOp::create(builder, loc, left, right); }

Value ArgumentBlock::compare(LLVM::ICmpPredicate predicate, Value left, Value right) {
  return LLVM::ICmpOp::create(builder, loc, predicate, left, right);
}

Value ArgumentBlock::loadElement(Type type, Value base, Value index) {
  Value address = LLVM::GEPOp::create(builder, loc, base.getType(), type, base, ValueRange{index});
  return LLVM::LoadOp::create(builder, loc, type, address);
}

Block *ArgumentBlock::appendBlock(TypeRange arguments) {
  OpBuilder::InsertionGuard guard(builder);
  SmallVector<Location> locations(arguments.size(), loc);
  Region &body = function.getBody();
  return builder.createBlock(&body, body.end(), arguments, locations);
}

Value ArgumentBlock::forEach(Value end, Value initial, llvm::function_ref<Value(Value, Value)> body) {
  Block *header = appendBlock({i64(), i64()});
  Block *inside = appendBlock();
  Block *after = appendBlock();
  LLVM::BrOp::create(builder, loc, ValueRange{constant(0), initial}, header);
  builder.setInsertionPointToEnd(header);
  Value index = header->getArgument(0), carried = header->getArgument(1);
  Value more = compare(LLVM::ICmpPredicate::slt, index, end);
  LLVM::CondBrOp::create(builder, loc, more, inside, ValueRange{}, after, ValueRange{});
  builder.setInsertionPointToEnd(inside);
  Value next = body(index, carried);
  Value nextIndex = add(index, constant(1));
  LLVM::BrOp::create(builder, loc, ValueRange{nextIndex, next}, header);
  builder.setInsertionPointToEnd(after);
  return carried;
}

// --- The block ---

Value ArgumentBlock::loadWord(Type type, size_t index) {
  return loadElement(type, args, constant(static_cast<int64_t>(index)));
}

Value ArgumentBlock::loadOptionalWord(Type type, size_t index) {
  const size_t word = requiredWords(signature) + index;
  Block *load = appendBlock();
  Block *join = appendBlock({type});
  Value end = constant(static_cast<int64_t>(8 * (word + 1)));
  Value present = compare(LLVM::ICmpPredicate::sge, loadWord(i64(), 0), end);
  Value absent = type == pointer() ? null() : constant(0);
  LLVM::CondBrOp::create(builder, loc, present, load, ValueRange{}, join, ValueRange{absent});
  builder.setInsertionPointToEnd(load);
  LLVM::BrOp::create(builder, loc, ValueRange{loadWord(type, word)}, join);
  builder.setInsertionPointToEnd(join);
  return join->getArgument(0);
}

void ArgumentBlock::loadSize() { sizes.push_back(loadWord(i64(), 1 + sizes.size())); }

void ArgumentBlock::loadData() {
  const size_t index = data.size();
  SmallVector<Value> shape;
  for (const Dimension &dimension : signature.tensors[index].shape) {
    Value extent = constant(dimension.size);
    if (!dimension.symbol.empty()) {
      Value whole = LLVM::UDivOp::create(builder, loc, size(dimension.symbol), constant(dimension.divisor));
      extent = add(whole, extent);
    }
    shape.push_back(extent);
  }
  const PhaseTensor &tensor = signature.tensors[index];
  if (tensor.name == blockTableName)
    shape[0] = LLVM::SelectOp::create(builder, loc, hasPageList(), size(listedPagesName), shape[0]);
  data.push_back(loadWord(pointer(), firstTensorWord() + 2 * index));
  if (tensor.isOptional)
    shape[0] = LLVM::SelectOp::create(builder, loc, isNull(data.back()), constant(0), shape[0]);
  shapes.push_back(shape);
}

Value ArgumentBlock::hasPageList() {
  const int starts = tensorIndex(signature, pageStartsName);
  Value given = loadWord(pointer(), firstTensorWord() + 2 * static_cast<size_t>(starts));
  return compare(LLVM::ICmpPredicate::ne, given, null());
}

SmallVector<Value> ArgumentBlock::contiguousStrides(ArrayRef<Value> shape) {
  SmallVector<Value> result(shape.size());
  Value running = constant(1);
  for (size_t dimension = shape.size(); dimension-- > 0;) {
    result[dimension] = running;
    if (dimension > 0)
      running = multiply(running, shape[dimension]);
  }
  return result;
}

void ArgumentBlock::loadStrides() {
  const size_t index = strides.size();
  const size_t rank = shapes[index].size();
  SmallVector<Value> contiguous = contiguousStrides(shapes[index]);
  Value given = loadWord(pointer(), firstTensorWord() + 2 * index + 1);
  Block *load = appendBlock();
  Block *join = appendBlock(SmallVector<Type>(rank, i64()));
  LLVM::CondBrOp::create(builder, loc, isNull(given), join, contiguous, load, ValueRange{});
  builder.setInsertionPointToEnd(load);
  SmallVector<Value> loaded;
  for (size_t dimension = 0; dimension < rank; ++dimension)
    loaded.push_back(loadElement(i64(), given, constant(static_cast<int64_t>(dimension))));
  LLVM::BrOp::create(builder, loc, loaded, join);
  builder.setInsertionPointToEnd(join);
  strides.push_back(SmallVector<Value>(join->getArguments()));
  // Row r of a list is what stands from element r on.
  if (signature.tensors[index].name == blockTableName)
    strides.back()[0] = LLVM::SelectOp::create(builder, loc, hasPageList(), strides.back()[1], strides.back()[0]);
}

void ArgumentBlock::loadAll() {
  for (size_t index = 0; index < signature.sizes.size(); ++index)
    loadSize();
  for (size_t index = 0; index < signature.tensors.size(); ++index) {
    loadData();
    loadStrides();
  }
}

Value ArgumentBlock::size(std::string_view name) const { return sizes[sizeIndex(signature, name)]; }

Value ArgumentBlock::loadInt(size_t tensor, Value index) {
  Value element = loadElement(builder.getI32Type(), data[tensor], multiply(index, strides[tensor][0]));
  return LLVM::SExtOp::create(builder, loc, i64(), element);
}

void ArgumentBlock::addDescriptor(SmallVectorImpl<Value> &operands, Value base, ArrayRef<Value> shape,
                                  ArrayRef<Value> stridesOfShape) {
  operands.append({base, base, constant(0)});
  llvm::append_range(operands, shape);
  llvm::append_range(operands, stridesOfShape);
}

SmallVector<Value> ArgumentBlock::descriptors() {
  SmallVector<Value> operands;
  for (size_t index = 0; index < signature.tensors.size(); ++index)
    addDescriptor(operands, data[index], shapes[index], strides[index]);
  return operands;
}

// --- Split caches ---

/// What a part holds per query token: heads and features of `out`, in the type of `lse`, which is that of the
/// arithmetic.
struct PartRow {
  explicit PartRow(const PhaseSignature &signature) {
    const PhaseTensor &out = signature.tensors[tensorIndex(signature, "out")];
    heads = out.shape[1].size;
    features = out.shape[2].size;
    element = elementSize(signature.tensors[tensorIndex(signature, "lse")].elementType);
  }
  int64_t heads, features, element;
};

Value ArgumentBlock::partsOf(Value capacity) {
  Value split = constant(signature.split);
  Value whole = LLVM::UDivOp::create(builder, loc, capacity, split);
  Value rest = LLVM::URemOp::create(builder, loc, capacity, split);
  Value ragged = compare(LLVM::ICmpPredicate::ne, rest, constant(0));
  return add(whole, LLVM::ZExtOp::create(builder, loc, i64(), ragged));
}

Value ArgumentBlock::workspaceBytes(Value tokens, Value parts) {
  const PartRow row(signature);
  const int64_t rowBytes = row.heads * (row.features + 1) * row.element;
  const int64_t largest = std::numeric_limits<int64_t>::max();
  // Sizes are at most largestSize each, so that their product is an i64.
  Value rows = multiply(tokens, parts);
  Value fits = compare(LLVM::ICmpPredicate::ule, rows, constant(largest / rowBytes));
  Value bytes = LLVM::SelectOp::create(builder, loc, fits, multiply(rows, constant(rowBytes)), constant(largest));
  Value isSplit = compare(LLVM::ICmpPredicate::ugt, parts, constant(1));
  return LLVM::SelectOp::create(builder, loc, isSplit, bytes, constant(0));
}

SmallVector<Value> ArgumentBlock::partDescriptors(Value workspace) {
  const PartRow row(signature);
  SmallVector<Value> shape = {size("tokens"), partsOf(size("capacity")), constant(row.heads), constant(row.features)};
  SmallVector<Value> operands;
  addDescriptor(operands, workspace, shape, contiguousStrides(shape));
  Value offset = multiply(multiply(shape[0], shape[1]), constant(row.heads * row.features * row.element));
  Value lse = LLVM::GEPOp::create(builder, loc, pointer(), builder.getI8Type(), workspace, ValueRange{offset});
  shape.pop_back();
  addDescriptor(operands, lse, shape, contiguousStrides(shape));
  return operands;
}

} // namespace tpac
