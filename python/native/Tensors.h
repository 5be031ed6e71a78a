// SPDX-License-Identifier: Apache-2.0
//
// Tensors of any framework, taken by DLPack and never copied.

#ifndef TPAC_PYTHON_TENSORS_H
#define TPAC_PYTHON_TENSORS_H

#include "Phases.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

namespace tpac::python {

/// A tensor for as long as a call needs it.
class BorrowedTensor {
public:
  /// Takes `object` as the tensor `described` of `phase`. Throws StatusError: the tensor's name, what was found, what
  /// is accepted.
  BorrowedTensor(const std::string &phase, const TensorDescription &described, nanobind::handle object);

  void *data() const { return address; }
  /// In elements.
  const std::vector<int64_t> &strides() const { return steps; }
  const std::vector<int64_t> &shape() const { return extents; }

private:
  /// Keeps the memory alive.
  nanobind::ndarray<nanobind::ro> reader;
  nanobind::ndarray<> writer;
  void *address;
  std::vector<int64_t> extents, steps;
};

/// Memory that a caller gives as workspace: a contiguous tensor of any element type on the CPU.
struct WorkspaceTensor {
  explicit WorkspaceTensor(const std::string &phase, nanobind::handle object);
  nanobind::ndarray<> tensor;
  void *data;
  int64_t bytes;
};

} // namespace tpac::python

#endif // TPAC_PYTHON_TENSORS_H
