// SPDX-License-Identifier: Apache-2.0
//
// Registration of the tile dialect, and its type.

#include "lowering/tile/TileDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::tpa::tile;

#include "lowering/tile/TileDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "lowering/tile/TileTypes.cpp.inc"

void TileDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "lowering/tile/TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "lowering/tile/TileOps.cpp.inc"
      >();
}

// --- TileType: <h 47, d 64, f32> ---

Type TileType::parse(AsmParser &parser) {
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> sizes;
  Type elementType;
  if (parser.parseLess())
    return {};
  // A type ends the list; an axis is a keyword followed by a number.
  while (true) {
    OptionalParseResult type = parser.parseOptionalType(elementType);
    if (type.has_value()) {
      if (failed(*type))
        return {};
      break;
    }
    StringRef name;
    int64_t size = 0;
    if (parser.parseKeyword(&name) || parser.parseInteger(size) || parser.parseComma())
      return {};
    axes.push_back(StringAttr::get(parser.getContext(), name));
    sizes.push_back(size);
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<TileType>(parser.getContext(), axes, sizes, elementType);
}

void TileType::print(AsmPrinter &printer) const {
  printer << '<';
  for (auto [axis, size] : llvm::zip(getAxes(), getSizes()))
    printer << axis.getValue() << ' ' << size << ", ";
  printer << getElementType() << '>';
}

TileType TileType::get(MLIRContext *context, ArrayRef<std::pair<StringRef, int64_t>> axes, Type elementType) {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> sizes;
  for (auto [name, size] : axes) {
    names.push_back(StringAttr::get(context, name));
    sizes.push_back(size);
  }
  return get(context, names, sizes, elementType);
}

LogicalResult TileType::verify(llvm::function_ref<InFlightDiagnostic()> emitError, ArrayRef<StringAttr> axes,
                               ArrayRef<int64_t> sizes, Type elementType) {
  if (axes.size() != sizes.size())
    return emitError() << "expected one size per axis, got " << axes.size() << " axes and " << sizes.size()
                       << " sizes [X1]";
  llvm::SmallDenseSet<StringAttr> seen;
  for (auto [axis, size] : llvm::zip(axes, sizes)) {
    if (!seen.insert(axis).second)
      return emitError() << "expected each axis once, got " << axis << " twice [X2]";
    if (size < 1)
      return emitError() << "axis " << axis.getValue() << ": expected a size >= 1, got " << size << " [X3]";
  }
  if (!elementType.isIntOrFloat())
    return emitError() << "expected a number as element type, got " << elementType << " [X4]";
  return success();
}

int64_t TileType::indexOf(StringRef name) const {
  for (auto [i, axis] : llvm::enumerate(getAxes()))
    if (axis.getValue() == name)
      return i;
  return -1;
}

int64_t TileType::sizeOf(StringRef name) const {
  int64_t index = indexOf(name);
  assert(index >= 0 && "no such axis");
  return getSizes()[index];
}

int64_t TileType::getNumElements() const {
  int64_t count = 1;
  for (int64_t size : getSizes())
    count *= size;
  return count;
}

TileType TileType::withElementType(Type type) const { return get(getContext(), getAxes(), getSizes(), type); }

TileType TileType::withLastAxis(StringRef name) const {
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> sizes;
  for (auto [axis, size] : llvm::zip(getAxes(), getSizes()))
    if (axis.getValue() != name) {
      axes.push_back(axis);
      sizes.push_back(size);
    }
  axes.push_back(StringAttr::get(getContext(), name));
  sizes.push_back(sizeOf(name));
  return get(getContext(), axes, sizes, getElementType());
}
