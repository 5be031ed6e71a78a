// SPDX-License-Identifier: Apache-2.0
//
// A dense row-major array of doubles and a set of them by name. No strides, no element types: those belong to the
// callers.

#ifndef TPAC_TESTS_ORACLE_TENSOR_H
#define TPAC_TESTS_ORACLE_TENSOR_H

#include <cstdint>
#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace oracle {

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> data;

  Tensor() = default;
  explicit Tensor(std::vector<int64_t> dimensions, double value = 0.0) : shape(std::move(dimensions)) {
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    data.assign(static_cast<size_t>(count), value);
  }

  /// Position of `index` in `data`. Throws std::out_of_range where an index does not fit.
  size_t offset(std::initializer_list<int64_t> index) const {
    if (index.size() != shape.size())
      throw std::out_of_range("tensor of rank " + std::to_string(shape.size()) + " indexed with " +
                              std::to_string(index.size()) + " numbers");
    int64_t position = 0;
    size_t dimension = 0;
    for (int64_t i : index) {
      if (i < 0 || i >= shape[dimension])
        throw std::out_of_range("index " + std::to_string(i) + " in dimension " + std::to_string(dimension) +
                                " of size " + std::to_string(shape[dimension]));
      position = position * shape[dimension++] + i;
    }
    return static_cast<size_t>(position);
  }

  double &at(std::initializer_list<int64_t> index) { return data[offset(index)]; }
  double at(std::initializer_list<int64_t> index) const { return data[offset(index)]; }
};

using Tensors = std::map<std::string, Tensor>;

} // namespace oracle

#endif // TPAC_TESTS_ORACLE_TENSOR_H
