// SPDX-License-Identifier: Apache-2.0
//
// A tensor in memory as a caller of a compiled phase might hold it: any strides, poison in everything that is not set,
// guard zones around. Tells which bytes a call has changed.

#ifndef TPAC_TESTS_PROPERTY_BUFFER_H
#define TPAC_TESTS_PROPERTY_BUFFER_H

#include "tests/oracle/ElementTypes.h"
#include "tests/oracle/Tensor.h"
#include "tests/property/Random.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace property {

class Buffer {
public:
  using Index = std::vector<int64_t>;

  Buffer() = default;
  /// Poisoned throughout: NaN in floating-point types, a large number in integers. Where `strided`, dimensions (but for
  /// the last one where `hasRows`: it has stride 1) are permuted and padded; the data is aligned to the element size,
  /// by chance to no more.
  Buffer(oracle::Type type, std::vector<int64_t> shape, bool strided, bool hasRows, Random &random);

  void *data();
  /// One per dimension, or empty where the tensor is contiguous and the caller passes none.
  std::span<const int64_t> strides() const;
  oracle::Type type() const { return elementType; }
  const std::vector<int64_t> &shape() const { return dimensions; }

  void set(const Index &index, double value);
  double get(const Index &index) const;
  /// Every element, in row-major order.
  oracle::Tensor read() const;
  void write(const oracle::Tensor &tensor);
  /// Copies the bytes of one element from a buffer of the same type.
  void copyElement(const Index &to, const Buffer &other, const Index &from);

  /// Calls `visit` with each index, in row-major order.
  void forEach(const std::function<void(const Index &)> &visit) const;

  /// Remembers the present bytes.
  void remember();
  /// Describes the first byte that differs from the remembered ones outside the elements for which `mayChange`; empty
  /// where there is none.
  std::string changed(const std::function<bool(const Index &)> &mayChange) const;

private:
  size_t byteOffset(const Index &index) const;

  oracle::Type elementType = oracle::Type::f64;
  std::vector<int64_t> dimensions;
  std::vector<int64_t> elementStrides;
  bool passesStrides = false;
  size_t start = 0;
  std::vector<unsigned char> bytes;
  std::vector<unsigned char> remembered;
};

} // namespace property

#endif // TPAC_TESTS_PROPERTY_BUFFER_H
