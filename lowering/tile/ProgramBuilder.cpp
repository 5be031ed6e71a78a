// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/ProgramBuilder.h"

#include "lowering/phases/PhaseSignature.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::tpa::tile;

Value ProgramBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
Value ProgramBuilder::add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
Value ProgramBuilder::sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
Value ProgramBuilder::min(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
Value ProgramBuilder::max(Value x, Value y) { return arith::MaxSIOp::create(b, loc, x, y); }

Value ProgramBuilder::cacheRow(Value request) {
  const StringRef starts(tpac::pageStartsName);
  return has(starts) ? TableRowOp::create(b, loc, get(starts), request) : request;
}

Value ProgramBuilder::readIndex(StringRef name, Value at) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), memref::LoadOp::create(b, loc, get(name), at));
}

namespace {
struct Access {
  SmallVector<Value> indices, limits;
  SmallVector<StringRef> axes, limited;
};

Access accessOf(ArrayRef<Along> dimensions) {
  Access access;
  for (const Along &along : dimensions) {
    access.indices.push_back(along.index);
    access.axes.push_back(along.axis);
    if (along.limit) {
      access.limited.push_back(along.axis);
      access.limits.push_back(along.limit);
    }
  }
  return access;
}
} // namespace

Value ProgramBuilder::load(StringRef name, ArrayRef<Along> dimensions, const Axes &axes, std::optional<Pages> pages) {
  Access access = accessOf(dimensions);
  Value source = get(name);
  // The tile has the access's axes in the memory's order, with the sizes that `axes` gives them.
  Axes own;
  for (StringRef axis : access.axes)
    if (!axis.empty() && llvm::none_of(own, [&](auto &pair) { return pair.first == axis; }))
      own.push_back(*llvm::find_if(axes, [&](auto &pair) { return pair.first == axis; }));
  return LoadOp::create(b, loc, tileType(own, cast<MemRefType>(source.getType()).getElementType()), source,
                        access.indices, b.getStrArrayAttr(access.axes), b.getStrArrayAttr(access.limited),
                        access.limits, pages ? get(pages->table) : Value(),
                        pages ? b.getI64IntegerAttr(pages->run) : IntegerAttr());
}

void ProgramBuilder::store(Value tile, StringRef name, ArrayRef<Along> dimensions, std::optional<Pages> pages) {
  Access access = accessOf(dimensions);
  Value target = get(name);
  tile = convert(tile, cast<MemRefType>(target.getType()).getElementType());
  StoreOp::create(b, loc, tile, target, access.indices, b.getStrArrayAttr(access.axes),
                  b.getStrArrayAttr(access.limited), access.limits, pages ? get(pages->table) : Value(),
                  pages ? b.getI64IntegerAttr(pages->run) : IntegerAttr());
}

Value ProgramBuilder::fill(double value, const Axes &axes) {
  return FillOp::create(b, loc, tileType(axes, arithmetic), b.getF64FloatAttr(value));
}

static TileType unionOf(TileType lhs, TileType rhs, Type element) {
  Axes axes;
  for (auto [axis, size] : llvm::zip(lhs.getAxes(), lhs.getSizes()))
    axes.emplace_back(axis.getValue(), size);
  for (auto [axis, size] : llvm::zip(rhs.getAxes(), rhs.getSizes()))
    if (!lhs.hasAxis(axis))
      axes.emplace_back(axis.getValue(), size);
  return TileType::get(lhs.getContext(), axes, element);
}

Value ProgramBuilder::mul(Value lhs, Value rhs) {
  return MulOp::create(b, loc, unionOf(typeOf(lhs), typeOf(rhs), arithmetic), lhs, rhs);
}

Value ProgramBuilder::addTiles(Value lhs, Value rhs) {
  return AddOp::create(b, loc, typeOf(lhs).withElementType(arithmetic), lhs, rhs);
}

Value ProgramBuilder::constantMul(Value tile, double factor) {
  if (factor == 1.0)
    return tile;
  return ConstantMulOp::create(b, loc, typeOf(tile).withElementType(arithmetic), tile, b.getF64FloatAttr(factor));
}

Value ProgramBuilder::convert(Value tile, Type type) {
  if (typeOf(tile).getElementType() == type)
    return tile;
  return ConvertOp::create(b, loc, typeOf(tile).withElementType(type), tile);
}

Value ProgramBuilder::dot(Value lhs, Value rhs, ArrayRef<StringRef> result, Value accumulator) {
  TileType both = unionOf(typeOf(lhs), typeOf(rhs), arithmetic);
  Axes axes;
  for (StringRef axis : result)
    if (both.hasAxis(axis))
      axes.emplace_back(axis, both.sizeOf(axis));
  return DotOp::create(b, loc, tileType(axes, arithmetic), lhs, rhs, accumulator);
}

Value ProgramBuilder::outer(Value lhs, Value rhs, StringRef fast, StringRef slow, StringRef joined) {
  Axes axes;
  TileType both = unionOf(typeOf(lhs), typeOf(rhs), arithmetic);
  for (auto [axis, size] : llvm::zip(both.getAxes(), both.getSizes()))
    if (axis.getValue() != fast && axis.getValue() != slow)
      axes.emplace_back(axis.getValue(), size);
  axes.emplace_back(joined, both.sizeOf(fast) * both.sizeOf(slow));
  return OuterOp::create(b, loc, tileType(axes, arithmetic), lhs, rhs, fast, slow, joined);
}

Value ProgramBuilder::broadcast(Value tile, const Axes &axes) {
  Axes missing;
  for (auto [axis, size] : axes)
    if (!typeOf(tile).hasAxis(axis))
      missing.emplace_back(axis, size);
  return missing.empty() ? tile : mul(tile, fill(1.0, missing));
}
