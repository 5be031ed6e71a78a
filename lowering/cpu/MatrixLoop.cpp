// SPDX-License-Identifier: Apache-2.0

#include "lowering/cpu/MatrixLoop.h"

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

namespace {

TileType typeOf(Value tile) { return cast<TileType>(tile.getType()); }

StringAttr lastAxis(TileType type) { return type.getRank() == 0 ? StringAttr() : type.getAxes().back(); }

/// Reads a loop's body back to front.
class Matcher {
public:
  explicit Matcher(scf::ForOp loop) { m.loop = loop; }

  std::optional<MatrixLoop> run() {
    if (!findStep() || !findValues() || !findGeometry() || !isExpression(m.step.getLogits(), Value()))
      return std::nullopt;
    for (const MatrixLoop::ValueProduct &product : m.values)
      if (!isExpression(product.weights, m.step.getProbabilities()))
        return std::nullopt;
    if (m.hasQueryColumns()) {
      for (const MatrixLoop::Score &score : m.scores)
        for (const MatrixLoop::Product &product : score.products)
          addPacked(product.keys, m.keyFeatures);
      for (const MatrixLoop::ValueProduct &product : m.values)
        addPacked(product.values, m.valueFeatures);
    }
    addSlicedRows();
    // Nothing else may read what the stages keep to themselves.
    for (Operation *op : m.staged)
      for (Operation *user : op->getUsers())
        if (!m.staged.contains(user) && !isa<scf::YieldOp>(user))
          return std::nullopt;
    m.mask = m.step.getLogits().getDefiningOp<tile::MaskOp>();
    if (!findPages())
      return std::nullopt;
    return std::move(m);
  }

private:
  bool isInside(Value value) {
    Operation *op = value.getDefiningOp();
    return op && op->getBlock() == m.loop.getBody();
  }
  bool isCarried(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && argument.getOwner() == m.loop.getBody() && argument.getArgNumber() > 0;
  }

  bool findPages() {
    for (auto load : m.loop.getBody()->getOps<tile::LoadOp>()) {
      if (!load.getTable() || !load.isWithinPage())
        continue;
      if (!m.paged)
        m.paged = load;
      if (load.getTable() != m.paged.getTable() || load.getPageSize() != m.paged.getPageSize() ||
          load.getIndices()[0] != m.paged.getIndices()[0] || load.getIndices()[1] != m.loop.getInductionVar())
        return false;
    }
    return true;
  }

  bool findStep() {
    for (tile::SoftmaxStepOp step : m.loop.getBody()->getOps<tile::SoftmaxStepOp>()) {
      if (m.step)
        return false;
      m.step = step;
    }
    if (!m.step || m.loop.getNumResults() != 3 || !isCarried(m.step.getMax()) || !isCarried(m.step.getSum()))
      return false;
    m.staged.insert(m.step);
    auto yielded = m.loop.getBody()->getTerminator()->getOperands();
    return yielded[m.maxNumber()] == m.step.getNewMax() && yielded[m.sumNumber()] == m.step.getNewSum();
  }

  /// From the yielded accumulator back over its products to the correction.
  bool findValues() {
    Value accumulator;
    for (auto [number, value] : llvm::enumerate(m.loop.getBody()->getTerminator()->getOperands()))
      if (number != m.maxNumber() && number != m.sumNumber())
        accumulator = value;
    while (auto dot = accumulator.getDefiningOp<tile::DotOp>()) {
      if (!isInside(dot) || !dot.getAccumulator() || !typeOf(dot.getLhs()).getElementType().isBF16() ||
          !typeOf(dot.getRhs()).getElementType().isBF16())
        return false;
      m.values.insert(m.values.begin(), {dot.getLhs(), dot.getRhs()});
      m.staged.insert(dot);
      accumulator = dot.getAccumulator();
    }
    m.correct = accumulator.getDefiningOp<tile::MulOp>();
    if (m.values.empty() || !m.correct || !isInside(m.correct) || !isCarried(m.correct.getLhs()) ||
        m.correct.getRhs() != m.step.getCorrection())
      return false;
    m.staged.insert(m.correct);
    return true;
  }

  bool findGeometry() {
    TileType logits = typeOf(m.step.getLogits());
    TileType accumulator = m.correct.getType();
    m.column = lastAxis(logits);
    if (!m.column || m.column.getValue() == "m" || !logits.hasAxis("m") || lastAxis(accumulator) != m.column ||
        !logits.getElementType().isF32())
      return false;
    for (StringAttr axis : logits.getAxes())
      if (axis != m.column && axis.getValue() != "m")
        m.outer.push_back(axis);
    for (StringAttr axis : accumulator.getAxes())
      if (!logits.hasAxis(axis)) {
        if (m.valueFeatures)
          return false;
        m.valueFeatures = axis;
      }
    if (!m.valueFeatures)
      return false;
    m.tokens = logits.sizeOf("m");
    m.columns = logits.sizeOf(m.column);
    m.valueSize = accumulator.sizeOf(m.valueFeatures);
    for (const MatrixLoop::ValueProduct &product : m.values)
      if (!isMatrix(product.values, m.valueFeatures) || typeOf(product.weights).getRank() != logits.getRank())
        return false;
    if (m.hasQueryColumns() && (m.columns % chunkColumns != 0 || m.valueSize % (2 * matrixRows) != 0))
      return false;
    return m.tokens % matrixDepth == 0 && m.valueSize % matrixRows == 0 && 2 * m.columns > matrixColumns;
  }

  /// Whether `tile` has tokens and `features` alone, but for axes of size 1; where queries are the columns, each head
  /// may have its own.
  bool isMatrix(Value tile, StringAttr features) const {
    TileType type = typeOf(tile);
    return type.hasAxis("m") && type.hasAxis(features) &&
           llvm::all_of(llvm::zip(type.getAxes(), type.getSizes()), [&](auto axisAndSize) {
             auto [axis, size] = axisAndSize;
             return size == 1 || axis.getValue() == "m" || axis == features ||
                    (m.hasQueryColumns() && llvm::is_contained(m.outer, axis));
           });
  }

  /// Values that are the first features of rows that stand in memory: they are packed from there.
  void addSlicedRows() {
    for (const MatrixLoop::ValueProduct &product : m.values)
      if (isSlicedRows(product.values))
        m.packed.insert(product.values.getDefiningOp());
  }

  /// Elementwise ops and loads from which `value` is computed, where they can be read along its vectors as it is
  /// packed.
  void addPacked(Value value, StringAttr features) {
    if (isDirectRows(value, features) || isDirectBlocks(value, features))
      return;
    StringAttr lane = MatrixLoop::packedLane(value);
    SmallVector<Value> rest = {value};
    while (!rest.empty()) {
      Operation *op = rest.pop_back_val().getDefiningOp();
      if (!op || op->getBlock() != m.loop.getBody() || m.packed.contains(op) || m.staged.contains(op))
        continue;
      if (auto load = dyn_cast<tile::LoadOp>(op)) {
        auto type = cast<MemRefType>(load.getMemory().getType());
        if (load.getTable() && !load.isWithinPage())
          continue;
        int64_t block = load.getBlockOfAxis(lane);
        if (cast<StringAttr>(load.getAxes().getValue().back()) == lane &&
            type.getStridesAndOffset().first.back() == 1 && block % matrixColumns == 0)
          m.packed.insert(op);
        continue;
      }
      if (!isa<tile::AddOp, tile::ConstantMulOp, tile::ConvertOp, tile::MulOp, tile::SplitOp>(op))
        continue;
      bool sameLane = llvm::all_of(op->getOperands(), [&](Value operand) {
        return !typeOf(operand).hasAxis(lane) || lastAxis(typeOf(operand)) == lane;
      });
      if (!sameLane || lastAxis(typeOf(op->getResult(0))) != lane)
        continue;
      m.packed.insert(op);
      llvm::append_range(rest, op->getOperands());
    }
    // What others read too comes before the stages.
    bool changed = true;
    while (changed)
      changed = m.packed.remove_if([&](Operation *op) {
        return llvm::any_of(op->getUsers(),
                            [&](Operation *user) { return !m.packed.contains(user) && !isProductOf(user); });
      });
  }

  /// Whether `op` is one of the matrix unit's products.
  bool isProductOf(Operation *op) const { return isa<tile::DotOp>(op) && m.staged.contains(op); }

  /// The score that ends in `dot`.
  bool addScore(tile::DotOp dot) {
    MatrixLoop::Score score;
    score.result = dot;
    for (Value value = dot; value;) {
      auto product = value.getDefiningOp<tile::DotOp>();
      if (!product || !isInside(product))
        return false;
      Value query = product.getLhs(), keys = product.getRhs();
      if (isInside(query))
        std::swap(query, keys);
      TileType queryType = typeOf(query), keyType = typeOf(keys);
      if (isInside(query) || !isInside(keys) || !queryType.getElementType().isBF16() ||
          !keyType.getElementType().isBF16())
        return false;
      StringAttr features;
      for (StringAttr axis : keyType.getAxes())
        if (axis.getValue() != "m" && queryType.hasAxis(axis) && !product.getType().hasAxis(axis))
          features = axis;
      // Queries as columns are packed from either axis.
      bool isPackable =
          lastAxis(queryType) == m.column || (m.hasQueryColumns() && features && lastAxis(queryType) == features);
      if (!features || !isMatrix(keys, features) || !isPackable)
        return false;
      if (!queryType.hasAxis(features) || product.getType().hasAxis(features) ||
          queryType.getRank() != static_cast<int64_t>(m.outer.size()) + 2)
        return false;
      if (m.keyFeatures && (m.keyFeatures != features || m.keySize != keyType.sizeOf(features)))
        return false;
      m.keyFeatures = features;
      m.keySize = keyType.sizeOf(features);
      if (m.keySize % matrixDepth != 0)
        return false;
      score.products.push_back({query, keys});
      m.staged.insert(product);
      value = product.getAccumulator();
    }
    m.scores.push_back(std::move(score));
    return true;
  }

  /// Whether `value` is computed element by element from scores, head factors and `start`.
  bool isExpression(Value value, Value start) {
    if (value == start || !isInside(value))
      return value == start || !isCarried(value);
    Operation *op = value.getDefiningOp();
    if (auto dot = dyn_cast<tile::DotOp>(op)) {
      bool known = llvm::any_of(m.scores, [&](const MatrixLoop::Score &score) { return score.result == value; });
      return known || addScore(dot);
    }
    if (auto load = dyn_cast<tile::LoadOp>(op)) {
      if (readsVectors(load))
        m.staged.insert(op);
      return true;
    }
    if (isBefore(value))
      return true;
    if (!isa<tile::AddOp, tile::ConstantMulOp, tile::ConvertOp, tile::MaskOp, tile::MulOp, tile::SoftcapOp>(op))
      return false;
    m.staged.insert(op);
    return llvm::all_of(op->getOperands(), [&](Value operand) {
      return !isa<TileType>(operand.getType()) || isExpression(operand, start);
    });
  }

  /// Whether the stages can read `load` as they go: along the columns one vector, else one element. One that many
  /// chunks of columns read is loaded before.
  bool readsVectors(tile::LoadOp load) {
    if (m.hasQueryColumns() || (load.getTable() && !load.isWithinPage()))
      return false;
    auto type = cast<MemRefType>(load.getMemory().getType());
    return !load.getType().hasAxis(m.column) || (cast<StringAttr>(load.getAxes().getValue().back()) == m.column &&
                                                 type.getStridesAndOffset().first.back() == 1);
  }

  /// Whether `value` depends on loads and tiles from outside of the loop alone, so that it can come before the stages.
  bool isBefore(Value value) {
    if (!isInside(value))
      return !isCarried(value);
    Operation *op = value.getDefiningOp();
    if (isa<tile::DotOp, tile::SoftmaxStepOp>(op))
      return false;
    return llvm::all_of(op->getOperands(),
                        [&](Value operand) { return !isa<TileType>(operand.getType()) || isBefore(operand); });
  }

  MatrixLoop m;
};

/// Whether rows of `load` stand in memory with stride 1, and every index is that of the loop or outside of it.
bool readsRows(tile::LoadOp load) {
  auto type = cast<MemRefType>(load.getMemory().getType());
  auto [strides, offset] = type.getStridesAndOffset();
  auto loop = dyn_cast<scf::ForOp>(load->getParentOp());
  return type.getElementType().isBF16() && strides.back() == 1 && loop && (!load.getTable() || load.isWithinPage()) &&
         llvm::all_of(load.getIndices(), [&](Value index) {
           return index == loop.getInductionVar() || loop.isDefinedOutsideOfLoop(index);
         });
}

SmallVector<StringRef> axesOf(tile::LoadOp load) {
  SmallVector<StringRef> axes;
  for (StringAttr axis : load.getAxes().getAsRange<StringAttr>())
    if (!axis.empty())
      axes.push_back(axis.getValue());
  return axes;
}

} // namespace

StringAttr MatrixLoop::packedLane(Value keysOrValues) {
  if (isSlicedRows(keysOrValues))
    return keysOrValues.getDefiningOp<tile::SliceOp>().getToAttr();
  return lastAxis(typeOf(keysOrValues));
}

bool MatrixLoop::differsByOuter(Value keysOrValues) const {
  TileType type = typeOf(keysOrValues);
  return llvm::any_of(outer, [&](StringAttr axis) { return type.hasAxis(axis) && type.sizeOf(axis.getValue()) != 1; });
}

std::optional<MatrixLoop> MatrixLoop::match(scf::ForOp loop) { return Matcher(loop).run(); }

void MatrixLoop::dropTranspositions() {
  // Parts of a query take part in several products.
  llvm::SmallSetVector<tile::ConvertOp, 4> transpositions;
  for (const Score &score : scores)
    for (const Product &product : score.products) {
      auto convert = product.query.getDefiningOp<tile::ConvertOp>();
      if (hasQueryColumns() && convert && lastAxis(typeOf(convert.getInput())) == keyFeatures &&
          typeOf(convert.getInput()).getElementType() == convert.getType().getElementType())
        transpositions.insert(convert);
    }
  for (tile::ConvertOp convert : transpositions) {
    convert.getResult().replaceUsesWithIf(convert.getInput(),
                                          [&](OpOperand &use) { return staged.contains(use.getOwner()); });
    if (convert.use_empty())
      convert.erase();
  }
}

bool cpu::isDirectRows(Value tile, StringAttr features) {
  auto load = tile.getDefiningOp<tile::LoadOp>();
  return load && readsRows(load) && axesOf(load) == SmallVector<StringRef>{"m", features.getValue()} &&
         cast<StringAttr>(load.getAxes().getValue().back()) == features;
}

bool cpu::isSlicedRows(Value tile) {
  auto slice = tile.getDefiningOp<tile::SliceOp>();
  return slice && !slice.getOffset() && isDirectRows(slice.getInput(), slice.getFromAttr());
}

bool cpu::isDirectBlocks(Value tile, StringAttr features) {
  auto load = tile.getDefiningOp<tile::LoadOp>();
  return load && readsRows(load) && axesOf(load) == SmallVector<StringRef>{"m", features.getValue(), "m"} &&
         cast<MemRefType>(load.getMemory().getType()).getShape().back() == matrixDepth;
}
