// SPDX-License-Identifier: Apache-2.0
//
// Control flow, scalars and memory; the tile ops are handed to TileArithmetic and MemoryAccess.

#include "lowering/tile/Interpreter.h"

#include "lowering/tile/MemoryAccess.h"
#include "lowering/tile/ScalarArithmetic.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

#include <memory>

using namespace mlir;
using namespace mlir::tpa::tile;
using namespace tpac;

namespace {

/// Memory of the caller, or of the program: then `storage` keeps it alive.
struct Memory {
  MemoryView view;
  std::shared_ptr<std::vector<std::byte>> storage;
};

using TilePointer = std::shared_ptr<const TileValue>;
using Datum = std::variant<int64_t, double, TilePointer, Memory>;
using Data = SmallVector<Datum, 4>;
using ExpectedData = llvm::Expected<Data>;

/// The values of one call of a function.
class Frame {
public:
  const Datum &operator[](Value value) const { return values.find(value)->second; }
  void set(ValueRange names, const Data &data) {
    for (auto [name, datum] : llvm::zip_equal(names, data))
      values.insert_or_assign(name, datum);
  }

  Data get(ValueRange names) const {
    return llvm::map_to_vector<4>(names, [&](Value name) { return (*this)[name]; });
  }
  int64_t integer(Value value) const { return std::get<int64_t>((*this)[value]); }
  SmallVector<int64_t> integers(ValueRange range) const {
    return llvm::map_to_vector(range, [&](Value value) { return integer(value); });
  }
  const TileValue &tile(Value value) const { return *std::get<TilePointer>((*this)[value]); }
  const Memory &memory(Value value) const { return std::get<Memory>((*this)[value]); }
  /// What a mixed list of operands and attributes holds.
  SmallVector<int64_t> mixed(ArrayRef<OpFoldResult> list) const {
    return llvm::map_to_vector(list, [&](OpFoldResult entry) {
      auto attribute = dyn_cast<Attribute>(entry);
      return attribute ? cast<IntegerAttr>(attribute).getInt() : integer(cast<Value>(entry));
    });
  }

private:
  DenseMap<Value, Datum> values;
};

llvm::Error failure(Operation *op, const Twine &message) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << op->getName() << ": " << message << "\n  in ";
  op->print(stream, OpPrintingFlags().skipRegions());
  return llvm::createStringError(text);
}

llvm::Error failure(Operation *op, llvm::Error error) { return failure(op, llvm::toString(std::move(error))); }

Datum datum(TileValue tile) { return std::make_shared<const TileValue>(std::move(tile)); }

ExpectedData single(Datum value) { return Data{std::move(value)}; }
ExpectedData single(TileValue tile) { return single(datum(std::move(tile))); }

Data tiles(TileArithmetic::Tiles values) {
  Data result;
  for (TileValue &value : values)
    result.push_back(datum(std::move(value)));
  return result;
}

class Interpreter {
public:
  Interpreter(ModuleOp module, Arithmetic mode) : module(module), arithmetic(mode) {}

  ExpectedData call(func::FuncOp function, const Data &arguments) {
    if (!function.getBody().hasOneBlock())
      return failure(function, "expected a body of one block");
    Frame frame;
    frame.set(function.getArguments(), arguments);
    return run(function.getBody().front(), frame);
  }

private:
  /// Runs a block and gives the operands of its terminator.
  ExpectedData run(Block &block, Frame &frame) {
    for (Operation &op : block) {
      if (isa<func::ReturnOp, scf::YieldOp>(op))
        return frame.get(op.getOperands());
      ExpectedData results = execute(&op, frame);
      if (!results)
        return results;
      frame.set(op.getResults(), *results);
    }
    return failure(block.getParentOp(), "expected the block to end with func.return or scf.yield");
  }

  ExpectedData execute(Operation *op, Frame &frame) {
    for (Type type : op->getResultTypes())
      if (auto tile = dyn_cast<TileType>(type); tile && !elementTypeOf(tile.getElementType()))
        return failure(op, "element type cannot be interpreted");
    return llvm::TypeSwitch<Operation *, ExpectedData>(op)
        .Case([&](func::CallOp call) { return execute(call, frame); })
        .Case([&](scf::ForOp loop) { return execute(loop, frame); })
        .Case([&](scf::IfOp branch) { return execute(branch, frame); })
        .Case([&](arith::ConstantOp constant) { return execute(constant); })
        .Case([&](arith::SelectOp select) {
          return single(frame[frame.integer(select.getCondition()) ? select.getTrueValue() : select.getFalseValue()]);
        })
        .Case<memref::AllocOp, memref::AllocaOp>([&](auto allocation) { return allocate(allocation, frame); })
        // Freed when no value refers to it.
        .Case([&](memref::DeallocOp) { return Data(); })
        .Case([&](memref::DimOp dim) { return execute(dim, frame); })
        .Case([&](memref::LoadOp load) { return execute(load, frame); })
        .Case([&](memref::CastOp cast) { return execute(cast, frame); })
        .Case([&](memref::SubViewOp subview) { return execute(subview, frame); })
        .Case([&](memref::ReinterpretCastOp view) { return execute(view, frame); })
        .Default([&](Operation *other) { return executeTile(other, frame); });
  }

  template <typename Op> static const MemoryView *tableOf(Op op, Frame &frame) {
    return op.getTable() ? &frame.memory(op.getTable()).view : nullptr;
  }

  ExpectedData executeTile(Operation *op, Frame &frame) {
    auto tile = [&](Value value) -> const TileValue & { return frame.tile(value); };
    return llvm::TypeSwitch<Operation *, ExpectedData>(op)
        .Case([&](LoadOp load) -> ExpectedData {
          auto result = loadTile(load, frame.memory(load.getMemory()).view, frame.integers(load.getIndices()),
                                 frame.integers(load.getLimits()), tableOf(load, frame));
          return result ? single(std::move(*result)) : ExpectedData(failure(op, result.takeError()));
        })
        .Case([&](StoreOp store) -> ExpectedData {
          if (llvm::Error error = storeTile(store, tile(store.getValue()), frame.memory(store.getMemory()).view,
                                            frame.integers(store.getIndices()), frame.integers(store.getLimits()),
                                            tableOf(store, frame)))
            return failure(op, std::move(error));
          return Data();
        })
        .Case([&](TableRowOp op) -> ExpectedData {
          const MemoryView &starts = frame.memory(op.getStarts()).view;
          const int64_t request = frame.integer(op.getRequest());
          if (starts.shape[0] == 0)
            return single(request);
          auto row = loadElement(starts, {request});
          return row ? single(static_cast<int64_t>(*row)) : ExpectedData(failure(op, row.takeError()));
        })
        .Case([&](FillOp fill) { return single(arithmetic.fill(fill)); })
        .Case([&](ConvertOp convert) { return single(arithmetic.convert(convert, tile(convert.getInput()))); })
        .Case([&](SplitOp split) { return tiles(arithmetic.split(split, tile(split.getInput()))); })
        .Case([&](MulOp mul) { return single(arithmetic.mul(mul, tile(mul.getLhs()), tile(mul.getRhs()))); })
        .Case([&](AddOp add) { return single(arithmetic.add(add, tile(add.getLhs()), tile(add.getRhs()))); })
        .Case([&](ConstantMulOp mul) { return single(arithmetic.constantMul(mul, tile(mul.getInput()))); })
        .Case([&](SoftcapOp softcap) { return single(arithmetic.softcap(softcap, tile(softcap.getInput()))); })
        .Case([&](HeadFunctionOp function) {
          return single(arithmetic.headFunction(function, tile(function.getInput())));
        })
        .Case([&](SliceOp slice) -> ExpectedData {
          int64_t offset = slice.getOffset() ? frame.integer(slice.getOffset()) : 0;
          TileType input = slice.getInput().getType();
          if (offset < 0 || offset + slice.getType().sizeOf(slice.getTo()) > input.sizeOf(slice.getFrom()))
            return failure(op, llvm::createStringError("offset " + std::to_string(offset) + " reaches beyond axis " +
                                                       slice.getFrom().str() + " of the input"));
          return single(arithmetic.slice(slice, tile(slice.getInput()), offset));
        })
        .Case([&](RopeOp rope) {
          return single(arithmetic.rope(rope, tile(rope.getInput()), tile(rope.getPositions())));
        })
        .Case([&](QuantizeOp quantize) { return tiles(arithmetic.quantize(quantize, tile(quantize.getInput()))); })
        .Case([&](DotOp dot) {
          const TileValue *accumulator = dot.getAccumulator() ? &tile(dot.getAccumulator()) : nullptr;
          return single(arithmetic.dot(dot, tile(dot.getLhs()), tile(dot.getRhs()), accumulator));
        })
        .Case(
            [&](OuterOp outer) { return single(arithmetic.outer(outer, tile(outer.getLhs()), tile(outer.getRhs()))); })
        .Case([&](MaskOp mask) {
          return single(arithmetic.mask(mask, tile(mask.getInput()), frame.integer(mask.getToken()),
                                        frame.integer(mask.getLimit()), frame.integer(mask.getEnd())));
        })
        .Case([&](SoftmaxStepOp step) {
          return tiles(arithmetic.softmaxStep(step, tile(step.getLogits()), tile(step.getMax()), tile(step.getSum())));
        })
        .Case([&](FinishOp finish) {
          return tiles(
              arithmetic.finish(finish, tile(finish.getAccumulator()), tile(finish.getMax()), tile(finish.getSum())));
        })
        .Case([&](MergeOp merge) {
          return tiles(arithmetic.merge(merge, tile(merge.getOut0()), tile(merge.getLse0()), tile(merge.getOut1()),
                                        tile(merge.getLse1())));
        })
        .Default([&](Operation *other) { return executeInteger(other, frame); });
  }

  // --- Control flow ---

  ExpectedData execute(func::CallOp op, Frame &frame) {
    auto callee = module.lookupSymbol<func::FuncOp>(op.getCallee());
    if (!callee)
      return failure(op, "no function @" + op.getCallee());
    return call(callee, frame.get(op.getOperands()));
  }

  ExpectedData execute(scf::ForOp op, Frame &frame) {
    int64_t end = frame.integer(op.getUpperBound());
    int64_t step = frame.integer(op.getStep());
    if (step < 1)
      return failure(op, llvm::formatv("expected a step >= 1, got {0}", step).str());
    Data carried = frame.get(op.getInitArgs());
    for (int64_t i = frame.integer(op.getLowerBound()); i < end; i += step) {
      frame.set(op.getInductionVar(), {i});
      frame.set(op.getRegionIterArgs(), carried);
      ExpectedData yielded = run(*op.getBody(), frame);
      if (!yielded)
        return yielded;
      carried = std::move(*yielded);
    }
    return carried;
  }

  ExpectedData execute(scf::IfOp op, Frame &frame) {
    Region &region = frame.integer(op.getCondition()) ? op.getThenRegion() : op.getElseRegion();
    return region.empty() ? Data() : run(region.front(), frame);
  }

  // --- Scalars ---

  ExpectedData execute(arith::ConstantOp op) {
    if (auto integer = dyn_cast<IntegerAttr>(op.getValue()))
      return single(integer.getValue().getSExtValue());
    if (auto number = dyn_cast<FloatAttr>(op.getValue()))
      return single(number.getValueAsDouble());
    return failure(op, "expected a number");
  }

  ExpectedData executeInteger(Operation *op, Frame &frame) {
    auto isInteger = [](Type type) { return integerWidth(type) != 0; };
    if (op->getNumRegions() == 0 && op->getNumResults() == 1 && llvm::all_of(op->getOperandTypes(), isInteger) &&
        llvm::all_of(op->getResultTypes(), isInteger)) {
      auto result = evaluateInteger(op, frame.integers(op->getOperands()));
      if (!result)
        return failure(op, result.takeError());
      if (*result)
        return single(**result);
    }
    return failure(op, "the tile interpreter does not support this op");
  }

  // --- Memory ---

  template <typename Op> ExpectedData allocate(Op op, Frame &frame) {
    auto type = cast<MemRefType>(op.getType());
    std::optional<ElementType> elementType = elementTypeOf(type.getElementType());
    if (!elementType || !type.getLayout().isIdentity())
      return failure(op, "expected a plain memref of an element type that can be interpreted");
    SmallVector<int64_t> dynamic = frame.integers(op.getDynamicSizes());
    std::vector<int64_t> shape(type.getShape());
    int64_t count = 1;
    size_t next = 0;
    for (int64_t &size : shape) {
      if (ShapedType::isDynamic(size))
        size = dynamic[next++];
      if (size < 0)
        return failure(op, llvm::formatv("expected sizes >= 0, got {0}", size).str());
      count *= size;
    }
    // All ones is a NaN in every floating-point type: what is read before it is written shows.
    auto storage = std::make_shared<std::vector<std::byte>>(count * elementSize(*elementType), std::byte(0xff));
    return single(Memory{MemoryView::contiguous(*elementType, storage->data(), shape), storage});
  }

  ExpectedData execute(memref::DimOp op, Frame &frame) {
    auto *memory = std::get_if<Memory>(&frame[op.getSource()]);
    int64_t index = frame.integer(op.getIndex());
    if (!memory || index < 0 || index >= static_cast<int64_t>(memory->view.shape.size()))
      return failure(op, llvm::formatv("no dimension {0}", index).str());
    return single(memory->view.shape[index]);
  }

  ExpectedData execute(memref::LoadOp op, Frame &frame) {
    llvm::Expected<double> value = loadElement(frame.memory(op.getMemref()).view, frame.integers(op.getIndices()));
    if (!value)
      return failure(op, value.takeError());
    return integerWidth(op.getType()) ? single(static_cast<int64_t>(*value)) : single(*value);
  }

  ExpectedData execute(memref::CastOp op, Frame &frame) {
    const Memory &memory = frame.memory(op.getSource());
    auto type = dyn_cast<MemRefType>(op.getType());
    if (!type)
      return failure(op, "the tile interpreter does not support memory without rank");
    if (llvm::Error error = checkMemory(memory.view, type))
      return failure(op, std::move(error));
    return single(memory);
  }

  ExpectedData execute(memref::ReinterpretCastOp op, Frame &frame) {
    // Offsets count from the start of the memory, which views do not know.
    if (!isa_and_present<memref::AllocOp, memref::AllocaOp>(op.getSource().getDefiningOp()))
      return failure(op, "expected memory that was just allocated");
    Memory memory = frame.memory(op.getSource());
    memory.view.data = memory.view.at(frame.mixed(op.getMixedOffsets()).front());
    SmallVector<int64_t> sizes = frame.mixed(op.getMixedSizes()), strides = frame.mixed(op.getMixedStrides());
    memory.view.shape.assign(sizes.begin(), sizes.end());
    memory.view.strides.assign(strides.begin(), strides.end());
    return single(std::move(memory));
  }

  ExpectedData execute(memref::SubViewOp op, Frame &frame) {
    Memory memory = frame.memory(op.getSource());
    auto view = subview(memory.view, frame.mixed(op.getMixedOffsets()), frame.mixed(op.getMixedSizes()),
                        frame.mixed(op.getMixedStrides()), op.getDroppedDims());
    if (!view)
      return failure(op, view.takeError());
    memory.view = std::move(*view);
    return single(std::move(memory));
  }

  ModuleOp module;
  TileArithmetic arithmetic;
};

llvm::Expected<Datum> datumOf(const InterpreterArgument &argument, Type type) {
  if (auto memrefType = dyn_cast<MemRefType>(type)) {
    auto *memory = std::get_if<MemoryView>(&argument);
    if (!memory)
      return llvm::createStringError("expected memory, got a number");
    if (llvm::Error error = checkMemory(*memory, memrefType))
      return std::move(error);
    return Memory{*memory, nullptr};
  }
  unsigned width = integerWidth(type);
  if (!width)
    return llvm::createStringError("expected parameters that are memrefs, integers or indices");
  auto *number = std::get_if<int64_t>(&argument);
  if (!number)
    return llvm::createStringError("expected a number, got memory");
  if (!llvm::isIntN(width, *number))
    return llvm::createStringError(llvm::formatv("expected a number of {0} bits, got {1}", width, *number));
  return *number;
}

} // namespace

llvm::Error tpac::interpret(ModuleOp module, StringRef name, ArrayRef<InterpreterArgument> arguments,
                            Arithmetic arithmetic) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return llvm::createStringError("no function @" + name);
  if (function.getNumArguments() != arguments.size())
    return llvm::createStringError(
        llvm::formatv("@{0}: expected {1} arguments, got {2}", name, function.getNumArguments(), arguments.size()));
  Data data;
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    llvm::Expected<Datum> value = datumOf(argument, function.getArgumentTypes()[i]);
    if (!value)
      return llvm::createStringError(
          llvm::formatv("@{0}: argument {1}: {2}", name, i, llvm::toString(value.takeError())));
    data.push_back(std::move(*value));
  }
  return Interpreter(module, arithmetic).call(function, data).takeError();
}
