// SPDX-License-Identifier: Apache-2.0
//
// tile.load and tile.store: between tensors in their storage types and tiles.

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include <numeric>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;
using tile::TileType;

namespace {

/// How the axes of a tile lie in a tensor.
struct Access {
  template <typename Op>
  Access(ImplicitLocOpBuilder &b, Op op, TileType type)
      : memory(op.getMemory()), base(op.getIndices()), axes(op.getAxes().template getAsRange<StringAttr>()) {
    for (StringAttr axis : type.getAxes())
      if (int64_t size = op.getBlockOfAxis(axis))
        blocks[axis] = size;
    for (auto [axis, limit] : llvm::zip(op.getLimited().template getAsRange<StringAttr>(), op.getLimits())) {
      Value zero = arith::ConstantIndexOp::create(b, 0);
      Value size = arith::ConstantIndexOp::create(b, type.sizeOf(axis.getValue()));
      limits[axis] = arith::MaxSIOp::create(b, zero, arith::MinSIOp::create(b, limit, size));
    }
    if (this->type().getElementType().isBF16())
      memory = asBits(b, memory);
    if (!op.getTable())
      return;
    pageSize = op.getPageSize();
    if (op.isWithinPage()) {
      moveTo(PagePlace::find(b, op.getTable(), pageSize, base[0], base[1]));
    } else {
      table = op.getTable();
    }
  }

  /// The same block, begun at `place` of a pool of pages.
  void moveTo(const PagePlace &place) {
    base[0] = place.page;
    base[1] = place.slot;
  }

  MemRefType type() const { return cast<MemRefType>(memory.getType()); }

  /// A vector of the memory's type as one of `element`, which has the same bits; and the inverse.
  static Value asElements(ImplicitLocOpBuilder &b, Value vector, Type element) {
    auto from = cast<VectorType>(vector.getType());
    if (element == from.getElementType())
      return vector;
    return arith::BitcastOp::create(b, from.clone(element), vector);
  }
  Value asMemory(ImplicitLocOpBuilder &b, Value vector) const { return asElements(b, vector, type().getElementType()); }

  /// Indices of the element at `point`; with `step`, of one so many elements further along dimension `stepped`.
  SmallVector<Value> at(ImplicitLocOpBuilder &b, const Point &point, size_t stepped = 0, Value step = {}) const {
    SmallVector<Value> indices;
    Point elements;
    PagePlace found;
    if (table)
      found = PagePlace::find(b, table, pageSize, base[0], arith::AddIOp::create(b, base[1], point.lookup(axes[1])));
    for (auto [dimension, index, axis] : llvm::enumerate(base, axes)) {
      Value place = elements.lookup(axis);
      Value element = index;
      if (table && dimension < 2)
        element = dimension == 0 ? found.page : found.slot;
      else if (!axis.empty() && !place)
        element = arith::AddIOp::create(b, element, point.lookup(axis));
      if (step && dimension == stepped)
        element = arith::AddIOp::create(b, element, step);
      if (int64_t block = blockOf(axis)) {
        // Elements that are accessed have indices of 0 or more.
        Value size = arith::ConstantIndexOp::create(b, block);
        elements[axis] = place ? place : element;
        element =
            place ? Value(arith::RemUIOp::create(b, place, size)) : Value(arith::DivUIOp::create(b, element, size));
      }
      indices.push_back(element);
    }
    return indices;
  }

  /// The axis along the last dimension, if any.
  StringAttr lastAxis() const { return axes.empty() || axes.back().empty() ? StringAttr() : axes.back(); }
  /// Elements per block of an axis in blocks, else 0.
  int64_t blockOf(StringAttr axis) const { return axis ? blocks.lookup(axis) : 0; }
  /// The most elements, of `width` or fewer, of which vectors along `axis` lie in one block each, if the first one
  /// does.
  int64_t widthAlong(StringAttr axis, int64_t width) const { return std::gcd(blockOf(axis), width); }
  /// Whether elements along the last dimension may lie in different pages.
  bool isScattered() const { return table && lastAxis() == axes[1] && blockOf(lastAxis()) == 0; }

  Value memory;
  SmallVector<Value> base;
  SmallVector<StringAttr> axes;
  llvm::SmallDenseMap<StringAttr, int64_t> blocks;
  Point limits;
  /// Of pages, where each element's is looked up.
  Value table;
  int64_t pageSize = 0;
};

/// Emits `contiguous` where vectors of `width` elements along `lane` are contiguous in the tensor, and `strided` where
/// they are not: both, where only the run decides.
void byStride(ImplicitLocOpBuilder &b, Access &access, StringAttr lane, int64_t width,
              llvm::function_ref<void()> contiguous, llvm::function_ref<void()> strided) {
  MemRefType type = access.type();
  auto [strides, offset] = type.getStridesAndOffset();
  bool knowsStride = !lane || !ShapedType::isDynamic(strides.back());
  bool isBlocked = access.blockOf(lane) != 0;
  if (!lane || access.lastAxis() != lane || access.isScattered() || (knowsStride && strides.back() != 1) ||
      (isBlocked && width == 1))
    return strided();
  if (knowsStride && !isBlocked)
    return contiguous();
  auto metadata = memref::ExtractStridedMetadataOp::create(b, access.memory);
  Value condition = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, metadata.getStrides().back(),
                                          arith::ConstantIndexOp::create(b, 1));
  if (isBlocked) {
    Value first = access.base[llvm::find(access.axes, lane) - access.axes.begin()];
    Value rest = arith::RemUIOp::create(b, first, arith::ConstantIndexOp::create(b, width));
    Value aligned = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, arith::ConstantIndexOp::create(b, 0));
    condition = arith::AndIOp::create(b, condition, aligned);
  }
  auto conditional = scf::IfOp::create(b, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.elseBlock());
  strided();
  b.setInsertionPointToStart(conditional.thenBlock());
  // Not a cast: folded into a vector.load, it would lose the stride that the load needs.
  strides.back() = 1;
  auto layout = StridedLayoutAttr::get(b.getContext(), offset, strides);
  auto known = MemRefType::get(type.getShape(), type.getElementType(), layout, type.getMemorySpace());
  SmallVector<OpFoldResult> knownStrides = metadata.getConstifiedMixedStrides();
  knownStrides.back() = b.getIndexAttr(1);
  access.memory =
      memref::ReinterpretCastOp::create(b, known, metadata.getBaseBuffer(), metadata.getConstifiedMixedOffset(),
                                        metadata.getConstifiedMixedSizes(), knownStrides);
  contiguous();
}

/// The limit of `axis`, or null.
Value limitOf(const Access &access, StringAttr axis) { return access.limits.lookup(axis); }

} // namespace

void Emitter::load(tile::LoadOp op, const Tile &result) {
  Access access(b, op, result.type);
  TileType type = result.type;
  StringAttr lane = laneAxis(type);
  int64_t size = laneSize(type);
  Type storage = type.getElementType();
  // Along an axis in blocks, elements stand together as they do along no other: loaded so, then transposed.
  if (StringAttr last = access.lastAxis(); last && last != lane && access.blockOf(last) != 0) {
    Tile along = allocate(type.withLastAxis(last));
    load(op, along);
    convert(along, result);
    return release(along);
  }

  // Vectors of the storage type are converted, so that f64 takes two registers per vector of a full f32's length.
  int64_t width = access.widthAlong(lane, commonWidth(result, {}));

  Type kept = cast<MemRefType>(result.memory.getType()).getElementType();
  // Elements as the tile's buffer keeps them: in their arithmetic type, or as in memory.
  auto inTile = [&](Value loaded) {
    bool isCopy = kept != storedType(type) || kept == access.type().getElementType();
    return isCopy ? loaded : fromStorage(b, Access::asElements(b, loaded, storage));
  };

  // While a block of a stream is read, the next one is asked for. Prefetches never fault.
  Point point;
  auto loopAround = dyn_cast<scf::ForOp>(op->getParentOp());
  std::optional<size_t> streamed = loopAround ? streamedDimension(op, loopAround) : std::nullopt;
  if (isSpread(op))
    streamed.reset();
  Access next = access;
  if (streamed && op.getTable())
    next.moveTo(PagePlace::findNext(b, op, loopAround));
  auto prefetchNext = [&] {
    if (!streamed)
      return;
    Value step = op.getTable() ? Value() : loopAround.getStep();
    memref::PrefetchOp::create(b, access.memory, next.at(b, point, *streamed, step),
                               /*isWrite=*/false, /*localityHint=*/3, /*isDataCache=*/true);
  };

  // The subtree of axes from `depth` on: elements up to the limits, zeros beyond.
  std::function<void(size_t, bool, llvm::function_ref<void()>)> nest = [&](size_t depth, bool zeros,
                                                                           llvm::function_ref<void()> row) {
    size_t outer = type.getRank() == 0 ? 0 : type.getRank() - 1;
    if (depth == outer) {
      if (!zeros)
        return row();
      laneLoop(type, width, point, [&] {
        Value zero = arith::ConstantOp::create(b, b.getZeroAttr(VectorType::get({width}, kept)));
        vector::StoreOp::create(b, zero, result.memory, indices(result, point));
      });
      return;
    }
    StringAttr axis = type.getAxes()[depth];
    Value end = index(type.getSizes()[depth]);
    Value limit = zeros ? Value() : limitOf(access, axis);
    auto over = [&](Value from, Value to, bool zero) {
      loop(from, to, 1, [&](Value i) {
        point[axis] = i;
        nest(depth + 1, zero, row);
      });
    };
    over(index(0), limit ? limit : end, zeros);
    if (limit)
      over(limit, end, true);
  };

  auto vectors = [&](bool limited) {
    nest(0, false, [&] {
      laneLoop(type, width, point, [&] {
        auto memoryType = VectorType::get({width}, access.type().getElementType());
        SmallVector<Value> at = access.at(b, point);
        prefetchNext();
        Value loaded;
        Value limit = limited ? limitOf(access, lane) : Value();
        auto first = point.lookup(lane).getDefiningOp<arith::ConstantIndexOp>();
        bool whole = size % width == 0 || (first && first.value() + width <= size);
        if (!limit && whole) {
          loaded = vector::LoadOp::create(b, memoryType, access.memory, at);
        } else {
          Value inside = lanesBelow(b, width, point.lookup(lane), limit ? limit : index(size));
          Value zero = arith::ConstantOp::create(b, b.getZeroAttr(memoryType));
          loaded = vector::MaskedLoadOp::create(b, memoryType, access.memory, at, inside, zero);
        }
        vector::StoreOp::create(b, inTile(loaded), result.memory, indices(result, point));
      });
    });
  };
  auto contiguous = [&] {
    Value limit = limitOf(access, lane);
    if (!limit)
      return vectors(false);
    Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, limit, index(size));
    auto conditional = scf::IfOp::create(b, whole, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(conditional.thenBlock());
    vectors(false);
    b.setInsertionPointToStart(conditional.elseBlock());
    vectors(true);
  };
  auto strided = [&] {
    if (limitOf(access, lane) || padded(size) != size)
      nest(0, true, [] {});
    nest(0, false, [&] {
      auto single = VectorType::get({1}, access.type().getElementType());
      auto element = [&] {
        Value loaded = memref::LoadOp::create(b, access.memory, access.at(b, point));
        loaded = vector::BroadcastOp::create(b, single, loaded);
        vector::StoreOp::create(b, inTile(loaded), result.memory, indices(result, point));
      };
      if (!lane)
        return element();
      Value limit = limitOf(access, lane);
      loop(index(0), limit ? limit : index(size), 1, [&](Value i) {
        point[lane] = i;
        element();
      });
    });
  };
  byStride(b, access, lane, width, contiguous, strided);
}

bool Emitter::canReadInPlace(tile::LoadOp op) {
  TileType type = op.getType();
  auto axes = llvm::to_vector(op.getAxes().getAsRange<StringAttr>());
  bool isBlocked = llvm::any_of(type.getAxes(), [&](StringAttr axis) { return op.getBlockOfAxis(axis) != 0; });
  bool isInPages = op.getTable() && !op.isWithinPage();
  return type.getRank() != 0 && !axes.empty() && axes.back() == laneAxis(type) && !isBlocked && !isInPages;
}

Tile Emitter::inPlace(tile::LoadOp op) {
  TileType type = op.getType();
  Access access(b, op, type);
  MemRefType memory = access.type();
  auto metadata = memref::ExtractStridedMetadataOp::create(b, access.memory);
  SmallVector<OpFoldResult> strides = metadata.getConstifiedMixedStrides();

  // The block as a tensor with the tile's axes.
  SmallVector<OpFoldResult> sizes, tileStrides;
  SmallVector<int64_t> anyStrides;
  for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    sizes.push_back(b.getIndexAttr(size));
    bool isLane = axis == laneAxis(type);
    tileStrides.push_back(isLane ? b.getIndexAttr(1) : strides[llvm::find(access.axes, axis) - access.axes.begin()]);
    anyStrides.push_back(isLane ? 1 : ShapedType::kDynamic);
  }
  auto layout = StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, anyStrides);
  auto block = MemRefType::get(type.getSizes(), memory.getElementType(), layout, memory.getMemorySpace());
  auto valueOf = [&](OpFoldResult number) { return getValueOrCreateConstantIndexOp(b, b.getLoc(), number); };
  auto direct = [&]() -> Value {
    Value offset = valueOf(metadata.getConstifiedMixedOffset());
    for (auto [index, stride] : llvm::zip(access.base, strides))
      offset = arith::AddIOp::create(b, offset, arith::MulIOp::create(b, index, valueOf(stride)));
    for (OpFoldResult &stride : tileStrides)
      if (!isConstantIntValue(stride, 1))
        stride = valueOf(stride);
    return memref::ReinterpretCastOp::create(b, block, metadata.getBaseBuffer(), offset, sizes, tileStrides);
  };

  // Where elements do not stand side by side, or some do not exist, they are read from a copy.
  Value isDirect;
  auto require = [&](Value condition) {
    isDirect = isDirect ? Value(arith::AndIOp::create(b, isDirect, condition)) : condition;
  };
  if (!isConstantIntValue(strides.back(), 1))
    require(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, valueOf(strides.back()), index(1)));
  for (auto [axis, limit] : access.limits)
    require(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, limit, index(type.sizeOf(axis))));
  if (!isDirect)
    return {direct(), type};

  SmallVector<int64_t> copyShape(bufferType(type).getShape());
  Value copy;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&op->getParentOfType<FunctionOpInterface>().getFunctionBody().front());
    copy = memref::AllocaOp::create(b, MemRefType::get(copyShape, memory.getElementType()), b.getI64IntegerAttr(64));
  }
  auto conditional = scf::IfOp::create(b, TypeRange(block), isDirect, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  scf::YieldOp::create(b, direct());
  b.setInsertionPointToStart(conditional.elseBlock());
  load(op, {copy, type});
  auto [copyStrides, copyOffset] = cast<MemRefType>(copy.getType()).getStridesAndOffset();
  SmallVector<OpFoldResult> copied;
  for (int64_t stride : ArrayRef(copyStrides).drop_back())
    copied.push_back(index(stride));
  copied.push_back(b.getIndexAttr(1));
  scf::YieldOp::create(b, ValueRange(memref::ReinterpretCastOp::create(b, block, copy, index(0), sizes, copied)));
  return {conditional.getResult(0), type};
}

bool Emitter::canTurn(tile::StoreOp op, tile::ConvertOp turn) {
  StringAttr rows = laneAxis(turn.getInput().getType()), lane = laneAxis(turn.getType());
  auto axes = llvm::to_vector(op.getAxes().getAsRange<StringAttr>());
  constexpr int64_t widest = 16;
  bool hasSquares =
      turn.getType().sizeOf(rows.getValue()) % widest == 0 && turn.getType().sizeOf(lane.getValue()) % widest == 0;
  return hasSquares && storedType(turn.getType()).isF32() && !op.getTable() && axes.back() == lane &&
         !llvm::is_contained(op.getLimited().getAsRange<StringAttr>(), lane) && op.getBlockOfAxis(lane) == 0 &&
         op.getBlockOfAxis(rows) == 0;
}

void Emitter::storeTurned(tile::StoreOp op, const Tile &input, TileType type, llvm::function_ref<Tile(Tile)> rest) {
  Access access(b, op, op.getValue().getType());
  StringAttr rows = laneAxis(input.type), lane = laneAxis(type);
  int64_t square = lanes, columns = type.sizeOf(lane.getValue());
  Type element = storedType(type), storage = op.getValue().getType().getElementType();
  // Whole lines of the tensor at once, where rows have them.
  int64_t lineSize = 512 / access.type().getElementTypeBitWidth();
  int64_t piece = columns % lineSize == 0 ? std::max(lineSize, square) : square;
  // A few rows of the result, in the L1 cache.
  Tile turned = allocate(TileType::get(b.getContext(), {rows, lane}, {square, columns}, element));
  Tile value = rest(turned);
  if (storage.isBF16())
    value.type = value.type.withElementType(storedType(value.type));
  Value limit = limitOf(access, rows);
  Value end = limit ? limit : index(laneSize(input.type));

  Point point;
  auto turn = [&](Value first, Value column) {
    // The next rows' lines, before they are written.
    for (int64_t i = 0; i < square; ++i) {
      Point next = point;
      next[rows] = plus(first, square + i);
      next[lane] = column;
      memref::PrefetchOp::create(b, access.memory, access.at(b, next), /*isWrite=*/true, /*localityHint=*/3,
                                 /*isDataCache=*/true);
    }
    for (int64_t part = 0; part < piece; part += square) {
      SmallVector<Value> vectors;
      point[rows] = first;
      for (int64_t i = 0; i < square; ++i) {
        point[lane] = plus(column, part + i);
        vectors.push_back(read(input, point, rows, square, element));
      }
      for (auto [i, vector] : llvm::enumerate(transposed(b, vectors)))
        vector::StoreOp::create(b, vector, turned.memory,
                                ValueRange{index(static_cast<int64_t>(i)), plus(column, part)});
    }
  };
  auto storeRow = [&](Value first, Value i, int64_t width) {
    loop(index(0), index(columns), width, [&](Value column) {
      point[rows] = i;
      point[lane] = column;
      Value bits = access.asMemory(b, toStorage(b, read(value, point, lane, width, storedType(value.type)), storage));
      point[rows] = arith::AddIOp::create(b, first, i);
      if (width != 1) {
        vector::StoreOp::create(b, bits, access.memory, access.at(b, point));
        return;
      }
      Value scalar = vector::ExtractOp::create(b, bits, ArrayRef<int64_t>{0});
      memref::StoreOp::create(b, scalar, access.memory, access.at(b, point));
    });
  };
  std::function<void(ArrayRef<std::pair<StringAttr, int64_t>>, llvm::function_ref<void()>)> nest =
      [&](ArrayRef<std::pair<StringAttr, int64_t>> axes, llvm::function_ref<void()> body) {
        if (axes.empty())
          return body();
        auto [axis, size] = axes.front();
        Value limit = limitOf(access, axis);
        loop(index(0), limit ? limit : index(size), 1, [&, axis = axis](Value i) {
          point[axis] = i;
          nest(axes.drop_front(), body);
        });
      };
  nest(axesWithout(input.type, {rows, lane}), [&] {
    loop(index(0), end, square, [&](Value first) {
      loop(index(0), index(columns), piece, [&](Value column) { turn(first, column); });
      Value count = arith::MinSIOp::create(b, arith::SubIOp::create(b, end, first), index(square));
      auto storeRows = [&](int64_t width) { loop(index(0), count, 1, [&](Value i) { storeRow(first, i, width); }); };
      byStride(b, access, lane, square, [&] { storeRows(square); }, [&] { storeRows(1); });
    });
  });
  release(turned);
}

void Emitter::store(tile::StoreOp op, const Tile &value) {
  Access access(b, op, value.type);
  TileType type = value.type;
  StringAttr lane = laneAxis(type);
  int64_t size = laneSize(type);
  Type storage = type.getElementType();
  int64_t width = access.widthAlong(lane, commonWidth(value, {value}));
  // What is computed here is rounded as it is stored.
  Tile unrounded = value;
  if (value.computation && storage.isBF16())
    unrounded.type = type.withElementType(storedType(type));

  Point point;
  std::function<void(size_t, llvm::function_ref<void()>)> nest = [&](size_t depth, llvm::function_ref<void()> row) {
    if (depth + 1 >= static_cast<size_t>(type.getRank()))
      return row();
    StringAttr axis = type.getAxes()[depth];
    Value limit = limitOf(access, axis);
    loop(index(0), limit ? limit : index(type.getSizes()[depth]), 1, [&](Value i) {
      point[axis] = i;
      nest(depth + 1, row);
    });
  };
  auto elements = [&](Value from) {
    auto element = [&] {
      Value loaded = read(unrounded, point, lane, 1, storedType(type));
      Value bits = access.asMemory(b, toStorage(b, loaded, storage));
      Value scalar = vector::ExtractOp::create(b, bits, ArrayRef<int64_t>{0});
      memref::StoreOp::create(b, scalar, access.memory, access.at(b, point));
    };
    if (!lane)
      return element();
    Value limit = limitOf(access, lane);
    loop(from, limit ? limit : index(size), 1, [&](Value i) {
      point[lane] = i;
      element();
    });
  };
  auto contiguous = [&] {
    nest(0, [&] {
      // Whole vectors, then the rest one by one.
      Value limit = limitOf(access, lane);
      Value whole = index(size / width * width);
      if (limit)
        whole = arith::SubIOp::create(b, limit, arith::RemUIOp::create(b, limit, index(width)));
      loop(index(0), whole, width, [&](Value i) {
        point[lane] = i;
        Value loaded = read(unrounded, point, lane, width, storedType(type));
        vector::StoreOp::create(b, access.asMemory(b, toStorage(b, loaded, storage)), access.memory,
                                access.at(b, point));
      });
      if (limit || size % width != 0)
        elements(whole);
    });
  };
  byStride(b, access, lane, width, contiguous, [&] { nest(0, [&] { elements(index(0)); }); });
}
